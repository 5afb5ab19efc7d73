"""A case of the pack: its purpose, its steps, what must cross the link. Data files in TOML.

    [[case]]
    id = "purchase"
    covers = ["purchase"]
    title = "Purchase with PIN, approved"
    title_zh = "…"
    purpose = "…"
    purpose_zh = "…"

    [[case.step]]
    do = "purchase"
    card = "sound"
    pin = "right"
    amount_minor = 12_34
    name = "sale"
    answer = "00"                                  # DE 39 that the terminal is told, a pattern

    [[case.step.link]]
    to = "bank"
    mti = "0200"
    like = ["request", "with_pin"]                 # sets of elements of shapes.toml
    elements = { 3 = "000000", 4 = "000000001234" }

What an element must be: a regular expression for the whole value (bytes as hex), or one of `WORDS`.
With `each = ["05", "41"]` a case is made for each value, which stands where `{each}` is written.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER: Final = Path(__file__).resolve().parent / "cases"
SHAPES: Final = "shapes.toml"
# present, absent · the step's card, its expiry · the same as in the request that is answered · a right MAC
# · as the step that is followed said it on the link (DE 90)
WORDS: Final = ("present", "absent", "card", "expiry", "echo", "mac", "original")

TERMINAL_ACTS: Final = (
    "sign_on", "sign_off", "echo", "balance", "purchase", "void", "refund", "pre_authorise",
    "pre_authorise_more", "pre_authorisation_void", "complete", "complete_advice", "completion_void",
    "offline_sale", "e_cash_sale", "adjust", "tip", "pay_by_code", "moto_sale", "moto_void",
    "moto_refund", "instalment", "instalment_void", "points_sale", "points_void", "points_query",
    "reservation", "reservation_void", "script_result", "undo", "reverse", "repeat", "settle",
)  # fmt: skip
LINK_ACTS: Final = ("link_sign_on", "link_sign_off", "wait")
BANK_ACTS: Final = ("bank_key_change", "bank_cut_over", "bank_echo")
FAULTS: Final = ("", "lose_answer", "late_answer", "spoil_answer", "spoil_request")


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A message that must cross the link, after the one before it."""

    to: Literal["bank", "switch"]
    mti: str
    like: tuple[str, ...] = ()
    elements: dict[str, str] = {}


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`fault` is done to the first message about money of the step, on our side of the wire."""

    do: str
    name: str = ""  # for steps that follow it
    of: str = ""  # the step that it follows
    card: str = "sound"  # role, in the file of cards
    pin: Literal["none", "right", "wrong"] = "none"
    amount_minor: int = 0
    usage: Literal["ZPK", "ZAK", ""] = ""  # of a key change
    answer: str = ""  # DE 39 that the terminal is told; "": it is told nothing
    fault: str = ""
    seconds: float = 0.0  # to wait: for messages that come later, or for `wait`
    link: tuple[Expected, ...] = ()


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`bank_begins`: the bank must begin something, which a real one is asked for by a person."""

    id: str
    title: str
    title_zh: str
    purpose: str
    purpose_zh: str
    covers: tuple[str, ...] = ()  # types of transaction
    partial: bool = False  # the terminal takes partial approvals
    bank_begins: bool = False
    step: tuple[Step, ...] = ()


class CaseError(Exception):
    """File, case, what is wrong."""

    def __init__(self, path: Path | str, case: str, reason: str) -> None:
        super().__init__(f"{path}: {case + ': ' if case else ''}{reason}")


Shapes = dict[str, dict[str, str]]


def load(folder: Path = FOLDER) -> list[Case]:
    """All cases of a folder, in order of the files' names and within them; shapes put in. CaseError, also
    where there is none: a pack of nothing would say that nothing failed."""
    shapes = _shapes(folder / SHAPES)
    cases: list[Case] = []
    for path in sorted(folder.glob("*.toml")):
        if path.name != SHAPES:
            tables = _expanded(_read(path).get("case", []))
            cases += [_case(path, table, shapes) for table in tables]
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise CaseError(folder, case.id, "stands twice")
        seen.add(case.id)
    if not cases:
        raise CaseError(folder, "", "no cases here: a folder of .toml files with [[case]] tables")
    return cases


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CaseError(path, "", str(error.strerror)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CaseError(path, "", str(error)) from error


def _shapes(path: Path) -> Shapes:
    try:
        return msgspec.convert(_read(path) if path.exists() else {}, Shapes)
    except msgspec.ValidationError as error:
        raise CaseError(path, "", str(error)) from error


def _expanded(tables: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for table in tables:
        each = table.pop("each", None)
        if each is None:
            yield table
            continue
        text = json.dumps(table)
        for value in each:
            made: dict[str, Any] = json.loads(text.replace("{each}", str(value)))
            yield made


def _case(path: Path, table: dict[str, Any], shapes: Shapes) -> Case:
    name = str(table.get("id", "?"))
    try:
        case = msgspec.convert(table, Case)
    except msgspec.ValidationError as error:
        raise CaseError(path, name, str(error)) from error
    if not re.fullmatch(r"[a-z0-9_]{1,60}", case.id):
        raise CaseError(path, name, "an id is small letters, digits and _")
    steps: list[Step] = []
    for number, step in enumerate(case.step, 1):
        at = f"{name}.step[{number}]"
        if step.do not in (*TERMINAL_ACTS, *LINK_ACTS, *BANK_ACTS):
            raise CaseError(path, at, f"no act {step.do!r}")
        if step.fault not in FAULTS:
            raise CaseError(path, at, f"no fault {step.fault!r}")
        if step.of and step.of not in {one.name for one in steps}:
            raise CaseError(path, at, f"no step {step.of!r} before it")
        link = tuple(_expected(path, at, one, shapes) for one in step.link)
        steps.append(msgspec.structs.replace(step, link=link))
    return msgspec.structs.replace(case, step=tuple(steps))


def _expected(path: Path, at: str, of: Expected, shapes: Shapes) -> Expected:
    elements: dict[str, str] = {}
    for name in of.like:
        if name not in shapes:
            raise CaseError(path, at, f"no shape {name!r}")
        elements |= shapes[name]
    elements |= of.elements
    for de, pattern in elements.items():
        if not de.isdecimal() or not 0 < int(de) <= 128:
            raise CaseError(path, at, f"no data element {de!r}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise CaseError(path, at, f"DE {de}: {error}") from error
    return msgspec.structs.replace(of, like=(), elements=elements)
