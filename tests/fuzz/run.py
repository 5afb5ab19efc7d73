"""`make fuzz`: every dialect and every host command under mutated bytes and noise, for a given time.

Hypothesis draws from the dialects' own tables (`tests/iso8583/strategies.py`); each draw is put to the
checks of `tests/iso8583/checks.py`: table against specialised code both ways, what is read can be
written, the inspector and the framers never raise, time and memory are bounded. A failure is made
smaller, stored in `tests/iso8583/regressions/` and told; the run then ends with 1. A fifth of the time is for the
host commands of the vault (`tests/fuzz/host.py`).

    python -m tests.fuzz.run --seconds 60 [--seed N] [--dialect NAME …] [--only language|host]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, strategies as st

from iso8583.codec import codec_for
from iso8583.dialects import registry
from tests.fuzz import host
from tests.iso8583 import checks
from tests.iso8583.corpus import records
from tests.iso8583.strategies import messages, values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iso8583.dialects.table import Dialect

REGRESSIONS = Path(__file__).resolve().parent.parent / "iso8583" / "regressions"
EXAMPLES = 40  # of one kind in one dialect, before the next has its turn
SHRINK_S = 10.0
HOST_SHARE = 0.2  # of the time, for host commands
CORPUS = [bytes.fromhex(row["hex"]) for row in records()]
NEAR_VALUES: list[Any] = [
    "",
    "0",
    "²",
    "\uff11",
    " ",
    "\n",
    "成功",
    "=",
    "D",
    "C0",
    "1_0",
    b"",
    None,
    7,
]


class FoundError(Exception):
    """A check that failed: which, where, on what."""

    def __init__(self, check: str, dialect: str, case: Any) -> None:
        super().__init__(check, dialect)
        self.check, self.dialect, self.case = check, dialect, case


def ask(check: str, dialect: str, case: Any) -> None:
    try:
        checks.CHECKS[check](dialect, case)
    except Exception as error:
        raise FoundError(check, dialect, case) from error


# -- what is drawn ------------------------------------------------------------------------------


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """A few bytes changed, dropped, repeated, cut, added; or a stretch of another message in it."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        kind = draw(st.sampled_from(["set", "bit", "cut", "add", "drop", "repeat", "splice"]))
        if kind == "set" and changed:
            changed[at] = draw(st.integers(0, 255))
        elif kind == "bit" and changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del changed[at:]
        elif kind == "add":
            changed[at:at] = draw(st.binary(min_size=1, max_size=6))
        elif kind == "drop":
            del changed[at : at + draw(st.integers(1, 6))]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + draw(st.integers(1, 20))]
        else:
            other = draw(st.sampled_from(CORPUS))
            cut = draw(st.integers(0, len(other)))
            changed[at:] = other[cut:]
    return bytes(changed)


def messages_as_they_are(data: st.DataObject, dialect: Dialect) -> None:
    message = data.draw(messages(dialect))
    codec = checks.codec_of(dialect.name)
    checks.make_code(codec, message)
    ask("encoded_alike", dialect.name, message)
    ask("decoded_alike", dialect.name, codec.generic.encode(message))


def messages_mutated(data: st.DataObject, dialect: Dialect) -> None:
    message = data.draw(messages(dialect))
    codec = checks.codec_of(dialect.name)
    checks.make_code(codec, message)
    octets = codec.generic.encode(message)
    for _ in range(4):
        ask("decoded_alike", dialect.name, data.draw(mutated(octets)))


def values_that_are_wrong(data: st.DataObject, dialect: Dialect) -> None:
    message: dict[int, Any] = dict(data.draw(messages(dialect)))
    checks.make_code(checks.codec_of(dialect.name), message)
    de = data.draw(st.sampled_from(sorted(message)))
    row = dialect.element(de)
    near: st.SearchStrategy[Any] = st.sampled_from(NEAR_VALUES) | st.text(max_size=20)
    if row is not None:
        other = data.draw(st.sampled_from(dialect.elements))
        near |= values(other) | values(row).map(lambda value: value[:-1]) | st.binary(max_size=20)
    message[de] = data.draw(near)
    ask("encoded_alike", dialect.name, message)


def noise(data: st.DataObject, dialect: Dialect) -> None:
    ask("decoded_alike", dialect.name, data.draw(st.binary(max_size=200)))
    ask("decoded_alike", dialect.name, data.draw(mutated(data.draw(st.sampled_from(CORPUS)))))


def inspected(data: st.DataObject, dialect: Dialect) -> None:
    message = checks.codec_of(dialect.name).generic.encode(data.draw(messages(dialect)))
    framed = len(message).to_bytes(2, "big") + bytes.fromhex("6000060000603100000000") + message
    some = st.sampled_from([message, framed]) | st.sampled_from(CORPUS) | st.binary(max_size=99)
    ask("explained", dialect.name, data.draw(mutated(data.draw(some))))


