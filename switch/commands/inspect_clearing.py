"""Lines of fixed-width clearing files for `tongbao inspect`: the layouts are settlement's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iso8583.inspector import inputs
from iso8583.message import mask_pan, mask_text
from settlement.files.layout import FileError, Layout
from settlement.files.registry import FORMATS
from switch.commands.common import CommandError, Exit
from switch.commands.inspect import plain_or_terminal, print_json, table
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from switch.commands.inspect import Options

LAYOUTS: Final = {
    name.lower(): layout
    for name, form in FORMATS.items()
    for layout in form.layouts[:1]
    if isinstance(layout, Layout)
}


def layout_named(kind: str, language: str) -> Layout:
    """The layout of a type of file; CommandError naming the kinds there are."""
    layout = LAYOUTS.get(kind.lower())
    if layout is None:
        known = ", ".join((*inputs.KINDS, *LAYOUTS))
        raise CommandError(f"{kind}: {say('inspect_kinds', language, known=known)}", Exit.USAGE)
    return layout


def layout_of(data: bytes) -> Layout | None:
    """The layout that the first line fits, the nearest in length; None where it fits none."""
    line = next(lines_of(data))[1]
    for layout in sorted(LAYOUTS.values(), key=lambda one: abs(one.length - len(line))):
        try:
            layout.split(line, "", 1)
        except FileError:
            continue
        return layout
    return None


def show_lines(given: str | bytes, layout: Layout, name: str, options: Options) -> Exit:
    """Every line field by field; 1 if one breaks the layout."""
    data = given.encode(layout.encoding, "replace") if isinstance(given, str) else given
    worst = Exit.DONE
    for count, (number, line) in enumerate(lines_of(data)):
        if count == inputs.MESSAGES_MAX:
            left_out = say("inspect_lines_left_out", options.language, count=count)
            show_line(layout, number, [], left_out, options)
            return Exit.DIFFERENCES
        error: str | None = None
        values: list[str | None] = []
        try:
            values = layout.split(line, "stdin" if name == "-" else name, number)
        except FileError as refused:
            chinese = options.language.startswith("zh") and not options.as_json
            error, worst = refused.told(chinese=chinese), Exit.DIFFERENCES
        show_line(layout, number, values, error, options)
    return worst


def lines_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1, one after another."""
    at, number = 0, 0
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        number += 1
        line = data[at:end].removesuffix(b"\r")
        if line.strip():
            yield number, line
        at = end + 1


def show_line(
    layout: Layout, number: int, values: list[str | None], error: str | None, options: Options
) -> None:
    """The fields of one line, secret ones masked; or what is wrong with it."""
    rows = [
        (field, value if value is None or options.unmask else hidden(value, secret=field.secret))
        for field, value in zip(layout.fields, values, strict=False)
    ]
    if options.as_json:
        fields = {field.name: value for field, value in rows}
        print_json({"layout": layout.name, "line": number, "fields": fields, "error": error})
        return
    console = plain_or_terminal()
    title = f"{layout.name} · {say('inspect_line', options.language)} {number}"
    console.print(f"{title}: {error}" if error else title, markup=False)
    if rows:
        names = ("column", "field", "format", "value", "meaning")
        headings = [say(f"inspect_{name}", options.language) for name in names]
        cells = [
            (str(field.offset + 1), field.name, f"{field.format} {field.length}", value or "", field.meaning)
            for field, value in rows
        ]  # fmt: skip
        console.print(table(headings, cells))


def hidden(value: str, *, secret: bool) -> str:
    """A PAN masked; in any other text runs of digits as long as one."""
    return mask_pan(value) if secret else mask_text(value)
