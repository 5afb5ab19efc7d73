"""What risk rules cost: asked of a request, and over a counter in the store.

    python -m benchmarks.risk [--requests N] [--seconds S] [--rounds N] [--no-store] [--json]

First the pure part, in µs of processor time for each request: no rule, one and five that look at the
request alone and do not fire, one and five over counters (what they ask for; nothing is read). Then,
in turns on nodes of their own as in `benchmarks.switch`, everything: without a rule, with one over a
counter of its card, with five of which one is over the card and four look at the request alone.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import math
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from benchmarks.forward import WARM_S
from benchmarks.load import PURCHASES, TMK, Plan
from benchmarks.switch import TPS_MAX, Everything
from switch import limits
from switch.intake import Ask, Private
from switch.journal import Key, RequestRow
from switch.reference import Item, Snapshot
from switch.risk_rules import Condition, Rule
from switch.transactions import TYPES
from terminals.registry import Merchant

NOW: Final = dt.datetime(2026, 3, 4, 4, 0, tzinfo=dt.UTC)
LINES: Final = 64
MERCHANT: Final = Merchant(merchant="M00000000000001", name="Benchmark")


def plain(number: int) -> Rule:
    """Looks at the request alone, and lets it pass."""
    when = Condition(types=("purchase",), currencies=("156",), entry_modes=("05",))
    return Rule(
        name=f"plain-{number}", scope="merchant", when=when, measure="amount",
        threshold=10**9, action="decline",
    )  # fmt: skip


def counted(number: int) -> Rule:
    """Over a counter of the card; never full."""
    return Rule(
        name=f"counted-{number}", scope="card", when=Condition(types=("purchase",)),
        measure="count", threshold=10**9, window_s=600, action="decline",
    )  # fmt: skip


ASKED: Final[dict[str, list[Rule]]] = {
    "none": [],
    "1 plain": [plain(1)],
    "5 plain": [plain(number) for number in range(5)],
    "1 counted": [counted(1)],
    "5 counted": [counted(number) for number in range(5)],
}
SERVED: Final[dict[str, list[Rule]]] = {
    "none": [],
    "1 counted": [counted(1)],
    "5, 1 counted": [counted(1), *(plain(number) for number in range(4))],
}


def items(rules: list[Rule]) -> list[tuple[str, str, dict[str, Any]]]:
    return [("risk_rule", rule.name, msgspec.to_builtins(rule)) for rule in rules]


# -- asked of a request ---------------------------------------------------------------------------


def asked_us(requests: int, rounds: int) -> dict[str, float]:
    """Least µs a request of each set, in turns."""
    snapshots = {
        name: Snapshot(
            1,
            [
                Item(kind=kind, key=key, version=1, effective_from=NOW, content=content)
                for kind, key, content in items(rules)
            ],
        )
        for name, rules in ASKED.items()
    }
    ask = Ask(
        type=TYPES["purchase"], kind="020.00", stan=1, processing_code="000000", private=Private(),
        pan="6220000000000019", expiry="3012", amount_minor=100_00, currency="156",
        entry_mode="051", condition="00", has_pin=True,
    )  # fmt: skip
    request = RequestRow(
        request_id=1, owner_id=1, generation=1,
        key=Key(MERCHANT.merchant, "T0000001", 1, 1, "020.00"), content=b"", type="purchase",
        mti="0200", processing_code="000000", amount_minor=100_00, currency="156",
        rrn="606300000001", received_at=NOW, local_time="0304120000", entry_mode="051",
        pan_token=bytes(16),
    )  # fmt: skip
    local = NOW.astimezone(ZoneInfo("Asia/Shanghai"))
    least = dict.fromkeys(ASKED, float("inf"))
    for _ in range(rounds):
        for name, snapshot in snapshots.items():
            began_s = time.process_time()
            for _ in range(requests):
                if snapshot.risk.rules:  # as `admission` asks
                    limits.assess(ask, request, MERCHANT, None, local, snapshot)
            spent_s = time.process_time() - began_s
            least[name] = min(least[name], spent_s / requests * 1e6)
    return least


# -- everything -----------------------------------------------------------------------------------


def served(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of each set of rules, in turns."""
    from switch.commands.common import reference

    async def bring(dsn: str, rules: list[Rule]) -> None:
        async with reference(dsn) as store:
            await store.apply(items(rules), maker="benchmark")

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SERVED}
    with ExitStack() as stack:
        nodes = {}
        for name, rules in SERVED.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="risk-")))
            folder.chmod(0o711)
            spare = math.ceil((WARM_S + rounds * seconds) * TPS_MAX / LINES / PURCHASES)
            plan = Plan(port=0, lines=LINES, spare=spare, tmk=TMK)
            node = nodes[name] = Everything(stack, folder, 2, plan)
            asyncio.run(bring(node.node.facts["database"]["dsn"], rules))
        time.sleep(2.0)  # every worker has read them
        for _ in range(rounds):
            for name, node in nodes.items():
                found[name].append(node.trade(seconds))
    keys = ("switch_us", "postgres_us", "tps", "latency_ms_p99")
    return {
        name: {key: statistics.median(result[key] for result in results) for key in keys}
        for name, results in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.risk", description="What risk rules cost."
    )
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=4.0, help="a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-store", dest="store", action="store_false")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    given = parser.parse_args()
    figures: dict[str, Any] = {"asked_us": asked_us(given.requests, given.rounds)}
    if given.store:
        figures["served"] = served(given.seconds, given.rounds)
    if given.json:
        print(json.dumps(figures))
        return
    for name, least_us in figures["asked_us"].items():
        print(f"asked  {name:14} {least_us:7.2f} µs")
    for name, of in figures.get("served", {}).items():
        print(
            f"served {name:14} switch {of['switch_us']:6.1f} µs · PostgreSQL "
            f"{of['postgres_us']:6.1f} µs · {of['tps']:7.0f} TPS · p99 {of['latency_ms_p99']:6.1f} ms"
        )


if __name__ == "__main__":
    main()
