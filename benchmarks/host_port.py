"""How many host commands a device answers in a second, on one core, over loopback, pipelined.

    python -m benchmarks.host_port [--json] [--rounds N] [--seconds S] [--connections N] [--window N]

The real `tongbao hsm serve --demo` in a process of its own on the first core; the clients, which only
keep their windows full and compare every answer with the right one, on the second. A round of each
command in turn; the figure is the median round.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import msgspec
import uvloop

from benchmarks.report import TICK_S, as_json, show
from hsm.host.framing import HostFramer, frame

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
CA_PER_S = 15_000  # the bar

COMMANDS = {
    "CA": (
        b"CAU8463435FC4B4DAA0C49025272C29B12CU1EF828AA8F6B80EB83E19FBC373F3A85"
        b"126428EB94035AF53B0101550000025321",
        b"CB000491DDDA0A7C12CFAA01",
    ),
}


TITLE = (
    "host commands of one device on one core, over loopback: "
    "{connections} connections, {window} commands under way on each"
)
COLUMNS = ("command", "a second", "CPU µs", "bar")


class Load(msgspec.Struct, frozen=True):
    """How much is asked, how often and for how long."""

    rounds: int = 5
    seconds: float = 2.0
    connections: int = 4
    window: int = 32


class Client(asyncio.Protocol):
    """Keeps `window` commands under way until told to stop."""

    def __init__(self, asked: bytes, wanted: bytes, window: int) -> None:
        self._asked = frame(b"0000" + asked)
        self._wanted = b"0000" + wanted
        self._window = window
        self._framer = HostFramer()
        self._transport: asyncio.Transport | None = None
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._asked * self._window)

    def data_received(self, data: bytes) -> None:
        answers = self._framer.receive(data)
        for answer in answers:
            if answer != self._wanted:
                raise AssertionError(answer)
        self.answered += len(answers)
        assert self._transport is not None
        self._transport.write(self._asked * len(answers))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@contextmanager
def device(core: int) -> Iterator[tuple[int, int]]:
    """A device on one core: its process id and port."""
    with tempfile.TemporaryDirectory() as folder:
        file, ready = Path(folder) / "device.toml", Path(folder) / "ready"
        file.write_text("port = 0\nfolder = 'hsm'\n", encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "tongbao", "hsm", "serve", "--demo",
             "--config", str(file), "--ready-file", str(ready)],
            cwd=ROOT, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.sched_setaffinity(process.pid, {core})
        try:
            deadline = time.monotonic() + 30
            while not (ready.exists() and ready.read_text(encoding="utf-8")):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the device did not start")
                time.sleep(0.05)
            yield process.pid, int(ready.read_text(encoding="utf-8").rpartition(":")[2])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def cpu_s(pid: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


async def round_of(
    pid: int, port: int, pair: tuple[bytes, bytes], load: Load
) -> tuple[float, float]:
    """Commands a second, and the device's CPU µs a command."""
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(load.connections):
        _, client = await loop.create_connection(
            lambda: Client(*pair, load.window), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.sleep(0.2)  # the windows are full
    before, began, busy = sum(c.answered for c in clients), time.perf_counter(), cpu_s(pid)
    await asyncio.sleep(load.seconds)
    done = sum(c.answered for c in clients) - before
    took, used = time.perf_counter() - began, cpu_s(pid) - busy
    for client in clients:
        client.close()
    return done / took, used / done * 1e6


def measure(load: Load, names: tuple[str, ...] = ("CA",)) -> dict[str, dict[str, float]]:
    """Per command: commands a second, and the device's CPU µs a command; medians of the rounds."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    try:
        with device(cores[0]) as (pid, port):
            for _ in range(load.rounds):
                for name in names:
                    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                        found[name].append(runner.run(round_of(pid, port, COMMANDS[name], load)))
    finally:
        os.sched_setaffinity(0, cores)
    return {
        name: {
            "per_s": statistics.median(rate for rate, _ in rows),
            "cpu_us": statistics.median(cost for _, cost in rows),
        }
        for name, rows in found.items()
    }


def rows_of(figures: dict[str, dict[str, float]]) -> list[list[str]]:
    """The table's rows."""
    verdict = {True: "pass", False: "MISSED"}
    return [
        [
            name,
            f"{row['per_s']:,.0f}",
            f"{row['cpu_us']:.1f}",
            f"≥ {CA_PER_S:,} {verdict[row['per_s'] >= CA_PER_S]}",
        ]
        for name, row in figures.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="host commands a second of one device")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--window", type=int, default=32, help="commands under way, a connection")
    given = parser.parse_args()
    load = Load(given.rounds, given.seconds, given.connections, given.window)
    figures = measure(load)
    if given.json:
        as_json("benchmarks.host_port", commands=figures)
        return
    title = TITLE.format(**msgspec.structs.asdict(load))
    show("benchmarks.host_port", title, COLUMNS, rows_of(figures))


if __name__ == "__main__":
    main()
