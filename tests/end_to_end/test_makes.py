"""Terminals of many makes on one port: dialects, MAC profiles, key layouts, messages without batch.

Goal: whatever profile the reference data can name, its terminals sign on, buy, repeat, reverse, void,
refund and settle, all through one listener in the base dialect. Method: one row a make; its simulated
terminal does the same day against a real node and two banks, which check every PIN; the books of all
of them balance in the end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from hsm.keys import KeyUsage
from terminals.simulator.card import BANK_A, BANK_B, card_pools
from terminals.simulator.terminal import Terminal, TerminalOptions
from tests.end_to_end.day import quiet
from tests.end_to_end.node import Hosts, Node, RefItem, bring_in, furnish, running, stored_key
from tests.end_to_end.wire import Wire, known, metrics, total

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from terminals.simulator.terminal import Outcome, Request, Slip

pytestmark = pytest.mark.xdist_group("end_to_end_2")

MERCHANT = "M00000000000077"
CARDS = card_pools(BANK_A + BANK_B).sound


class Make(msgspec.Struct, frozen=True, kw_only=True):
    """What of a profile differs from the default, and how its terminals sign on."""

    dialect: str = "unionpay_pos"
    mac_profile: str = "unionpay-ecb"
    mak_bytes: Literal[8, 16] = 16
    layout: Literal["001", "003", "004"] = "003"
    batch_in_message: bool = True
    settlement_response_code: bool = True

    def profile(self, name: str) -> dict[str, Any]:
        rest = msgspec.structs.asdict(self)
        return {"name": name, "key_layouts": [rest.pop("layout")], **rest}


MAKES = {
    "default": Make(),
    "de22-right": Make(dialect="unionpay_pos.de22_right"),
    "de35-filler": Make(dialect="unionpay_pos.de35_filler_f"),
    "de60-text": Make(dialect="unionpay_pos.de60_text", batch_in_message=False),
    "no-batch": Make(batch_in_message=False, mac_profile="x9.19"),
    "no-code": Make(settlement_response_code=False),
    "ecb-binary": Make(mac_profile="unionpay-ecb-binary"),
    "ecb-8": Make(mak_bytes=8),
    "ecb-8-binary": Make(mak_bytes=8, mac_profile="unionpay-ecb-binary", layout="004"),
    "single": Make(mak_bytes=8, layout="001"),
    "x9.9-8": Make(mac_profile="x9.9", mak_bytes=8),
    "x9.9": Make(mac_profile="x9.9"),
    "x9.9-binary": Make(mac_profile="x9.9-binary", layout="004"),
    "x9.19": Make(mac_profile="x9.19"),
    "x9.19-binary": Make(mac_profile="x9.19-binary", dialect="unionpay_pos.de22_right"),
    "cmac": Make(mac_profile="cmac"),
    "cmac-004": Make(mac_profile="cmac", layout="004"),
    "off": Make(mac_profile="off"),
}


def options_of(index: int, make: Make) -> TerminalOptions:
    return TerminalOptions(
        merchant=MERCHANT,
        terminal=f"K{index:07d}",
        tmk=(bytes([0x21 + 2 * index] * 8) + b"\x4c" * 8).hex(),
        dialect=make.dialect,
        mac_profile=make.mac_profile,
        mak_bytes=make.mak_bytes,
        key_layout=make.layout,
    )


async def furnish_makes(node: Node) -> None:
    items: list[RefItem] = [("merchant", MERCHANT, {"merchant": MERCHANT, "name": "Many makes"})]
    keys = []
    for index, (name, make) in enumerate(MAKES.items()):
        options = options_of(index, make)
        of = f"{MERCHANT}/{options.terminal}"
        content = {"merchant": MERCHANT, "terminal": options.terminal, "profile": name}
        items += [("profile", name, make.profile(name)), ("terminal", of, content)]
        keys.append(stored_key(f"terminal:{of}", KeyUsage.TMK, options.tmk))
    await bring_in(node, items, keys)
    await known(node, MERCHANT, options_of(len(MAKES) - 1, make).terminal)


class Till:
    """One terminal and its line."""

    def __init__(self, name: str, wire: Wire, terminal: Terminal) -> None:
        self.name = name
        self.wire = wire
        self.terminal = terminal

    async def ask(self, request: Request) -> Outcome:
        return await self.wire.ask(self.terminal, request)

    async def approved(self, request: Request) -> Outcome:
        outcome = await self.ask(request)
        assert outcome.state == "approved", (self.name, outcome)
        return outcome

    async def buys(self, amount_minor: int, at: int) -> Slip:
        card = CARDS[at]
        await self.approved(self.terminal.purchase(card, amount_minor, pin=card.pin))
        return self.terminal.slips[-1]

    async def lost(self, make: Callable[[], Request]) -> None:
        """The answer comes, but never reaches the terminal."""
        self.wire.send(make().frame)
        await self.wire.frame()
        self.terminal.no_answer()

    async def settles(self, *, balanced: bool) -> None:
        outcome = await self.approved(self.terminal.settle())
        assert outcome.balanced is balanced, (self.name, outcome)
        while self.terminal.upload_due:
            await self.approved(self.terminal.upload())

    async def day(self, at: int) -> None:
        terminal = self.terminal
        await self.approved(terminal.sign_on())
        card = CARDS[at]
        await self.approved(terminal.balance(card, pin=card.pin))
        kept = await self.buys(10_00, at)
        again = await self.approved(terminal.repeat())
        assert again.rrn == kept.rrn, self.name
        voided = await self.buys(20_00, at + 1)
        await self.approved(terminal.void(voided))
        await self.approved(terminal.refund(kept, 4_00))
        torn = await self.buys(30_00, at + 2)
        terminal.undo(torn)
        assert (await self.ask(terminal.reversal())).response_code == "00", self.name
        assert torn.state == "reversed"
        await self.lost(lambda: terminal.purchase(card, 40_00, pin=card.pin))
        assert (await self.ask(terminal.reversal())).response_code == "00", self.name
        wrong = await self.ask(terminal.purchase(card, 1_00, pin="000000"))
        assert wrong.response_code == "55", (self.name, wrong)
        spoilt = terminal.purchase(card, 1_00, pin=card.pin)
        if MAKES[self.name].mac_profile != "off":
            self.wire.send(spoilt.frame[:-1] + bytes([spoilt.frame[-1] ^ 1]))
            refused = await self.wire.message(MAKES[self.name].dialect)
            assert refused[39] == "A0", self.name
        await self.approved(spoilt)
        await self.settles(balanced=True)

    async def after_the_batch(self, at: int) -> None:
        """The batch has changed under a terminal that never names one (rules §3)."""
        terminal, card = self.terminal, CARDS[at + 3]
        await self.approved(terminal.sign_on())
        batch = terminal.batch
        request = terminal.purchase(card, 50_00, pin=card.pin)
        self.wire.send(request.frame)
        first = await self.wire.message(terminal.options.dialect)
        terminal.no_answer()
        owed, terminal._reversal = terminal._reversal, None
        assert owed is not None
        await self.settles(balanced=False)  # the switch has one more
        await self.approved(terminal.sign_on())
        assert int(terminal.batch) == int(batch) + 1
        self.wire.send(request.frame)  # the former keys are good until the new ones are used
        again = await self.wire.message(terminal.options.dialect)
        assert (again[39], again[37]) == ("00", first[37]), self.name
        terminal._reversal = owed
        assert (await self.ask(terminal.reversal())).response_code == "00", self.name
        assert owed.slip.state == "reversed"
        await self.buys(60_00, at)
        await self.settles(balanced=True)


def test_a_day_of_every_make(tmp_path: Path) -> None:
    async def scenario(node: Node) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, 1)
            await furnish_makes(node)
            tills = [
                Till(name, Wire(node.address), Terminal(options_of(index, make), f"{index:04X}"))
                for index, (name, make) in enumerate(MAKES.items())
            ]
            for till in tills:
                await till.wire.__aenter__()
            days = (till.day(5 * at) for at, till in enumerate(tills))
            await asyncio.gather(*days)
            without = [till for till in tills if not MAKES[till.name].batch_in_message]
            assert len(without) == 2
            await asyncio.gather(*(till.after_the_batch(at) for at, till in enumerate(without)))
            for till in tills:
                await till.wire.__aexit__()
            await quiet(node)
            captures = await node.query("SELECT sum(effect_minor) AS s FROM switch.capture_v1")
            told = sum(slip.effect_minor for till in tills for slip in till.terminal.slips)
            assert captures[0]["s"] == told
            assert sum(bank.report().standing_minor for bank in hosts.banks) == told
            assert total(metrics(node), "tongbao_failures_total") == 0

    with running(tmp_path) as node:
        asyncio.run(scenario(node))
        assert node.stop() == 0, node.log()
