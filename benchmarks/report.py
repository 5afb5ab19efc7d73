"""What every benchmark says: machine, command, a table; or the figures as one JSON object."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from switch import logs
from switch.adapters.system import SystemClock

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """Processor, cores, interpreter."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Python {platform.python_version()}"


def command(module: str) -> str:
    return f"python -m {module} {' '.join(sys.argv[1:])}".rstrip()


def begin() -> None:
    """Keep this process and all that it starts on the first two cores; no log but warnings."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    logs.configure(SystemClock(), "benchmark", level="warning", file=None)


def open_files(wanted: int) -> None:
    """Let this process and all that it starts have so many open files; or say what is missing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{wanted:,} open files are needed, {hard:,} allowed: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def show(
    module: str, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], notes: str = ""
) -> None:
    """Command, machine, title, then the table; the first column is left-aligned."""
    print(f"{command(module)}\n{machine()}\n{title}\n")
    table(columns, rows)
    if notes:
        print(f"\n{notes}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [tuple(columns), *map(tuple, rows)]
    widths = [max(len(row[at]) for row in lines) for at in range(len(columns))]
    for row in lines:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def percentiles(taken_ns: array[int]) -> dict[str, float]:
    """p50, p99, p99.9 and the longest, in ms; empty where there is nothing.

    >>> from array import array
    >>> percentiles(array("q", [1_000_000, 3_000_000, 2_000_000]))
    {'p50': 2.0, 'p99': 3.0, 'p99.9': 3.0, 'max': 3.0}
    """
    ordered = sorted(taken_ns)
    if not ordered:
        return {}
    count = len(ordered)
    at = {
        "p50": count // 2,
        "p99": count * 99 // 100,
        "p99.9": count * 999 // 1000,
        "max": count - 1,
    }
    return {name: ordered[place] / 1e6 for name, place in at.items()}


def as_json(module: str, **figures: Any) -> None:
    print(json.dumps({"command": command(module), "machine": machine(), **figures}))


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The median of each figure over rounds."""
    return {
        name: statistics.median(each[name] for each in rounds)
        for name, value in rounds[0].items()
        if isinstance(value, int | float)
    }


def sync_ms(folder: Path, times: int = 100) -> float:
    """Median of writing 8 KiB and fdatasync in a folder: the least that a durable commit waits."""
    path = folder / "sync.tmp"
    taken_ns: list[int] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, bytes(times << 13))
        os.fsync(descriptor)
        for at in range(times):
            started_ns = time.perf_counter_ns()
            os.pwrite(descriptor, bytes([at]) * 8192, at << 13)
            os.fdatasync(descriptor)
            taken_ns.append(time.perf_counter_ns() - started_ns)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(taken_ns) / 1e6


# -- processor time -----------------------------------------------------------------------------


class Usage:
    """User and system seconds of a set of processes, as /proc has them."""

    def __init__(self, user_s: float = 0.0, system_s: float = 0.0) -> None:
        self.user_s = user_s
        self.system_s = system_s

    @property
    def total_s(self) -> float:
        return self.user_s + self.system_s

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.user_s + other.user_s, self.system_s + other.system_s)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.user_s - other.user_s, self.system_s - other.system_s)


def usage(pids: Iterable[int]) -> Usage:
    """What these processes have used so far."""
    return sum((_times(pid, 11) for pid in pids), Usage())


def usage_of_dead_children(pid: int) -> Usage:
    """What children of this process had used that have ended (a server's short-lived workers)."""
    return _times(pid, 13)


def ran_s(pids: Iterable[int]) -> float:
    """The same to the nanosecond where the kernel keeps it, for short rounds."""
    return sum(map(_ran_s, pids))


def _ran_s(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task")
    try:
        texts = [(each / "schedstat").read_text(encoding="utf-8") for each in threads.iterdir()]
    except OSError:
        return _times(pid, 11).total_s
    return sum(int(text.split()[0]) for text in texts) / 1e9


def title(pid: int) -> str:
    """What a process says it is; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def established(pid: int, port: int) -> int:
    """How many connections to this port a process has accepted."""
    inodes: set[str] = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01" and int(fields[1].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    return sum(os.readlink(each) in inodes for each in Path(f"/proc/{pid}/fd").iterdir())


def _times(pid: int, at: int) -> Usage:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:  # it has ended; its parent has its time once it is reaped
        return Usage()
    fields = text.rpartition(")")[2].split()
    return Usage(int(fields[at]) * TICK_S, int(fields[at + 1]) * TICK_S)


def descendants(pid: int) -> dict[int, str]:
    """pid and name of a process and of everything below it."""
    parents: dict[int, list[tuple[int, str]]] = {}
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text(encoding="utf-8")
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        fields = text.rpartition(")")[2].split()
        parents.setdefault(int(fields[1]), []).append((int(entry.name), name))
        if int(entry.name) == pid:
            found[pid] = name
    waiting = [pid]
    while waiting:
        for child, name in parents.get(waiting.pop(), ()):
            found[child] = name
            waiting.append(child)
    return found
