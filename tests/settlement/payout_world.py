"""A small acquirer after its closes: books with posted dates, a bank that pays, returns and tells.

The bank's statements are written here by hand, apart from the parser, as the schema has them.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import msgspec

from settlement.adapters.ledger_memory import MemoryLedger
from settlement.adapters.memory import MemoryStore
from settlement.adapters.payout_memory import MemoryPayouts
from settlement.clearing import Reference
from settlement.contracts import agent_of
from settlement.entry_columns import entry_relation
from settlement.four_eyes import Actor, Proposal, RefusedError, content_hash, judge, require
from settlement.ledger import Entry, entry
from settlement.netting import Net
from settlement.payouts.desk import Desk
from settlement.payouts.ports import Batch, Payouts
from settlement.payouts.propose import propose
from settlement.payouts.release import release
from settlement.ports import Facts, Step
from settlement.statements import Taken, take_in
from tests.settlement.world import PANS, reference

MONDAY = date(2026, 8, 3)
ONE_DAY = timedelta(days=1)
AT = datetime(2026, 8, 4, 2, 0, tzinfo=UTC)
TEA = "104110058120001"
BOOKS = "104110058120002"
NOODLES = "104110058120003"
RESERVE, OWN = "reserve-a", "own-a"
NUMBERS = {RESERVE: "110000000000000001", OWN: "110000000000000002"}
CNY, HKD = "156", "344"
LETTERS = {CNY: "CNY", HKD: "HKD"}

MAKER = Actor(
    "ma",
    frozenset(
        {
            "propose:payout.release",
            "propose:payout.reject",
            "propose:reserve.sweep",
            "do:payout.status",
            "do:payout.withdraw",
            "do:payout.export",
            "do:statement.import",
            "do:reserve.check",
        }
    ),
)
CHECKER = Actor(
    "chen",
    frozenset({"approve:payout.release", "approve:payout.reject", "approve:reserve.sweep"}),
)


def merchant(key: str, **changes: object) -> Reference:
    content: dict[str, object] = {
        "merchant": key,
        "name": f"Shop {key[-1]}",
        "payout_calendar": "CN",
        "settlement_account": f"62000000000000{key[-4:]}",
        "settlement_bank": "102100099996",
    }
    return reference("merchant", key, content | changes)


def agent(key: str, **changes: object) -> Reference:
    content: dict[str, object] = {
        "agent": key,
        "name": "North",
        "payout_calendar": "CN",
        "settlement_account": "330000000000000001",
        "settlement_bank": "102100099996",
    }
    return reference("agent", key, content | changes)


def bank_account(name: str, purpose: str, currency: str = CNY) -> Reference:
    return reference(
        "bank_account",
        name,
        {
            "name": name,
            "purpose": purpose,
            "account": NUMBERS.get(name, name),
            "bank": "PBOCCNBJ",
            "holder": "Tongbao Payments",
            "currency": currency,
        },
    )


CALENDAR = reference(
    "calendar",
    "CN",
    {"name": "CN", "years": [2026], "holidays": [{"first": "2026-10-01", "last": "2026-10-07"}]},
)
LINK = reference("link", "bank-a-1", {"acquirer": "bank-a", "settlement_payer": "990001"})
REFERENCES = [
    CALENDAR,
    LINK,
    bank_account(RESERVE, "reserve"),
    bank_account(OWN, "own"),
    bank_account("reserve-hk", "reserve", HKD),
    merchant(TEA),
    merchant(BOOKS),
    merchant(NOODLES),
]


class People:
    """Proposals in memory, as `four_eyes.People`; ids that say who made what and when."""

    def __init__(self, payouts: Payouts) -> None:
        self._payouts = payouts
        self.made: dict[str, Proposal] = {}

    async def propose(
        self, act: str, subject: str, payload: dict[str, object], maker: Actor
    ) -> Proposal:
        require(maker, f"propose:{act}")
        digest = content_hash(act, subject, payload)
        name = f"p{len(self.made) + 1}"
        self.made[name] = Proposal(name, act, subject, payload, digest, maker.operator, AT)
        return self.made[name]

    async def proposal(self, proposal_id: str) -> Proposal | None:
        return self.made.get(proposal_id)

    async def pending(self, acts: Collection[str] = ()) -> list[Proposal]:
        return [one for one in self.made.values() if not await self.used(one.id)]

    async def used(self, proposal_id: str) -> bool:
        return any(one.proposal == proposal_id for one in await self._payouts.decisions())

    async def refused(self, operator: str, act: str, subject: str, error: RefusedError) -> None:
        raise NotImplementedError  # the commands' business


class Place(Protocol):
    """Where the scenes are played: in memory, or on a PostgreSQL."""

    payouts: Any
    people: "People"
    bank: "Bank"

    def desk(self, actor: Actor = ...) -> Desk: ...

    async def day(
        self,
        business_date: date,
        sales: Mapping[Any, int],
        settlement_date: date | None = None,
        acquirer: str = "bank-a",
        discount_minor: int = 0,
    ) -> None: ...

    async def balance(self, account: str, owner: str = "", currency: str = CNY) -> int: ...


async def pay(town: Place, payout_date: date, **options: Any) -> list[Batch]:
    """Propose and release everything that is due."""
    released: list[Batch] = []
    for batch, proposal in await propose(town.desk(), payout_date, **options):
        await let_go(town, proposal)
        released.append(batch)
    return released


async def let_go(
    town: Place, proposal: Proposal, checker: Actor = CHECKER, seen: str = ""
) -> Batch:
    """What `tongbao approval approve` does."""
    used = await town.people.used(proposal.id)
    approval = judge(proposal, checker, seen=seen or proposal.sha256, used=used)
    return await release(town.desk(checker), approval)


async def told(town: Place, day: date, *lines: "Told", **options: Any) -> list[Taken]:
    """The bank's next statement comes in."""
    return await take_in(town.desk(), "s.xml", town.bank.statement(day, *lines, **options), PANS)


