"""Store and forward: what answers mean, as tables; then the forwarder on a real link in virtual time.

The second half has the store in memory, the link, and a bank of our own script; each story checks
what the bank was sent, and what the store holds in the end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from structlog.testing import capture_logs

from switch.acquirers.ports import Answer, AnswerKind, NoAnswerError
from switch.adapters.memory import MemoryStore
from switch.journal import (
    AttemptRow,
    Commit,
    EndRow,
    FindById,
    OutcomeState,
    QueueRow,
    RequestRow,
    ReversalRow,
    Scene,
    Stored,
    StoreDownError,
)
from switch.reversal import WireIdentity
from switch.rows import PAN_COLUMN
from switch.store_and_forward import (
    UNDELIVERED,
    Forwarder,
    backoff_s,
    case_of,
    conclude,
    is_overdue,
    judge_delivery,
    judge_ended_reversal,
    judge_late_answer,
    late_rule,
)
from switch.virtual.loop import run_virtual
from tests.switch.acquirers.test_link_messages import item
from tests.switch.acquirers.wire import FAR_NS, VirtualClock, World, answer_to, make_link
from tests.switch.rows import (
    APPROVED,
    ATTEMPT,
    KEY,
    NOW,
    REQUEST,
    REVERSAL,
    TODAY,
    original,
    outcome,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iso8583.message import Message
    from switch.acquirers.iso8583_link import IsoLink
    from switch.reference import Link
    from switch.store_ports import Lease

PAN = "6222020000000000004"


def answer(code: str, kind: AnswerKind | None = None, **changes: Any) -> Answer:
    kind = kind or (AnswerKind.APPROVED if code == "00" else AnswerKind.DECLINED)
    return msgspec.structs.replace(Answer(kind, code, 10_000, rrn=REQUEST.rrn), **changes)


# -- what answers mean ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "overtook", "ends"),
    [
        ("reversal", "00", True, "yes"),
        ("reversal", "94", True, "yes"),
        ("reversal", "12", False, "reversal_refused"),
        ("reversal", "25", False, "yes"),
        ("reversal", "25", True, "no"),
        *[("reversal", code, False, "no") for code in ("30", "68", "91", "96", "98", "05", "11")],
        *[("repeat", code, True, "yes") for code in ("00", "11", "05", "51", "12", "25", "55")],
        ("repeat", "94", False, "repeat_duplicate"),
        *[("repeat", code, False, "no") for code in ("30", "68", "91", "96", "98")],
    ],
)
def test_final_answers(kind: str, code: str, overtook: bool, ends: str) -> None:
    ended = judge_delivery(kind, answer(code), overtook=overtook)
    assert ("no" if ended is None else ended.case or "yes") == ends


def test_an_unmapped_code_ends_nothing() -> None:
    for kind in ("reversal", "repeat"):
        assert judge_delivery(kind, answer("ZZ", AnswerKind.UNMAPPED), overtook=False) is None


def concluded(one: Any, given: Answer) -> Commit | None:
    ended = judge_delivery(one.row.kind, given, overtook=False)
    assert ended is not None
    return conclude(one, given, ended, NOW)


REFUND = msgspec.structs.replace(
    REQUEST, type="refund", mti="0220", processing_code="200000", original_request_id=9
)


def test_an_approved_refund_captures_below_zero_on_the_date_of_its_commit() -> None:
    waiting = item("repeat", request=REFUND, outcome=None, captured_minor=0)
    commit = concluded(waiting, answer("00", auth_code="123456", rrn="999999999999"))
    assert commit is not None
    row = commit.outcome
    assert row is not None
    assert (row.state, row.effect_minor, row.approved_amount_minor) == (
        OutcomeState.APPROVED,
        -10_000,
        10_000,
    )
    assert (row.on_current_date, row.request_date, row.attempt) == (True, TODAY, 1)
    assert (row.auth_code, row.acquirer_rrn) == ("123456", "999999999999")
    assert commit.case is None


@pytest.mark.parametrize(("code", "case"), [("51", None), ("94", "repeat_duplicate")])
def test_a_declined_refund_captures_nothing(code: str, case: str | None) -> None:
    commit = concluded(item("repeat", request=REFUND, outcome=None), answer(code))
    assert commit is not None
    assert commit.outcome is not None
    assert (commit.outcome.state, commit.outcome.effect_minor) == (OutcomeState.DECLINED, None)
    assert (commit.case.kind if commit.case else None) == case


def test_an_advice_was_decided_before() -> None:
    """Answered 00 when it came: a yes adds nothing, a no posts the linked opposite with a case."""
    advice = item("repeat", request=msgspec.structs.replace(REQUEST, mti="0220"))
    assert concluded(advice, answer("00")) is None
    commit = concluded(advice, answer("05"))
    assert commit is not None
    assert commit.outcome is None
    assert commit.reversal is not None
    assert (commit.reversal.capture, commit.reversal.origin) == ("opposite", "rule")
    assert commit.case is not None
    assert commit.case.kind == "advice_refused"


def test_a_reversal_leaves_no_commit_but_a_case_for_12() -> None:
    assert concluded(item(), answer("00")) is None
    refused = concluded(item(), answer("12"))
    assert refused is not None
    assert refused.case is not None
    assert refused.case.kind == "reversal_refused"


def test_backoff_doubles_to_its_bound() -> None:
    link = make_link()
    assert [backoff_s(link, tries) for tries in (0, 1, 2, 3, 4, 5, 6, 900)] == [
        2, 4, 8, 16, 32, 60, 60, 60,
    ]  # fmt: skip


UNKNOWN = outcome(OutcomeState.UNKNOWN, response_code="98")
OPEN: dict[str, Any] = {"reversals": (REVERSAL,), "reversal_response": None}


@pytest.mark.parametrize(
    ("changes", "approves", "rule"),
    [
        ({"outcome": None}, True, "late.stored"),
        ({"outcome": APPROVED}, True, "late.stored"),
        ({"outcome": UNKNOWN, **OPEN}, True, "late.reversal_under_way"),
        ({"outcome": UNKNOWN, **OPEN, "reversal_response": "00"}, True, "late.reversed_anew"),
        ({"outcome": UNKNOWN, **OPEN, "reversal_response": "25"}, True, "late.reversed_anew"),
        ({"outcome": UNKNOWN, **OPEN, "reversal_response": "94"}, True, "late.reversed_anew"),
        ({"outcome": UNKNOWN, **OPEN, "reversal_response": "--"}, True, "late.reversed_anew"),
        ({"outcome": UNKNOWN, **OPEN, "reversal_response": "25"}, False, "late.stored"),
        ({"outcome": outcome(OutcomeState.REVERSED), **OPEN}, True, "late.reversal_under_way"),
        ({"outcome": outcome(OutcomeState.DECLINED)}, True, "late.reversed_anew"),
        ({"outcome": UNKNOWN, "request": REFUND}, True, "late.stored"),
        (
            {"outcome": UNKNOWN, "request": msgspec.structs.replace(REQUEST, type="balance")},
            True,
            "late.stored",
        ),
    ],
)
def test_late_rules(changes: dict[str, Any], approves: bool, rule: str) -> None:
    assert late_rule(original(captured_minor=0, **changes), approves=approves) == rule


def test_a_reversal_that_ended_without_00_looks_for_an_approval_that_came_meanwhile() -> None:
    def numbers(_acquirer: str) -> WireIdentity:
        return WireIdentity(77, "000077", "0304130000")

    waiting = item("reversal")
    end = Commit(end=EndRow(waiting.row.item_id, "25"))

    def ended(before: Commit | None = None, **changes: Any) -> Commit:
        judge = judge_ended_reversal(waiting, "25", before, numbers, NOW, make_link())
        given = {"outcome": UNKNOWN, **OPEN, **changes}
        commit = judge(Scene(TODAY, 1, (original(captured_minor=0, **given),))).commit
        assert commit is not None
        assert commit.end == end.end
        return commit

    commit = ended(late_codes=("51", "00"))
    assert commit.case is not None
    assert json.loads(commit.case.detail)["reversal_response_code"] == "25"
    assert commit.reversal is not None
    assert commit.reversal.seq == REVERSAL.seq + 1
    assert ended() == end
    assert ended(late_codes=("51",)) == end
    newer = msgspec.structs.replace(REVERSAL, seq=2)
    assert ended(late_codes=("00",), reversals=(REVERSAL, newer)) == end
    # one late approval, one new reversal: a host that forgot answers 25 to that one too
    anew = msgspec.structs.replace(REVERSAL, origin="late_approval")
    assert ended(late_codes=("00",), reversals=(anew,)) == end
    assert ended(late_codes=("00", "00"), reversals=(anew,)).reversal is not None
    refused = Commit(case=case_of(waiting, "reversal_refused", NOW, "12"))
    assert ended(refused).case == refused.case


def judged(given: Answer | Message, reason: str = "late", **changes: Any) -> Commit:
    def numbers(_acquirer: str) -> WireIdentity:
        return WireIdentity(77, "000077", "0304130000")

    judge = judge_late_answer(ATTEMPT, TODAY, given, reason, numbers, NOW)
    scene = Scene(TODAY, 1, (original(captured_minor=0, **changes),))
    commit = judge(scene).commit
    assert commit is not None
    assert commit.late_answer is not None
    assert commit.outcome is None
    return commit


def test_a_late_approval_is_reversed_anew_with_numbers_of_its_own() -> None:
    commit = judged(
        answer("00", auth_code="123456"), outcome=UNKNOWN, **(OPEN | {"reversal_response": "25"})
    )
    assert commit.reversal is not None
    assert commit.queue is not None
    assert commit.case is not None
    assert (commit.reversal.seq, commit.reversal.origin, commit.reversal.capture) == (
        2,
        "late_approval",
        "",
    )
    assert (commit.queue.link_stan, commit.queue.seq) == ("000077", 2)
    assert commit.case.kind == "late_approval"
    assert commit.late_answer is not None
    assert (commit.late_answer.auth_code, commit.late_answer.amount_minor) == ("123456", 10_000)


def test_any_late_answer_lets_the_waiting_reversal_leave() -> None:
    for given in (answer("00"), answer("51")):
        commit = judged(given, outcome=outcome(OutcomeState.REVERSED), **OPEN)
        assert commit.late_answer is not None
        assert commit.late_answer.release_queue
        assert commit.reversal is None


@pytest.mark.parametrize("reason", ["mac", "mismatch"])
def test_what_is_no_answer_changes_nothing(reason: str) -> None:
    message: Message = {0: "0210", 39: "00", 4: "000000010000", 38: "123456"}
    for reversal_response in (None, "25"):
        commit = judged(
            message, reason, outcome=UNKNOWN, **(OPEN | {"reversal_response": reversal_response})
        )
        assert commit.reversal is None
        assert commit.late_answer is not None
        assert not commit.late_answer.release_queue


# -- on a link --------------------------------------------------------------------------------------


class NullPans:
    """`Pans` as the forwarder uses it."""

    def protect(self, pan: str, expiry: str | None, row_id: int, column: str) -> bytes:
        return f"{pan}={expiry}/{row_id}/{column}".encode()

    def reveal(self, cipher: bytes, row_id: int, column: str) -> tuple[str, str | None]:
        card, of, where = cipher.decode().split("/")
        assert (int(of), where) == (row_id, column)
        pan, _, expiry = card.partition("=")
        return pan, expiry

    def token(self, pan: str) -> bytes:
        raise NotImplementedError

    def mask(self, pan: str) -> str:
        raise NotImplementedError

    def content(self, parts: Any) -> bytes:
        raise NotImplementedError


class Desk:
    """A world of the link's tests with a store and a forwarder."""

    def __init__(self, world: World, store: MemoryStore | None = None, owner: int = 1) -> None:
        self.world = world
        self.clock = VirtualClock()
        self.store = store or MemoryStore(self.clock, business_date=TODAY)
        self.owner = owner
        self.pans = NullPans()
        self.forwarder = self.forwarder_for(world.iso)
        self.count = 0

    def forwarder_for(self, iso: IsoLink) -> Forwarder:
        return Forwarder(
            self.world.link,
            host=iso,
            queue=self.store.queue,
            journal=self.store.journal,
            pans=self.pans,
            clock=self.clock,
            owner=lambda: self.owner,
            numbers=lambda acquirer: WireIdentity(900_001, "900001", "0304130000"),
            reference=lambda: self.world.snapshot,
        )

    async def request(
        self, type_: str = "purchase", original_id: int | None = None, **changes: Any
    ) -> tuple[RequestRow, AttemptRow]:
        """A request and its attempt, stored; nothing sent."""
        self.count += 1
        numbers = self.world.iso.numbers()
        assert numbers is not None
        request_id = 1_000 + self.count
        mti, code = ("0220", "200000") if type_ == "refund" else ("0200", "000000")
        row = msgspec.structs.replace(
            REQUEST,
            request_id=request_id,
            owner_id=self.owner,
            key=msgspec.structs.replace(KEY, stan=self.count, kind=f"{mti[:3]}.{code[:2]}"),
            type=type_,
            mti=mti,
            processing_code=code,
            rrn=f"6063{request_id:08d}",
            pan_cipher=self.pans.protect(PAN, "3012", request_id, PAN_COLUMN),
            original_request_id=original_id,
            **changes,
        )
        attempt = AttemptRow(
            request_id, 1, "bank_a", numbers[0], numbers[1], self.world.link.de32, "", "test"
        )
        verdict = await self.store.journal.commit(Commit(request=row, attempt=attempt))
        assert isinstance(verdict, Stored), verdict
        return row, attempt

    async def cut_off(self) -> None:
        """The link has no connection, and gets none."""
        self.world.transport.down = True
        self.world.bank.drop()
        await asyncio.sleep(0.5)

    async def unknown(self, row: RequestRow, delay_s: float = 0.0) -> QueueRow:
        """No answer came: the outcome is unknown and its reversal queued."""
        numbers = self.world.iso.numbers()
        assert numbers is not None
        queue = QueueRow(
            item_id=row.request_id + 50_000,
            acquirer="bank_a",
            kind="reversal",
            request_id=row.request_id,
            request_date=TODAY,
            root_request_id=row.original_request_id or row.request_id,
            seq=1,
            link_stan=numbers[0],
            transmission_time=numbers[1],
            delay_s=delay_s,
        )
        commit = Commit(
            outcome=outcome(OutcomeState.UNKNOWN, request_id=row.request_id, response_code="98"),
            reversal=ReversalRow(row.request_id, TODAY, 1, "time_out", "68", self.clock.now()),
            queue=queue,
        )
        verdict = await self.store.journal.commit(commit)
        assert isinstance(verdict, Stored), verdict
        return queue

    async def repeat(self, row: RequestRow, attempt: AttemptRow) -> QueueRow:
        queue = QueueRow(
            item_id=row.request_id + 60_000,
            acquirer="bank_a",
            kind="repeat",
            request_id=row.request_id,
            request_date=TODAY,
            root_request_id=row.original_request_id or row.request_id,
            seq=0,
            link_stan=attempt.link_stan,
            transmission_time=attempt.transmission_time,
        )
        await self.store.journal.commit(Commit(queue=queue))
        return queue

    def ended(self, queue: QueueRow) -> str | None:
        return self.store.queue_end.get(queue.item_id, (None, 0))[0]

    def cases(self) -> list[str]:
        return [case.kind for case in self.store.cases.values()]


