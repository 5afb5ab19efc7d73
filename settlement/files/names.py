"""File names: the standard's own, and those that a link agrees on with its bank."""

import re
from collections.abc import Callable
from datetime import date

from settlement.clearing import FileName

NameParser = Callable[[str, str], FileName | None]


def unionpay(type_: str, ending: str) -> NameParser:
    """`IN` + party letter + `YYMMDD` (settlement date) + 2 digits (sequence) + `ending`.

    >>> unionpay("ERRA", "AERRA")("upay", "IND26080132AERRA").settlement_date.isoformat()
    '2026-08-01'
    """
    pattern = re.compile(rf"IN[A-Z](?P<date>\d{{6}})(?P<sequence>\d{{2}}){ending}", re.ASCII)
    return lambda acquirer, name: match(pattern, type_, acquirer, name)


def unionpay_name(ending: str, settlement_date: date, sequence: int, party: str = "D") -> str:
    """The name that `unionpay` reads.

    >>> unionpay_name("AERRA", date(2026, 8, 1), 32)
    'IND26080132AERRA'
    """
    return f"IN{party}{settlement_date:%y%m%d}{sequence:02d}{ending}"


def match(pattern: re.Pattern[str], type_: str, acquirer: str, name: str) -> FileName | None:
    """What the name says by the groups `date` (YYMMDD, YYYYMMDD) and `sequence` (1 if there is none)."""
    found = pattern.fullmatch(name)
    if found is None:
        return None
    groups = found.groupdict()
    day = groups["date"]
    try:
        settlement_date = date(
            int(day[:-4]) + (2000 if len(day) == 6 else 0), int(day[-4:-2]), int(day[-2:])
        )
        sequence = int(groups.get("sequence") or 1)
    except ValueError:
        return None
    return FileName(acquirer, name, type_, settlement_date, sequence)


def check(pattern: str) -> re.Pattern[str]:
    """A pattern of a link's own, compiled. Raises ValueError that says what it lacks."""
    try:
        compiled = re.compile(pattern, re.ASCII)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if "date" not in compiled.groupindex:
        raise ValueError("no group `date`")
    if not compiled.groupindex.keys() <= {"date", "sequence"}:
        raise ValueError("groups are `date` and `sequence`")
    return compiled
