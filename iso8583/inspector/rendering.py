"""An inspection for people: a summary, a table, the marked byte, the mistakes.

Colours where the console has them; elsewhere the byte is marked `>7A<`. Bytes of values that are
masked are shown by their kind alone: `dd` two decimal digits, `xx` anything else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iso8583 import elements
from iso8583.reasons import reason
from iso8583.texts import text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from iso8583.inspect import Inspection
    from iso8583.inspector.framings import Problem

LINE_BYTES: Final = 16
DUMP_BYTES_MAX: Final = 512
_RAW_CHARACTERS_MAX: Final = 48
_HIDDEN: Final = re.compile(r"\[(\d+) (bytes|characters)\]")


def summary(inspection: Inspection, lang: str = "en") -> str:
    """One line: dialect, framing, and the error if there is one."""
    framing, error = inspection.framing, inspection.error
    parts = [
        f"{part} {value}"
        for part, value in (
            (text("length", lang), framing.length.hex().upper()),
            ("TPDU", _in_words(inspection.tpdu_as_shown, lang)),
            (text("header", lang), _in_words(inspection.header_shown, lang)),
        )
        if value
    ]
    line = f"{text('dialect', lang)} {inspection.dialect or '-'} · {text('framing', lang)} "
    line += ", ".join(parts) or "-"
    if inspection.source:
        line = f"{inspection.source} · {line}"
    if error is None:
        return f"{line} · {text('decoded', lang)}"
    return f"{line} · {text('error', lang)}: {_said(error, lang)}"


def _said(error: Problem, lang: str) -> str:
    """Element, byte, rule."""
    where = ""
    if error.de is not None:
        where = (
            f"{text('element', lang)} {error.de}" if error.de > 1 else elements.name(error.de, lang)
        )
        where += " "
    return f"{where}{text('at_byte', lang)} {error.offset}: {reason(error.reason, lang)}"


def table(inspection: Inspection, lang: str = "en") -> Table:
    """Element, name, offset, bytes, value, meaning; first what stands before the MTI; tags and
    subfields below their element."""
    from rich.table import Table
    from rich.text import Text

    made = Table()
    for heading in ("element", "name", "offset", "bytes", "value", "meaning"):
        made.add_column(
            text(heading, lang),
            overflow="fold",
            justify="right" if heading in ("element", "offset") else "left",
        )
    chinese = lang.startswith("zh")
    for frame in inspection.frame():
        shown = f"[{frame.size}]" if frame.raw is None else _short(frame.raw)
        value = "" if frame.fields else _in_words(frame.value, lang)
        cells = ["", frame.names[chinese], str(frame.offset), shown, value, frame.meaning[chinese]]
        made.add_row(*map(Text, cells))
        for field in frame.fields:
            made.add_row(
                *map(Text, ["", f"  {field.names[chinese]}", "", "", field.value, ""]), style="dim"
            )
    blame = None if inspection.error is None else inspection.error.de
    for row in _with_blamed(inspection, lang):
        de = int(row[0])
        at, width = inspection.spans.get(de, (None, 0))
        raw = inspection.raw(de)
        shown = _short(raw) if raw is not None else f"[{width}]" if width else ""
        value = _in_words(row[2], lang)
        cells = [row[0], row[1], "" if at is None else str(at), shown, value, row[3]]
        made.add_row(*map(Text, cells), style="red" if de == blame else None)
        for part in inspection.parts.get(de, ()):
            cells = [
                "",
                f"  {part.key} {part.names[chinese]}",
                "",
                "",
                _in_words(part.value, lang),
                part.meanings[chinese],
            ]
            made.add_row(*map(Text, cells), style="dim")
    return made


def _in_words(shown: str, lang: str) -> str:
    """A value with widths in the operator's language where it has them in place of content."""
    return _HIDDEN.sub(lambda one: text(f"hidden_{one[2]}", lang).format(count=one[1]), shown)


def note(inspection: Inspection, lang: str = "en") -> str:
    """Why much is masked, where it is; else empty."""
    hidden = inspection.doubtful and not inspection.unmasked and inspection.fields
    return text("doubtful", lang) if hidden else ""


def _with_blamed(inspection: Inspection, lang: str) -> list[tuple[str, str, str, str]]:
    """The rows, and one for the element that could not be read, in its place."""
    rows = inspection.rows(lang)
    error = inspection.error
    if error is not None and error.de is not None and str(error.de) not in [row[0] for row in rows]:
        rows.append(
            (str(error.de), inspection.name(error.de, lang), "", reason(error.reason, lang))
        )
        rows.sort(key=lambda row: int(row[0]))
    return rows


def _short(raw: str) -> str:
    return raw if len(raw) <= _RAW_CHARACTERS_MAX else raw[:_RAW_CHARACTERS_MAX] + "…"


def dump(inspection: Inspection) -> Text:
    """The input in lines of 16 bytes, the byte of the error marked; at most `DUMP_BYTES_MAX` around
    it."""
    from rich.text import Text

    cells = _cells(inspection)
    mark = -1 if inspection.error is None else min(inspection.error.offset, len(cells))
    if mark == len(cells):  # the message ends where something was expected
        cells.append("  ")
    first = max(0, mark - DUMP_BYTES_MAX // 2) // LINE_BYTES * LINE_BYTES
    out = Text()
    for start in range(first, min(len(cells), first + DUMP_BYTES_MAX), LINE_BYTES):
        out.append(f"{start:04X} ", style="dim")
        for at in range(start, min(start + LINE_BYTES, len(cells))):
            before = ">" if at == mark else "<" if at == mark + 1 and at > start else " "
            out.append(before, style="bold red" if before != " " else "")
            out.append(cells[at], style="bold white on red" if at == mark else "")
        if start <= mark and mark + 1 in (start + LINE_BYTES, len(cells)):
            out.append("<", style="bold red")
        out.append("\n")
    return out


def _cells(inspection: Inspection) -> list[str]:
    """Two characters a byte: hex where the value is shown in full, else its kind."""
    data, framing = inspection.data, inspection.framing
    if inspection.unmasked:
        return [f"{octet:02X}" for octet in data]
    clear = set(range(len(framing.length) + len(framing.tpdu) * inspection.tpdu_shown))
    if not inspection.doubtful:  # else what was guessed to be a header may be elements
        clear |= set(range(framing.width))
    for de in inspection.shown:
        at, width = inspection.spans.get(de, (0, 0))
        clear |= set(range(at, at + width))
    return [
        f"{octet:02X}" if at in clear else "dd" if f"{octet:02x}".isdigit() else "xx"
        for at, octet in enumerate(data)
    ]


def mistakes(inspection: Inspection, lang: str = "en") -> list[str]:
    """One line a mistake, the likeliest first."""
    return [
        f"{text('likely' if number == 0 else 'or', lang)}: {mistake.text(lang)} "
        f"({text('at_byte', lang)} {mistake.offset})"
        for number, mistake in enumerate(inspection.mistakes)
    ]


def candidates_table(inspection: Inspection, lang: str = "en") -> Table:
    """The guesses with their score."""
    from rich.table import Table

    made = Table(title=text("candidates", lang), title_justify="left")
    for heading in ("score", "dialect", "framing", "elements", "error"):
        made.add_column(text(heading, lang), justify="right" if heading == "score" else "left")
    for guess in inspection.guesses:
        error = guess.error
        said = "" if error is None else _said(error, lang)
        made.add_row(str(guess.score), guess.dialect, guess.framing, str(guess.elements), said)
    return made
