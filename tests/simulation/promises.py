"""The promises that are kept, and who holds each: checkers here, tests of another kind elsewhere.

A checker names its promise where it checks: `check("P3", …)`, `fail("P7", …)`. They are read out of the
source, so that the page can not name one that is not there.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent
WITH_CHECKERS: Final = (
    "checkers.py",
    "wires.py",
    "views.py",
    "rest.py",
    "limits.py",
    "routes.py",
    "estate.py",
    "world.py",
)

PROMISES: Final[dict[str, str]] = {
    "P1": "Record, then act: nothing goes to a bank, and no answer to a terminal, before it is durable",
    "P2": "One effect: the same request again, at any time, at any node, does nothing more",
    "P3": "Unknown is not declined: reverse, repeat or forget, and never send again as new",
    "P4": "Reversals always end, and so does everything else",
    "P5": "Money is conserved: terminals, journal and banks have the same sums",
    "P6": "Secrets stay in the vault",
    "P7": "Bad input is answered and bounded; nothing fails of itself",
    "P8": "Everything has a bound",
    "P9": "A closed day stays closed",
    "P10": "Every decision can be explained",
}

# What the simulation does not check, or not alone: why, and the tests that do (paths from the root).
ELSEWHERE: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "P6": (
        "files and logs of a real installation are searched",
        ("tests/end_to_end/test_canary.py", "tests/test_data_doc.py"),
    ),
    "P7": ("hostile bytes are sent over real sockets", ("tests/end_to_end/test_hostile.py",)),
    "P8": (
        "how much is taken shows under load, which virtual time does not have",
        ("tests/switch/test_load.py", "tests/end_to_end/test_hostile.py"),
    ),
    "P9": (
        "the day's end is killed at every step, and run again",
        ("tests/settlement/test_close.py",),
    ),
}

# Planted bugs that change the store in memory → the tests of tests/contract that hold PostgreSQL to the same.
IN_THE_STORE: Final[dict[str, tuple[str, str]]] = {
    "late approval captured": (
        "test_journal.py",
        "test_the_first_outcome_stands_and_the_loser_leaves_nothing",
    ),
    "duplicate not recognised on another node": (
        "test_journal.py",
        "test_a_request_is_stored_once_whoever_sends_it",
    ),
    "outcome written by the loser": (
        "test_journal.py",
        "test_the_first_outcome_stands_and_the_loser_leaves_nothing",
    ),
    "takeover before the lease ended": (
        "test_ports.py",
        "test_takeover_finds_what_the_dead_left_undecided",
    ),
    "drain forgets what is in flight": (
        "test_ports.py",
        "test_an_owner_that_releases_with_work_left_is_taken_over",
    ),
    "numbers given twice": ("test_ports.py", "test_blocks_of_numbers_are_never_given_twice"),
    "every process connects for itself": (
        "test_slots.py",
        "test_any_sequence_has_the_same_answers",
    ),
    "frozen capture cancelled": (
        "test_journal.py",
        "test_after_the_freeze_a_reversal_posts_the_opposite_today",
    ),
    "key in force before it is answered": (
        "test_key_exchange.py",
        "test_from_asked_to_accepted",
    ),
}


class Checker(NamedTuple):
    """A function that checks: the first line of its docstring, the promises that it names."""

    file: str
    function: str
    says: str
    promises: tuple[str, ...]


def checkers() -> list[Checker]:
    """Every function that checks, in the order of the source."""
    found = []
    for name in WITH_CHECKERS:
        tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            says = (ast.get_docstring(function) or "").partition("\n")[0]
            if promises := _named_in(function):
                found.append(Checker(name, function.name, says, promises))
    return found


def _named_in(function: ast.AST) -> tuple[str, ...]:
    """The promises that a function names as a first argument of `check` or `fail`."""
    named = {
        node.args[0].value: None
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("check", "fail")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    }
    return tuple(sorted(named, key=lambda promise: int(promise[1:])))