def tell(story: Callable[[Desk], Awaitable[None]], link: Link | None = None) -> None:
    async def main() -> None:
        async with World(link or make_link()) as world:
            desk = Desk(world)
            await desk.forwarder.start()
            await story(desk)
            await desk.forwarder.stop()

    with capture_logs():
        run_virtual(main())


def test_a_reversal_is_delivered_once() -> None:
    async def story(desk: Desk) -> None:
        row, attempt = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(1)
        (sent,) = desk.world.bank.seen("0420")
        assert (sent[11], sent[7], sent[39]) == (queued.link_stan, queued.transmission_time, "68")
        assert str(sent[90])[:20] == "0200" + attempt.link_stan + attempt.transmission_time
        assert (sent[2], sent[14]) == (PAN, "3012")
        assert desk.ended(queued) == "00"
        await asyncio.sleep(100)
        assert len(desk.world.bank.seen("0420", "0421")) == 1

    tell(story)


def test_repeats_are_flagged_and_keep_their_identity_until_answered() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.silent.update({"0420", "0421"})
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(100)
        desk.world.bank.silent.clear()
        await asyncio.sleep(30)
        first, *again = desk.world.bank.seen("0420", "0421")
        assert first[0] == "0420"
        assert len(again) >= 2
        for message in again:
            assert {**message, 128: b""} == {**first, 0: "0421", 128: b""}
        assert desk.ended(queued) == "00"
        assert sorted(desk.store.queue_sent[queued.item_id]) == list(range(1, len(again) + 2))

    tell(story)


