"""The form of a link: where a host's messages are other than "The bank link", as data.

Inside the switch every link speaks the messages of one page (`docs/interfaces.md`, "The bank link").
A host with other numbers for the same things gets a form: a header before the MTI, other MTIs, codes
and beginnings of values, elements in other places, private ones made of ours, its own list of what
stands in which message. `form_codec.py` applies it between that page and the link's dialect, both
ways, so that nothing else of a link knows of it.

A form stands in the link's reference data, whole or as what differs from a shipped one:

    form = { base = "binary_host", addresses = { network = "0601", source = "0034" } }

"Ours" is always the page, "theirs" the host.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from iso8583.dialects import registry

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
MTI3: Final = re.compile(r"0[1-8][0-9]")
HEADER_BYTES_MAX: Final = 64
ORIGINAL: Final = {"mti": 4, "stan": 6, "time": 10, "de32": 11, "de33": 11}  # digits of DE 90
PLACE: Final = re.compile(r"\{([0-9]+)\}")  # in `compose`: our element of that number
HEADER: Final = -1  # key of a message: what stood before its MTI, or before that of what it answers
UNKNOWN_CODE: Final = "ZZ"  # DE 39 that `codes_in` does not have: unmapped in every list of ours
# What an answer is matched, judged and told to the terminal by: here ours must be told from theirs.
READ_BACK: Final = frozenset({2, 3, 4, 7, 11, 15, 32, 33, 37, 38, 41, 42, 49, 54, 70})
NEEDED: Final = (7, 11, 32, 39, 41)  # of a dialect: without them no answer finds its request


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a form."""


class HeaderField(Shape, frozen=True):
    """Bytes before the MTI, in order.

    `hex`: what stands there in a message that we begin. `length`: instead, the bytes of a big-endian
    count of header and message. `answer`: in an answer, the field of the answered message that stands
    here: its own name echoes it, another's swaps the two. What comes in is held against the same
    rule: a field without `answer` is as `hex` says, one that swaps is as the other's `hex` says.
    """

    name: str
    hex: str = ""
    length: int = 0
    answer: str = ""

    @property
    def width(self) -> int:
        return self.length or len(self.hex) // 2


class TypeRow(Shape, frozen=True):
    """DE 3 and 25 of a kind of message. "" in `condition`: any; in a column of theirs: as ours."""

    mti: str  # ours, three digits
    code: str  # first two digits of our DE 3
    condition: str = ""  # our DE 25
    their_code: str = ""
    their_condition: str = ""


class KeyFields(Shape, frozen=True):
    """Where a key change (DE 70 101) has what our DE 48 says in one: usage, key, check value.

    `usages`: ours (ZPK, ZAK) to the value of the element `usage`. `key` is bytes, then only a key in
    hex under the ZMK can be sent there, or text, as it is. `check`: six hex digits; 0: none.
    """

    usage: int
    usages: dict[str, str]
    key: int
    check: int = 0


class Form(Shape, frozen=True):
    """Everything of it but `elements` may be left out: then it is as on our page."""

    header: tuple[HeaderField, ...] = ()
    mtis: dict[str, str] = {}  # ours to theirs, three digits: the fourth is who asks, or a repeat
    elements: dict[
        str, tuple[int, ...]
    ] = {}  # our MTI, three digits, to theirs that may stand in it
    types: tuple[TypeRow, ...] = ()
    values: dict[int, dict[str, str]] = {}  # by element: beginnings, ours to theirs
    moves: dict[int, int] = {}  # our element to theirs, with the same content
    compose: dict[int, str] = {}  # their element to text in which {22} is our DE 22
    codes_in: dict[str, str] = {}  # DE 39 of answers, theirs to ours; {}: as it is
    codes_out: dict[str, str] = {}  # DE 39 that we send, ours to theirs; what is not here as it is
    original: tuple[str, ...] = tuple(ORIGINAL)  # parts of DE 90
    mac_element: Literal["last", "128"] = "last"  # last: 64, or 128 with any element above 64
    key: KeyFields | None = None

    @property
    def header_bytes(self) -> int:
        return sum(field.width for field in self.header)


class FormError(ValueError):
    """A form that can not be used: the key's path below `form`, the reason."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def form_of(value: str | dict[str, Any]) -> Form | None:
    """The form that a link's `form` names or holds; None for "". Raises FormError."""
    if not value:
        return None
    if isinstance(value, str):
        return _shipped(value, "")
    given = dict(value)
    base = given.pop("base", "")
    addresses = given.pop("addresses", {})
    known = msgspec.to_builtins(_shipped(base, "base"), str_keys=True) if base else {}
    try:
        form = msgspec.convert({**known, **given}, Form, str_keys=True)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `")
        path = at.rstrip("`").removeprefix("key in ").lstrip("$.")
        raise FormError(path, reason[:1].lower() + reason[1:]) from error
    return _addressed(form, addresses)


