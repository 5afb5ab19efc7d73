"""Goal: no KSN is accepted twice or after a later one, whatever happens to the process that remembers.

Method: any sequence of counters against the plain rule, in memory and over a file that is closed and
opened between any two of them; the file cut at every byte, changed, locked, on a full disk; bounds.
"""

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from hsm.adapters import replay_file
from hsm.adapters.replay_file import FileCounters
from hsm.dukpt_replay import MemoryCounters, Purpose, ReplayGuard, device_and_counter
from hsm.errors import ReplayError, VaultError

few = settings(max_examples=40, deadline=None)

TDES = bytes.fromhex("FFFF9876543210E00000")
AES = bytes.fromhex("123456789012345600000000")

uses = st.lists(
    st.tuples(
        st.sampled_from(["08D7B4", "bdk-2"]),
        st.sampled_from(Purpose),
        st.sampled_from([TDES, AES]),
        st.integers(1, 12),
    ),
    max_size=40,
)


def ksn(device: bytes, counter: int) -> bytes:
    return (int.from_bytes(device, "big") + counter).to_bytes(len(device), "big")


def taken(guard: ReplayGuard, use: tuple[str, Purpose, bytes, int]) -> bool:
    base_key, purpose, device, counter = use
    try:
        guard.check(base_key, purpose, ksn(device, counter))
    except ReplayError:
        with pytest.raises(ReplayError):
            guard.accept(base_key, purpose, ksn(device, counter))
        return False
    guard.accept(base_key, purpose, ksn(device, counter))
    return True


def by_the_rule(many: list[tuple[str, Purpose, bytes, int]]) -> list[bool]:
    highest: dict[tuple[str, Purpose, bytes], int] = {}
    answers = []
    for base_key, purpose, device, counter in many:
        place = (base_key, purpose, device)
        answers.append(counter > highest.get(place, 0))
        highest[place] = max(counter, highest.get(place, 0))
    return answers


@few
@given(uses)
def test_only_higher_counters_are_accepted(many: list[tuple[str, Purpose, bytes, int]]) -> None:
    counters = MemoryCounters()
    assert [taken(ReplayGuard(counters), use) for use in many] == by_the_rule(many)
    lines = list(counters.export())
    other = MemoryCounters()
    other.restore(reversed([line + "\n" for line in lines]))
    assert list(other.export()) == lines
    other.restore(lines)
    assert len(other) == len(counters) == len(lines)


@few
@given(uses, st.sets(st.integers(0, 40)), st.booleans())
def test_a_file_remembers_over_restarts(
    tmp_path_factory: pytest.TempPathFactory,
    many: list[tuple[str, Purpose, bytes, int]],
    restarts: set[int],
    compact: bool,
) -> None:
    path = tmp_path_factory.mktemp("replay") / "counters"
    counters = FileCounters(path)
    answers = []
    for place, use in enumerate(many):
        if place in restarts:
            if compact:
                counters.compact()
            counters.close()
            counters = FileCounters(path)
        answers.append(taken(ReplayGuard(counters), use))
    counters.close()
    assert answers == by_the_rule(many)
    assert path.stat().st_mode & 0o777 == 0o600


def test_check_remembers_nothing() -> None:
    counters = MemoryCounters()
    guard = ReplayGuard(counters)
    guard.check("b", Purpose.PIN, ksn(TDES, 5))
    guard.check("b", Purpose.PIN, ksn(TDES, 5))
    assert len(counters) == 0
    guard.accept("b", Purpose.PIN, ksn(TDES, 5))
    guard.check("b", Purpose.MAC, ksn(TDES, 5))
    with pytest.raises(ReplayError, match="used already"):
        guard.check("b", Purpose.PIN, ksn(TDES, 4))


@pytest.mark.parametrize("in_file", [False, True])
def test_at_the_bound_new_devices_are_refused(tmp_path: Path, in_file: bool) -> None:
    counters = FileCounters(tmp_path / "c", 2) if in_file else MemoryCounters(2)
    guard = ReplayGuard(counters)
    for purpose in (Purpose.PIN, Purpose.MAC):
        guard.accept("b", purpose, ksn(TDES, 1))
    with pytest.raises(VaultError, match="2 devices"):
        guard.accept("b", Purpose.DATA, ksn(TDES, 1))
    with pytest.raises(ReplayError):
        guard.accept("b", Purpose.PIN, ksn(TDES, 1))
    guard.accept("b", Purpose.PIN, ksn(TDES, 2))
    if isinstance(counters, MemoryCounters):
        counters.forget(device_and_counter("b", Purpose.MAC, ksn(TDES, 1))[0])
        guard.accept("b", Purpose.DATA, ksn(TDES, 1))
    else:
        counters.close()
        with pytest.raises(VaultError, match="1 devices"):
            FileCounters(tmp_path / "c", 1)


