"""The canary (P6): after a demonstration no card, PIN or key stands anywhere in clear.

Goal: seeded PANs, track data, clear PIN blocks and clear keys (TMK, ZMK, ZPK, ZAK, and the session
keys that terminals were given) are in no file of the data folder: logs, reports, reference data,
PostgreSQL's tables, indexes, write-ahead log and server log, nor in a pg_dump. Method: every byte is
searched for every secret, as digits or hex text in both cases, as raw or packed bytes; the banks' own
files, which do hold PANs, show that the search finds them. A PIN alone, six digits, is too short to
be told from any number; its clear block (format 0) is searched instead.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hsm import pin_block
from switch.adapters.embedded_postgres import EmbeddedPostgres
from switch.adapters.postgres_place import DATABASE, PORT, SUPERUSER, find_binaries
from switch.demo import plan
from switch.demo.command import demonstrate
from switch.demo.node import remove_folder
from terminals.simulator.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")

TRANSACTIONS = 300
PREFIX = 4  # bytes by which candidates are found
CHUNK = 8 << 20


class Needles:
    """Many byte strings, searched at once: two tables of 64 Ki, then the strings themselves."""

    def __init__(self, secrets: Iterable[tuple[str, bytes]]) -> None:
        self._by_prefix: dict[int, list[tuple[str, bytes]]] = {}
        self._first = np.zeros(1 << 16, dtype=bool)
        self._second = np.zeros(1 << 16, dtype=bool)
        self.longest = 0
        for name, needle in secrets:
            assert len(needle) - needle.count(0) >= 5, f"{name} may stand somewhere by chance"
            first, second = (
                int.from_bytes(needle[:2], "little"),
                int.from_bytes(needle[2:4], "little"),
            )
            self._first[first] = self._second[second] = True
            self._by_prefix.setdefault(first | second << 16, []).append((name, needle))
            self.longest = max(self.longest, len(needle))
        self._prefixes = np.array(sorted(self._by_prefix), dtype=np.uint32)

    def __len__(self) -> int:
        return sum(map(len, self._by_prefix.values()))

    def found_in(self, data: bytes) -> set[str]:
        """The names of the secrets that stand in `data`."""
        if len(data) < PREFIX:
            return set()
        raw = np.frombuffer(data, dtype=np.uint8).astype(np.uint32)
        pairs = raw[:-1] | raw[1:] << 8
        near = np.flatnonzero(self._first[pairs[:-2]] & self._second[pairs[2:]])
        values = pairs[near] | pairs[near + 2] << 16
        names: set[str] = set()
        for at in near[np.isin(values, self._prefixes)]:
            start = int(at)
            prefix = int.from_bytes(data[start : start + PREFIX], "little")
            names |= {
                name for name, needle in self._by_prefix[prefix] if data.startswith(needle, start)
            }
        return names

    def found_in_file(self, path: Path) -> set[str]:
        names: set[str] = set()
        with path.open("rb") as file:
            rest = b""
            while chunk := file.read(CHUNK):
                data = rest + chunk
                names |= self.found_in(data)
                rest = data[-self.longest :]
        return names


def both_cases(name: str, key: bytes) -> Iterator[tuple[str, bytes]]:
    text = key.hex()
    yield f"{name} raw", key
    yield f"{name} hex", text.encode()
    yield f"{name} HEX", text.upper().encode()


def secrets_of(seed: int, sessions: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    for bank in plan.BANKS:
        options = plan.bank_options(seed, bank)
        for usage in ("zmk", "zpk", "zak"):
            yield from key_parts(f"{bank.name} {usage}", bytes.fromhex(getattr(options, usage)))
        for card in (card for of in bank.cards for card in of.cards()):
            yield f"PAN {card.pan}", card.pan.encode()
            for at in (0, 1):  # packed, from either nibble
                digits = card.pan[at : at + (len(card.pan) - at) // 2 * 2]
                yield f"PAN {card.pan} packed from {at}", bytes.fromhex(digits)
            discretionary = card.track2.partition("=")[2]
            yield f"track of {card.pan}", discretionary.encode()
            for at in (0, 1):
                digits = discretionary[at : at + (len(discretionary) - at) // 2 * 2]
                yield f"track of {card.pan} packed from {at}", bytes.fromhex(digits)
            block = pin_block.encode_format0(card.pin, card.pan)
            yield from both_cases(f"PIN block of {card.pan}", block)
            wrong = f"{(int(card.pin) + 1) % 1_000_000:06}"
            yield from both_cases(
                f"wrong PIN of {card.pan}", pin_block.encode_format0(wrong, card.pan)
            )
    for index, terminal in enumerate(plan.terminal_options(seed)):
        yield from key_parts(f"TMK {index}", bytes.fromhex(terminal.tmk))
    for index, key in enumerate(sessions):
        yield from key_parts(f"session key {index}", key)


def key_parts(name: str, key: bytes) -> Iterator[tuple[str, bytes]]:
    """A key as a whole, and each half of it, as cipher contexts and logs might show them."""
    for start in range(0, len(key), 8):
        yield from both_cases(f"{name} part {start // 8}", key[start : start + 8])


@pytest.fixture
def options(tmp_path: Path) -> Iterator[plan.Options]:
    made = plan.Options(data=tmp_path / "demo", seed=11, transactions=TRANSACTIONS)
    yield made
    remove_folder(made.data)


def test_nothing_secret_stands_in_clear(
    options: plan.Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: set[bytes] = set()
    take_keys = Terminal._take_keys

    def overheard(self: Terminal, answer: Any) -> str:
        wrong = take_keys(self, answer)
        sessions.update(key for key in (self._pik, self._mak, self._tdk) if key)
        return wrong

    monkeypatch.setattr(Terminal, "_take_keys", overheard)
    day = demonstrate(options, quiet=True)
    assert day.right, day.checks
    assert len(sessions) >= 120  # two and more for each of 60 terminals
    secrets = dict(secrets_of(options.seed, sorted(sessions)))
    needles = Needles(secrets.items())

    # the search finds what is there; the banks' own files hold PANs, outside the data folder
    assert needles.found_in(b"..".join(secrets.values())) == set(secrets)
    control = set[str]()
    for path in options.banks_folder.glob("bank-*/IND*ACOM"):
        control |= needles.found_in_file(path)
    assert len(control) > 100

    folders = [options.data]
    pointer = options.data / "postgres" / "moved-to"
    if pointer.exists():
        folders.append(type(pointer)(pointer.read_text(encoding="utf-8").strip()))
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    assert any(path.parent.name == "pg_wal" for path in files)
    assert any(path.suffix == ".jsonl" for path in files)
    assert any(path.suffix == ".html" for path in files)
    found = {str(path): names for path in files if (names := needles.found_in_file(path))}
    assert not found, {path: sorted(names)[:5] for path, names in found.items()}

    dumped = dump(options.data)
    assert b"COPY switch.request" in dumped
    assert b"COPY settlement.clearing_row" in dumped
    names = needles.found_in(dumped)
    assert not names, sorted(names)[:5]


def dump(data: Path) -> bytes:
    """The whole database as pg_dump writes it: values, not pages."""
    with EmbeddedPostgres.start(data) as postgres:
        command = [str(find_binaries(None) / "pg_dump"), "--host", str(postgres.socket_dir)]
        command += ["--port", str(PORT), "--username", SUPERUSER, DATABASE]
        done = subprocess.run(command, capture_output=True, check=True)
    return done.stdout
