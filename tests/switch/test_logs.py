"""Logs: what must never reach them does not, whatever the key, the container and the split.

Method: properties over generated card numbers, tracks and keys in every position of an event; the
file that was written is searched, not the processor's answer.
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings, strategies as st

from iso8583.message import mask_pan
from iso8583.track import luhn_ok
from switch import logs
from switch.adapters.system import SystemClock
from switch.logs import LogFile, mask_text
from tests.disks import mounted, remount

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if luhn_ok(digits + last))


pans = st.text("0123456789", min_size=12, max_size=18).map(with_check_digit)
# no digits, separators or letters of hex beside the number: they would belong to it
texts = st.text(st.characters(codec="utf-8", exclude_characters="0123456789 -"), max_size=20)


def grouped(pan: str, separator: str) -> str:
    return separator.join(pan[at : at + 4] for at in range(0, len(pan), 4))


def surviving(text: str) -> list[str]:
    """Card numbers in a text, as somebody who searches a log would find them."""
    runs = re.findall(r"[0-9](?:[ -]?[0-9]){12,}", text)
    digits = [re.sub("[ -]", "", run) for run in runs]
    return [
        run[at : at + length]
        for run in digits
        for length in range(13, 20)
        for at in range(len(run) - length + 1)
        if luhn_ok(run[at : at + length])
    ]


@given(pans, texts, texts, st.sampled_from(["", " ", "-"]))
def test_no_card_number_survives_in_a_text(pan: str, left: str, right: str, between: str) -> None:
    assert surviving(mask_text(left + grouped(pan, between) + right)) == []


@given(st.text("0123456789 -=^D", max_size=80))
def test_no_card_number_survives_among_digits(text: str) -> None:
    assert surviving(mask_text(text)) == []


@given(pans, st.text("0123456789", min_size=4, max_size=20), st.sampled_from(["=", "D", "d"]))
def test_no_track_data_survives(pan: str, rest: str, separator: str) -> None:
    masked = mask_text(f"DE 35 {pan}{separator}{rest} read")
    if separator == "=":
        assert masked == f"DE 35 {mask_pan(pan)}={logs.HIDDEN} read"
    else:  # it may as well be a key: nothing of it is shown
        assert masked == f"DE 35 [{len(pan) + 1 + len(rest)} hex digits] read"


@given(st.binary(min_size=8, max_size=32))
def test_no_key_survives_in_hex(key: bytes) -> None:
    for text in (key.hex(), key.hex().upper()):
        if not text.isdecimal():
            masked = mask_text(f"component:{text}.")
            assert masked == f"component:[{len(text)} hex digits]."


def test_numbers_that_operators_need_stay() -> None:
    for text in (
        "rrn=632512345678",
        "stan=000123",
        "amount=123456789012",
        "2026-11-21T22:16:20.361Z",
    ):
        assert mask_text(text) == text


values = st.recursive(
    pans | pans.map(int) | pans.map(str.encode) | pans.map(lambda pan: f"{pan}=25121010000"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.sampled_from(["amount", "note", "pan", "pin", 2, 35, 41]), inner)
        | st.dictionaries(pans, inner, max_size=2)
    ),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["note", "pan", "detail", "stan", "track2"]), value=values)
def test_no_card_number_survives_in_an_event(tmp_path: Path, key: str, value: Any) -> None:
    path = tmp_path / "events.jsonl"
    path.unlink(missing_ok=True)
    file = LogFile(path, 10**6, 1)
    logs.configure(SystemClock(), "test", level="info", file=file, console_level="critical")
    structlog.get_logger().info("message_seen", **{key: value})
    try:
        raise ValueError(f"bad {value}")
    except ValueError:
        structlog.get_logger().exception("message_refused")
    logging.getLogger("asyncio").warning("saw %s", value)
    file.close()
    written = path.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["event"] for line in lines] == ["message_seen", "message_refused", "library_said"]
    assert surviving(written) == []
    assert "1010000" not in written


SECRETS = [
    ("pin_block", "ABCD"),
    ("PIN", "1234"),
    ("cvv2", 123),
    ("track2", "x"),
    ("passphrase", "correct horse"),
    ("dsn", "postgresql://u:p@h/d"),
]


@pytest.mark.parametrize(("key", "value"), SECRETS)
def test_what_is_named_like_a_secret_is_hidden(key: str, value: object) -> None:
    assert logs.mask(value, key) == logs.HIDDEN


def test_a_message_keeps_what_is_no_secret() -> None:
    message = {0: "0200", 2: "6212345678901265", 3: "000000", 35: "x", 52: b"12345678", 41: "T1"}
    assert logs.mask(message, "message") == {
        0: "0200",
        2: "621234******1265",
        3: "000000",
        35: "***",
        52: "***",
        41: "T1",
    }


def test_passwords_of_servers_are_hidden_in_any_text() -> None:
    assert mask_text("to postgresql://app:s3cret@db/x") == "to postgresql://app:***@db/x"


def test_a_log_is_bounded_and_the_oldest_is_dropped(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "a.jsonl", 100, 3)
    for number in range(20):
        file.write(b"%039d\n" % number)
    file.close()
    kept = sorted(tmp_path.iterdir())
    assert [path.name for path in kept] == ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]
    assert all(path.stat().st_size <= 100 for path in kept)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    newest = [int(line) for path in kept[::-1] for line in path.read_text().split()]
    assert newest == list(range(20 - len(newest), 20))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, as only root can make one."""
    with mounted(tmp_path / "small", "64k") as folder:
        yield folder


