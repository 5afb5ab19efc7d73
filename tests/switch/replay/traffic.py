"""A small journal: an approval, a decline, silence with its reversal, a void, a 0400, an advice, a 0500."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from switch.reference import Link, Route
from switch.replay.cards import Ranges
from switch.replay.journal_file import (
    Answered,
    Attempted,
    Decided,
    Delivered,
    Head,
    Reference,
    Request,
    Reversal,
    Settlement,
    Writer,
)
from terminals.registry import Merchant, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from switch.replay.journal_file import Event

MERCHANT, TERMINAL = "104290000000001", "10000001"
CARD = Ranges(["622000"]).number("622000", "622000", 19, 7)
HEAD = Head(
    made_by="test",
    begins_at="2026-03-04T02:00:00+00:00",
    business_date="2026-03-04",
    timezone="Asia/Shanghai",
)
TYPES = ("purchase", "void", "refund", "balance", "offline_sale")


def reference() -> list[Event]:
    items = (
        ("merchant", MERCHANT, Merchant(merchant=MERCHANT, name="Shop", allowed_types=TYPES)),
        (
            "terminal",
            f"{MERCHANT}/{TERMINAL}",
            Terminal(merchant=MERCHANT, terminal=TERMINAL),
        ),
        ("link", "bank_a", Link(acquirer="bank_a", host="bank_a", port=1, de32="1", timeout_s=8.0)),
        ("route", "622000", Route(prefix="622000", acquirer="bank_a")),
    )
    return [
        Reference(
            at=0.0,
            of=kind,
            key=key,
            version=1,
            content=msgspec.json.decode(msgspec.json.encode(item)),
        )
        for kind, key, item in items
    ]


def request(number: int, at: float, **changes: Any) -> Request:
    plain = Request(
        at=at,
        id=number,
        merchant=MERCHANT,
        terminal=TERMINAL,
        batch=7,
        trace=number,
        session=1,
        type="purchase",
        mti="0200",
        processing_code="000000",
        usage="22",
        amount_minor=1_000 * number,
        currency="156",
        entry_mode="021",
        condition="00",
        card=CARD,
        expiry="4912",
        pin=True,
        named=True,
    )
    return msgspec.structs.replace(plain, **changes)


def answered(at: float, code: str = "00", after_s: float = 0.2) -> tuple[Attempted, ...]:
    answer = Answered(
        at=at + after_s, response_code=code, auth_code="123456", settlement_date="2026-03-04"
    )
    return (Attempted(at=at, acquirer="bank_a", answers=(answer,)),)


def decided(at: float, state: str, code: str, effect_minor: int | None = None) -> Decided:
    approved = None if effect_minor is None else abs(effect_minor)
    rule = "acquirer.no_answer" if state == "unknown" else "acquirer"
    return Decided(
        at=at,
        state=state,
        response_code=code,
        rule=rule,
        approved_amount_minor=approved,
        effect_minor=effect_minor,
    )


def reversed_once(at: float) -> Delivered:
    return Delivered(
        queue="reversal",
        seq=1,
        acquirer="bank_a",
        sends=(at,),
        ended_at=at + 0.1,
        response_code="00",
    )


def day() -> list[Event]:
    return [
        request(1, 1.0, attempts=answered(1.0), outcome=decided(1.2, "approved", "00", 1_000)),
        request(2, 3.0, attempts=answered(3.0, "51"), outcome=decided(3.2, "declined", "51")),
        request(
            3,
            5.0,
            attempts=(Attempted(at=5.0, acquirer="bank_a"),),
            deliveries=(reversed_once(13.1),),
            outcome=decided(13.0, "unknown", "98"),
        ),
        request(
            4,
            20.0,
            type="void",
            processing_code="200000",
            usage="23",
            amount_minor=1_000,
            entry_mode="012",
            pin=False,
            original=1,
            attempts=answered(20.0),
            outcome=decided(20.2, "approved", "00", -1_000),
        ),
        request(
            5,
            25.0,
            attempts=answered(25.0),
            deliveries=(reversed_once(30.1),),
            outcome=decided(25.2, "approved", "00", 5_000),
        ),
        Reversal(
            at=30.0,
            merchant=MERCHANT,
            terminal=TERMINAL,
            batch=7,
            trace=5,
            processing_code="000000",
            usage="22",
            original=5,
            reason="96",
            response_code="00",
            rule="reversal.approved",
        ),
        request(
            6,
            35.0,
            type="offline_sale",
            mti="0220",
            usage="30",
            entry_mode="022",
            pin=False,
            attempts=(Attempted(at=35.0, acquirer="bank_a"),),
            deliveries=(
                Delivered(
                    queue="repeat",
                    acquirer="bank_a",
                    sends=(35.1, 45.1),
                    ended_at=45.2,
                    response_code="00",
                ),
            ),
            outcome=msgspec.structs.replace(
                decided(35.0, "approved", "00", 6_000), rule="advice.taken_in"
            ),
        ),
        Settlement(
            at=80.0,
            merchant=MERCHANT,
            terminal=TERMINAL,
            batch=7,
            said=(7_000, 2, 1_000, 1, 0, 0, 0, 0),
            result="11",
        ),
    ]


def write(path: Path, events: Sequence[Event] | None = None, head: Head = HEAD) -> Path:
    writer = Writer(path, head)
    for line in [*reference(), *(day() if events is None else events)]:
        writer.add(line)
    writer.end()
    return path
