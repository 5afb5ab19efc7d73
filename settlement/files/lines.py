"""Lines of a fixed-width file: cut up, read by name, and refused by line and column."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Final

from settlement.clearing import FileName, effect_of, infer_date
from settlement.files.layout import FileError, Layout, signed
from settlement.files.rows import Context
from settlement.said import Said, SaidError, said

MAX_LINES: Final = 20_000_000
MAX_LINE: Final = 4_096
PAN_DIGITS_MIN: Final = 12


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
        reason = said("file_within_line")
        raise FileError(file.name, len(lines), len(lines[-1]) + 1, "", reason)
    if len(lines) > MAX_LINES:
        raise FileError(file.name, MAX_LINES, 1, "", said("file_many_lines", most=MAX_LINES))
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise FileError(file.name, number, MAX_LINE, "", said("file_long_line", most=MAX_LINE))
        yield number, line.removesuffix(b"\r")


class RefusedError(SaidError):
    """A value is not what its field may hold; it says why."""


class Values(ABC):
    """What a file says by the names of its layout: of one line (`Line`) a value, of many
    (`bulk.Lines`) a column. A format that is described by these alone is read either way."""

    layout: Layout
    file: FileName

    @abstractmethod
    def text(self, name: str) -> Any:
        """Empty where the field is blank."""

    @abstractmethod
    def amount(self, name: str) -> Any:
        """In minor units, signed where the format is; None where the field is blank."""

    @abstractmethod
    def minor(self, name: str) -> Any:
        """The same; 0 where the field is blank."""

    @abstractmethod
    def plus(self, name: str) -> Any:
        """The amount where it comes to us, else 0; None where the field is blank."""

    @abstractmethod
    def minus(self, name: str) -> Any:
        """The amount without sign where it goes from us, else 0; None where the field is blank."""

    @abstractmethod
    def either(self, name: str, other: str) -> Any:
        """The first of two amounts, where it is neither blank nor 0; else the other."""

    @abstractmethod
    def effect(self, amount_minor: Any) -> Any:
        """`ClearingRow.effect_minor` of an amount, by the fields `mti` and `processing_code`."""

    @abstractmethod
    def mapped(self, name: str, function: Callable[[str], Any]) -> Any:
        """A function of the text, which may depend on nothing else and may raise RefusedError."""

    @abstractmethod
    def joined(self, name: str, other: str) -> Any:
        """The first of two texts that is not blank, one a line."""

    @abstractmethod
    def moment(self, name: str, *, required: bool = False) -> Any:
        """MMDDhhmmss that is a date and a time; "" where the field is blank or all zeros, which it
        may not be where `required`."""

    @abstractmethod
    def pan(self, context: Context, name: str = "pan") -> tuple[Any, Any]:
        """Token and mask; empty where the field is blank."""

    @abstractmethod
    def content(self, context: Context, *layouts: Layout) -> Any:
        """SHA-256 of settlement date and line, as far as the layout goes. Tokens stand for what is
        secret: a bare hash over a PAN can be searched. Of several layouts, that of theirs."""

    @abstractmethod
    def together(self, *values: Any) -> Any:
        """A tuple of what other calls gave."""

    @abstractmethod
    def place(self, context: Context) -> dict[str, Any]:
        """The fields that every row begins with."""

    def check(self, name: str, holds: Callable[[str], bool], reason: Said) -> None:
        def judged(value: str) -> None:
            if not holds(value):
                raise RefusedError(reason)

        self.mapped(name, judged)

    def earlier(self, name: str) -> Any:
        """The latest day MMDD not after the settlement date; None where the field is blank."""
        return self.mapped(name, self._earlier)

    def _earlier(self, value: str) -> date | None:
        if not value.strip("0"):
            return None
        found = latest_date(value, self.file.settlement_date)
        if found is None:
            raise RefusedError("file_no_date")
        return found

    def same_date(self, name: str) -> None:
        """Refuse a row of another settlement date than its file."""
        own = f"{self.file.settlement_date:%Y%m%d}"
        reason = said("file_other_date")
        self.check(name, lambda value: not value.strip("0") or own.endswith(value), reason)


class Line(Values):
    """One line, the reference of `bulk.Lines`. It refuses by line and column."""

    def __init__(
        self, layout: Layout, data: bytes, file: FileName, number: int, *, tail: bool = False
    ) -> None:
        self.layout, self.file, self.number, self._data = layout, file, number, data
        self._tokens: dict[str, bytes] = {}  # of secret fields; made once
        values = layout.split(data, file.name, number)
        self.values = dict(zip(layout.names, values, strict=True))
        rest = data[layout.length :]
        known = rest[:1] in (b"", b" ") if tail else not rest.strip(b" ")
        if not known:
            reason = said("file_no_blank" if tail else "file_more", field=layout.names[-1])
            raise FileError(file.name, number, layout.length + 1, "", reason)

    def text(self, name: str) -> str:
        return self.values[name] or ""

    def amount(self, name: str) -> int | None:
        return signed(self.values[name])

    def minor(self, name: str) -> int:
        return self.amount(name) or 0

    def plus(self, name: str) -> int | None:
        amount = self.amount(name)
        return None if amount is None else max(amount, 0)

    def minus(self, name: str) -> int | None:
        amount = self.amount(name)
        return None if amount is None else max(-amount, 0)

    def either(self, name: str, other: str) -> int:
        return self.minor(name) or self.minor(other)

    def effect(self, amount_minor: int) -> int:
        return effect_of(amount_minor, self.text("mti"), self.text("processing_code"))

    def mapped(self, name: str, function: Callable[[str], Any]) -> Any:
        try:
            return function(self.text(name))
        except RefusedError as refused:
            raise self.refuse(name, refused.said) from refused

    def joined(self, name: str, other: str) -> str:
        return self.text(name) or self.text(other)

    def refuse(self, name: str, reason: Said) -> FileError:
        field = next(one for one in self.layout.fields if one.name == name)
        shown = "" if field.secret else self.text(name)
        return FileError(
            self.file.name,
            self.number,
            field.offset + 1,
            shown,
            said("file_field", field=name, reason=reason),
        )

    def moment(self, name: str, *, required: bool = False) -> str:
        value = self.text(name)
        if not value.strip("0") and not required:
            return ""
        if infer_date(value[:4], self.file.settlement_date) is None:
            raise self.refuse(name, said("file_no_date"))
        if value[4:6] > "23" or value[6:8] > "59" or value[8:] > "59":
            raise self.refuse(name, said("file_no_time"))
        return value

    def pan(self, context: Context, name: str = "pan") -> tuple[bytes, str]:
        value = self.text(name)
        if not value:
            return b"", ""
        if len(value) < PAN_DIGITS_MIN:
            raise self.refuse(name, said("file_short", digits=PAN_DIGITS_MIN))
        return self._token_of(context, name), context.mask(value)

    def _token_of(self, context: Context, name: str) -> bytes:
        if name not in self._tokens:
            value = self.text(name)
            self._tokens[name] = context.token(value) if value else b""
        return self._tokens[name]

    def content(self, context: Context, *layouts: Layout) -> bytes:
        found = [self._content(context, one) for one in layouts or (self.layout,)]
        return found[0] if len(found) == 1 else hashlib.sha256(b"".join(found)).digest()

    def _content(self, context: Context, layout: Layout) -> bytes:
        digest = hashlib.sha256(self.file.settlement_date.isoformat().encode())
        at = layout.start
        for field in layout.secrets:
            digest.update(self._data[at : field.offset] + self._token_of(context, field.name))
            at = field.offset + field.length
        digest.update(self._data[at : layout.length].rstrip())
        return digest.digest()

    def together(self, *values: Any) -> Any:
        return values

    def place(self, context: Context) -> dict[str, Any]:
        return {
            "acquirer": self.file.acquirer,
            "file": self.file.name,
            "version": context.version,
            "line": self.number,
            "settlement_date": self.file.settlement_date,
        }


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