class Town:
    """Everything of one acquirer in memory."""

    def __init__(self, references: Iterable[Reference] = REFERENCES) -> None:
        self.books = MemoryStore(references=references)
        self.payouts = MemoryPayouts(self.books)
        self.people = People(self.payouts)
        self.books.ledger = MemoryLedger(first=MONDAY)
        self.bank = Bank()

    def desk(self, actor: Actor = MAKER) -> Desk:
        return Desk(self.payouts, self.people, actor, AT)

    async def day(
        self,
        business_date: date,
        sales: Mapping[Any, int],
        settlement_date: date | None = None,
        acquirer: str = "bank-a",
        discount_minor: int = 0,
    ) -> None:
        """A closed date: `sales` of payees (or of payee and currency) by effect, less a discount
        that is ours."""
        nets, entries = sold(
            business_date, sales, settlement_date or business_date, acquirer, discount_minor
        )
        await self.books.finish(
            Step(business_date, "post", "0" * 64, {}), Facts(entries=entry_relation(entries))
        )
        await self.books.seal(business_date)
        await self.books.finish(Step(business_date, "net", "0" * 64, {}), Facts(nets=nets))

    def post(self, *entries: Entry) -> None:
        self.books.add(entries)

    def entries(self) -> list[Entry]:
        ledger = self.books.ledger
        return [made for day in ledger.dates() for made in ledger.entries(day)]

    async def balance(self, account: str, owner: str = "", currency: str = CNY) -> int:
        return sum(
            amount
            for made in self.entries()
            for name, of, amount in zip(made.accounts, made.owners, made.amounts, strict=True)
            if (name, made.currency) == (account, currency) and owner in ("", of)
        )


def sold(
    business_date: date,
    sales: Mapping[Any, int],
    settlement_date: date,
    acquirer: str = "bank-a",
    discount_minor: int = 0,
) -> tuple[list[Net], list[Entry]]:
    nets: list[Net] = []
    entries: list[Entry] = []
    for key, amount in sales.items():
        who, currency = key if isinstance(key, tuple) else (key, CNY)
        if agent_of(who):
            entries.append(share(business_date, agent_of(who), amount))
            continue
        gross, back = max(amount, 0), min(amount, 0)
        net = amount - discount_minor
        nets.append(Net(business_date, who, currency, 1, gross, back, discount_minor, 0, net))
        made = entry(
            "captured",
            "captured",
            f"{business_date}/{who}/{currency}/{acquirer}",
            {"effect": amount, "discount": discount_minor},
            business_date=business_date,
            step="post",
            currency=currency,
            acquirer=acquirer,
            settlement_date=settlement_date,
            merchant=who,
        )
        entries += [made] if made is not None else []
    return nets, entries


