"""A bank's clearing file in UnionPay's COM layout, and the mistakes it is told to make in it.

Written from `reference/clearing.md` §1 alone, by nobody who knows how the books read it. Every field
has a fixed width and one blank behind it; digits are zero filled on the left, identifiers and text
blank filled on the right; GBK; no header, no trailer; one line a transaction.

Fees are those of the 96 reform (§2) as the acquirer bears them: the issuer's in `fee_payable` (in
`fee_receivable` where a void or refund returns it), half of the network's in `switching_fee`, D when
we pay. A refund returns the fee of the net before it less the fee of the net after it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from iso8583.message import mask_pan
from iso8583.mti import without_repeat
from terminals.simulator.accounts import BILLED, GIVES_BACK, TAKES, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from terminals.simulator.dice import Dice

# rates in parts per 10 000 000, caps in fen
ISSUER_RATE: Final = {"debit": 35_000, "credit": 45_000}
ISSUER_CAP: Final = {"debit": 1_300, "credit": None}
NETWORK_RATE: Final = 3_250
NETWORK_CAP: Final = 325
PARTS: Final = 10_000_000
WAIVED_MCC: Final = frozenset({"8062", "8211", "8220", "8398"})  # hospitals, schools, welfare

BreakKind = Literal["missing", "extra", "amount", "duplicate", "reversed_but_billed"]

# What the acquirer's reconciliation should call each kind (reference/clearing.md §4).
BREAK_CLASS: Final[dict[BreakKind, str]] = {
    "missing": "network_short",
    "extra": "network_long",
    "amount": "amount_mismatch",
    "duplicate": "duplicate",
    "reversed_but_billed": "status_mismatch",
}


class BreakPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many mistakes of each kind to plant in one file."""

    missing: int = 0
    extra: int = 0
    amount: int = 0
    duplicate: int = 0
    reversed_but_billed: int = 0
    amount_off_minor: int = 100


class PlantedBreak(msgspec.Struct, frozen=True):
    """One mistake in a file. `ours_minor` is what the acquirer's books should hold (None: nothing
    standing), `file_minor` what the file says (None: no row). `cause` is `planted`, or `forgotten`
    where the bank lost an approval of its own."""

    kind: BreakKind
    break_class: str
    file: str
    transmission_time: str
    stan: str
    rrn: str
    merchant: str
    terminal: str
    pan_masked: str
    ours_minor: int | None
    file_minor: int | None
    cause: Literal["planted", "forgotten"] = "planted"


class Row(msgspec.Struct, frozen=True):
    """One line before it is written. Amounts in fen."""

    acquirer_id: str
    forwarder_id: str
    stan: str
    transmission_time: str
    pan: str
    amount_minor: int
    mti: str
    processing_code: str
    mcc: str
    terminal: str
    merchant: str
    rrn: str
    condition: str
    auth_code: str
    receiver_id: str
    original_stan: str
    response_code: str
    entry_mode: str
    fee_receivable_minor: int
    fee_payable_minor: int
    switching_fee_minor: int  # below zero: the acquirer pays
    card_sequence: str
    original_time: str
    issuer_id: str

    def __repr__(self) -> str:
        return f"Row({self.stan} {mask_pan(self.pan)} {self.amount_minor})"


class ClearingFile(msgspec.Struct, frozen=True):
    """A file as delivered, and the list of what is wrong with it."""

    name: str
    settlement_date: dt.date
    data: bytes
    rows: int
    planted: tuple[PlantedBreak, ...]

    def __repr__(self) -> str:
        return f"ClearingFile({self.name}, {self.rows} rows, {len(self.planted)} planted)"


def file_name(settlement_date: dt.date) -> str:
    """The name of a settlement date's file.

    >>> file_name(dt.date(2026, 8, 1))
    'IND26080101ACOM'
    """
    return f"IND{settlement_date:%y%m%d}01ACOM"