def test_refused_ones_wait_longer_each_time() -> None:
    async def story(desk: Desk) -> None:
        times: list[float] = []
        bank = desk.world.bank
        bank.response_codes |= {"0420": ["96"], "0421": ["96"]}
        answers = bank.answer

        def noted(message: Message) -> Message:
            if str(message[0])[1] == "4":
                times.append(asyncio.get_running_loop().time())
            return answers(message)

        bank.answer = noted  # type: ignore[method-assign]
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(200)
        waits = [round(after - before) for before, after in itertools.pairwise(times)]
        assert waits == [2, 4, 8, 16, 32, 60, 60]
        assert desk.ended(queued) is None

    tell(story)


def test_the_end_of_a_reversal_and_what_follows_stand_together() -> None:
    """The store goes away between the bank's 25 and the look at a late approval: nothing is lost."""

    async def story(desk: Desk) -> None:
        bank, journal = desk.world.bank, desk.store.journal
        bank.response_codes |= {"0420": ["25"] * 9, "0421": ["25"] * 9}
        row, attempt = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(5)  # the bank says 25, and that is not final yet
        numbers = lambda _acquirer: WireIdentity(900_001, "900001", "0304130000")  # noqa: E731
        late = judge_late_answer(attempt, TODAY, answer("00"), "late", numbers, NOW)
        find = FindById(row.request_id, TODAY)
        assert (await journal.decide(find, late))[0].rule == "late.reversal_under_way"

        def down(*_: Any) -> Any:
            journal.decide = decide  # type: ignore[method-assign]
            raise StoreDownError("gone")

        decide, journal.decide = journal.decide, down  # type: ignore[method-assign,assignment]
        await asyncio.sleep(3_000)
        assert journal.decide == decide
        assert desk.ended(queued) == "25"
        assert len(desk.store.reversals[row.request_id]) == 2
        assert desk.cases() == ["late_approval"]

    tell(story)


