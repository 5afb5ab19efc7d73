"""A desk for the tests of casework: a closed day with breaks, people in memory, working days."""

import copy
from collections import Counter
from collections.abc import Collection, Container, Iterable
from datetime import UTC, date, datetime, timedelta

import msgspec

from settlement import ports
from settlement.adapters.cases_memory import MemoryCasework
from settlement.casework import work
from settlement.casework.ports import Casework, Wanted
from settlement.casework.states import Case
from settlement.disputes.deadlines import DEADLINES_DAYS
from settlement.four_eyes import (
    Actor,
    Approval,
    People,
    Proposal,
    RefusedError,
    content_hash,
    judge,
    require,
)
from settlement.ledger import Entry
from settlement.ports import Store
from tests.settlement.test_close import a_day
from tests.settlement.world import DAY, NEXT, Dates, com_file, inbox, run_close, world

NOW = datetime(2026, 8, 4, 9, 0, tzinfo=UTC)
ACTS = (
    *("case.adjust", "case.write_off", "case.release"),
    *("dispute.open", "dispute.accept", "dispute.absorb"),
)
MAY = frozenset(
    ["do:case.work", "do:dispute.work"]
    + [f"{verb}:{act}" for act in ACTS for verb in ("propose", "approve")]
)
LI, WANG, ZHAO = (Actor(name, MAY) for name in ("li", "wang", "zhao"))
SUSPENSE = ("long_suspense", "short_suspense")


class MemoryPeople:
    """`four_eyes.People`; `used` is what casework has committed."""

    def __init__(self, approved: Container[str]) -> None:
        self.proposals: dict[str, Proposal] = {}
        self._approved = approved

    async def propose(
        self, act: str, subject: str, payload: dict[str, object], maker: Actor
    ) -> Proposal:
        require(maker, f"propose:{act}")
        made = Proposal(
            f"P{len(self.proposals) + 1:06d}",
            act,
            subject,
            msgspec.json.decode(msgspec.json.encode(payload)),
            content_hash(act, subject, payload),
            maker.operator,
            NOW,
        )
        self.proposals[made.id] = made
        return made

    async def proposal(self, proposal_id: str) -> Proposal | None:
        return self.proposals.get(proposal_id)

    async def pending(self, acts: Collection[str] = ()) -> list[Proposal]:
        return [
            one
            for one in self.proposals.values()
            if one.id not in self._approved and (not acts or one.act in acts)
        ]

    async def used(self, proposal_id: str) -> bool:
        return proposal_id in self._approved

    async def refused(self, operator: str, act: str, subject: str, error: RefusedError) -> None:
        raise NotImplementedError


class EveryDay:
    """`Calendar`: every day is a working day."""

    def add_working_days(self, day: date, days: int, /) -> date:
        return day + timedelta(days=days)


TERMS = work.Terms(EveryDay(), DEADLINES_DAYS)


class Desk:
    """Casework over a day that is closed, and the next one open."""

    def __init__(
        self, books: Store, dates: ports.Dates, casework: Casework, people: People
    ) -> None:
        self.books, self.dates, self.casework, self.people = books, dates, casework, people

    async def propose(
        self, case_id: str, act: str, amount: int | None = None, maker: Actor = LI
    ) -> Proposal:
        return await work.propose(
            self.casework,
            self.people,
            case_id,
            act,
            maker,
            NOW,
            amount_minor=amount,
            reason="as agreed",
        )

    async def judged(self, made: Proposal, checker: Actor = WANG, seen: str = "") -> Approval:
        """The checker's approval of the proposal as it is kept."""
        kept = await self.people.proposal(made.id)
        assert kept is not None
        used = await self.people.used(made.id)
        return judge(kept, checker, seen=seen or made.sha256, used=used)

    async def approve(self, made: Proposal, checker: Actor = WANG, seen: str = "") -> Case:
        return await work.do(self.casework, await self.judged(made, checker, seen), NOW, TERMS)

    async def do(self, case_id: str, act: str, amount: int | None = None) -> Case:
        return await self.approve(await self.propose(case_id, act, amount))

    async def entries(self) -> list[Entry]:
        days = (DAY, NEXT, NEXT + timedelta(days=1))
        return [one for day in days for one in await self.books.entries(day)]


async def a_desk() -> Desk:
    """The day of `test_close.a_day`, closed: one break of each class that it plants."""
    if not _CLOSED:
        _CLOSED.append(await _close())
    return copy.deepcopy(_CLOSED[0])


_CLOSED: list[Desk] = []  # closed once; each test works a copy


async def _close() -> Desk:
    trades, rows = a_day()
    books, dates = world(trades), Dates({DAY: "open"})
    await run_close(books, inbox(com_file(rows)), dates=dates)
    assert dates.states == {DAY: "posted", NEXT: "open"}
    casework = MemoryCasework(books, dates)
    return Desk(books, dates, casework, MemoryPeople(books.cases.approved))


async def case_of_class(desk: Desk, name: str) -> Case:
    (found,) = await work.cases(desk.casework, Wanted(case_class=name, ended=True), today=NEXT)
    return found


def moved(entries: Iterable[Entry]) -> Counter[str]:
    """What entries moved, by account; plus is a debit. Accounts that came back to zero are left out."""
    sums: Counter[str] = Counter()
    for made in entries:
        for account, amount in zip(made.accounts, made.amounts, strict=True):
            sums[account] += amount
    return Counter({account: amount for account, amount in sums.items() if amount})
