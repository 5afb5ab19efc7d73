"""Goal: whatever comes to the port, an answer with a published code goes out, and no key with it.

Method: a working command of each kind, damaged; any bytes behind each command; what `make fuzz` once found.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from hsm.host.commands import COMMANDS
from tests.hsm.host.examples import check, damaged, examples

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.hex"))


def test_every_command_has_an_example() -> None:
    assert set(COMMANDS) <= set(examples()), "add what is missing to tests/hsm/host/examples.py"


@pytest.mark.parametrize("code", COMMANDS)
def test_the_examples_work(code: str) -> None:
    for command in examples()[code]:
        assert check(command) == "00", command


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), st.data())
def test_a_damaged_command_is_answered(code: str, data: st.DataObject) -> None:
    for command in examples()[code]:
        check(data.draw(damaged(command)))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*sorted(COMMANDS), "", "??"]), st.binary(max_size=300))
def test_any_bytes_are_answered(code: str, rest: bytes) -> None:
    check(code.encode() + rest)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(COMMANDS)),
    st.text("0123456789ABCDEFSRUXTYZ;%#&!", max_size=300),
)
def test_any_characters_are_answered(code: str, rest: str) -> None:
    check((code + rest).encode())


def test_what_was_found_once() -> None:
    for file in REGRESSIONS:
        check(bytes.fromhex(file.read_text(encoding="ascii")))


@pytest.mark.parametrize("code", COMMANDS)
def test_what_a_command_was_read_into_shows_nothing_of_it(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every Struct that the host commands make, as a traceback with its locals would show it."""
    shown: list[str] = []
    for name, module in list(sys.modules.items()):
        if name.startswith("hsm.host."):
            for kind in list(vars(module).values()):
                own = isinstance(kind, type) and kind.__module__ == name
                if own and issubclass(kind, msgspec.Struct):
                    monkeypatch.setattr(module, kind.__name__, seen(kind, shown))
    for command in examples()[code]:
        check(command)
        text = command.decode("latin-1")
        parts = {text[at : at + 8] for at in range(2, len(text) - 7)}
        for each in shown:
            assert not any(part in each for part in parts), each


def seen(kind: type[msgspec.Struct], shown: list[str]) -> Callable[..., msgspec.Struct]:
    def make(*fields: object, **named: object) -> msgspec.Struct:
        made = kind(*fields, **named)
        shown.append(repr(made))
        return made

    return make