def _shipped(name: object, path: str) -> Form:
    form = SHIPPED.get(name) if isinstance(name, str) else None
    if form is None:
        raise FormError(path, f"no {name!r}; there are {', '.join(SHIPPED)}")
    return form


def _addressed(form: Form, addresses: object) -> Form:
    """`addresses`: field of the header to its bytes here, in hex, as wide as they were."""
    if not isinstance(addresses, dict):
        raise FormError("addresses", "a table: name of a field of the header = hex")
    fields = {field.name: field for field in form.header}
    for name, digits in addresses.items():
        field = fields.get(name)
        if field is None or field.length:
            raise FormError(f"addresses.{name}", f"no such field; there are {', '.join(fields)}")
        if not isinstance(digits, str) or not _is_hex(digits) or len(digits) != len(field.hex):
            raise FormError(f"addresses.{name}", f"{len(field.hex)} hex digits")
    header = [
        msgspec.structs.replace(field, hex=addresses.get(field.name, field.hex).upper())
        for field in form.header
    ]
    return msgspec.structs.replace(form, header=tuple(header))


# -- what is wrong with one ---------------------------------------------------------------------


def check(form: Form, dialect: str) -> None:
    """Raises FormError at the first thing that can not work with this dialect."""
    for path, reason in faults(form, dialect):
        raise FormError(path, reason)


def faults(form: Form, dialect: str) -> Iterator[tuple[str, str]]:
    """(path, reason) of everything that a type can not say."""
    rows = {row.de: row for row in registry.get(dialect).elements}
    missing = [f"DE {de}" for de in NEEDED if de not in rows]
    if missing:
        yield "", f"dialect {dialect} lacks {', '.join(missing)}"
    yield from _faults_of_header(form)
    for path, mti in (
        *((f"mtis.{ours}", mti) for ours, theirs in form.mtis.items() for mti in (ours, theirs)),
        *((f"elements.{ours}", ours) for ours in form.elements),
        *((f"types[{number}].mti", row.mti) for number, row in enumerate(form.types, 1)),
    ):
        if not MTI3.fullmatch(mti):
            yield path, "three digits of an MTI, such as 020"
    if len(set(form.mtis.values())) < len(form.mtis):
        yield "mtis", "two of ours are one of theirs: answers could not be told apart"
    if not form.elements:
        yield "elements", "says which elements stand in which message; without, none is sent"
    for ours, elements in form.elements.items():
        for de in elements:
            if de not in rows:
                yield f"elements.{ours}", f"dialect {dialect} has no DE {de}"
    for path, de in (
        *((f"moves.{ours}", theirs) for ours, theirs in form.moves.items()),
        *((f"compose.{de}", de) for de in form.compose),
    ):
        if de not in rows:
            yield path, f"dialect {dialect} has no DE {de}"
    if len(set(form.moves.values())) < len(form.moves):
        yield "moves", "two of ours go to one of theirs"
    yield from _faults_of_values(form)
    yield from _faults_of_types(form)
    yield from _faults_of_codes(form)
    if sorted(form.original) != sorted(ORIGINAL):
        yield "original", f"each of {', '.join(ORIGINAL)} once, in the host's order"
    if form.mac_element == "128" and 128 not in rows:
        yield "mac_element", f"dialect {dialect} has no DE 128"
    if form.key is not None:
        for name, de in (
            ("usage", form.key.usage),
            ("key", form.key.key),
            ("check", form.key.check),
        ):
            if de not in rows and (de or name != "check"):
                yield f"key.{name}", f"dialect {dialect} has no DE {de}"
        usages = form.key.usages
        if not usages.keys() <= {"ZPK", "ZAK"} or len(set(usages.values())) < len(usages):
            yield "key.usages", "ZPK and ZAK, each with a value of its own"


def _faults_of_header(form: Form) -> Iterator[tuple[str, str]]:
    fields = {field.name: field for field in form.header}
    if len(fields) < len(form.header):
        yield "header", "two fields have one name"
    if form.header_bytes > HEADER_BYTES_MAX:
        yield "header", f"longer than {HEADER_BYTES_MAX} bytes"
    for number, field in enumerate(form.header, 1):
        at = f"header[{number}]"
        if not NAME.fullmatch(field.name):
            yield f"{at}.name", "small letters, digits and _"
        if not 0 <= field.length <= 4:
            yield f"{at}.length", "1 to 4 bytes"
        if bool(field.hex) is bool(field.length) or not _is_hex(field.hex):
            yield f"{at}.hex", "whole bytes in hex; or length, and no hex"
        other = fields.get(field.answer)
        if field.answer and (other is None or other.width != field.width or other.length):
            yield f"{at}.answer", "a field of the header, as wide as this one"