def clearing_file(
    entries: Iterable[Entry],
    settlement_date: dt.date,
    *,
    forgotten: Sequence[Entry] = (),
    plan: BreakPlan | None = None,
    dice: Dice | None = None,
    receiver_id: str = "",
) -> ClearingFile:
    """The file of one settlement date, whose entries it marks as billed.

    Reversed pairs are not in it; voided ones are, both rows. What was billed on an earlier date and
    reversed on this one is listed by its 0420.

    `forgotten` are approvals the bank lost; they are reported as missing. `dice` chooses where the
    mistakes of `plan` go; only plain purchases without follow-ups are touched.
    """
    entries = list(entries)
    fees = FeeBook(entries)
    name = file_name(settlement_date)
    of_date = [
        e for e in entries if e.settlement_date == settlement_date and e.asked.kind in BILLED
    ]
    standing = [e for e in of_date if e.standing and billed_minor(e)]
    lines = [(e.sequence, make_row(e, fees, receiver_id)) for e in standing]
    lines += [
        (e.sequence, make_reversal_row(e, fees, receiver_id))
        for e in entries
        if e.reversed_on == settlement_date and e.billed_on not in (None, settlement_date)
    ]
    for entry in standing:
        entry.billed_on = settlement_date
    planted: list[PlantedBreak] = []
    if plan is not None:
        assert dice is not None
        reversed_ones = [e for e in of_date if e.approved and e.reversed_by is not None]
        # a follow-up that the bank forgot stands in the acquirer's books all the same
        followed = {e.asked.original for e in (*entries, *forgotten) if e.approved}
        plain = [e for e in standing if e.asked.kind == "purchase" and e.asked.key not in followed]
        lines, planted = _plant(lines, plain, reversed_ones, plan, dice, name, fees, receiver_id)
    planted += [
        _break("missing", make_row(e, fees, receiver_id), name, e.approved_minor, None, "forgotten")
        for e in forgotten
        if e.settlement_date == settlement_date and e.asked.kind in BILLED
    ]
    lines.sort(key=lambda line: line[0])
    data = b"".join(render_row(row) for _, row in lines)
    return ClearingFile(name, settlement_date, data, len(lines), tuple(planted))


def _plant(
    lines: list[tuple[int, Row]],
    plain: list[Entry],
    reversed_ones: list[Entry],
    plan: BreakPlan,
    dice: Dice,
    name: str,
    fees: FeeBook,
    receiver_id: str,
) -> tuple[list[tuple[int, Row]], list[PlantedBreak]]:
    """The lines with mistakes in them, and the list of these."""
    rows = dict(lines)
    planted: list[PlantedBreak] = []
    wanted = plan.missing + plan.amount + plan.duplicate + plan.extra
    chosen = dice.sample(plain, wanted)
    order = sorted(range(len(chosen)), key=lambda _: dice.bits64())
    picks = iter([chosen[index] for index in order])
    for entry in _take(picks, plan.missing):
        row = rows.pop(entry.sequence)
        planted.append(_break("missing", row, name, entry.approved_minor, None))
    for entry in _take(picks, plan.amount):
        amount = entry.approved_minor + plan.amount_off_minor
        row = msgspec.structs.replace(rows[entry.sequence], amount_minor=amount)
        rows[entry.sequence] = row
        planted.append(_break("amount", row, name, entry.approved_minor, amount))
    out = list(rows.items())
    for entry in _take(picks, plan.duplicate):
        row = rows[entry.sequence]
        out.append((entry.sequence, row))
        planted.append(_break("duplicate", row, name, entry.approved_minor, entry.approved_minor))
    for number, entry in enumerate(_take(picks, plan.extra)):
        row = msgspec.structs.replace(
            rows[entry.sequence],
            stan=f"{999_000 + number:06}",
            rrn=f"99{settlement_code(entry)}{number:06}",
            auth_code=f"X{number:05}",
        )
        out.append((entry.sequence, row))
        planted.append(_break("extra", row, name, None, row.amount_minor))
    reversed_purchases = [e for e in reversed_ones if e.asked.kind == "purchase"]
    for entry in dice.sample(reversed_purchases, plan.reversed_but_billed):
        row = make_row(entry, fees, receiver_id)
        out.append((entry.sequence, row))
        planted.append(_break("reversed_but_billed", row, name, None, row.amount_minor))
    return out, planted


