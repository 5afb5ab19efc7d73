"""The generated parts of docs/simulation.md: `python -m tests.simulation.page` writes them anew.

Each stands between `<!-- generated: NAME -->` and `<!-- end -->`. A test fails while the page is not
what this would write.
"""

# ruff: noqa: T201 - it prints

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from switch.journal import Scene
from switch.reversal import judge_reversal
from switch.virtual.network import Weather
from terminals.simulator.bank import BankFaults
from tests.simulation import diagrams
from tests.simulation.draws import RATES, SHARES, SPANS, TIGHT
from tests.simulation.lines import LinkPlan
from tests.simulation.mutants import recorded
from tests.simulation.mutations import MUTATIONS
from tests.simulation.node import Bounds
from tests.simulation.promises import ELSEWHERE, IN_THE_STORE, PROMISES, checkers
from tests.simulation.store import StoreFaults
from tests.simulation.till import TillFaults
from tests.simulation.upheaval import UpheavalRates
from tests.simulation.vault import DeviceFaults, VaultFaults
from tests.simulation.world import ChaosRates
from tests.switch import test_reversal
from tests.switch.rows import TODAY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAGE: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "simulation.md"
PART: Final = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    "weather": Weather,
    "store": StoreFaults,
    "bank": BankFaults,
    "till": TillFaults,
    "vault": VaultFaults,
    "device": DeviceFaults,
}


def rendered(page: str) -> str:
    """The page with every generated part as it should be. KeyError: a part that nobody makes."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


# -- faults ------------------------------------------------------------------------------------


def faults(part: str, struct: type[msgspec.Struct]) -> str:
    """Rates as they are drawn, each with what its struct says of it."""
    says = meanings(struct)
    rows = [
        [
            f"`{name}`",
            says[name],
            f"{percent(draw.share)}, up to {percent(draw.most)}" if draw.share else "",
            percent(draw.rough) if draw.rough else "",
            percent(draw.rich) if draw.rich is not None else "",
        ]
        for name, draw in RATES[part].items()
    ]
    return table(["fault", "what happens", "of worlds, rate", "rough", "rich"], rows)


# Weights that are 0 in most worlds.
ONLY: Final = {"post": "rich worlds only", "store_clock_hour": "every fifth world"}


def weights(rates: type[msgspec.Struct]) -> str:
    """What happens to whole parts: one at a time, by weight."""
    says, values = meanings(rates), msgspec.structs.asdict(rates())
    rows = [
        [f"`{name}`", says[name], f"{value:g}" if value else ONLY[name]]
        for name, value in values.items()
        if name != "every_s"
    ]
    return table(["what", "what happens", "weight"], rows)


def meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Out of a docstring: "`name`: what it does · `other`: …"."""
    text = " ".join((struct.__doc__ or "").partition("\n\n")[2].split()).rstrip(".")
    parts = [each.strip().partition(": ") for each in text.split(" · ")]
    return {name.strip("`"): says for name, _, says in parts}


def spans() -> str:
    rows = [[name, f"{low:g} to {high:g}"] for name, (low, high) in SPANS.items()]
    rows += [[name, f"in {percent(share)} of worlds"] for name, share in SHARES.items()]
    return table(["drawn", "range"], rows)


def tight() -> str:
    says = meanings(Bounds)
    rows = [
        [f"`{name}`", says[name], f"{low:g} to {high:g}"] for name, (low, high) in TIGHT.items()
    ]
    return table(["bound", "of", "range"], rows)


def percent(share: float) -> str:
    return f"{share * 100:g} %"


# -- promises and planted bugs --------------------------------------------------------------------


def promises() -> str:
    known = checkers()
    rows = []
    for promise, says in PROMISES.items():
        here = [f"`{each.function}`" for each in known if promise in each.promises]
        why, tests = ELSEWHERE.get(promise, ("", ()))
        links = ", ".join(f"[{path.rpartition('/')[2]}](../{path})" for path in tests)
        rows.append([promise, says, ", ".join(here) or "none", f"{why}: {links}" if tests else ""])
    return table(["", "promise", "checkers", "elsewhere"], rows)


def checkers_told() -> str:
    rows = [
        [f"`{each.function}`", each.says.rstrip("."), " ".join(each.promises), f"`{each.file}`"]
        for each in checkers()
    ]
    return table(["checker", "holds that", "promise", "in"], rows)


def planted_bugs() -> str:
    seeds = recorded()
    rows = [
        [
            name,
            (mutation.__doc__ or "").partition("\n")[0].rpartition(" (")[0],
            broken,
            str(seeds[name]),
        ]
        for name, (mutation, broken) in MUTATIONS.items()
    ]
    return table(["bug", "what the code does then", "may break", "seed"], rows)


def in_the_store() -> str:
    rows = [
        [bug, f"[{file}](../tests/contract/{file}) `{test}`"]
        for bug, (file, test) in IN_THE_STORE.items()
    ]
    return table(["bug", "what guards the SQL"], rows)


# -- states ---------------------------------------------------------------------------------------


def reversals() -> str:
    """`judge_reversal` asked for every original that its test knows."""
    rows = []
    for name, (original, said, *_) in test_reversal.TABLE.items():
        scene = Scene(TODAY, 1, () if original is None else (original,))
        judgement = judge_reversal(test_reversal.ask(**said), scene)
        commit = judgement.commit
        assert commit is not None
        writes = [
            what
            for what, row in (
                ("tombstone", commit.request),
                ("outcome", commit.outcome),
                ("reversal and its 0420", commit.queue),
                ("case", commit.case),
            )
            if row is not None
        ]
        capture = "" if commit.reversal is None else commit.reversal.capture
        rows.append(
            [name, judgement.response_code, f"`{judgement.rule}`", ", ".join(writes), capture]
        )
    return table(["original", "DE 39", "rule", "writes", "capture"], rows)


PARTS: Final[dict[str, Callable[[], str]]] = {
    "states-authorization": lambda: diagrams.mermaid(diagrams.authorization_edges()),
    "states-connection": lambda: diagrams.mermaid(diagrams.connection_edges()),
    "states-reversal": lambda: diagrams.mermaid(diagrams.reversal_edges()),
    "states-batch": lambda: diagrams.mermaid(diagrams.batch_edges()),
    "states-date": lambda: diagrams.mermaid(diagrams.date_edges()),
    "steps-close": lambda: diagrams.mermaid(diagrams.close_edges()),
    "table-reversals": reversals,
    **{f"faults-{part}": partial(faults, part, struct) for part, struct in STRUCTS.items()},
    "faults-links": partial(faults, "links", LinkPlan),
    "faults-siblings": partial(faults, "siblings", Weather),
    "faults-chaos": lambda: weights(ChaosRates),
    "faults-upheaval": lambda: weights(UpheavalRates),
    "spans": spans,
    "tight": tight,
    "promises": promises,
    "checkers": checkers_told,
    "planted-bugs": planted_bugs,
    "bugs-in-the-store": in_the_store,
}


def main() -> int:
    before = PAGE.read_text(encoding="utf-8")
    after = rendered(before)
    PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.name}: {'as it was' if before == after else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
