"""The day's last step: every report of the date, written, and written again where one is gone."""

import hashlib
from collections.abc import Callable
from typing import Final

from settlement.ledger import trial_balance
from settlement.ports import Facts, Output
from settlement.reports import day as days
from settlement.reports.figures import file_name
from settlement.reports.merchant import HEADING
from settlement.run import Run

Emit = Callable[[str, bytes], None]

FOLDER: Final = "settlement"  # of the merchants' files
_MERCHANT: Final = 2  # column of `fee_book.DETAIL`


async def reports(run: Run) -> tuple[Facts, dict[str, int]]:
    outputs: list[Output] = []

    def emit(short_name: str, data: bytes) -> None:
        digest = hashlib.sha256(data).hexdigest()
        outputs.append(Output(f"{run.date.isoformat()}/{short_name}", digest, len(data)))
        run.sink.write(outputs[-1].name, data)
        run.progress.advanced("reports", short_name)

    await render(run, emit)
    return Facts(outputs=outputs), {
        "files_written": len(outputs),
        "bytes_written": sum(output.size for output in outputs),
    }


async def reports_after(run: Run) -> None:
    """Files that are gone or were changed are written again, and only as they were."""
    outputs = {one.name: one.sha256 for one in await run.store.outputs(run.date)}
    lost = {name for name, digest in outputs.items() if run.sink.sha256(name) != digest}
    if not lost:
        return

    def emit(short_name: str, data: bytes) -> None:
        name = f"{run.date.isoformat()}/{short_name}"
        if name in lost:
            digest = hashlib.sha256(data).hexdigest()
            assert digest == outputs[name], f"{name} would not be what was written first"
            run.sink.write(name, data)

    await render(run, emit)


async def render(run: Run, emit: Emit) -> None:
    """Every file of the date, in a fixed order. Lines of single transactions come out of the
    store as text and are held for one merchant at a time."""
    merchants = _MerchantFiles(emit)
    await run.store.fee_book().detail(run.date, merchants.feed)
    merchants.end()
    for name, data in days.files(await day_of(run)):
        emit(name, data)


class _MerchantFiles:
    """Cuts detail lines, which come in order of merchant, into one file for each."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._rest = b""
        self._merchant: bytes | None = None
        self._lines: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            merchant = merchant_field(line)
            if merchant != self._merchant:
                self._write()
                self._merchant = merchant
            self._lines.append(line)

    def end(self) -> None:
        assert not self._rest, "the detail ends in the middle of a line"
        self._write()

    def _write(self) -> None:
        if self._merchant is not None:
            lines = b"\n".join([*self._lines, b""])
            name = file_name(_unquoted(self._merchant).decode())
            self._emit(f"{FOLDER}/{name}.csv", HEADING + lines)
        self._lines = []


def merchant_field(line: bytes) -> bytes:
    """The merchant as it stands in a detail line. No line holds a line's end: merchants are
    printable ASCII, and dates stand before them.

    >>> merchant_field(b'2026-08-03,2026-08-03,M1,T'), merchant_field(b'a,b,"M,""1",T')
    (b'M1', b'"M,""1"')
    """
    rest = line.split(b",", _MERCHANT)[_MERCHANT]
    if not rest.startswith(b'"'):
        return rest.partition(b",")[0]
    end = 1
    while rest[end : end + 1] != b'"' or rest[end : end + 2] == b'""':
        end += 2 if rest[end : end + 2] == b'""' else 1
    return rest[: end + 1]


def _unquoted(field: bytes) -> bytes:
    text = field[1:-1].replace(b'""', b'"') if field.startswith(b'"') else field
    # the mark before what a spreadsheet would run; no merchant's id begins with it by itself
    return text[1:] if text[:1] == b"'" and text[1:2] in (b"=", b"+", b"-", b"@") else text


async def day_of(run: Run) -> days.Day:
    """What the reports say of a date whose net is made."""
    book = run.store.fee_book()
    return days.Day(
        business_date=run.date,
        at=run.at,
        steps=[step for name, step in run.steps.items() if name != "reports"],  # as they finished
        breaks=await run.store.breaks(run.date),
        nets=await run.store.nets(run.date),
        trial=trial_balance(await run.store.movements(run.date)),
        discounts=await book.discount_lines(run.date),
        costs=await book.cost_lines(run.date),
        agents=await book.agent_lines(run.date),
        merchant_names=merchant_names(run),
    )


def merchant_names(run: Run) -> days.Names:
    names: days.Names = {}
    for merchant in run.tariffs.keys("merchant"):
        found = run.tariffs.in_force("merchant", merchant, run.date)
        if found is not None:
            content = found.content
            names[merchant] = (str(content.get("name", "")), str(content.get("name_zh", "")))
    return names