def test_an_item_is_given_up_in_time_although_the_link_is_down() -> None:
    async def story(desk: Desk) -> None:
        await desk.cut_off()
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(3_600)  # its holder, if there is one, may just have sent it
        assert desk.ended(queued) is None
        await asyncio.sleep(60)
        assert desk.ended(queued) == "--"
        assert desk.cases() == ["undelivered"]
        assert desk.forwarder.undelivered == 1

    tell(story, make_link(retry_total_s=3_600.0))


def test_nothing_is_sent_without_a_signed_on_link_nor_noted_as_sent() -> None:
    async def story(desk: Desk) -> None:
        await desk.cut_off()
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(20)
        assert not desk.forwarder.holds_lease
        assert queued.item_id not in desk.store.queue_sent
        desk.world.transport.down = False
        await asyncio.sleep(40)
        assert desk.ended(queued) == "00"

    tell(story)


def test_one_owner_at_a_time_and_takeover() -> None:
    async def story(desk: Desk) -> None:
        other = Desk(desk.world, desk.store, owner=2)
        await other.forwarder.start()
        await asyncio.sleep(1)
        assert (desk.forwarder.holds_lease, other.forwarder.holds_lease) == (True, False)
        desk.world.bank.silent.update({"0420", "0421"})
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(1)
        await desk.forwarder.stop()  # as if it had died: nothing is handed over
        await asyncio.sleep(6)
        assert other.forwarder.holds_lease
        desk.world.bank.silent.clear()
        await asyncio.sleep(60)
        assert [m[0] for m in desk.world.bank.seen("0420", "0421")][:2] == ["0420", "0421"]
        assert desk.ended(queued) == "00"
        await other.forwarder.stop()

    tell(story)


