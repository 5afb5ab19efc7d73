"""Payment status reports (pain.002). Goal: what a bank rejects is its payee's again, once, and nothing
else that it says moves money.

Method: documents written by hand, as banks send them, bent one thing at a time; one suite of scenes in
memory and on PostgreSQL; then killed at every commit, and many at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings, strategies as st

from settlement.adapters import payout_commit
from settlement.adapters.payout_postgres import open_payouts
from settlement.four_eyes import Actor, RefusedError
from settlement.iso20022.pain001 import message_id
from settlement.iso20022.pain002 import STATUSES, ReportError, parse
from settlement.iso20022.xml import XmlError
from settlement.payouts.dates import bring_on
from settlement.payouts.desk import Desk, PayoutError
from settlement.payouts.export import export
from settlement.payouts.ports import Batch, Order
from settlement.payouts.propose import propose
from settlement.payouts.status import TakenReport, take_in
from tests.database import FreshDatabase
from tests.settlement.payout_world import (
    AT,
    BOOKS,
    CNY,
    MAKER,
    MONDAY,
    NOODLES,
    ONE_DAY,
    REFERENCES,
    TEA,
    Place,
    Told,
    Town,
    pay,
    told,
)
from tests.settlement.test_payout import PAYER, Killed, Killing
from tests.settlement.test_payout_store import WITH_TERMS, a_town, on_its_store
from tests.settlement.world import PANS, Sink

TUESDAY, WEDNESDAY = MONDAY + ONE_DAY, MONDAY + 2 * ONE_DAY
Check = Callable[[Place], Awaitable[None]]
MESSAGE = "TB20260804-001"
TEA_ID, BOOKS_ID = f"P260804T01{TEA}156001", f"P260804T01{BOOKS}156001"


def document(
    *orders: str,
    group: str = "",
    payment: str = "",
    report: str = "R1",
    at: str = "2026-08-04T12:00:00+08:00",
    message: str = MESSAGE,
    original: str = "",
) -> bytes:
    """One line an element of an order, so that lines can be told."""
    return "\n".join(
        (
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>',
            f"<GrpHdr><MsgId>{report}</MsgId><CreDtTm>{at}</CreDtTm></GrpHdr>",
            "<OrgnlGrpInfAndSts>",
            f"<OrgnlMsgId>{message}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>",
            f"{original}{group and f'<GrpSts>{group}</GrpSts>'}</OrgnlGrpInfAndSts>",
            f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{message}</OrgnlPmtInfId>"
            f"{payment and f'<PmtInfSts>{payment}</PmtInfSts>'}",
            *orders,
            "</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>",
        )
    ).encode()


def says(name: str, status: str, reason: str = "", words: str = "", amount: str = "") -> str:
    info = f"<AddtlInf>{words}</AddtlInf>" if words else ""
    code = f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn>{info}</StsRsnInf>" if reason else ""
    sts = f"<TxSts>{status}</TxSts>" if status else ""
    of = (
        f'<OrgnlTxRef><Amt><InstdAmt Ccy="CNY">{amount}</InstdAmt></Amt></OrgnlTxRef>'
        if amount
        else ""
    )
    return f"<TxInfAndSts><OrgnlEndToEndId>{name}</OrgnlEndToEndId>{sts}{code}{of}</TxInfAndSts>"


async def exported(town: Place) -> Batch:
    """Monday is paid: TEA 100.00, BOOKS 50.00, in a file that was written."""
    await town.day(MONDAY, {TEA: 10_000, BOOKS: 5_000})
    await told(town, TUESDAY, Told(15_000, counterparty=PAYER))
    await bring_on(town.desk(), TUESDAY)
    (batch,) = await pay(town, TUESDAY)
    await export(town.desk(), batch.id, Sink())
    assert message_id(batch.id) == MESSAGE
    return batch


async def reported(town: Place, *orders: str, **options: Any) -> TakenReport:
    return await take_in(town.desk(), "r.xml", document(*orders, **options), PANS)


async def orders_of(town: Place) -> dict[str, Order]:
    return {one.end_to_end_id: one for one in await town.payouts.orders()}


@pytest.fixture(params=["memory", "postgres"])
def with_town(request: pytest.FixtureRequest) -> Callable[[Check], None]:
    return on_its_store(request, REFERENCES)


# -- scenes ---------------------------------------------------------------------------------------


def test_a_rejected_order_is_its_payees_again_and_is_paid_by_a_new_one(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await exported(town)
        found = await reported(
            town,
            says(TEA_ID, "RJCT", "AC01", "no such account"),
            says(BOOKS_ID, "ACSP"),
            group="PART",
        )
        assert (found.state, found.rejected, found.report.orders) == ("taken_in", [TEA_ID], 2)
        assert await town.payouts.reports() == [found.report]
        assert await town.payouts.statuses([TEA_ID, BOOKS_ID]) == sorted(
            found.statuses, key=lambda one: one.end_to_end_id
        )
        (event,) = await town.payouts.events([TEA_ID, BOOKS_ID])
        assert (event.kind, event.reason, event.statement) == ("rejected", "AC01", "R1")
        assert await town.balance("merchant_payable", TEA) == -10_000
        assert await town.balance("payout_in_transit") == -5_000

        again = await reported(
            town,
            says(TEA_ID, "RJCT", "AC01", "no such account"),
            says(BOOKS_ID, "ACSP"),
            group="PART",
        )
        assert (again.state, again.rejected) == ("known", [])
        assert {one.status for one in again.statuses} == {"RJCT", "ACSP"}
        later = await reported(town, says(TEA_ID, "RJCT"), report="R2")
        assert (later.rejected, later.statuses[0].disagrees) == ([], ""), "said twice, once moved"
        assert await town.balance("merchant_payable", TEA) == -10_000

        (back,) = await town.payouts.returned_orders()
        ((batch, _),) = await propose(town.desk(), TUESDAY, replace=[back.end_to_end_id])
        (new,) = await town.payouts.orders([batch.id])
        assert (new.replaces, new.amount_minor) == (TEA_ID, 10_000)
        # the bank pays the first one all the same: nobody's, a case
        (taken,) = await told(town, WEDNESDAY, Told(-10_000, TEA_ID))
        assert taken.unmatched == 1

    with_town(check)


def test_money_moves_by_statements_alone(with_town: Callable[[Check], None]) -> None:
    async def check(town: Place) -> None:
        await exported(town)
        for number, status in enumerate(s for s, of in STATUSES.items() if of != "rejected"):
            found = await reported(town, group=status, report=f"R{number}")
            assert (found.rejected, found.report.orders) == ([], 2)
        assert await town.balance("payout_in_transit") == -15_000
        assert set(await orders_of(town)) == {TEA_ID, BOOKS_ID}
        assert len(await town.payouts.open_orders()) == 2
        await told(town, WEDNESDAY, Told(-10_000, TEA_ID), Told(-5_000, BOOKS_ID))
        assert await town.payouts.open_orders() == []

    with_town(check)


def test_a_whole_file_rejected_at_its_group_or_payment(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await exported(town)
        found = await reported(town, payment="RJCT", original="<OrgnlNbOfTxs>2</OrgnlNbOfTxs>"
                               "<OrgnlCtrlSum>150.00</OrgnlCtrlSum>")  # fmt: skip
        assert found.rejected == [TEA_ID, BOOKS_ID]
        assert [one.reason for one in await town.payouts.events(found.rejected)] == ["RJCT"] * 2
        assert await town.balance("payout_in_transit") == 0

    with_town(check)


def test_a_rejection_that_contradicts_what_is_known_moves_nothing(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await exported(town)
        await told(town, TUESDAY, Told(-10_000, TEA_ID))
        await reported(town, says(BOOKS_ID, "ACSC"), report="R1")
        found = await reported(town, group="RJCT", report="R2", at="2026-08-04T13:00:00+08:00")
        assert found.rejected == []
        assert [one.disagrees for one in found.statuses] == [
            "a statement shows it confirmed",
            "report R1 said ACSC",
        ]
        assert await town.balance("merchant_payable") == 0
        assert await town.balance("payout_in_transit") == -5_000

    with_town(check)


def test_an_older_rejection_that_comes_late_moves_nothing() -> None:
    async def scenario() -> None:
        town = Town()
        await exported(town)
        await reported(town, group="ACSP", report="R2", at="2026-08-04T13:00:00+08:00")
        found = await reported(town, group="RJCT", report="R1", at="2026-08-04T12:59:59+08:00")
        assert {one.disagrees for one in found.statuses} == {"report R2 says ACSP later"}
        assert found.rejected == []
        last = (await town.payouts.statuses([TEA_ID]))[-1]
        assert last.status == "ACSP", "by the bank's instant, not by ours"

    asyncio.run(scenario())


def test_accepted_after_it_was_rejected_is_told() -> None:
    async def scenario() -> None:
        town = Town()
        await exported(town)
        await reported(town, group="RJCT")
        found = await reported(town, group="ACSC", report="R2")
        assert {one.disagrees for one in found.statuses} == {"it is rejected"}

    asyncio.run(scenario())


def test_a_rejected_advance_gives_claim_and_fee_back() -> None:
    async def scenario() -> None:
        town = Town(WITH_TERMS)
        await town.day(MONDAY, {NOODLES: 2_000})
        (batch,) = await pay(town, TUESDAY)
        await export(town.desk(), batch.id, Sink())
        await reported(town, group="RJCT")
        for account in ("own_due", "own_claim", "advance_fee", "advance_in_transit"):
            assert await town.balance(account) == 0, account
        assert await town.balance("merchant_payable", NOODLES) == -2_000

    asyncio.run(scenario())


# -- refused whole --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders", "options", "why"),
    [
        ((says("P999", "RJCT"),), {}, "line 8: P999 is no order of 20260804-001"),
        ((says(TEA_ID, "RJCT"), says(TEA_ID, "RJCT")), {}, "line 9: .* stands in line 8 already"),
        ((says(TEA_ID, "XXXX"),), {}, "line 8: 'XXXX' is no status"),
        ((says(TEA_ID, "PART"),), {}, "line 8: 'PART' is no status"),
        ((says(TEA_ID, ""),), {}, "line 8: no status of P"),
        ((says(TEA_ID, ""),), {"group": "PART"}, "line 8: no status of P"),
        ((says(TEA_ID, "ACSC"),), {"group": "RJCT"}, "line 8: ACSC within a file that is RJCT"),
        ((), {"group": "RJCT", "payment": "ACSP"}, "line 7: ACSP within a file that is RJCT"),
        ((), {}, "line 4: no status of the file"),
        ((says(TEA_ID, "RJCT", amount="100.01"),), {}, "line 8: .* is of 10000, not 100.01"),
        ((), {"group": "ACSP", "message": "TB20260804-009"}, "line 5: no file of ours is TB"),
        ((), {"group": "ACSP", "original": "<OrgnlNbOfTxs>3</OrgnlNbOfTxs>"}, "2 orders, not 3"),
        ((), {"group": "ACSP", "original": "<OrgnlNbOfTxs>x</OrgnlNbOfTxs>"}, "no number"),
        ((), {"group": "ACSP", "original": "<OrgnlCtrlSum>1</OrgnlCtrlSum>"}, "15000, not 1"),
        ((), {"group": "ACSP", "original": "<OrgnlCtrlSum>-1</OrgnlCtrlSum>"}, "no amount"),
        ((), {"group": "ACSP", "at": "yesterday"}, "line 3: 'yesterday' is no date and time"),
        ((), {"group": "ACSP", "report": "a b"}, "line 3: 'a b' is no id"),
        ((), {"group": "ACSP", "report": ""}, "line 3: no MsgId"),
    ],
)
def test_refused_with_its_line(orders: tuple[str, ...], options: dict[str, Any], why: str) -> None:
    async def scenario() -> None:
        town = Town()
        await exported(town)
        before = await town.payouts.generation()
        with pytest.raises(ReportError, match=why):
            await reported(town, *orders, says(BOOKS_ID, "RJCT") if orders else "", **options)
        assert await town.payouts.generation() == before, "nothing of it is taken in"

    asyncio.run(scenario())


def test_a_payment_of_another_file_and_other_content_under_its_id_are_refused() -> None:
    async def scenario() -> None:
        town = Town()
        await exported(town)
        other = document(group="ACSP").replace(
            b"<OrgnlPmtInfId>TB20260804-001", b"<OrgnlPmtInfId>TB20260804-002"
        )
        with pytest.raises(ReportError, match="line 7: TB20260804-002 is no payment"):
            await take_in(town.desk(), "r.xml", other, PANS)
        await reported(town, group="ACSP")
        with pytest.raises(ReportError, match="other content"):
            await reported(town, group="RJCT")
        assert await town.balance("payout_in_transit") == -15_000

    asyncio.run(scenario())


def test_a_report_of_another_file_under_a_known_id_is_refused(
    with_town: Callable[[Check], None],
) -> None:
    async def check(town: Place) -> None:
        await exported(town)
        await reported(town, group="ACSP")
        await town.day(TUESDAY, {TEA: 2_000})
        await told(town, WEDNESDAY, Told(2_000, counterparty=PAYER))
        await bring_on(town.desk(), WEDNESDAY)
        (batch,) = await pay(town, WEDNESDAY)
        await export(town.desk(), batch.id, Sink())
        with pytest.raises(ReportError, match="report R1 was taken in with other content"):
            await reported(town, group="RJCT", message=message_id(batch.id))
        found = await reported(town, group="RJCT", message=message_id(batch.id), report="R2")
        assert len(found.rejected) == 1

    with_town(check)


def test_of_a_file_that_was_never_written_the_bank_can_say_nothing() -> None:
    async def scenario() -> None:
        town = Town()
        await town.day(MONDAY, {TEA: 10_000})
        await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
        await bring_on(town.desk(), TUESDAY)
        await pay(town, TUESDAY)
        with pytest.raises(ReportError, match="never written"):
            await reported(town, group="RJCT")
        nobody = Desk(town.payouts, town.people, Actor("x"), AT)
        with pytest.raises(RefusedError):
            await take_in(nobody, "r.xml", document(group="ACSP"), PANS)

    asyncio.run(scenario())


def test_a_card_number_in_the_banks_words_is_masked() -> None:
    words = "credit 6222021234567890123 refused"
    (one,) = parse(document(says(TEA_ID, "RJCT", "AC01", words))).orders
    assert one.text == "credit 622202*********0123 refused"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_bent_documents_are_read_or_refused(data: st.DataObject) -> None:
    """Cut, doubled or overwritten anywhere: a report, or `ReportError`, or `XmlError`."""
    whole = document(says(TEA_ID, "RJCT", "AC01", amount="100.00"), group="PART")
    at = data.draw(st.integers(0, len(whole)))
    piece = data.draw(st.sampled_from([b"", b"<", b"&", b"\x00", b"</a>", whole[40:90], b"9" * 40]))
    skip = data.draw(st.integers(0, 30))
    with suppress(ReportError, XmlError):
        parse(whole[:at] + piece + whole[at + skip :])


@pytest.mark.parametrize(
    "bad",
    [
        b"<!DOCTYPE x [<!ENTITY a 'b'>]><Document/>",
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.03"/>',
        b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"/>',
    ],
)
def test_another_document_is_refused(bad: bytes) -> None:
    with pytest.raises(XmlError, match="line"):
        parse(bad)


# -- never twice ----------------------------------------------------------------------------------


def test_killed_at_every_commit_a_rejection_counts_once() -> None:
    async def everything(town: Town, sink: Sink) -> None:
        await reported(town, says(TEA_ID, "RJCT"), says(BOOKS_ID, "ACSP"))
        back = [one.end_to_end_id for one in await town.payouts.returned_orders()]
        if back:
            with suppress(PayoutError):  # has a new order already
                await propose(town.desk(), WEDNESDAY, replace=back)

    async def scenario() -> None:
        moments = 0
        while True:
            town, sink = Town(), Sink()
            await exported(town)
            killing = Killing(town, sink, moments)
            with suppress(Killed):
                await everything(town, sink)
            await everything(town, sink)
            if killing.left >= 0:
                break
            again = [one for one in await town.payouts.orders() if one.replaces]
            assert [one.replaces for one in again] == [TEA_ID], moments
            assert await town.balance("merchant_payable", TEA) == -10_000, moments
            moments += 1
        assert moments >= 4

    asyncio.run(scenario())


def test_many_at_once_and_killed_within_the_commit(
    database_dsn: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with a_town(database_dsn) as town:
            await town.day(MONDAY, {TEA: 10_000})
            await told(town, TUESDAY, Told(10_000, counterparty=PAYER))
            await bring_on(town.desk(), TUESDAY)
            (batch,) = await pay(town, TUESDAY)
            await export(town.desk(), batch.id, Sink())
            for step in ("_number", "_add", "post_entries", "audit"):
                real = getattr(payout_commit, step)

                async def dying(
                    connection: Any, *values: Any, real: Any = real, **named: Any
                ) -> None:
                    await real(connection, *values, **named)
                    connection.terminate()

                monkeypatch.setattr(payout_commit, step, dying)
                with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
                    await reported(town, group="RJCT")
                monkeypatch.setattr(payout_commit, step, real)
                assert await town.payouts.reports() == []
                assert await town.balance("payout_in_transit", currency=CNY) == -10_000

            async def one(number: int) -> TakenReport:
                async with open_payouts(database_dsn.app) as payouts:
                    desk = Desk(payouts, town.people, MAKER, AT)
                    data = document(group="RJCT", report=f"R{number % 2}")
                    return await take_in(desk, "r.xml", data, PANS)

            done = await asyncio.gather(*(one(n) for n in range(6)), return_exceptions=True)
            taken = [one for one in done if isinstance(one, TakenReport)]
            assert sum(len(one.rejected) for one in taken) == 1, done
            assert await town.balance("payout_in_transit") == 0
            assert await town.balance("merchant_payable") == -10_000

    asyncio.run(scenario())
