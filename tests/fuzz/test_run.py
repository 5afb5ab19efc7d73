"""The fuzzer finds what is planted, stores the least of it, and says nothing where nothing is.

Method: a codec that is made wrong in one place each; a run of one dialect for a second or two.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hsm.host.fields import Fields
from iso8583 import inspect
from iso8583.codec import Codec
from tests.fuzz import host, run
from tests.iso8583 import checks

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_found_where_nothing_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seconds", "1", "--seed", "7", "--dialect", "iso1987_binary"]) == 0
    assert "draws in 1 dialects" in capsys.readouterr().out


def test_so_with_host_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seconds", "1", "--seed", "7", "--only", "host"]) == 0
    assert "host commands" in capsys.readouterr().out


def test_a_host_command_that_is_answered_wrong_is_found_and_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Fields.hex

    def hex_that_trips(fields: Fields, characters: int, code: str = "15") -> bytes:
        value = read(fields, characters, code)
        if b"\x19" in value:
            raise KeyError(0)
        return value

    monkeypatch.setattr(host, "REGRESSIONS", tmp_path)
    monkeypatch.setattr(run, "SHRINK_S", 2.0)
    monkeypatch.setattr(Fields, "hex", hex_that_trips)
    assert run.main(["--seconds", "60", "--seed", "1", "--only", "host"]) == 1
    (file,) = tmp_path.iterdir()
    command = bytes.fromhex(file.read_text(encoding="ascii"))
    assert host.fails(command)
    monkeypatch.undo()
    assert not host.fails(command)


def decode_without_12(codec: Codec, data: bytes) -> Any:
    message = codec.generic.decode(data)
    message.pop(12, None)
    return message


def encode_wrong_39(codec: Codec, message: Any) -> bytes:
    octets = codec.generic.encode(message)
    return octets + b"0" if 39 in message else octets


def failing_inspection(data: bytes) -> Any:
    if b"\x60" in data:
        raise KeyError(0)
    return inspect.inspect_message(data)


@pytest.mark.parametrize(
    ("where", "name", "wrong", "check"),
    [
        (Codec, "decode", decode_without_12, "alike"),
        (Codec, "encode", encode_wrong_39, "alike"),
        (checks, "inspect_message", failing_inspection, "explained"),
    ],
)
def test_what_is_planted_is_found_and_stored(
    where: Any,
    name: str,
    wrong: Any,
    check: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "REGRESSIONS", tmp_path)
    monkeypatch.setattr(run, "SHRINK_S", 2.0)
    monkeypatch.setattr(where, name, wrong)
    assert run.main(["--seconds", "60", "--seed", "1", "--dialect", "iso1987_ascii"]) == 1
    (file,) = tmp_path.iterdir()
    case = json.loads(file.read_text(encoding="utf-8"))
    assert check in case["check"]
    assert case["dialect"] == "iso1987_ascii"
    assert len(case.get("message", {})) <= 3
    assert len(case.get("hex", "")) <= 400
    with pytest.raises((AssertionError, KeyError)):
        checks.replay(file.read_text(encoding="utf-8"))
    monkeypatch.undo()
    checks.replay(file.read_text(encoding="utf-8"))
