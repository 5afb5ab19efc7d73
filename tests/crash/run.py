"""Real crashes: `python -m tests.crash.run --rounds 50 --seed 1`.

One line a round. The first broken promise ends the run with exit code 1 (not with `--keep-going`); its
folder stays, and two commands are printed: one goes over the history again (`--check`), one runs the
round's schedule again in a world of its own (`--only`).
"""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import msgspec

from tests.crash import history as histories
from tests.crash.checker import ANOMALIES, Anomaly, check
from tests.crash.history import Answered, Asked, Banked, Entry, History
from tests.crash.plan import Plan, plan_of
from tests.crash.recovery import decided_s, recovery_s, resumed_s
from tests.crash.world import World
from tests.database import temporary_folder

LIFE = 5  # rounds between full restarts


class Round(msgspec.Struct, frozen=True):
    """What came of a round. Counts are of the services' whole life up to now; a time that has no end
    is infinite (null in JSON). `resumed_s` has one for each kill of a process, `decided_s` one for each
    request that such a process may have left."""

    round: int
    embedded: bool
    harm: str
    took_s: float
    drained_s: float
    recovery_s: float
    resumed_s: list[float]
    decided_s: list[float]
    asked: int
    approved: int
    entries: int
    anomalies: list[Anomaly]
    folder: str = ""


async def one_round(world: World, plan: Plan) -> Round:
    """Load and harm together; then the verdict."""
    begun_s = time.monotonic()
    harm = asyncio.create_task(world.harm(plan.faults))
    anomalies: list[Anomaly] = []
    drained_s = 0.0
    try:
        gave_up = await world.load.trade(harm)
    except TimeoutError:
        anomalies = [Anomaly("undecided", "terminals", "did not come to an end")]
    else:
        anomalies = [Anomaly("undecided", "terminal", text) for text in gave_up]
    await harm
    if anomalies:
        anomalies += [one for one in check(world.history()) if one.name == "not_recovered"]
    else:
        drained_s, anomalies = await world.settled()
    history = world.history()
    now = history.since(begun_s)
    took_s = time.monotonic() - begun_s
    return Round(
        round=plan.round,
        embedded=plan.embedded,
        harm=", ".join(f"{one.deed} {one.target}" for one in plan.faults),
        took_s=round(took_s, 1),
        drained_s=round(drained_s, 1),
        recovery_s=round(recovery_s(now), 1),
        resumed_s=[round(one, 1) for one in resumed_s(now)],
        decided_s=[round(one, 1) for one in decided_s(now)],
        asked=len(history.of(Asked)),
        approved=sum(answer.code == "00" for answer in history.of(Answered)),
        entries=sum(entry.standing for entry in history.of(Entry)),
        anomalies=anomalies,
        folder=keep(world, history, plan) if anomalies else "",
    )