def share(business_date: date, agent: str, amount: int) -> Entry:
    """An agent's share of the date, out of our discount."""
    return Entry(
        business_date,
        "post",
        "share",
        f"{business_date}/{agent}",
        "agent_share",
        1,
        CNY,
        "",
        "",
        "",
        0,
        business_date,
        ("merchant_discount", "agent_share_payable"),
        ("", agent),
        (amount, -amount),
    )


# -- the bank -------------------------------------------------------------------------------------


class Told(msgspec.Struct, frozen=True):
    """One entry of a statement: minor units of two places, credits plus."""

    amount_minor: int
    end_to_end_id: str = ""
    counterparty: str = ""
    text: str = ""
    reason: str = ""
    batch: str = ""
    status: str = "BOOK"


class Bank:
    """Writes statements one after the other; balances follow from what it wrote."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}
        self.count: dict[str, int] = {}

    def statement(
        self, day: date, *told: Told, account: str = RESERVE, currency: str = CNY
    ) -> bytes:
        opening = self.balances.get(account, 0)
        closing = opening + sum(one.amount_minor for one in told if one.status == "BOOK")
        self.balances[account] = closing
        self.count[account] = number = self.count.get(account, 0) + 1
        return camt(
            f"S{number:04d}",
            number,
            NUMBERS.get(account, account),
            day,
            opening,
            told,
            closing,
            LETTERS[currency],
        )


def camt(
    statement_id: str,
    number: int,
    account: str,
    day: date,
    opening: int,
    told: Iterable[Told],
    closing: int,
    letters: str = "CNY",
) -> bytes:
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>',
        f"<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{day}T20:00:00</CreDtTm></GrpHdr>",
        f"<Stmt><Id>{statement_id}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>",
        f"<CreDtTm>{day}T20:00:00</CreDtTm><Acct><Id><Othr><Id>{account}</Id></Othr></Id></Acct>",
        _balance("OPBD", opening, day, letters),
        _balance("CLBD", closing, day, letters),
        *(_entry(one, day, letters) for one in told),
        "</Stmt></BkToCstmrStmt></Document>",
    ]
    return "\n".join(parts).encode()


def _money(amount: int, letters: str) -> str:
    way = "CRDT" if amount >= 0 else "DBIT"
    whole, part = divmod(abs(amount), 100)
    return f'<Amt Ccy="{letters}">{whole}.{part:02d}</Amt><CdtDbtInd>{way}</CdtDbtInd>'


def _balance(code: str, amount: int, day: date, letters: str) -> str:
    kind = f"<Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
    return f"<Bal>{kind}{_money(amount, letters)}<Dt><Dt>{day}</Dt></Dt></Bal>"


def _entry(one: Told, day: date, letters: str) -> str:
    party = ""
    if one.counterparty:
        side = "Dbtr" if one.amount_minor > 0 else "Cdtr"
        number = f"<Id><Othr><Id>{one.counterparty}</Id></Othr></Id>"
        party = f"<RltdPties><{side}Acct>{number}</{side}Acct></RltdPties>"
    refs = f"<Refs><EndToEndId>{one.end_to_end_id}</EndToEndId></Refs>" if one.end_to_end_id else ""
    words = f"<RmtInf><Ustrd>{one.text}</Ustrd></RmtInf>" if one.text else ""
    back = f"<RtrInf><Rsn><Cd>{one.reason}</Cd></Rsn></RtrInf>" if one.reason else ""
    details = f"<TxDtls>{refs}{party}{words}{back}</TxDtls>" if refs or party or words else ""
    batch = f"<Btch><PmtInfId>{one.batch}</PmtInfId></Btch>" if one.batch else ""
    inside = f"<NtryDtls>{batch}{details}</NtryDtls>" if batch or details else ""
    return (
        f"<Ntry>{_money(one.amount_minor, letters)}<Sts><Cd>{one.status}</Cd></Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>"
        f"{inside}</Ntry>"
    )
