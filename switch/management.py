"""Messages that move no money: sign-on, sign-off, echo, settlement, upload (rules §9, §10)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from hsm.keys import Algorithm
from hsm.mac_profiles import PROFILES
from iso8583.errors import DecodeError
from switch import answers, intake, reception
from switch.intake import Refusal
from switch.journal import StoreDownError
from switch.reception import Received, Verified, verify
from switch.store_ports import Batch, BatchItem, BatchTotals, Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from hsm.pans import Pans
    from hsm.ports import Hsm
    from iso8583.message import Message
    from switch.access import AccessCache
    from switch.config import Config
    from switch.downloads import Downloads
    from switch.load import Load
    from switch.ports import Clock
    from switch.reference import Snapshot
    from switch.store_ports import Batches

SIGN_ON_LAYOUTS = ("001", "003", "004")
UPLOAD_END = ("202", "207")
SETTLE_POLL_S = 0.1
# rules of answers whose header may ask for a download: nothing of what the terminal does is cut short
ASK_AFTER = frozenset(("sign_on", "management.301", "download.status"))


class Management:
    """Answers 08xx, 05xx and 03xx. One instance a process."""

    def __init__(
        self,
        config: Config,
        batches: Batches,
        cache: AccessCache,
        hsm: Hsm,
        pans: Pans,
        clock: Clock,
        longest_timer_s: Callable[[], float],
        load: Load,
        downloads: Downloads,
    ) -> None:
        self._config = config
        self._batches = batches
        self._cache = cache
        self._hsm = hsm
        self._pans = pans
        self._clock = clock
        self._longest_timer_s = longest_timer_s
        self._load = load
        self._downloads = downloads
        self._sign_ons: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    async def answer(
        self, received: Received, snapshot: Snapshot, source: str, local_time: str
    ) -> tuple[Message, str]:
        """The answer and the rule that chose it. 40 for what no table knows."""
        mti = received.mti
        code = intake.private(received.message, received.profile).code
        if received.status is not None:
            refusal = received.status
        elif mti[1] == "8" and code in SIGN_ON_LAYOUTS:
            return await self._sign_on(received, snapshot, code, local_time)
        elif mti == "0820" and code in ("002", "301"):
            return self._plain(received, "00", local_time), f"management.{code}"
        elif self._downloads.takes(mti, code):
            return await self._download(received, snapshot, source, code, local_time)
        elif mti == "0500" and code == "201":
            return await self._settle(received, source, local_time)
        elif mti == "0320":
            return await self._upload(received, source, code, local_time)
        else:
            refusal = Refusal("40", f"type.{mti[:3]}.{code}")
        return self._plain(received, refusal.response_code, local_time), refusal.rule

    # -- sign-on -------------------------------------------------------------------------------

    async def _sign_on(
        self, received: Received, snapshot: Snapshot, layout: str, local_time: str
    ) -> tuple[Message, str]:
        refusal, tmk = self._may_sign_on(received, snapshot, layout)
        if refusal is not None:
            return self._plain(received, refusal.response_code, local_time), refusal.rule
        cmac = reception.mac_profile(received) == "cmac"
        made = await self._hsm.generate_working_keys(
            tmk,
            layout,
            mak_bytes_of(received, layout),
            mak_algorithm=Algorithm.AES if cmac else None,
        )
        session = Session(
            session_id=0,
            merchant=received.merchant_id,
            terminal=received.terminal_id,
            layout=layout,
            pik=made.pik,
            mak=made.mak,
            tdk=made.tdk,
            created_at=self._clock.now(),
            confirmed=False,
            lmk_id=made.lmk_id,
        )
        batch = await self._batches.sign_on(session)
        self._cache.forget(received.merchant_id, received.terminal_id)
        answer = self._plain(received, "00", local_time)
        answer[60] = f"{str(received.message[60])[:2]}{batch:06d}{layout}"
        answer[62] = made.de62
        return answer, "sign_on"

    def _may_sign_on(
        self, received: Received, snapshot: Snapshot, layout: str
    ) -> tuple[Refusal | None, str]:
        if layout not in received.profile.key_layouts:
            return Refusal("40", "sign_on.layout_not_of_profile"), ""
        lengths = PROFILES[reception.mac_profile(received)].mak_bytes
        if lengths and mak_bytes_of(received, layout) not in lengths:
            return Refusal("40", "sign_on.mak_not_of_mac_profile"), ""
        serial = received.message.get(62, b"")
        if received.terminal.serial and received.terminal.serial.encode() not in bytes_of(serial):
            return Refusal("58", "sign_on.serial_differs"), ""
        tmk = snapshot.key(f"terminal:{received.terminal.name}", "TMK")
        if tmk is None:
            return Refusal("97", "sign_on.no_master_key"), ""
        if not self._within_rate(received.merchant_id, received.terminal_id):
            return Refusal("65", "sign_on.rate"), ""
        return None, tmk.block

    def _within_rate(self, merchant: str, terminal: str) -> bool:
        """At most `rules.sign_ons` in `rules.sign_on_window_s`, for each terminal."""
        now_s = asyncio.get_running_loop().time()
        times = self._sign_ons.setdefault((merchant, terminal), deque())
        while times and times[0] < now_s - self._config.rules.sign_on_window_s:
            times.popleft()
        if len(times) >= self._config.rules.sign_ons:
            return False
        times.append(now_s)
        self._sign_ons.move_to_end((merchant, terminal))
        if len(self._sign_ons) > self._config.server.connections:
            self._sign_ons.popitem(last=False)
        return True

    # -- downloads -----------------------------------------------------------------------------

    async def _download(
        self, received: Received, snapshot: Snapshot, source: str, code: str, local_time: str
    ) -> tuple[Message, str]:
        """Anybody who has signed on may have what is public: see `Downloads` for what is not."""
        batch = await self._batches.current(received.merchant_id, received.terminal_id)
        if batch is None:
            return self._plain(received, "77", local_time), "download.not_signed_on"
        refusal = await self._shown_itself(received, source, batch)
        if refusal is not None and received.profile.management_check == "mac":
            return self._plain(received, refusal.response_code, local_time), refusal.rule
        made = await self._downloads.answer(received, snapshot, code, source, shown=refusal is None)
        answer = self._plain(received, made.response_code, local_time)
        if made.de62:
            answer[62] = made.de62
        return answer, made.rule

    async def request(self, received: Received, snapshot: Snapshot, source: str, rule: str) -> int:
        """The processing request digit of an answer that `rule` chose."""
        ended = self._downloads.ends(received, rule)
        if not (ended or rule in ASK_AFTER) or self._downloads.offered(received, snapshot) is None:
            return 0
        who = received.merchant_id, received.terminal_id
        try:
            access = self._cache.get(*who) or await self._cache.read(*who)
            if access.batch is None:
                return 0
            shown = await self._shown_itself(received, source, access.batch) is None
        except StoreDownError:
            return 0
        if ended:
            access.downloads = None
        return await self._downloads.ask(access, received, snapshot, source, shown=shown)

    # -- settlement and upload -----------------------------------------------------------------

    async def _settle(
        self, received: Received, source: str, local_time: str
    ) -> tuple[Message, str]:
        """0500: wait for the batch's requests in flight, freeze, compare totals."""
        totals = parse_totals(received.message.get(48))
        batch = await self._batch(received)
        if totals is None or batch is None:
            code, rule = ("30", "settle.de48") if totals is None else ("77", "settle.batch")
            return self._plain(received, code, local_time), rule
        refusal = await self._shown_itself(received, source, batch)
        if refusal is not None:
            return self._plain(received, refusal.response_code, local_time), refusal.rule
        if batch.state in ("open", "frozen"):
            frozen = await self._frozen(batch)
            if not frozen:
                return self._plain(received, "96", local_time), "settle.requests_in_flight"
            batch = await self._batches.settle(batch.merchant, batch.terminal, batch.batch, totals)
        self._cache.forget(batch.merchant, batch.terminal)
        answer = self._plain(received, "00", local_time)
        answer[48] = render_totals(batch.terminal_totals or totals, batch.result)
        if 63 in received.message:
            answer[63] = received.message[63]
        if not received.profile.settlement_response_code:
            del answer[39]
        return answer, f"settle.{batch.result}"

    async def _frozen(self, batch: Batch) -> bool:
        """Nothing enters the batch any more and everything in it is decided."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._longest_timer_s()
        while await self._batches.freeze(batch.merchant, batch.terminal, batch.batch):
            if loop.time() > until_s or not self._load.takes_watcher:
                return False
            with self._load.watching():
                await asyncio.sleep(SETTLE_POLL_S)
        return True

    async def _upload(
        self, received: Received, source: str, code: str, local_time: str
    ) -> tuple[Message, str]:
        """0320: items one by one or up to eight in DE 48; 202 and 207 end the upload."""
        batch = await self._batch(received)
        if batch is None:
            return self._plain(received, "77", local_time), "upload.batch"
        refusal = await self._shown_itself(received, source, batch)
        if refusal is not None:
            return self._plain(received, refusal.response_code, local_time), refusal.rule
        if batch.state in ("open", "frozen"):  # the 0500 has no answer yet
            return self._plain(received, "12", local_time), "upload.not_settled"
        if code in UPLOAD_END:
            await self._batches.finish_upload(batch.merchant, batch.terminal, batch.batch)
            self._cache.forget(batch.merchant, batch.terminal)
        else:
            try:
                items = read_items(received.message, self._pans)
            except DecodeError as error:
                return self._plain(received, "30", local_time), f"upload.form: {error}"
            kept = await self._batches.upload(batch.merchant, batch.terminal, batch.batch, items)
            if kept is not None and kept.state != "closed" and not _has(kept, items):
                return self._plain(received, "30", local_time), "upload.too_many"
        answer = self._plain(received, "00", local_time)
        if 48 in received.message:
            answer[48] = received.message[48]
        return answer, f"upload.{code}"

    async def _batch(self, received: Received) -> Batch | None:
        """The batch that the message names, else (profiles without one) the newest."""
        asked = intake.private(received.message, received.profile)
        if received.profile.batch_in_message:
            return await self._batches.get(received.merchant_id, received.terminal_id, asked.batch)
        return await self._batches.current(received.merchant_id, received.terminal_id)

    async def _shown_itself(self, received: Received, source: str, batch: Batch) -> Refusal | None:
        """What the profile asks of unsigned messages: session, mac or open (rules §10)."""
        check = received.profile.management_check
        if check == "open":
            return None
        if check == "mac":
            verdict = verify(received, self._cache, self._hsm, self._clock.now)
            verified = verdict if isinstance(verdict, Verified) else await verdict
            return None if isinstance(verified, Verified) else Refusal("77", "management.mac")
        known = await self._batches.source_known(
            batch.merchant, batch.terminal, batch.batch, source
        )
        return None if known else Refusal("77", "management.source_not_verified")

    async def expire_uploads(self) -> None:
        """Uploads that never ended are compared with what came."""
        for batch in await self._batches.overdue_uploads(self._config.batch.upload_s):
            await self._batches.finish_upload(batch.merchant, batch.terminal, batch.batch)

    def _plain(self, received: Received, response_code: str, local_time: str) -> Message:
        rrn = answers.unjournalled_rrn(received.message, local_time)
        return answers.echo(received.message, response_code, rrn, local_time)


def _has(batch: Batch, items: list[BatchItem]) -> bool:
    return {item.stan for item in items} <= {item.stan for item in batch.uploaded}


def mak_bytes_of(received: Received, layout: str) -> int:
    """Bytes of the MAK of a sign-on: layout 001 has single-length keys, whatever the profile's are."""
    return 8 if layout == "001" else received.profile.mak_bytes


