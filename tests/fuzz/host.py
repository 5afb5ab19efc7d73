"""The part of `make fuzz` that puts damaged host commands and noise to a vault's port.

What must hold of any answer is in `tests/hsm/host/examples.py`. A failure is made smaller, stored in
`tests/hsm/host/regressions/` as hex, and told.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, strategies as st

from hsm.host.commands import COMMANDS
from tests.hsm.host import examples

REGRESSIONS = Path(__file__).resolve().parent.parent / "hsm" / "host" / "regressions"
EXAMPLES = 200  # of one command, before the next has its turn
SHRINK_S = 10.0


class HostFoundError(Exception):
    """A command that was not answered as any must be."""

    def __init__(self, command: bytes) -> None:
        super().__init__(command)
        self.command = command


def ask(command: bytes) -> None:
    try:
        examples.check(command)
    except Exception as error:
        raise HostFoundError(command) from error


def fuzz(seconds: float, first_seed: int) -> tuple[int, HostFoundError | None]:
    """Commands asked, and the first failure."""
    until, asked, codes = time.monotonic() + seconds, 0, sorted(COMMANDS)
    number = 0
    while time.monotonic() < until:
        try:
            run_one(codes[number % len(codes)], first_seed + number)
        except HostFoundError as found:
            return asked, found
        number += 1
        asked += EXAMPLES
    return asked, None


def run_one(code: str, of: int) -> None:
    @seed(of)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        command = data.draw(st.sampled_from(examples.examples()[code]))
        ask(data.draw(examples.damaged(command)))

    check()


def smaller(found: HostFoundError, seconds: float) -> bytes:
    """The same failure with fewer bytes, as far as the time goes."""
    until, command = time.monotonic() + seconds, found.command
    step = len(command) // 2
    while step and time.monotonic() < until:
        for at in range(0, len(command), step):
            less = command[:at] + command[at + step :]
            if fails(less):
                command = less
                break
        else:
            step //= 2
    return command


def fails(command: bytes) -> bool:
    try:
        examples.check(command)
    except Exception:  # noqa: BLE001 - whatever it is, it is what we look for
        return True
    return False


def store(command: bytes, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{hashlib.sha256(command).hexdigest()[:12]}.hex"
    file.write_text(command.hex() + "\n", encoding="ascii")
    return file
