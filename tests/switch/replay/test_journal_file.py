"""The journal's file: what is written is read again; whatever is damaged is refused with its line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from switch.replay.journal_file import Head, JournalFileError, read
from tests.schemas import assert_valid
from tests.switch.replay.traffic import HEAD, day, reference, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("name", ["j.jsonl", "j.jsonl.gz"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    lines = list(read(write(tmp_path / name)))
    assert [line for _, line in lines] == [HEAD, *reference(), *day()]
    assert [number for number, _ in lines] == list(range(1, len(lines) + 1))
    again = write(tmp_path / f"again-{name}")
    assert again.read_bytes() == (tmp_path / name).read_bytes()


def test_every_line_is_of_the_schema(tmp_path: Path) -> None:
    for line in write(tmp_path / "j.jsonl").read_text().splitlines():
        assert_valid("journal-line", json.loads(line))


def swapped(lines: list[bytes]) -> list[bytes]:
    return [*lines[:6], lines[8], lines[7], *lines[9:]]


DAMAGES: list[tuple[str, Callable[[list[bytes]], list[bytes]], int, str]] = [
    ("empty", lambda _: [], 0, "cut short"),
    ("no head", lambda lines: lines[1:], 1, "not a journal"),
    ("another version", lambda lines: [lines[0].replace(b'"version":1', b'"version":9'), *lines[1:]], 1, "version 9"),
    ("cut short", lambda lines: lines[:-3], 11, "cut short"),
    ("half a line", lambda lines: [*lines[:4], lines[4][:40]], 5, "truncated"),
    ("no JSON", lambda lines: [*lines[:4], b"{]\n", *lines[5:]], 5, "malformed"),
    ("no such kind", lambda lines: [*lines[:4], lines[4].replace(b'"reference"', b'"guess"'), *lines[5:]], 5, "Invalid value"),
    ("a line is lost", lambda lines: [*lines[:4], *lines[5:]], 13, "13 lines were written"),
    ("an amount is another", lambda lines: [line.replace(b'"amount_minor":2000', b'"amount_minor":3000') for line in lines], 14, "SHA-256"),
    ("out of order", swapped, 8, "before the former"),
    ("a second head", lambda lines: [*lines[:4], lines[0], *lines[4:]], 5, "second head"),
    ("more behind the end", lambda lines: [*lines, lines[2]], 15, "follows the end"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "at", "reason"),
    [pytest.param(*row[1:], id=row[0]) for row in DAMAGES],
)
def test_damage_is_refused_with_its_line(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], at: int, reason: str
) -> None:
    path = write(tmp_path / "j.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 14
    path.write_bytes(b"".join(damage(lines)))
    with pytest.raises(JournalFileError, match=reason) as caught:
        list(read(path))
    assert caught.value.line == at


def test_a_damaged_gz_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(JournalFileError):
        list(read(path))


def test_a_head_says_what_it_is() -> None:
    assert Head(made_by="x", begins_at="", business_date="", timezone="").format == HEAD.format