def test_who_has_no_lease_asks_for_it_as_seldom_as_it_would_be_renewed() -> None:
    async def story(desk: Desk) -> None:
        lease, asked = desk.store.queue.lease, {1: 0, 2: 0}

        async def counted(acquirer: str, owner: int) -> Lease | None:
            asked[owner] += 1
            return await lease(acquirer, owner)

        desk.store.queue.lease = counted  # type: ignore[assignment,method-assign]
        other = Desk(desk.world, desk.store, owner=2)
        await other.forwarder.start()
        await asyncio.sleep(60)
        assert all(55 <= times <= 61 for times in asked.values()), asked
        await other.forwarder.stop()

    tell(story)


def test_nothing_leaves_after_the_lease_by_the_own_clock() -> None:
    """The store answers slowly: when the item may be sent, the lease is over."""

    async def story(desk: Desk) -> None:
        sent = desk.store.queue.sent

        async def slow(item_id: int, attempt: int) -> None:
            await asyncio.sleep(20)
            await sent(item_id, attempt)

        async def no_lease(_acquirer: str, _owner: int) -> None:
            return None

        row, _ = await desk.request()
        await asyncio.sleep(1)
        desk.store.queue.sent = slow  # type: ignore[method-assign]
        queued = await desk.unknown(row)
        await asyncio.sleep(0.5)
        desk.store.queue.lease = no_lease  # type: ignore[assignment,method-assign]
        await asyncio.sleep(60)
        assert not desk.world.bank.seen("0420", "0421")
        assert desk.ended(queued) is None

    tell(story)


