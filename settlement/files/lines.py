"""Lines of a fixed-width file: cut up, read by name, and refused by line and column."""

import hashlib
from collections.abc import Iterator
from datetime import date
from typing import Final

from settlement.clearing import FileName, infer_date
from settlement.files.layout import FileError, Layout, signed
from settlement.files.rows import Context

MAX_LINES: Final = 20_000_000
MAX_LINE: Final = 4_096


def lines_of(
    data: bytes, layout: Layout, file: FileName, *, tail: bool = False
) -> Iterator["Line"]:
    """The lines of a file, which may end as Unix, Windows or old DOS tools (^Z) end them.

    `tail`: columns that the table does not know may follow a line's last field, behind a blank.
    """
    for number, line in numbered(data, file, layout.length):
        yield Line(layout, line, file, number, tail=tail)


def numbered(data: bytes, file: FileName, length: int = 0) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line without its end) of a file.

    Of a line that ends blanks may have been trimmed; one without an end and shorter than `length`
    is where the file was cut off.
    """
    lines = data.split(b"\n")
    if lines[-1] in (b"", b"\r", b"\x1a"):
        lines.pop()
    elif len(lines[-1]) < length:
        reason = "the file ends within a line"
        raise FileError(file.name, len(lines), len(lines[-1]) + 1, "", reason)
    if len(lines) > MAX_LINES:
        raise FileError(file.name, MAX_LINES, 1, "", f"more than {MAX_LINES} lines")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise FileError(file.name, number, MAX_LINE, "", f"a line longer than {MAX_LINE} bytes")
        yield number, line.removesuffix(b"\r")


class Line:
    """The values of one line by the names of its layout."""

    def __init__(
        self, layout: Layout, data: bytes, file: FileName, number: int, *, tail: bool = False
    ) -> None:
        self.layout, self.file, self.number, self._data = layout, file, number, data
        values = layout.split(data, file.name, number)
        self.values = dict(zip(layout.names, values, strict=True))
        rest = data[layout.length :]
        known = rest[:1] in (b"", b" ") if tail else not rest.strip(b" ")
        if not known:
            reason = f"more behind {layout.names[-1]}"
            raise FileError(file.name, number, layout.length + 1, "", reason)

    def text(self, name: str) -> str:
        return self.values[name] or ""

    def minor(self, name: str) -> int:
        """An amount in minor units, signed where the format is; 0 where the field is blank."""
        return signed(self.values[name]) or 0

    def refuse(self, name: str, reason: str) -> FileError:
        field = next(one for one in self.layout.fields if one.name == name)
        shown = "" if field.secret else self.text(name)
        return FileError(self.file.name, self.number, field.offset + 1, shown, f"{name}: {reason}")

    def moment(self, name: str) -> str:
        """MMDDhhmmss that is a date and a time; "" where the field is blank or all zeros."""
        value = self.text(name)
        if not value.strip("0"):
            return ""
        if infer_date(value[:4], self.file.settlement_date) is None:
            raise self.refuse(name, "no such date")
        if value[4:6] > "23" or value[6:8] > "59" or value[8:] > "59":
            raise self.refuse(name, "no such time")
        return value

    def earlier(self, name: str) -> date | None:
        """The latest day MMDD not after the settlement date; None where the field is blank."""
        value = self.text(name)
        if not value.strip("0"):
            return None
        found = latest_date(value, self.file.settlement_date)
        if found is None:
            raise self.refuse(name, "no such date")
        return found

    def same_date(self, name: str) -> None:
        """Refuse a row of another settlement date than its file."""
        value = self.text(name)
        if value.strip("0") and not f"{self.file.settlement_date:%Y%m%d}".endswith(value):
            raise self.refuse(name, "not the settlement date of the file")

    def pan(self, context: Context, name: str = "pan") -> tuple[bytes, str]:
        """Token and mask; empty where the field is blank."""
        value = self.text(name)
        if not value:
            return b"", ""
        if len(value) < 12:
            raise self.refuse(name, "shorter than 12 digits")
        return context.token(value), context.mask(value)

    def content(self, context: Context) -> bytes:
        """SHA-256 of settlement date and line. Tokens stand for what is secret: a bare hash over a
        PAN can be searched."""
        digest = hashlib.sha256(self.file.settlement_date.isoformat().encode())
        at = self.layout.start
        for field in self.layout.secrets:
            value = self.text(field.name)
            digest.update(self._data[at : field.offset] + (context.token(value) if value else b""))
            at = field.offset + field.length
        digest.update(self._data[at : self.layout.length].rstrip())
        return digest.digest()


def latest_date(month_day: str, settlement_date: date) -> date | None:
    """The last such day up to the settlement date: that of something that was settled before.

    >>> latest_date("1231", date(2027, 1, 1)), latest_date("0229", date(2027, 3, 1))
    (datetime.date(2026, 12, 31), datetime.date(2024, 2, 29))
    """
    for year in range(settlement_date.year, settlement_date.year - 9, -1):
        try:
            found = date(year, int(month_day[:2]), int(month_day[2:]))
        except ValueError:
            continue
        if found <= settlement_date:
            return found
    return None


def last_four(account: str) -> str:
    """An account number as people may see it.

    >>> last_four("6222021234567890123"), last_four("123")
    ('***************0123', '***')
    """
    return "*" * (len(account) - 4) + account[-4:] if len(account) > 7 else "*" * len(account)
