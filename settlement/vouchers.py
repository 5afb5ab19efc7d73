"""Entries by hand (记账凭证): what no rule posts, by a maker and a checker, with reason and evidence.

A voucher is one balanced entry on accounts that take entries by hand (`chart.BY_HAND`); all others are
control accounts: their balances say what bank statements, cases, disputes and orders say, so only
rules touch them. Its number is the entry's key: the same voucher twice is refused. It stands on the
earliest date that is not posted, is never changed, and is undone by one linked entry of the opposite
amounts, under the same number.
"""

import re
from collections.abc import Collection, Sequence
from datetime import date
from typing import Final, Literal, Protocol

import msgspec

from iso8583.amount import CURRENCIES
from settlement.chart import BY_HAND, CHART
from settlement.four_eyes import Actor, Approval, People, Proposal, RefusedError
from settlement.ledger import Entry, LedgerClosedError
from settlement.posting_rules import POSTING_RULES
from settlement.said import SaidError

ENTRY: Final = "ledger.entry"
REVERSAL: Final = "ledger.reversal"
STEP: Final = "voucher"
Source = Literal["voucher", "voucher_reversal"]
SOURCE: Final = "voucher"
REVERSED: Final = "voucher_reversal"
LEGS_MAX: Final = 20
WORDS_MAX: Final = 500  # characters of reason and of evidence
TRIES: Final = 8  # of a commit whose date is posted meanwhile
_NUMBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,34}")


class VoucherError(SaidError):
    """The voucher can not be proposed or posted as asked; the text is for the operator."""


class Leg(msgspec.Struct, frozen=True, order=True):
    account: str
    owner: str  # a merchant's or agent's id; empty for the books' own accounts
    amount_minor: int  # debit plus, credit minus


