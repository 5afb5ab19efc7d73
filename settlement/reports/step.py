"""The day's last step: every report of the date, written, and written again where one is gone."""

import hashlib
from collections.abc import Callable
from typing import Final

from settlement import detail
from settlement.fee_lines import cost_lines, discount_lines
from settlement.ledger import trial_balance
from settlement.ports import Facts, Output
from settlement.reports import day as days
from settlement.reports.figures import file_name
from settlement.reports.merchant import HEADING
from settlement.run import Run, extract

Emit = Callable[[str, bytes], None]

FOLDER: Final = "settlement"  # of the merchants' files


async def reports(run: Run) -> tuple[Facts, dict[str, int]]:
    outputs: list[Output] = []

    def emit(short_name: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        outputs.append(Output(f"{run.date.isoformat()}/{short_name}", digest, len(data)))
        run.sink.write(outputs[-1].name, data)
        run.written.add(outputs[-1].name)
        run.progress.advanced("reports", short_name)

    await render(run, emit)
    run.sink.sync()
    return Facts(outputs=outputs), {
        "files_written": len(outputs),
        "bytes_written": sum(output.size for output in outputs),
    }


async def reports_after(run: Run) -> None:
    """Files that are gone or were changed are written again, and only as they were."""
    outputs = {one.name: one.sha256 for one in await run.store.outputs(run.date)}
    lost = {
        name
        for name, digest in outputs.items()
        if name not in run.written and run.sink.sha256(name) != digest
    }
    if not lost:
        return

    def emit(short_name: str, data: bytes) -> None:
        name = f"{run.date.isoformat()}/{short_name}"
        if name in lost:
            digest = hashlib.sha256(data).hexdigest()
            assert digest == outputs[name], f"{name} would not be what was written first"
            run.sink.write(name, data)

    await render(run, emit)
    run.sink.sync()


async def render(run: Run, emit: Emit) -> None:
    """Every file of the date, in a fixed order. The lines of single transactions are made where
    the relations are; a merchant's file is a stretch of them."""
    await extract(run, "records")
    await extract(run, "matches")
    await extract(run, "merchant_fees")
    lines = run.extracts.keep("detail", detail.lines(), detail.LINES)
    for merchant, text in detail.files(lines):
        emit(f"{FOLDER}/{file_name(merchant)}.csv", HEADING + text)
    day = await days.day_of(
        run.store,
        await sums_at_hand(run),
        run.date,
        run.at,
        run.steps,
        run.tariffs,
        casework=run.casework,
        payouts=run.payouts,
    )
    for name, data in days.files(day):
        emit(name, data)


async def sums_at_hand(run: Run) -> days.Sums:
    """`day.stored_sums` out of what the run has read back and made."""
    return days.Sums(
        trial=trial_balance(await run.movements()),
        discounts=await discount_lines(run),
        costs=await cost_lines(run),
    )