def hostile(data: st.DataObject, dialect: Dialect) -> None:
    codec = codec_for(dialect.name)
    head = codec.generic.mtis[dialect.versions[0] + "200"]
    head += data.draw(st.binary(min_size=8, max_size=24))
    fill = data.draw(st.binary(min_size=1, max_size=4))
    ask("bounded", dialect.name, (head + fill * 65_537)[:65_537])


KINDS: list[tuple[Callable[[st.DataObject, Dialect], None], int]] = [
    (messages_as_they_are, EXAMPLES),
    (messages_mutated, EXAMPLES),
    (values_that_are_wrong, EXAMPLES),
    (noise, EXAMPLES),
    (inspected, 4),
    (hostile, 2),
]


# -- the run ------------------------------------------------------------------------------------


def turns(names: list[str]) -> Iterator[tuple[str, Callable[[st.DataObject, Dialect], None], int]]:
    while True:
        for name in names:
            for kind, examples in KINDS:
                yield name, kind, examples


def fuzz(names: list[str], seconds: float, first_seed: int) -> tuple[int, FoundError | None]:
    """Draws made, and the first failure."""
    until, draws = time.monotonic() + seconds, 0
    for number, (name, kind, examples) in enumerate(turns(names)):
        if time.monotonic() >= until:
            return draws, None
        try:
            run_one(kind, registry.get(name), examples, first_seed + number)
        except FoundError as found:
            return draws, found
        draws += examples
    raise AssertionError("turns never end")


def run_one(
    kind: Callable[[st.DataObject, Dialect], None], dialect: Dialect, examples: int, of: int
) -> None:
    @seed(of)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        kind(data, dialect)

    check()


def smaller(found: FoundError, seconds: float) -> FoundError:
    """The same failure on fewer bytes or elements, as far as the time goes."""
    until, case = time.monotonic() + seconds, found.case
    step = len(case) // 2
    while step and time.monotonic() < until:
        for at in range(0, len(case), step):
            less = without(case, at, step)
            if time.monotonic() < until and fails(found.check, found.dialect, less):
                case = less
                break
        else:
            step //= 2
    return FoundError(found.check, found.dialect, case)


def without(case: Any, at: int, count: int) -> Any:
    if isinstance(case, bytes):
        return case[:at] + case[at + count :]
    dropped = [de for de in list(case)[at : at + count] if de != 0]
    return {de: value for de, value in case.items() if de not in dropped}


def fails(check: str, dialect: str, case: Any) -> bool:
    try:
        checks.replay(checks.as_case(check, dialect, case))
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        return True
    return False


def store(found: FoundError, folder: Path) -> Path:
    text = checks.as_case(found.check, found.dialect, found.case)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    file = folder / f"{found.check}-{found.dialect}-{digest}.json"
    file.write_text(text, encoding="utf-8")
    return file


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make fuzz", description="Fuzz the language and the vault's port."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="time box; default 60")
    parser.add_argument("--seed", type=int, default=None, help="of the draws; default: a new one")
    parser.add_argument("--dialect", action="append", choices=registry.names(), help="only these")
    parser.add_argument("--only", choices=["language", "host"], help="only this part")
    given_ = parser.parse_args(arguments)
    first = int.from_bytes(os.urandom(4), "big") if given_.seed is None else given_.seed
    only = "language" if given_.dialect else given_.only
    host_s = {None: HOST_SHARE, "host": 1.0, "language": 0.0}[only] * given_.seconds
    if host_s and fuzz_host(host_s, first):
        return 1
    if only == "host":
        return 0
    return fuzz_language(given_.dialect or list(registry.names()), given_.seconds - host_s, first)


def fuzz_language(names: list[str], seconds: float, first: int) -> int:
    began = time.monotonic()
    draws, found = fuzz(names, seconds, first)
    spent = time.monotonic() - began
    if found is None:
        say(f"{draws} draws in {len(names)} dialects, {spent:.0f} s, seed {first}: nothing found")
        return 0
    traceback.print_exception(found.__cause__)
    file = store(smaller(found, SHRINK_S), REGRESSIONS)
    say(f"found after {draws} draws, seed {first}: {found.check} in {found.dialect}; {file}")
    return 1


def fuzz_host(seconds: float, first: int) -> int:
    asked, found = host.fuzz(seconds, first)
    if found is None:
        say(f"{asked} host commands, {seconds:.0f} s, seed {first}: nothing found")
        return 0
    traceback.print_exception(found.__cause__)
    file = host.store(host.smaller(found, SHRINK_S), host.REGRESSIONS)
    say(f"found after {asked} host commands, seed {first}; {file}")
    return 1


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
