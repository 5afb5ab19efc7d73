"""The generated parts of docs/disputes.md: `python -m tests.settlement.casework_page` writes them anew.

Each stands between `<!-- generated: NAME -->` and `<!-- end -->`, made from the tables that the code
runs on. A test fails while the page is not what this would write.
"""

# ruff: noqa: T201 - it prints

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from settlement.casework.acts import ACTS, CLASS_ACTS
from settlement.casework.states import TABLE as CASES
from settlement.disputes.deadlines import DEADLINES_DAYS
from settlement.disputes.reasons import EVENT_OF
from settlement.disputes.table import ENDS, STARTED_BY_US, TABLE as DISPUTES
from settlement.posting_rules import POSTING_RULES
from settlement.texts import TEXTS
from tests.simulation.diagrams import OUTSIDE, Edges, edge, mermaid

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "disputes.md"
PART: Final = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
OURS: Final = frozenset(
    {state for (state, event), move in DISPUTES.items() if event in STARTED_BY_US and move.money}
)


def rendered(page: str) -> str:
    """The page with every generated part as it should be. KeyError: a part that nobody makes."""
    return PART.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}", page)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def case_edges() -> Edges:
    """From the table of states; what leaves a case as it is has no edge."""
    edges: Edges = {(OUTSIDE, "open"): ["found by a close, or opened"]}
    for (before, kind), after in CASES.items():
        if after.settled != before:
            label = kind if after.settled == after.left else f"{kind} (nothing left)"
            edge(edges, before, after.settled, label)
        if after.left not in (before, after.settled):
            edge(edges, before, after.left, f"{kind} (some left)")
    return edges


def dispute_edges(*, ours: bool) -> Edges:
    """What issuers ask of us, or what we ask of them: with who says it, but for the network."""
    edges: Edges = {}
    for (before, event), move in DISPUTES.items():
        if (before in OURS or (before == "new" and event in STARTED_BY_US)) != ours:
            continue
        said = event if move.by in ("network", "clock") else f"{event} by us"
        edge(edges, OUTSIDE if before == "new" else before, move.state, said)
    ends = [after for _, after in edges if after in ENDS]
    return edges | {(end, OUTSIDE): [""] for end in dict.fromkeys(ends)}


def acts() -> str:
    rows = [
        [
            f"`{act.name}`",
            " ".join(TEXTS[f"act_{act.name}"]),
            f"`{act.permission}`",
            rules(act.long, act.short, act.owed),
            "yes" if act.part else "",
        ]
        for act in ACTS.values()
    ]
    return table(["act", "what", "approval", "posting rules", "in parts"], rows)


def rules(*names: str) -> str:
    return ", ".join(f"`{name}/{POSTING_RULES[name].version}`" for name in names if name)


def classes() -> str:
    return table(
        ["class", "what may end it, beside a later close"],
        [
            [f"`{name}` {TEXTS[f'class_{name}'][1]}", ", ".join(f"`{act}`" for act in named)]
            for name, named in CLASS_ACTS.items()
            if f"class_{name}" in TEXTS
        ],
    )


def moves() -> str:
    """Every row of the table of disputes."""
    rows = []
    for (state, event), move in DISPUTES.items():
        money = {"charge": "takes" if move.sign < 0 else "gives back", "adjust": "settles"}
        days = f"{DEADLINES_DAYS[move.deadline]} ({move.deadline})" if move.deadline else ""
        rows.append(
            [
                f"`{state}`",
                f"`{event}` {TEXTS[f'event_{event}'][1]}",
                move.by,
                f"`{move.state}`",
                money.get(move.money, ""),
                move.hold,
                days,
                f"`{move.approval}`" if move.approval else "",
            ]
        )
    head = [
        "state",
        "event",
        "by",
        "leads to",
        "money",
        "hold",
        "working days to go on",
        "approval",
    ]
    return table(head, rows)


def error_types() -> str:
    return table(
        ["error type", "event"],
        [[kind, f"`{event}` {TEXTS[f'event_{event}'][1]}"] for kind, event in EVENT_OF.items()],
    )


PARTS: Final[dict[str, Callable[[], str]]] = {
    "states-case": lambda: mermaid(case_edges()),
    "acts": acts,
    "classes": classes,
    "states-dispute": lambda: mermaid(dispute_edges(ours=False)),
    "states-ours": lambda: mermaid(dispute_edges(ours=True)),
    "moves": moves,
    "error-types": error_types,
}


def main() -> int:
    before = PAGE.read_text(encoding="utf-8")
    after = rendered(before)
    PAGE.write_text(after, encoding="utf-8")
    print(f"{PAGE.name}: {'as it was' if before == after else 'written'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