def test_names_and_ksns_that_are_refused() -> None:
    guard = ReplayGuard(MemoryCounters())
    for base_key in ("", "a b", "a/b", "a\n", "é", "x" * 65):
        with pytest.raises(VaultError, match="base key is named"):
            guard.check(base_key, Purpose.PIN, ksn(TDES, 1))
    for bad, says in ((TDES, "counter is 0"), (AES, "counter is 0"), (b"", "bytes")):
        with pytest.raises(VaultError, match=says):
            guard.accept("b", Purpose.PIN, bad)


@few
@given(st.text(max_size=80))
def test_any_text_as_an_exported_line(text: str) -> None:
    with pytest.raises(VaultError, match="line 1"):
        MemoryCounters().restore([text])


# -- the file ------------------------------------------------------------------------------------


def filled(path: Path) -> bytes:
    counters = FileCounters(path)
    guard = ReplayGuard(counters)
    for counter in (1, 2, 30):
        guard.accept("b", Purpose.PIN, ksn(TDES, counter))
    guard.accept("b", Purpose.PIN, ksn(AES, 7))
    counters.close()
    return path.read_bytes()


def highest(path: Path) -> int:
    with closing(FileCounters(path)) as counters:
        return counters.highest("b/pin/FFFF9876543210E00000")


def test_a_write_that_a_crash_cut(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    whole = filled(path)
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        counters = FileCounters(path)
        guard = ReplayGuard(counters)
        kept = whole[:length].count(b"\n")
        if kept:
            with pytest.raises(ReplayError):
                guard.accept("b", Purpose.PIN, ksn(TDES, (1, 2, 30, 30)[kept - 1]))
        guard.accept("b", Purpose.PIN, ksn(TDES, 31))
        counters.close()
        assert highest(path) == 31
        assert path.read_bytes().count(b"\n") == kept + 1


def test_a_changed_file_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    whole = filled(path)
    for changed in (b"\n" + whole, whole.replace(b" ", b""), b"x" * 1000, whole + b"\xff\n"):
        path.write_bytes(changed)
        with pytest.raises(VaultError, match="line"):
            FileCounters(path)
    path.write_bytes(whole)
    FileCounters(path).close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = FileCounters(tmp_path / "counters")
    with pytest.raises(VaultError, match="another process"):
        FileCounters(tmp_path / "counters")
    first.close()
    first.close()
    FileCounters(tmp_path / "counters").close()
    with pytest.raises(VaultError, match="closed"):
        first.advance("b/pin/FFFF9876543210E00000", 1)


@pytest.mark.parametrize("half", [False, True])
def test_a_full_disk_refuses_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    path = tmp_path / "counters"
    counters = FileCounters(path, sync=True)
    guard = ReplayGuard(counters)
    guard.accept("b", Purpose.PIN, ksn(TDES, 1))
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if half:
            return real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for counter in (2, 3):
            with pytest.raises(VaultError, match="could not be stored"):
                guard.accept("b", Purpose.PIN, ksn(TDES, counter))
        with pytest.raises(VaultError, match="could not be stored"):
            guard.accept("b", Purpose.MAC, ksn(TDES, 1))
        counters.compact()
    guard.accept("b", Purpose.PIN, ksn(TDES, 2))
    guard.accept("b", Purpose.MAC, ksn(TDES, 1))
    counters.close()
    assert path.read_bytes().count(b"\n") == 3
    assert highest(path) == 2


def test_after_a_cut_that_fails_nothing_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError(errno.EIO, "input/output error")

    counters = FileCounters(tmp_path / "counters")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fails)
        patch.setattr(os, "ftruncate", fails)
        with pytest.raises(VaultError, match="could not be stored"):
            counters.advance("b/pin/FFFF9876543210E00000", 1)
    with pytest.raises(VaultError, match="could not be stored"):
        counters.advance("b/pin/FFFF9876543210E00000", 1)


def test_the_file_is_written_anew_when_most_of_it_is_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay_file, "OVERTAKEN_MAX", 20)
    path = tmp_path / "counters"
    counters = FileCounters(path)
    for counter in range(1, 200):
        assert counters.advance("b/pin/FFFF9876543210E00000", counter)
        assert path.read_bytes().count(b"\n") <= 23
    counters.close()
    assert highest(path) == 199