def test_a_full_disk_costs_whole_lines_and_is_said_once(small_disk: Path) -> None:
    with structlog.testing.capture_logs() as said:
        file = LogFile(small_disk / "a.jsonl", 10**6, 2)
        for number in range(11):
            file.write(b"%063d\n" % number * 100)
        assert said == [
            {"event": "log_lines_lost", "file": "a.jsonl", "log_level": "error",
             "reason": "No space left on device"}
        ]  # fmt: skip
        before = file.lost
        assert before > 0
        file.write(b"x" * 63 + b"\n")
        assert file.lost == before + 1
        kept = (small_disk / "a.jsonl").read_bytes()
        assert kept.endswith(b"\n")
        assert len(kept) == (1_100 - before) * 64
        os.truncate(small_disk / "a.jsonl", 0)  # there is room again
        file.write(b"again\n")
        assert said[1:] == [
            {"event": "log_written_again", "file": "a.jsonl", "log_level": "warning",
             "lost": before + 1, "lost_in_all": file.lost}
        ]  # fmt: skip
    file.close()


def test_a_log_that_can_not_be_opened_or_turned_costs_lines_only(small_disk: Path) -> None:
    full = small_disk / "full"
    with structlog.testing.capture_logs() as said:
        file = LogFile(small_disk / "log" / "a.jsonl", 200, 3)
        file.write(b"%099d\n" % 1)
        file.write(b"%099d\n" % 2)
        remount(small_disk, "nr_inodes=5")  # the root, log, a.jsonl, full: one more
        full.touch()
        (small_disk / "last").touch()
        file.write(b"%099d\n" % 3)  # turned: a.jsonl.1, and no a.jsonl
        assert file.lost == 1
        late = LogFile(small_disk / "log" / "b.jsonl", 200, 3)
        late.write(b"lost\n")
        assert (file.lost, late.lost) == (1, 1)
        full.unlink()
        (small_disk / "last").unlink()
        file.write(b"%099d\n" % 4)
        late.write(b"%099d\n" % 5)
        names = [event["event"] for event in said]
        assert names == ["log_lines_lost"] * 2 + ["log_written_again"] * 2
    file.close()
    late.close()
    assert (small_disk / "log" / "a.jsonl").read_text() == f"{4:099d}\n"
    assert (small_disk / "log" / "a.jsonl.1").read_text() == f"{1:099d}\n{2:099d}\n"


def test_a_person_reads_one_line_without_the_traceback() -> None:
    event = {
        "time": "2026-11-21T22:16:20.361Z",
        "level": "error",
        "process": "worker-0",
        "event": "worker_failed",
        "error": "ValueError: x",
        "traceback": "Traceback …",
    }
    assert logs.human(event) == "22:16:20 worker-0 ERROR worker_failed error=ValueError: x"
