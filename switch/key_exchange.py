"""We send a link a new ZPK or ZAK: made, sent until the host has answered, then in force.

Theory of operation. A change is asked for (`tongbao keys send`, or by `Link.key_renew_h`) and stored; any
worker that is signed on takes it up. What is next follows from its facts alone (`next_step`):

    asked ──▶ made ──▶ sent ──00──▶ accepted      the key is in force
                        │ ▲ └─other─▶ refused     the key ends, if it was sent once
                        └─┘ no answer: the same key again
                        └──after TRIES, or refused when sent again──▶ given_up: a person decides

Until it is settled both keys are good: the former signs, and answers under the new one count
(`link_keys.LinkMac`). An answer under the new one says that the host has taken it although its 0810 was
lost: that settles it (`used`). Then the former one still counts for a while, here as there.

Every fact is durable before what it says is done, and is written only by who has read all before it. So
of two workers one sends, and one that dies leaves to the next what it was about.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import structlog

from hsm.keys import Algorithm, KeyUsage
from switch.acquirers.ports import NoAnswerError, NotSentError
from switch.network_management import KEY_ANSWER_S
from switch.rounds import rounds
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsm.ports import Hsm
    from switch.acquirers.iso8583_link import IsoLink
    from switch.reference import Snapshot
    from switch.store_ports import KeyExchange, KeyExchanges

_log = structlog.get_logger(__name__)

TRIES: Final = 20
RETRY_S: Final = 2.0  # after the link's timer, before the same key is sent again; doubles to:
RETRY_MAX_S: Final = 60.0
LOOK_S: Final = 2.0  # between looks for changes that are asked for
RENEW_LOOK_S: Final = 60.0
OPEN_MAX: Final = 16
USAGES: Final = (KeyUsage.ZPK.value, KeyUsage.ZAK.value)
SCHEDULE: Final = "schedule"  # who asks for what `key_renew_h` says


class Step(StrEnum):
    MAKE = "make"
    SEND = "send"
    WAIT = "wait"
    GIVE_UP = "give_up"


def next_step(exchange: KeyExchange, timeout_s: float) -> Step:
    """What a change needs now. Nobody sends while the one that was sent last may be answered.

    Where the store's clock was set back nobody knows how old that one is: the same key leaves again, and
    counts from now.
    """
    if exchange.state == "asked":
        return Step.MAKE
    if exchange.state == "made":
        return Step.SEND
    assert exchange.state == "sent"
    sends = exchange.sends
    if 0 <= exchange.age_s < timeout_s + min(RETRY_S * 2.0 ** (sends - 1), RETRY_MAX_S):
        return Step.WAIT
    return Step.GIVE_UP if sends >= TRIES else Step.SEND


def fact_of(code: str, sends: int) -> str:
    """What DE 39 of the 0810 says of the key. One that was sent before may have been taken then, its
    0810 lost: a host that refuses it now may use it all the same, and the key must not end."""
    if code == "00":
        return "accepted"
    return "refused" if sends == 1 else "given_up"


class KeySender:
    """One worker's hand on the changes of one link's keys."""

    def __init__(
        self,
        host: IsoLink,
        *,
        store: KeyExchanges,
        hsm: Hsm,
        reference: Callable[[], Snapshot],
    ) -> None:
        self._host = host
        self._store = store
        self._hsm = hsm
        self._reference = reference
        self._looked_at = -1  # generation of the reference data
        self._open = False
        self._renew_at_s = 0.0
        self._used: dict[int, None] = {}  # versions of ZAKs that the host has signed under
        self._nudged = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        host.on_waiting_key(self._note_used)

    async def start(self) -> None:
        name = self._host.name
        looks = rounds(
            self._round, "key_exchange", name, pause_s=lambda: LOOK_S, nudged=self._nudged
        )
        self._runner = asyncio.get_running_loop().create_task(looks, name=f"keys {name}")

    async def stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    def _note_used(self, key: StoredKey) -> None:
        """The host has signed under a key that waits: it has taken it."""
        if key.version not in self._used:
            self._used[key.version] = None
            self._nudged.set()

    async def _round(self) -> None:
        """The store is asked when the reference data has changed, as it does with every change that is
        asked for, and while one is open."""
        if not self._host.signed_on:
            return
        await self._ask_by_schedule()
        generation = self._reference().generation
        if generation == self._looked_at and not self._open:
            return
        name = self._host.name
        found = await self._store.exchanges(name, only_open=True, limit=OPEN_MAX)
        self._looked_at, self._open = generation, bool(found)
        for exchange in found:
            await self._go_on(exchange)

    async def _ask_by_schedule(self) -> None:
        every_s = self._host.link.key_renew_h * 3_600.0
        now_s = asyncio.get_running_loop().time()
        if not every_s or now_s < self._renew_at_s:
            return
        self._renew_at_s = now_s + RENEW_LOOK_S
        for usage in USAGES:
            if usage == KeyUsage.ZAK.value and self._host.link.mac_algorithm == "off":
                continue
            await self._store.ask(self._host.name, usage, SCHEDULE, every_s=every_s)

    async def _go_on(self, exchange: KeyExchange) -> None:
        if exchange.usage == KeyUsage.ZAK.value and exchange.version in self._used:
            if exchange.open and exchange.state != "asked":
                await self._end(exchange, "accepted", "used")
            return
        match next_step(exchange, min(self._host.link.timeout_s, KEY_ANSWER_S)):
            case Step.MAKE:
                made = await self._make(exchange)
                if made is not None:
                    await self._send(made)
            case Step.SEND:
                await self._send(exchange)
            case Step.GIVE_UP:
                await self._end(exchange, "given_up", "--")
            case Step.WAIT:
                pass

    async def _make(self, exchange: KeyExchange) -> KeyExchange | None:
        """As strong as the one in force."""
        owner, link = f"link:{exchange.acquirer}", self._host.link
        former = self._reference().key(owner, exchange.usage)
        aes = former is not None and len(former.check_value) > 6
        algorithm = Algorithm.AES if aes else Algorithm.TDES
        key = await self._hsm.generate_key(
            KeyUsage[exchange.usage], link.key_bytes, algorithm=algorithm
        )
        stored = StoredKey(
            owner=owner,
            usage=exchange.usage,
            version=0,
            block=key.block,
            check_value=key.check_value,
            lmk_id=key.lmk_id,
            status="pending",
        )
        return await self._store.made(exchange, stored)

    async def _send(self, exchange: KeyExchange) -> None:
        content = await self._content(exchange)
        if content is None or not self._host.signed_on:
            return
        sent = await self._store.sent(exchange)
        if sent is None:
            return  # another worker has it
        try:
            code = await self._host.change_key(exchange.usage + content)
        except NotSentError as error:
            _log.info("key_not_sent", **self._about(sent), reason=error.reason)
        except NoAnswerError:
            _log.warning("key_unanswered", **self._about(sent))
        else:
            await self._end(sent, fact_of(code, sent.sends), code)

    async def _content(self, exchange: KeyExchange) -> str | None:
        """DE 48 after the usage. None: this process does not see the key yet, or there is no ZMK."""
        owner = f"link:{exchange.acquirer}"
        waiting = self._reference().waiting_keys(owner, exchange.usage)
        key = next((one for one in waiting if one.version == exchange.version), None)
        zmk = self._reference().key(owner, KeyUsage.ZMK.value)
        if zmk is None:
            _log.error("key_exchange_without_zmk", acquirer=exchange.acquirer)
        if key is None or zmk is None:
            return None
        exported = await self._hsm.export_key(key.block, zmk.block)
        if self._host.key_form == "hex":
            return exported.ecb_hex + exported.check_value
        return exported.key_block

    async def _end(self, exchange: KeyExchange, fact: str, response_code: str) -> None:
        if not await self._store.end(exchange, fact, response_code):
            return
        tell = _log.info if fact == "accepted" else _log.warning
        tell(f"key_{fact}", **self._about(exchange), response_code=response_code)
        counters = self._host.counters
        if fact == "accepted":
            counters.key_changes += 1
            await self._host.reload_keys()
        else:
            counters.key_changes_failed += 1

    def _about(self, exchange: KeyExchange) -> dict[str, str | int]:
        return {
            "acquirer": exchange.acquirer,
            "usage": exchange.usage,
            "version": exchange.version,
            "try": exchange.sends,
        }