class Voucher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of its proposal, as JSON values: all that is posted, and why."""

    number: str
    currency: str
    settlement_date: date  # what it is about; the business date is the earliest open one
    legs: tuple[Leg, ...]  # in order
    reason: str
    evidence: str  # where the proof lies: a document's number, a file's hash


class Note(msgspec.Struct, frozen=True, order=True):
    """Beside the entry (source, key): why, and by whom."""

    source: Source
    key: str
    reason: str
    evidence: str
    maker: str
    checker: str
    proposal: str


class Vouchers(Protocol):
    """The ledger, as far as vouchers need it, and their notes."""

    async def open_date(self) -> date: ...

    async def registered(self, kind: str, key: str) -> bool:
        """Whether there is a merchant or agent of that id."""

    async def entry(self, source: str, key: str) -> Entry | None: ...

    async def notes(self) -> list[Note]:
        """All, by (source, key)."""

    async def commit(self, note: Note, entry: Entry, act: str, approval: Approval) -> None:
        """Entry, note, audit record and the approval's use: all or nothing.

        Raises `RefusedError` where the approval, or the number, is used; `LedgerClosedError`,
        `LedgerLimitError`.
        """


# -- propose --------------------------------------------------------------------------------------


async def propose_entry(
    vouchers: Vouchers, people: People, actor: Actor, asked: Voucher
) -> Proposal:
    """Raises `VoucherError`, and `RefusedError` where the number stands, or the actor may not."""
    made = msgspec.structs.replace(asked, legs=tuple(sorted(asked.legs)))
    await _judge(vouchers, made)
    await _assert_free(vouchers, SOURCE, made.number)
    return await people.propose(ENTRY, made.number, payload_of(made), actor)


async def propose_reversal(
    vouchers: Vouchers, people: People, actor: Actor, number: str, reason: str, evidence: str
) -> Proposal:
    """To undo a voucher that stands, whole: part of it is undone by a voucher of its own."""
    stands = await vouchers.entry(SOURCE, number)
    if stands is None:
        raise VoucherError("voucher_unknown", voucher=number)
    made = Voucher(
        number, stands.currency, stands.settlement_date, opposite(stands), reason, evidence
    )
    _judge_words(made)
    await _assert_free(vouchers, REVERSED, number)
    return await people.propose(REVERSAL, number, payload_of(made), actor)


def opposite(stands: Entry) -> tuple[Leg, ...]:
    lines = zip(stands.accounts, stands.owners, stands.amounts, strict=True)
    return tuple(sorted(Leg(account, owner, -amount) for account, owner, amount in lines))


def payload_of(voucher: Voucher) -> dict[str, object]:
    made: dict[str, object] = msgspec.to_builtins(voucher)
    return made


async def _assert_free(vouchers: Vouchers, source: str, number: str) -> None:
    if await vouchers.entry(source, number) is not None:
        why = "voucher_reversed" if source == REVERSED else "voucher_stands"
        raise RefusedError("replayed", why, voucher=number)


async def _judge(vouchers: Vouchers, voucher: Voucher) -> None:
    """Whether it may be posted. Raises `VoucherError`."""
    _judge_words(voucher)
    if not _NUMBER.fullmatch(voucher.number):
        raise VoucherError("voucher_number", said=voucher.number)
    if voucher.currency not in CURRENCIES:
        raise VoucherError("currency_unknown", currency=voucher.currency)
    judge_legs(voucher.legs)
    for leg in voucher.legs:
        kind = CHART[leg.account].owner
        if kind in ("merchant", "agent") and not await vouchers.registered(kind, leg.owner):
            raise VoucherError("voucher_owner", account=leg.account, kind=kind, owner=leg.owner)
        if kind == "own" and leg.owner:
            raise VoucherError("voucher_no_owner", account=leg.account, owner=leg.owner)


def _judge_words(voucher: Voucher) -> None:
    for name, words in (("reason", voucher.reason), ("evidence", voucher.evidence)):
        if not words.strip() or len(words) > WORDS_MAX or not words.isprintable():
            raise VoucherError("voucher_words", name=name, most=WORDS_MAX)


def judge_legs(legs: Sequence[Leg]) -> None:
    """Balanced, on accounts that take entries by hand, each place once. Raises `VoucherError`."""
    for leg in legs:
        if leg.account not in CHART:
            raise VoucherError("account_unknown", account=leg.account)
        if leg.account not in BY_HAND:
            raise VoucherError("voucher_control", account=leg.account)
        if leg.amount_minor == 0:
            raise VoucherError("voucher_zero", account=leg.account)
    if not 2 <= len(legs) <= LEGS_MAX:
        raise VoucherError("voucher_legs", most=LEGS_MAX, count=len(legs))
    if len({(leg.account, leg.owner) for leg in legs}) != len(legs):
        raise VoucherError("voucher_twice")
    if len({leg.owner for leg in legs if CHART[leg.account].owner == "merchant"}) > 1:
        raise VoucherError("voucher_merchants")
    if left := sum(leg.amount_minor for leg in legs):
        raise VoucherError("voucher_differs", difference=left)


# -- post -----------------------------------------------------------------------------------------


async def post(vouchers: Vouchers, approval: Approval) -> Entry:
    """What an approval lets through: the entry, as proposed, on the earliest date that takes it.

    Raises `RefusedError` where it was posted before or is not what was proposed, `VoucherError`, and
    `LedgerLimitError` where a balance would leave its limits.
    """
    proposal = approval.proposal
    if proposal.act not in (ENTRY, REVERSAL):
        raise RefusedError("unknown", "proposes_no_voucher", proposal=proposal.id)
    source: Source = SOURCE if proposal.act == ENTRY else REVERSED
    voucher = msgspec.convert(proposal.payload, Voucher)
    if voucher.number != proposal.subject:
        raise RefusedError("changed", "proposes_other_voucher", proposal=proposal.id)
    await _assert_free(vouchers, source, voucher.number)
    if source == SOURCE:
        await _judge(vouchers, voucher)
    else:
        await _assert_opposite(vouchers, voucher)
    note = Note(
        source,
        voucher.number,
        voucher.reason,
        voucher.evidence,
        proposal.maker,
        approval.checker,
        proposal.id,
    )
    for _ in range(TRIES):
        made = entry_of(voucher, source, await vouchers.open_date())
        try:
            await vouchers.commit(note, made, proposal.act, approval)
        except LedgerClosedError:
            continue  # posted since: the next date takes it
        return made
    raise VoucherError("dates_posted")


async def still_stands(vouchers: Vouchers, proposal: Proposal) -> bool:
    """Whether the proposed voucher, or reversal, does not stand yet; else the proposal is void."""
    source = SOURCE if proposal.act == ENTRY else REVERSED
    return await vouchers.entry(source, proposal.subject) is None


async def _assert_opposite(vouchers: Vouchers, voucher: Voucher) -> None:
    stands = await vouchers.entry(SOURCE, voucher.number)
    if stands is None or opposite(stands) != voucher.legs or stands.currency != voucher.currency:
        raise RefusedError("changed", "voucher_not_reversed", voucher=voucher.number)


def entry_of(voucher: Voucher, source: str, business_date: date) -> Entry:
    rule = POSTING_RULES[source]
    return Entry(
        business_date=business_date,
        step=STEP,
        source=source,
        key=voucher.number,
        rule=rule.name,
        rule_version=rule.version,
        currency=voucher.currency,
        merchant=next(
            (leg.owner for leg in voucher.legs if CHART[leg.account].owner == "merchant"), ""
        ),
        acquirer="",
        terminal="",
        batch=0,
        settlement_date=voucher.settlement_date,
        accounts=tuple(leg.account for leg in voucher.legs),
        owners=tuple(leg.owner for leg in voucher.legs),
        amounts=tuple(leg.amount_minor for leg in voucher.legs),
    )


# -- as the command line has it -------------------------------------------------------------------


def legs_of(debits: Collection[str], credits_: Collection[str]) -> tuple[Leg, ...]:
    """From ACCOUNT=AMOUNT or ACCOUNT/OWNER=AMOUNT, amounts positive in minor units.

    >>> legs_of(["write_off_loss=500"], ["merchant_payable/104110058120001=500"])[1].owner
    '104110058120001'
    """
    return tuple(
        _leg(text, sign) for texts, sign in ((debits, 1), (credits_, -1)) for text in texts
    )


def _leg(text: str, sign: int) -> Leg:
    place, _, amount = text.rpartition("=")
    account, _, owner = place.partition("/")
    if not (amount.isascii() and amount.isdecimal() and len(amount) <= 15):
        raise VoucherError("voucher_leg", said=text)
    return Leg(account, owner, sign * int(amount))
