"""`tongbao replay`: recorded traffic through two builds, and what they differ in."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from switch.cli import ROOT
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_objects,
    print_progress,
    print_table,
    written,
)
from switch.replay import page
from switch.replay.builds import BuildError, Running, opened
from switch.replay.compare import RULES, Ignored, IgnoreError, Summary, differences
from switch.replay.journal_file import JournalFileError, read
from switch.texts import say

if TYPE_CHECKING:
    from switch.replay.compare import Differing

OURS = "."  # where the second build is not named


class Options(msgspec.Struct, frozen=True):
    journal: Path
    builds: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    limit: int = 20  # lines that are shown one by one, on the page too
    html: Path | None = None
    json: bool = False
    language: str = "en"


def run(options: Options) -> Exit:
    if len(options.builds) != 2:
        raise CommandError(say("replay_two_builds", options.language), Exit.USAGE)
    try:
        ignored = Ignored(options.ignore, options.compare)
    except IgnoreError as error:
        names = ", ".join(RULES)
        text = say("replay_no_rule", options.language, word=str(error), names=names)
        raise CommandError(text, Exit.USAGE) from error
    try:
        lines = checked(options.journal)
        return _run(options, ignored, lines)
    except JournalFileError as error:
        raise CommandError(str(error)) from error
    except BuildError as error:
        raise CommandError(say(error.key, options.language, **error.values)) from error


def checked(journal: Path) -> int:
    """How many lines; damage is found before anything is played."""
    count = 0
    for _ in read(journal):
        count += 1
    return count


def _run(options: Options, ignored: Ignored, lines: int) -> Exit:
    summary = Summary()
    shown: list[Differing] = []
    with ExitStack() as stack:
        runs = []
        for name in options.builds:
            build = stack.enter_context(opened(name, ROOT))
            running = Running(build, options.journal)
            stack.callback(running.close)
            runs.append(running)
        told = sys.stderr.isatty() and not options.json

        def progress() -> None:
            if told:
                done = min(running.lines for running in runs)
                print_progress(say("replay_progress", options.language, done=done, lines=lines))

        runs[0].on_progress = progress
        first, second = runs
        for found in differences(first, second, ignored, summary):
            if options.json:
                print_objects([as_object(found)])
            if len(shown) < options.limit:
                shown.append(found)
                if not options.json:
                    tell(found, options.language)
        names = [f"{running.build.name} ({running.hello.version})" for running in runs]
        if options.html is not None:
            written(options.html, page.render(names, summary, shown, language=options.language))
        if options.json:
            print_objects([summed(runs, summary)])
        else:
            tell_summary(names, summary, len(shown), options.language)
            if options.html is not None:
                print_line(say("explain_written", options.language, path=options.html))
    return Exit.DIFFERENCES if summary.differing else Exit.DONE


# -- what is said -------------------------------------------------------------------------------


def tell(of: Differing, language: str) -> None:
    print_line(say("replay_line", language, line=of.line, name=of.name, type=of.type))
    for each in of.differences:
        print_line(f"  {page.place(each, language)}: {each.a} | {each.b}")


def tell_summary(names: list[str], summary: Summary, shown: int, language: str) -> None:
    if summary.differing > shown:
        print_line(say("replay_more", language, count=summary.differing - shown))
    for name in page.COUNTS:
        counts = getattr(summary, name)
        if counts:
            print_table((say(f"replay_{name}", language), ""), page.ordered(counts))
    for told in page.as_recorded(names, summary, language):
        print_line(told)
    print_line(page.verdict(names, summary, language))


def as_object(of: Differing) -> dict[str, object]:
    return {"kind": "line", **msgspec.to_builtins(of)}


def summed(runs: list[Running], summary: Summary) -> dict[str, object]:
    """The last object: counts, and what each build came to."""
    return {
        "kind": "summary",
        "lines": summary.lines,
        "differing": summary.differing,
        "by_element": dict(sorted(summary.by_element.items())),
        "by_type": dict(sorted(summary.by_type.items())),
        "by_rule": dict(sorted(summary.by_rule.items())),
        "outcomes": dict(sorted(summary.outcomes.items())),
        "builds": [
            {
                "name": running.build.name,
                "version": running.hello.version,
                "as_recorded": same,
                "with_facts": summary.with_facts,
                "end": msgspec.to_builtins(running.end),
            }
            for running, same in zip(runs, summary.as_recorded, strict=True)
        ],
    }