def test_many_side_by_side_but_no_more_than_the_bound() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.delay_s = 1
        for _ in range(12):
            row, _ = await desk.request()
            await desk.unknown(row)
        await asyncio.sleep(0.9)
        assert len(desk.world.bank.seen("0420")) == 4
        await asyncio.sleep(10)
        assert len(desk.world.bank.seen("0420")) == 12
        assert len(desk.store.queue_end) == 12

    tell(story, make_link(queue_concurrency=4))


def test_items_of_one_root_go_one_after_the_other() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.silent.update({"0420", "0421"})
        sale, _ = await desk.request()
        void, _ = await desk.request("void", sale.request_id)
        await desk.unknown(void)
        await asyncio.sleep(1)
        await desk.unknown(sale)
        await asyncio.sleep(10)
        first = desk.world.bank.seen("0420", "0421")
        assert len({m[11] for m in first}) == 1
        desk.world.bank.silent.clear()
        await asyncio.sleep(100)
        assert len({m[11] for m in desk.world.bank.seen("0420", "0421")}) == 2
        assert not desk.store.queue_open

    tell(story)


def test_a_delayed_reversal_waits_for_its_time() -> None:
    async def story(desk: Desk) -> None:
        row, _ = await desk.request()
        await desk.unknown(row, delay_s=30)
        await asyncio.sleep(29)
        assert not desk.world.bank.seen("0420")
        await asyncio.sleep(2)
        assert len(desk.world.bank.seen("0420")) == 1

    tell(story)


def test_25_is_final_on_the_connection_of_the_original() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.silent.add("0200")
        desk.world.bank.response_codes["0420"] = ["25"]
        row, attempt = await desk.request()
        await not_answered(desk, row, attempt)
        queued = await desk.unknown(row)
        await asyncio.sleep(1)
        assert desk.ended(queued) == "25"

    tell(story)


def test_25_is_final_a_while_after_the_originals_connection_closed() -> None:
    async def story(desk: Desk) -> None:
        bank = desk.world.bank
        bank.silent.add("0200")
        bank.response_codes |= {"0420": ["25"], "0421": ["25"]}
        row, attempt = await desk.request()
        await not_answered(desk, row, attempt)
        bank.drop()
        await asyncio.sleep(5)
        queued = await desk.unknown(row)
        await asyncio.sleep(40)
        assert desk.ended(queued) is None
        assert len(bank.seen("0421")) >= 2
        await asyncio.sleep(60)
        assert desk.ended(queued) == "25"

    tell(story)


def test_25_is_not_believed_when_the_approval_came_meanwhile() -> None:
    async def story(desk: Desk) -> None:
        bank = desk.world.bank
        bank.silent.update({"0200", "0420"})
        row, attempt = await desk.request()
        await not_answered(desk, row, attempt)
        queued = await desk.unknown(row)
        await asyncio.sleep(1)
        (asked,), (reversal,) = bank.seen("0200"), bank.seen("0420")
        bank.connections[0].send(bank.answer(asked))
        bank.connections[0].send(bank.answer(reversal) | {39: "25"})
        await asyncio.sleep(0.1)
        assert desk.ended(queued) is None
        await asyncio.sleep(5)
        assert desk.ended(queued) == "00"

    tell(story)


def test_25_for_an_original_of_another_process_is_believed_only_after_a_while() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.response_codes |= {"0420": ["25"], "0421": ["25"]}
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(170)  # 60 echo, two misses of 30, 60 after
        assert desk.ended(queued) is None
        await asyncio.sleep(100)
        assert desk.ended(queued) == "25"

    tell(story)


def test_12_opens_a_case() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.response_codes["0420"] = ["12"]
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(1)
        assert desk.ended(queued) == "12"
        assert desk.cases() == ["reversal_refused"]

    tell(story)