def keep(world: World, history: History, plan: Plan) -> str:
    """History, schedule, logs and books of a failing round, in a folder that stays."""
    folder = Path(tempfile.mkdtemp(prefix=f"tongbao-crash-{plan.seed}-{plan.round}-"))
    histories.write(folder / "history.jsonl", history)
    (folder / "plan.json").write_bytes(msgspec.json.format(msgspec.json.encode(plan)))
    for pattern in ("*.book", "*.log", "*/serve.log", "*/data/log/*", "console.log"):
        for path in world.folder.glob(pattern):
            target = folder / path.relative_to(world.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return str(folder)


async def live(plans: list[Plan], *, keep_going: bool, as_json: bool) -> list[Round]:
    """Rounds of one life of the services."""
    rounds: list[Round] = []
    with temporary_folder() as folder:
        first = plans[0]
        async with World(
            folder,
            embedded=first.embedded,
            link_connections=first.link_connections,
            seed=first.seed,
        ) as world:
            for plan in plans:
                rounds.append(await one_round(world, plan))
                tell(rounds[-1], plan.seed, as_json=as_json)
                if rounds[-1].anomalies and not keep_going:
                    break
    return rounds


def tell(done: Round, seed: int, *, as_json: bool) -> None:
    """One line; of a broken round also what is broken, and the two commands."""
    if as_json:
        print(msgspec.json.encode(done).decode(), flush=True)
        return
    verdict = "BROKEN" if done.anomalies else "kept"
    print(
        f"round {done.round:3} {verdict} {done.took_s:5.1f} s · drained {done.drained_s:4.1f} s"
        f" · recovered {done.recovery_s:4.1f} s{after_kills(done)} · {done.asked} asked,"
        f" {done.approved} approved, {done.entries} stand · {'embedded: ' if done.embedded else ''}{done.harm}",
        flush=True,
    )
    for anomaly in done.anomalies[:20]:
        print(f"  {anomaly.name}: {ANOMALIES[anomaly.name]} · {anomaly.where} · {anomaly.why}")
    if done.anomalies:
        print(f"  check again: python -m tests.crash.run --check {done.folder}/history.jsonl")
        print(f"  run again:   python -m tests.crash.run --seed {seed} --only {done.round}")


def after_kills(done: Round) -> str:
    """The two times from a kill, where there was one."""
    if not done.resumed_s:
        return ""
    left = f", {len(done.decided_s)} left decided {max(done.decided_s, default=0.0):.1f} s"
    return f" · resumed {max(done.resumed_s):.1f} s{left}"


def summary(rounds: list[Round]) -> str:
    """The table at the end."""
    broken = [one.round for one in rounds if one.anomalies]
    names = [anomaly.name for one in rounds for anomaly in one.anomalies]
    resumed = [took_s for one in rounds for took_s in one.resumed_s]
    decided = [took_s for one in rounds for took_s in one.decided_s]
    rows = [
        ("rounds", str(len(rounds))),
        ("broken", ", ".join(map(str, broken)) or "0"),
        ("lost", str(names.count("lost"))),
        ("doubled", str(names.count("doubled") + names.count("orphan"))),
        ("longest from harm to an approval", f"{max(one.recovery_s for one in rounds):.1f} s"),
        ("from a kill to an approval there", spread(resumed)),
        ("from a kill until all it left ended", spread(decided)),
        ("longest until drained", f"{max(one.drained_s for one in rounds):.1f} s"),
        ("time", f"{sum(one.took_s for one in rounds):.0f} s"),
    ]
    return "\n".join(f"{name:36} {value}" for name, value in rows)


def spread(times_s: list[float]) -> str:
    if not times_s:
        return "nothing to measure"
    return f"{median(times_s):.1f} s, at most {max(times_s):.1f} s ({len(times_s)} times)"


def recheck(path: Path) -> int:
    """The verdict over a history that was kept."""
    history = histories.read(path)
    anomalies = check(history)
    for anomaly in anomalies:
        print(f"{anomaly.name}: {ANOMALIES[anomaly.name]} · {anomaly.where} · {anomaly.why}")
    print(f"{len(history.of(Banked))} messages at banks, {len(anomalies)} anomalies")
    return 1 if anomalies else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this round's schedule, in a world of its own")
    parser.add_argument("--life", type=int, default=LIFE, help="rounds between full restarts")
    parser.add_argument("--keep-going", action="store_true", help="past broken rounds")
    parser.add_argument("--json", action="store_true", help="a JSON line a round")
    parser.add_argument("--check", type=Path, help="go over a kept history again, run nothing")
    given = parser.parse_args()
    if given.check is not None:
        return recheck(given.check)
    numbers = range(given.rounds) if given.only is None else range(given.only, given.only + 1)
    plans = [plan_of(given.seed, number, given.life) for number in numbers]
    rounds: list[Round] = []
    while plans and (given.keep_going or not any(one.anomalies for one in rounds)):
        life = given.life - plans[0].round % given.life
        now, plans = plans[:life], plans[life:]
        rounds += asyncio.run(live(now, keep_going=given.keep_going, as_json=given.json))
    if not given.json:
        print(summary(rounds))
    return 1 if any(one.anomalies for one in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