def _faults_of_values(form: Form) -> Iterator[tuple[str, str]]:
    for de, table in form.values.items():
        if de in (0, 39, 64, 128):
            yield f"values.{de}", "has a table of its own: mtis, codes_in, codes_out, mac_element"
        if de in READ_BACK and len(set(table.values())) < len(table):
            yield f"values.{de}", "two of ours are one of theirs: answers could not be read"
        for ours, theirs in table.items():
            if len(ours) != len(theirs) or not ours:
                yield f"values.{de}.{ours}", "a beginning and another as long"


def _faults_of_types(form: Form) -> Iterator[tuple[str, str]]:
    known: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, str, str]] = set()
    for number, row in enumerate(form.types, 1):
        at = f"types[{number}]"
        if (row.mti, row.code, row.condition) in seen:
            yield at, "stands twice"
        seen.add((row.mti, row.code, row.condition))
        for name in ("code", "condition", "their_code", "their_condition"):
            value = getattr(row, name)
            if not (value.isascii() and value.isdecimal() and len(value) == 2) and (
                value or name == "code"
            ):
                yield f"{at}.{name}", "two digits"
        theirs = row.their_code or row.code
        # what is reversed is answered under one MTI
        for mti in (row.mti, "042") if row.mti in ("010", "020") else (row.mti,):
            if known.setdefault((mti, theirs), row.code) != row.code:
                yield f"{at}.their_code", f"{theirs} of {mti} is another of ours already"


def _faults_of_codes(form: Form) -> Iterator[tuple[str, str]]:
    for name, table in (("codes_in", form.codes_in), ("codes_out", form.codes_out)):
        for one, other in table.items():
            if len(one) != 2 or len(other) != 2 or not (one + other).isalnum():
                yield f"{name}.{one}", "two characters of DE 39 to two"
            elif UNKNOWN_CODE in (one, other):
                yield f"{name}.{one}", f"{UNKNOWN_CODE} stands for what is in no table"


def _is_hex(digits: str) -> bool:
    return len(digits) % 2 == 0 and not digits.strip("0123456789abcdefABCDEF")


# -- shipped ------------------------------------------------------------------------------------

_AS_THEY_ARE: Final = (
    *range(8), *range(9, 16), *range(19, 23), 25, 30, 31, 33, 34, 36, *range(38, 46),
    *range(51, 63), *range(64, 69), 75, *range(90, 95), *range(96, 100),
)  # fmt: skip
_CARD: Final = (2, 3, 4, 7, 11, 12, 13, 14, 18, 22, 23, 25, 32, 33)

# A host of the standard's binary kind [unverified: no bank's page, but each of its rules is met in
# the field]. Its dialect is `iso1987_binary.key_16`.
BINARY_HOST: Final = Form(
    header=(
        HeaderField(name="network", hex="0001"),
        HeaderField(name="length", length=2),
        HeaderField(name="destination", hex="0002", answer="source"),
        HeaderField(name="source", hex="0001", answer="destination"),
        HeaderField(name="session", hex="00", answer="session"),
    ),
    mtis={"042": "040"},  # reversals are requests: 0400, 0401 and 0410
    elements={
        "010": (*_CARD, 35, 37, 41, 42, 43, 49, 52, 53, 55, 60, 62, 90, 125),
        "020": (*_CARD, 35, 37, 41, 42, 43, 49, 52, 53, 55, 60, 62, 90, 125),
        "022": (*_CARD, 35, 37, 38, 39, 41, 42, 43, 49, 55, 60, 62, 90, 125),
        "042": (*_CARD, 37, 38, 39, 41, 42, 43, 49, 55, 60, 90, 95, 125),
        "062": (*_CARD, 37, 38, 41, 42, 43, 49, 55, 60, 90, 125),
        "080": (7, 11, 15, 32, 33, 39, 48, 53, 70, 96),
        "082": (7, 11, 15, 32, 33, 39, 48, 53, 70, 96),
    },
    types=(
        TypeRow(mti="020", code="31", their_code="30"),  # available funds
        TypeRow(mti="020", code="20", their_code="22"),  # an adjustment in the card's favour
        TypeRow(mti="010", code="20", their_code="22"),
        TypeRow(mti="010", code="00", condition="60", their_code="00", their_condition="16"),
    ),
    values={
        22: {"03": "81"},  # a code was scanned
        25: {"64": "70", "65": "71", "67": "72"},  # instalment, points, reservation
        53: {"26": "01"},  # a PIN block of format 0
        70: {"001": "071", "002": "072", "101": "161", "301": "270"},
    },
    moves={59: 125},
    compose={60: "01{22}{25}"},
    codes_in={f"{code:02d}": f"{code:02d}" for code in _AS_THEY_ARE}
    | {"85": "00", "76": "14", "63": "A0", "81": "99"},
    codes_out={"98": "68", "A0": "63"},
    key=KeyFields(
        usage=53,
        usages={"ZPK": "0100000000000000", "ZAK": "0200000000000000"},
        key=96,
        check=48,
    ),
)
SHIPPED: Final[dict[str, Form]] = {"binary_host": BINARY_HOST}