def settlement_code(entry: Entry) -> str:
    """Four digits of the entry's settlement date."""
    return f"{entry.settlement_date:%m%d}"


def _take(picks: Iterable[Entry], count: int) -> list[Entry]:
    return [entry for _, entry in zip(range(count), picks, strict=False)]


def _break(
    kind: BreakKind,
    row: Row,
    file: str,
    ours_minor: int | None,
    file_minor: int | None,
    cause: Literal["planted", "forgotten"] = "planted",
) -> PlantedBreak:
    return PlantedBreak(
        kind=kind,
        break_class=BREAK_CLASS[kind],
        file=file,
        transmission_time=row.transmission_time,
        stan=row.stan,
        rrn=row.rrn,
        merchant=row.merchant,
        terminal=row.terminal,
        pan_masked=mask_pan(row.pan),
        ours_minor=ours_minor,
        file_minor=file_minor,
        cause=cause,
    )


# -- fees -------------------------------------------------------------------------


def half_up(amount_minor: int, rate: int) -> int:
    """`amount_minor` times `rate` ten-millionths, rounded half up.

    >>> half_up(10_000, 3_250), half_up(1_000_000, 35_000)
    (3, 3500)
    """
    return (2 * amount_minor * rate + PARTS) // (2 * PARTS)


def issuer_fee_minor(amount_minor: int, card_kind: str, mcc: str = "") -> int:
    """The issuer's fee: 0.35 % up to 13 yuan of a debit card, 0.45 % of a credit card.

    >>> issuer_fee_minor(1_000_000, "debit"), issuer_fee_minor(1_000_000, "credit")
    (1300, 4500)
    """
    if mcc in WAIVED_MCC:
        return 0
    fee = half_up(amount_minor, ISSUER_RATE[card_kind])
    cap = ISSUER_CAP[card_kind]
    return fee if cap is None else min(fee, cap)


def network_fee_minor(amount_minor: int, mcc: str = "") -> int:
    """The acquirer's half of the network fee: 0.0325 % up to 3.25 yuan.

    >>> network_fee_minor(1_000_000), network_fee_minor(2_000_000)
    (325, 325)
    """
    return 0 if mcc in WAIVED_MCC else min(half_up(amount_minor, NETWORK_RATE), NETWORK_CAP)


