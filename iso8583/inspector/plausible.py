"""Does a value look like what its element holds? Evidence for and against a guess.

Looks at meaning, not at form: a table that is off by one byte still reads digits as digits, but not
dates as dates. Elements of 1987 alone; values of other versions have other sizes and are not judged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iso8583 import amount, codes, tlv
from iso8583.track import luhn_ok

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_TIME: Final = r"([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]"
_DATE: Final = r"(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"


def _matches(pattern: str) -> Callable[[str], bool]:
    matched = re.compile(pattern).fullmatch
    return lambda value: matched(value) is not None


def _pan(value: str) -> bool:
    return 12 <= len(value) <= 19 and value[0] != "0" and luhn_ok(value)


def _track_2(value: str) -> bool:
    pan, separator, rest = value.partition("=")
    return bool(separator) and 12 <= len(pan) <= 19 and "01" <= rest[2:4] <= "12"


def _ic_data(value: bytes) -> bool:
    found, error = tlv.parse_partial(value)
    return error is None and any(tag[:2] in ("9F", "5F", "82", "95", "91") for tag, _ in found)


# DE -> is this value one?
_TESTS: Final[dict[int, Callable[[Any], bool]]] = {
    2: _pan,
    3: lambda value: value[:2] in codes.PROCESSING_CODES and value[2:] == "0000",
    7: _matches(_DATE + _TIME),
    12: _matches(_TIME),
    13: _matches(_DATE),
    14: _matches(r"[0-9]{2}(0[1-9]|1[0-2])"),
    15: _matches(_DATE),
    17: _matches(_DATE),
    22: _matches(r"(00|01|02|03|05|07|08|09|10|79|80|81|90|91|92|95|96|98)[0-3]"),
    23: _matches(r"00[0-9]"),
    25: lambda value: value in codes.CONDITIONS,
    26: _matches(r"0[4-9]|1[0-2]"),
    32: _matches(r"[0-9]{4,11}"),
    35: _track_2,
    37: _matches(r"[0-9A-Za-z]{12}"),
    38: _matches(r"[0-9A-Za-z]{2}[0-9A-Za-z ]{4}"),
    39: lambda value: value in codes.RESPONSE_CODES,
    41: _matches(r"[0-9A-Za-z]{4}[0-9A-Za-z ]{4}"),
    42: _matches(r"[0-9A-Za-z]{6}[0-9A-Za-z ]{9}"),
    49: amount.is_currency,
    53: _matches(r"[0-2][0-9][0-9]0{12}[0-9]"),
    54: _matches(r"([0-9]{7}[CD][0-9]{12})+"),
    55: _ic_data,
    60: _matches(r"[0-9]{8,19}"),
    61: _matches(r"[0-9]{12,29}"),
    70: lambda value: value in codes.NETWORK_MANAGEMENT,
    90: _matches(r"0[0-9]{41}"),
}
_BINARY: Final = frozenset({55})


# What values say that digits of something else hardly say: by version of the MTI.
_DATE_TIME: Final = r"(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])" + _TIME
_LATER: Final[dict[int, Callable[[Any], bool]]] = {
    7: _TESTS[7],
    14: _TESTS[14],
    49: amount.is_currency,
}
_TELLING: Final[dict[str, dict[int, Callable[[Any], bool]]]] = {
    "0": {de: _TESTS[de] for de in (3, 7, 12, 13, 14, 15, 17, 22, 23, 25, 26, 49, 70)},
    "1": {**_LATER, 12: _matches(r"[0-9]{2}" + _DATE_TIME)},
    "2": {**_LATER, 12: _matches(r"(19|20)[0-9]{2}" + _DATE_TIME)},
}


def in_place(message: Mapping[int, str | bytes]) -> bool:
    """Whether the elements stand where they belong: two at least say so, and none says otherwise."""
    mti = message.get(0, "")
    tests = _TELLING.get(mti[:1], {}) if isinstance(mti, str) else {}
    said = [
        isinstance(value, str) and test(value)
        for de, test in tests.items()
        if (value := message.get(de)) is not None
    ]
    return len(said) > 1 and all(said)


def judged(message: Mapping[int, str | bytes]) -> tuple[int, int]:
    """How many values look right, and how many look wrong."""
    wrong = implausible(message)
    mti = message.get(0, "")
    if not isinstance(mti, str) or mti[:1] != "0":
        return 0, 0
    return sum(de in _TESTS for de in message) - len(wrong), len(wrong)


def implausible(message: Mapping[int, str | bytes]) -> list[int]:
    """The elements whose values do not look like theirs."""
    mti = message.get(0, "")
    if not isinstance(mti, str) or mti[:1] != "0":
        return []
    wrong = []
    for de, value in message.items():
        test = _TESTS.get(de)
        if test is not None and not (isinstance(value, bytes) == (de in _BINARY) and test(value)):
            wrong.append(de)
    return wrong
