"""The pages of the repository: links lead somewhere, commands have the options that they show.

Method: every relative link and every `tongbao` command in the shell blocks of README and `docs/` is read
out of the page; a command is parsed by the program's own command tree and not run. The walk-through
itself is run in `tests/end_to_end/test_first_steps.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from switch import cli
from switch.commands import approval, audit, dialect, operator
from switch.reference_file import KINDS
from switch.transactions import TYPES, OnUnknown
from terminals import cli as simulate
from tests.pages import commands
from tests.tables import sections, table

ROOT = Path(__file__).resolve().parent.parent
FORWARDED = {
    "simulate": simulate.app,
    "dialect": dialect.app,
    "operator": operator.app,
    "approval": approval.app,
    "audit": audit.app,
}
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), f"{page.name}: {target}"
        if heading:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings}
            assert heading in anchors, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_have_the_options_that_are_shown(page: Path) -> None:
    for words in commands(page):
        tree, rest = cli.command("en"), words
        if rest[0] in FORWARDED:
            tree, rest = typer.main.get_command(FORWARDED[rest[0]]), rest[1:]
        while hasattr(tree, "commands"):
            assert rest, words
            assert rest[0] in tree.commands, f"{page.name}: {' '.join(words)}"
            tree, rest = tree.commands[rest[0]], rest[1:]
        if "--help" not in rest:
            tree.make_context("tongbao", list(rest))


def test_the_walk_through_of_the_readme_is_that_of_first_steps() -> None:
    known = commands(ROOT / "docs" / "first-steps.md")
    for words in commands(ROOT / "README.md"):
        assert any(set(words) <= set(longer) for longer in known), words


def test_example_files_that_are_named_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"docs/[\w./-]+\.(?:toml|hex|md|json)", page.read_text("utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_transactions_that_the_terminals_page_lists() -> None:
    """Its table is the program's: elements, what unknown leads to, what is captured."""
    ends = {
        OnUnknown.FORGET: "forgotten",
        OnUnknown.REVERSE: "reversed",
        OnUnknown.REPEAT: "repeated",
    }
    page = sections((ROOT / "docs" / "pos.md").read_text(encoding="utf-8"))
    told = {row[0].split()[0]: row[1:] for row in table(page["Transactions served"])}
    for row in TYPES.values():
        mti, code, condition, usage, unknown, captured, reversible = told[row.name]
        assert (mti, code[:2], condition, usage) == (row.mti, row.code, row.condition, row.usage)
        assert unknown.startswith(ends[row.on_unknown]), row.name
        assert captured == {1: "+", -1: "\N{MINUS SIGN}", 0: "\N{EN DASH}"}[row.sign], row.name
        assert reversible.startswith("yes" if row.terminal_may_reverse else "no"), row.name


def test_profile_settings_that_the_terminals_page_names_exist() -> None:
    page = sections((ROOT / "docs" / "pos.md").read_text(encoding="utf-8"))
    named = {
        name for row in table(page["Profile settings"]) for name in re.findall(r"`(\w+)`", row[0])
    }
    assert named == set(KINDS["profile"].shape.__struct_fields__) - {"name"}
