"""The day's end one by one: what the expressions in `settlement` must agree with."""

from datetime import date

from settlement.clearing import NEGATIVE_TYPES, Capture, ClearingRecord, Transaction, institution
from settlement.ports import Total


def records_of(
    business_date: date,
    captures: list[Capture],
    transactions: list[Transaction],
    roots: dict[int, int],
) -> list[ClearingRecord]:
    """The clearing records of a frozen date, by key; `roots` knows the chains of earlier dates."""
    by_request = {transaction.request_id: transaction for transaction in transactions}
    originals = {t.request_id: t.original_request_id for t in transactions}
    originals |= {c.request_id: c.original_request_id for c in captures if c.original_request_id}
    records: list[ClearingRecord] = []
    linked: set[int] = set()
    for capture in sorted(captures, key=lambda capture: capture.capture_id):
        if capture.effect_minor == 0:
            continue
        transaction = by_request.get(capture.request_id)
        # The linked opposite that a reversal posts after the freeze keeps the link keys of its
        # original: the network's row for it, if any, is a reversal that names these.
        opposite = capture.request_id in linked or (
            capture.type != "adjustment"
            and (capture.effect_minor < 0) != (capture.type in NEGATIVE_TYPES)
        )
        linked.add(capture.request_id)
        records.append(
            _record(
                f"c{capture.capture_id}",
                capture,
                transaction,
                _root(capture.request_id, originals, roots),
                "opposite" if opposite else "approved",
                capture.effect_minor,
                capture.effect_minor,
            )
        )
    for transaction in sorted(transactions, key=lambda transaction: transaction.request_id):
        if (
            transaction.request_id in linked
            or transaction.link_stan is None
            or transaction.acquirer is None
            or transaction.business_date != business_date
        ):
            continue
        asked = -1 if transaction.type in NEGATIVE_TYPES else 1
        records.append(
            _record(
                f"r{transaction.request_id}",
                transaction,
                transaction,
                _root(transaction.request_id, originals, roots),
                transaction.state,
                0,
                asked * transaction.amount_minor,
            )
        )
    return records


def _root(request_id: int, originals: dict[int, int | None], roots: dict[int, int]) -> int:
    for _ in range(16):  # a chain is pre-authorisation, completion, refund: far below the bound
        if request_id in roots:
            return roots[request_id]
        original = originals.get(request_id)
        if original is None or original == request_id:
            break
        request_id = original
    return request_id


def _record(
    key: str,
    source: Capture | Transaction,
    link: Transaction | None,
    root: int,
    state: str,
    effect_minor: int,
    amount_minor: int,
) -> ClearingRecord:
    assert source.acquirer is not None
    de32 = institution(link.de32) if link else ""
    settlement_date = source.settlement_date or source.business_date
    if state == "opposite":
        # The view shows its original's. The reversal goes out with or after its commit, so it
        # settles on that date or later.
        settlement_date = max(settlement_date, source.business_date)
    return ClearingRecord(
        key=key,
        business_date=source.business_date,
        settlement_date=settlement_date,
        request_id=source.request_id,
        root_request_id=root,
        type=source.type,
        state=state,
        merchant=source.merchant,
        terminal=source.terminal,
        batch=source.batch,
        stan=source.stan,
        acquirer=source.acquirer,
        effect_minor=effect_minor,
        amount_minor=amount_minor,
        currency=source.currency,
        de32=de32,
        de33=(institution(link.de33) or de32) if link else "",
        link_stan=(link.link_stan or "") if link else "",
        transmission_time=(link.transmission_time or "") if link else "",
        rrn=(link.rrn or "") if link else "",
        auth_code=(link.auth_code or "") if link else "",
        pan_token=link.pan_token if link else b"",
        pan_masked=link.pan_masked if link else "",
        card_type=link.route if link else "",
        mcc=link.mcc if link else "",
        entry_mode=link.entry_mode if link else "",
        response_code=(link.response_code or "") if link else "",
    )


def totals_of(records: list[ClearingRecord]) -> list[Total]:
    """P5's side of the clearing records."""
    sums: dict[tuple[date, str, str, str, str, int], int] = {}
    for one in records:
        key = (
            one.business_date,
            one.currency,
            one.merchant,
            one.acquirer,
            one.terminal,
            one.batch,
        )
        sums[key] = sums.get(key, 0) + one.effect_minor
    return sorted(Total(*key, amount) for key, amount in sums.items() if amount)
