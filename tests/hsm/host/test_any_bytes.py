"""Goal: whatever comes to the port, an answer with a published code goes out, and no key with it.

Method: a working command of each kind, damaged; any bytes behind each command; what `make fuzz` once found.
"""

from pathlib import Path

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