def bytes_of(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


# -- DE 48 of settlement: 31 digits for RMB, 31 for foreign cards -------------------------------


def parse_totals(value: str | bytes | None) -> tuple[BatchTotals, BatchTotals] | None:
    """Debit amount 12, count 3, credit amount 12, count 3, result 1; twice. None: not that.

    >>> totals = parse_totals("000000010000" "001" "000000000000" "000" "0" + "0" * 31)
    >>> totals[0].debit_minor, totals[0].debit_count
    (10000, 1)
    """
    if not isinstance(value, str) or len(value) != 62 or not value.isdigit():
        return None

    def side(text: str) -> BatchTotals:
        return BatchTotals(int(text[:12]), int(text[12:15]), int(text[15:27]), int(text[27:30]))

    return side(value[:31]), side(value[31:])


def render_totals(totals: tuple[BatchTotals, BatchTotals], result: str) -> str:
    """The terminal's own totals with the result digits: 1 balanced, 2 not, 3 error."""
    sides = []
    for side, digit in zip(totals, result or "33", strict=False):
        sides.append(
            f"{side.debit_minor:012d}{side.debit_count:03d}"
            f"{side.credit_minor:012d}{side.credit_count:03d}{digit}"
        )
    return "".join(sides)


def read_items(message: Message, pans: Pans) -> list[BatchItem]:
    """Items of one upload: DE 48 with n2 count and 40 digits each, else the message's own elements.

    An item: card flag 2 (00 domestic, 01 foreign), trace 6, PAN 20 right-aligned, amount 12.
    """
    value = message.get(48)
    if isinstance(value, str) and len(value) > 4:
        if not value.isdigit():
            raise DecodeError(48, 0, "items are digits")
        count = int(value[:2])
        if len(value) < 2 + 40 * count:
            raise DecodeError(48, 0, f"{count} items do not fit {len(value)} digits")
        return [item(value[2 + 40 * at : 42 + 40 * at], pans) for at in range(count)]
    pan = str(message.get(2, ""))
    return [
        BatchItem(
            stan=int(str(message[11])),
            amount_minor=int(str(message.get(4, "0"))),
            pan_token=pans.token(pan) if pan else None,
        )
    ]


def item(text: str, pans: Pans) -> BatchItem:
    pan = text[8:28].lstrip("0")
    return BatchItem(
        stan=int(text[2:8]),
        amount_minor=int(text[28:40]),
        pan_token=pans.token(pan) if pan else None,
        foreign=text[:2] == "01",
    )
