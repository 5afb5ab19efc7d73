"""Runs cases on a rig: performs each step, waits for what must cross the link, judges it."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from hsm.ciphers import tdes_ecb_encrypt
from switch.certify.case import BANK_ACTS, LINK_ACTS, Case
from switch.certify.expect import Context, Reason, judged, reason
from switch.certify.rig import LinkDownError
from terminals.simulator.terminal import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from iso8583.message import Message
    from switch.certify.cards import RoleCard
    from switch.certify.case import Step
    from switch.certify.rig import Rig
    from switch.certify.tap import Crossing
    from terminals.simulator.bank import BankServer
    from terminals.simulator.terminal import Outcome, Request, Slip, Terminal

Result = Literal["passed", "failed", "not_run"]

LATE_MORE_S: Final = 2.0  # behind the link's timer
WAIT_S: Final = 3.0  # for the last of what a step expects
QUIET_S: Final = (
    1.5  # behind it, for what is not expected: a reversal leaves within a poll of its queue
)
LOOK_S: Final = 0.05
SCRIPT: Final = bytes.fromhex("DF3105200000000095050000000000")
KEYS: Final = {  # new keys of the simulated bank, made from its ZMK
    "ZPK": bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"),
    "ZAK": bytes.fromhex("FEDCBA98765432100123456789ABCDEF"),
}


class StepResult(msgspec.Struct):
    do: str
    told: str  # DE 39 that the terminal was told, or what it made of it
    at: float
    crossings: tuple[int, int]  # of the rig's list, from and up to
    wrong: list[Reason]


class CaseResult(msgspec.Struct):
    case: Case
    result: Result
    at: float
    steps: list[StepResult] = []
    why: list[Reason] = []  # of one that was not run


class Runner:
    """`bank`: the simulated one, None for a real one: then a person asks it to begin, within
    `patience_s`."""

    def __init__(
        self,
        rig: Rig,
        cards: Mapping[str, RoleCard],
        bank: BankServer | None,
        patience_s: float = 60.0,
        on_case: Callable[[CaseResult], None] = lambda _: None,
        on_bank: Callable[[Case], None] = lambda _: None,
    ) -> None:
        self._rig = rig
        self._cards = cards
        self._bank = bank
        self._patience_s = patience_s
        self._on_case = on_case
        self._on_bank = on_bank
        self._slips: dict[str, Slip] = {}
        self._sent: dict[str, Message] = {}  # step's name → its first link message

    async def run(self, cases: Sequence[Case]) -> list[CaseResult]:
        results = []
        await self._rig.open()
        try:
            for case in cases:
                result = await self._case(case)
                results.append(result)
                self._on_case(result)
        finally:
            await self._rig.sign_off()
        return results

    async def _case(self, case: Case) -> CaseResult:
        result = CaseResult(case, "passed", round(self._rig.now_s(), 6))
        result.steps, result.why = [], []
        missing = sorted({step.card for step in case.step} - self._cards.keys())
        if missing:
            result.result = "not_run"
            result.why.append(reason("certify_no_card", roles=", ".join(missing)))
            return result
        self._slips.clear()
        self._sent.clear()
        for step in case.step:
            done = await self._step(case, step)
            result.steps.append(done)
            if done.wrong:
                nothing = done.crossings[0] == done.crossings[1]
                begins = self._bank is None and case.bank_begins and step.do in BANK_ACTS
                result.result = "not_run" if begins and nothing else "failed"
                if result.result == "not_run":
                    result.why.append(reason("certify_not_begun"))
                break
        await self._clear()
        return result

    async def _clear(self) -> None:
        """The terminals owe nothing to the next case."""
        self._rig.tap.fault = ""
        if not self._rig.signed_on:
            await self._sign_on()
        for terminal in self._rig.terminals.values():
            while terminal.reversal_due:
                await self._rig.ask(terminal, terminal.reversal())

    async def _sign_on(self) -> str:
        try:
            await self._rig.sign_on()
        except LinkDownError:
            if self._bank is None and not self._rig.tap.crossings:
                raise  # nobody is there: no case would say anything
            return "down"
        return ""

    async def _step(self, case: Case, step: Step) -> StepResult:
        rig = self._rig
        if not rig.signed_on and step.do != "link_sign_on" and step.do not in LINK_ACTS:
            await self._sign_on()
        terminal = rig.terminals[case.partial]
        if step.do not in (*LINK_ACTS, *BANK_ACTS, "sign_on") and not terminal.signed_on:
            await rig.ask(terminal, terminal.sign_on())
        at, first = round(rig.now_s(), 6), len(rig.tap.crossings)
        rig.tap.fault, rig.tap.late_s = step.fault, rig.link.timeout_s + LATE_MORE_S
        told, wrong = "", []
        try:
            if step.do in LINK_ACTS:
                told = await self._at_link(step)
            elif step.do in BANK_ACTS:
                self._at_bank(case, step)
            else:
                told = await self._at_terminal(terminal, step)
        except LocalProtocolError as error:
            wrong.append(reason("certify_impossible", why=error))
        wrong += await self._awaited(step, first)
        if step.do not in (*LINK_ACTS, *BANK_ACTS) and step.answer:
            wrong += self._told(step, told)
        crossings = rig.tap.crossings[first:]
        if step.name:
            out = [one.message for one in crossings if one.to == "bank"]
            if out:
                self._sent[step.name] = out[0]
        return StepResult(step.do, told, at, (first, len(rig.tap.crossings)), wrong)

    @staticmethod
    def _told(step: Step, told: str) -> list[Reason]:
        if re.fullmatch(step.answer, told):
            return []
        return [reason("certify_told", told=told, pattern=step.answer)]

    async def _awaited(self, step: Step, first: int) -> list[Reason]:
        """What crossed, once all that is expected has, or its time is up."""
        rig, loop = self._rig, asyncio.get_running_loop()
        wait_s = step.seconds or WAIT_S
        if step.do in BANK_ACTS and self._bank is None:
            wait_s = max(wait_s, self._patience_s)
        context = Context(rig.link.dialect, self._cards.get(step.card), self._sent.get(step.of))
        until_s = loop.time() + wait_s
        expected = step.link
        while True:
            wrong, came = judged(expected, rig.tap.crossings[first:], context)
            if came == len(expected) or loop.time() >= until_s:
                break
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(QUIET_S)
        wrong, _ = judged(expected, rig.tap.crossings[first:], context)
        return wrong

    # -- acts -----------------------------------------------------------------------------------

    async def _at_link(self, step: Step) -> str:
        if step.do == "wait":
            await asyncio.sleep(step.seconds)
            return ""
        if step.do == "link_sign_off":
            await self._rig.sign_off()
            return ""
        return await self._sign_on()

    def _at_bank(self, case: Case, step: Step) -> None:
        """The simulated bank begins; a real one is waited for."""
        server = self._bank
        if server is None:
            self._on_bank(case)
            return
        if step.do == "bank_echo":
            server.broadcast(server.bank.announce("301"))
        elif step.do == "bank_cut_over":
            server.cut_over(server.bank.settlement_date + dt.timedelta(days=1))
        else:
            usage: Any = step.usage or "ZPK"
            zmk = bytes.fromhex(server.bank.options.zmk)
            made = tdes_ecb_encrypt(zmk, KEYS[usage])
            odd = bytes(byte & 0xFE | (bin(byte >> 1).count("1") + 1) % 2 for byte in made)
            server.broadcast(server.bank.offer_key(usage, odd))

    async def _at_terminal(self, terminal: Terminal, step: Step) -> str:
        request = self._request(terminal, step)
        slip = terminal.slips[-1] if terminal.slips else None
        outcome = await self._rig.ask(terminal, request)
        if step.name and slip is not None:
            self._slips[step.name] = slip
        return told_of(outcome)

    def _request(self, terminal: Terminal, step: Step) -> Request:
        card = self._cards[step.card]
        amount_minor = card.asks_minor or step.amount_minor
        pin = {"none": None, "right": card.pin, "wrong": wrong_pin(card.pin)}[step.pin]
        of = self._slips.get(step.of)
        plain: dict[str, Callable[[], Request]] = {
            "sign_on": terminal.sign_on,
            "sign_off": terminal.sign_off,
            "echo": terminal.echo,
            "settle": terminal.settle,
            "repeat": terminal.repeat,
            "reverse": terminal.reversal,
            "balance": lambda: terminal.balance(card, pin=pin),
            "points_query": lambda: terminal.points(card, pin=pin),
            "purchase": lambda: terminal.purchase(card, amount_minor, pin=pin),
            "pay_by_code": lambda: terminal.pay_by_code(card, amount_minor),
            "pre_authorise": lambda: terminal.pre_authorise(card, amount_minor, pin=pin),
            "pre_authorise_more": lambda: terminal.pre_authorise(
                card, amount_minor, pin=pin, additional=True
            ),
            "offline_sale": lambda: terminal.offline_sale(card, amount_minor, "654321"),
            "e_cash_sale": lambda: terminal.e_cash_sale(card, amount_minor),
        }
        if step.do in plain:
            return plain[step.do]()
        if step.do in ("moto_sale", "instalment", "points_sale", "reservation"):
            return terminal.sell(step.do, card, amount_minor, pin=pin)
        if of is None:
            raise LocalProtocolError(f"{step.do} follows nothing")
        if step.do == "undo":
            terminal.undo(of)
            return terminal.reversal()
        following: dict[str, Callable[[], Request]] = {
            "refund": lambda: terminal.refund(of, amount_minor or None),
            "moto_refund": lambda: terminal.refund(of, amount_minor or None),
            "pre_authorisation_void": lambda: terminal.pre_authorisation_void(of),
            "complete": lambda: terminal.complete(of, amount_minor),
            "complete_advice": lambda: terminal.complete(of, amount_minor, advice=True),
            "completion_void": lambda: terminal.completion_void(of),
            "adjust": lambda: terminal.adjust(of, amount_minor),
            "tip": lambda: terminal.tip(of, amount_minor),
            "script_result": lambda: terminal.script_result(of, SCRIPT),
        }
        return following.get(step.do, lambda: terminal.void(of))()


def told_of(outcome: Outcome) -> str:
    """DE 39; where there is none, what the terminal makes of it."""
    return outcome.response_code or outcome.state


def wrong_pin(pin: str) -> str:
    """As long, and another."""
    return "".join(str((int(digit) + 1) % 10) for digit in pin)


def shown_crossings(result: CaseResult, crossings: Sequence[Crossing]) -> list[Crossing]:
    """What crossed the link in a case."""
    if not result.steps:
        return []
    return list(crossings[result.steps[0].crossings[0] : result.steps[-1].crossings[1]])