class FeeBook:
    """(issuer fee, network fee) of every standing entry, along the chain of its sale."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        by_key = {entry.asked.key: entry for entry in entries}
        net: dict[object, int] = {}
        self._fees: dict[int, tuple[int, int]] = {}
        for entry in by_key.values():
            if entry.standing and entry.asked.kind in BILLED:
                root = entry
                while root.asked.kind not in TAKES and root.asked.original in by_key:
                    root = by_key[root.asked.original]
                before = net.get(root.asked.key, 0)
                after = before + entry.taken_minor
                net[root.asked.key] = after
                self._fees[entry.sequence] = self._change(before, after, entry)

    @staticmethod
    def _change(before: int, after: int, entry: Entry) -> tuple[int, int]:
        kind, mcc = entry.card_kind, entry.asked.mcc

        def signed(fee: Callable[[int], int], net: int) -> int:
            return fee(net) if net >= 0 else -fee(-net)

        def issuer(net: int) -> int:
            return issuer_fee_minor(net, kind, mcc)

        def network(net: int) -> int:
            return network_fee_minor(net, mcc)

        return (
            signed(issuer, after) - signed(issuer, before),
            signed(network, after) - signed(network, before),
        )

    def of(self, entry: Entry) -> tuple[int, int]:
        """What the acquirer pays for it; below zero: gets back."""
        if entry.sequence in self._fees and entry.standing:
            return self._fees[entry.sequence]
        sign = -1 if entry.asked.kind in GIVES_BACK else 1
        return self._change(0, sign * entry.approved_minor, entry)


# -- one line ---------------------------------------------------------------------


def billed_minor(entry: Entry) -> int:
    """What its row says: the approved amount, of an adjustment the change of the total (signed)."""
    return entry.taken_minor if entry.asked.kind == "adjustment" else entry.approved_minor


def make_row(entry: Entry, fees: FeeBook, receiver_id: str) -> Row:
    """The line of an entry as the bank bills it."""
    asked = entry.asked
    issuer, network = fees.of(entry)
    original, minor = asked.original, billed_minor(entry)
    return Row(
        acquirer_id=asked.key.acquirer_id,
        forwarder_id=asked.key.forwarder_id,
        stan=asked.key.stan,
        transmission_time=asked.key.transmission_time,
        pan=asked.pan,
        amount_minor=abs(minor),
        mti=without_repeat(asked.mti),
        # a total that becomes less is money that goes back
        processing_code=asked.processing_code if minor >= 0 else "20" + asked.processing_code[2:],
        mcc=asked.mcc,
        terminal=asked.terminal,
        merchant=asked.merchant,
        rrn=asked.rrn,
        condition=asked.condition,
        auth_code=entry.auth_code,
        receiver_id=receiver_id,
        original_stan=original.stan if original else "",
        response_code=entry.response_code,
        entry_mode=asked.entry_mode,
        fee_receivable_minor=max(-issuer, 0),
        fee_payable_minor=max(issuer, 0),
        switching_fee_minor=-network,
        card_sequence=asked.card_sequence,
        original_time=original.transmission_time if original else "",
        issuer_id=entry.issuer,
    )


def make_reversal_row(entry: Entry, fees: FeeBook, receiver_id: str) -> Row:
    """The line of a 0420 whose original was billed in an earlier file; its fees come back."""
    row = make_row(entry, fees, receiver_id)
    by = entry.reversed_by
    assert by is not None
    return msgspec.structs.replace(
        row,
        mti="0420",
        stan=by.stan,
        transmission_time=by.transmission_time,
        original_stan=row.stan,
        original_time=row.transmission_time,
        fee_receivable_minor=row.fee_payable_minor,
        fee_payable_minor=row.fee_receivable_minor,
        switching_fee_minor=-row.switching_fee_minor,
    )


def render_row(row: Row) -> bytes:
    """299 columns, a blank behind each field, and a line feed (reference/clearing.md §1)."""
    fields = (
        _text(row.acquirer_id, 11),
        _text(row.forwarder_id, 11),
        _digits(row.stan, 6),
        _digits(row.transmission_time, 10),
        _text(row.pan, 19),
        _digits(row.amount_minor, 12),
        _digits(0, 12),  # partial amount, DE 95
        _signed(0),  # cardholder fee
        _digits(row.mti, 4),
        _digits(row.processing_code, 6),
        _digits(row.mcc, 4),
        _text(row.terminal, 8),
        _text(row.merchant, 15),
        _text(row.rrn, 12),
        _text(row.condition, 2),
        _text(row.auth_code, 6),
        _text(row.receiver_id, 11),
        _digits(row.original_stan, 6),
        _text(row.response_code, 2),
        _digits(row.entry_mode, 3),
        _digits(row.fee_receivable_minor, 12),
        _digits(row.fee_payable_minor, 12),
        _signed(row.switching_fee_minor),
        _text("1", 1),  # single message
        _digits(row.card_sequence, 3),
        _text("5", 1),  # reader capability
        _text("0", 1),  # IC condition
        _digits(row.original_time, 10),
        _text(row.issuer_id, 11),
        _text("0", 1),  # region
        _text("03", 2),  # terminal type: POS
        _text("", 2),  # ECI
        _signed(0),  # instalment fee
        _text("", 14),  # other
    )
    return b"".join(field + b" " for field in fields) + b"\n"


def _text(value: str, width: int) -> bytes:
    raw = value.encode("gbk")
    if len(raw) > width:
        raise ValueError(f"{len(raw)} bytes do not fit {width} columns")
    return raw.ljust(width)


def _digits(value: int | str, width: int) -> bytes:
    raw = str(value).zfill(width).encode("ascii")
    if len(raw) != width or not raw.isdigit():
        raise ValueError(f"{value!r} is not {width} digits")
    return raw


def _signed(value_minor: int) -> bytes:
    """x+n11: C is credit to the acquirer, D debit, blank for nothing."""
    sign = b"C" if value_minor > 0 else b"D" if value_minor < 0 else b" "
    return sign + _digits(abs(value_minor), 11)
