"""Which clearing files a date waits for, and which files a delivery holds."""

from collections.abc import Iterable, Mapping
from datetime import date

from settlement.clearing import FileName, IncomingFile
from settlement.fees import Tariffs
from settlement.files import packed
from settlement.files.registry import FORMATS, expected_of, recognise
from settlement.files.rows import Expected


def expected_from(tariffs: Tariffs, acquirer: str) -> dict[str, Expected]:
    """The types that the acquirer's link says come every day; one COM where it says nothing."""
    return expected_of(tariffs.link(acquirer).get("clearing", "com"))


def missing(
    acquirer: str,
    days: Iterable[date],
    expected: Mapping[str, Expected],
    files: Iterable[IncomingFile],
) -> list[str]:
    """Files of these settlement dates that are required and not there. No file is never an empty one.

    >>> missing("bank-a", [date(2026, 8, 3)], {"COM": Expected(), "ZPSUM": Expected(optional=True)}, [])
    ['bank-a of 2026-08-03']
    """
    present = {(file.type, file.settlement_date) for file in files}
    return [
        f"{acquirer} of {day}" + ("" if type_ == "COM" else f" ({type_})")
        for day in sorted(days)
        for type_ in sorted(expected)
        if not expected[type_].optional and (type_, day) not in present
    ]


def is_known(acquirer: str, name: str, expected: Mapping[str, Expected]) -> bool:
    """Whether a file in the inbox may be one that is expected, or hold some."""
    return packed.is_packed(name) or recognise(acquirer, name, expected) is not None


def members(
    acquirer: str, name: str, data: bytes, expected: Mapping[str, Expected]
) -> list[tuple[FileName, bytes]]:
    """The expected files that a delivery holds, or none at all where it holds anything else: what
    nobody reads is not removed from the inbox. FileError where it can not be unpacked."""
    found = [
        (recognise(acquirer, inside, expected), content)
        for inside, content in packed.unpack(name, data)
    ]
    named = [(file, content) for file, content in found if file is not None]
    return named if len(named) == len(found) else []


def described(type_: str, expected: Mapping[str, Expected]) -> Expected:
    """What the link says of a type; its defaults where the link no longer names it."""
    return expected.get(type_) or FORMATS[type_].expected()