def test_after_the_bound_it_is_undelivered_with_a_case() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.response_codes |= {"0420": ["96"], "0421": ["96"]}
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(60)
        assert len(desk.world.bank.seen("0420", "0421")) == 3
        assert desk.ended(queued) == UNDELIVERED
        assert desk.cases() == ["undelivered"]
        assert desk.forwarder.undelivered == 1

    tell(story, make_link(retry_tries=3))


def test_an_old_item_is_undelivered_however_few_its_tries() -> None:
    async def story(desk: Desk) -> None:
        desk.world.transport.down = True
        desk.world.bank.drop()
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(3_700)
        desk.world.transport.down = False
        await asyncio.sleep(40)
        assert not desk.world.bank.seen("0420")
        assert desk.ended(queued) == UNDELIVERED

    tell(story, make_link(retry_total_s=3_600.0))


def test_a_refund_is_repeated_until_answered_and_then_captured() -> None:
    async def story(desk: Desk) -> None:
        bank = desk.world.bank
        bank.response_codes["0221"] = ["96", "00"]
        sale, sold = await desk.request()
        await desk.store.journal.commit(
            Commit(outcome=msgspec.structs.replace(APPROVED, request_id=sale.request_id))
        )
        refund, attempt = await desk.request("refund", sale.request_id)
        queued = await desk.repeat(refund, attempt)
        await asyncio.sleep(10)
        first, second = bank.seen("0221")
        assert first == second | {128: first[128]}
        assert (first[7], first[11]) == (attempt.transmission_time, attempt.link_stan)
        assert str(first[90])[:20] == "0200" + sold.link_stan + sold.transmission_time
        assert desk.ended(queued) == "00"
        row = desk.store.outcomes[refund.request_id].row
        assert (row.state, row.effect_minor) == (OutcomeState.APPROVED, -10_000)
        assert str(row.settlement_date) == "2026-03-01"

    tell(story)


def test_a_refund_decided_elsewhere_meanwhile_ends_the_item() -> None:
    async def story(desk: Desk) -> None:
        desk.world.bank.delay_s = 2
        refund, attempt = await desk.request("refund")
        queued = await desk.repeat(refund, attempt)
        await asyncio.sleep(1)
        await desk.store.journal.commit(
            Commit(outcome=outcome(OutcomeState.DECLINED, request_id=refund.request_id))
        )
        await asyncio.sleep(5)
        assert desk.ended(queued) == "00"
        assert desk.store.outcomes[refund.request_id].row.state is OutcomeState.DECLINED

    tell(story)


def test_nudge_looks_at_once() -> None:
    async def story(desk: Desk) -> None:
        desk.forwarder._poll_s = 1_000.0
        await asyncio.sleep(1)
        desk.forwarder.nudge()
        await asyncio.sleep(0.01)
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        desk.forwarder.nudge()
        await asyncio.sleep(0.1)
        assert desk.ended(queued) == "00"

    tell(story)


def test_a_store_that_fails_is_asked_again() -> None:
    async def story(desk: Desk) -> None:
        due = desk.store.queue.due

        async def broken(*_: Any) -> Any:
            raise RuntimeError("the store is away")

        desk.store.queue.due = broken  # type: ignore[assignment,method-assign]
        row, _ = await desk.request()
        queued = await desk.unknown(row)
        await asyncio.sleep(3)
        desk.store.queue.due = due  # type: ignore[method-assign]
        await asyncio.sleep(3)
        assert desk.ended(queued) == "00"

    tell(story)


async def not_answered(desk: Desk, row: RequestRow, attempt: AttemptRow) -> None:
    message, _ = desk.world.message(
        de_7=attempt.transmission_time, de_11=attempt.link_stan, de_37=row.rrn,
        de_41=row.key.terminal, de_42=row.key.merchant,
    )  # fmt: skip
    with pytest.raises(NoAnswerError):
        await answer_to(desk.world.iso, message, attempt, FAR_NS)


def test_ages_count_from_the_store() -> None:
    assert is_overdue(msgspec.structs.replace(item(), age_s=86_400.0), make_link())
    assert not is_overdue(msgspec.structs.replace(item(), age_s=86_399.0), make_link())
    assert not is_overdue(item(tries=999), make_link())
    assert is_overdue(item(tries=1_000), make_link())
