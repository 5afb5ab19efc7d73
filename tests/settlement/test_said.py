"""What errors say: every key that is used has a text in both languages, with the values it is given."""

import ast
import string
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from settlement.error_texts import ERRORS
from settlement.files.layout import FileError
from settlement.run import WaitingError
from settlement.said import SaidError, said

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("settlement", "switch") for path in (ROOT / folder).rglob("*.py")]
TABLES = ROOT / "settlement" / "error_texts"
BESIDE = {"RefusedError": 1, "ReportError": 1}  # arguments before the key


def places(text: str) -> list[tuple[str, str | None]]:
    return sorted((name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name)


def classes() -> set[str]:
    def below(of: type[SaidError]) -> Iterator[type[SaidError]]:
        yield of
        for one in of.__subclasses__():
            yield from below(one)

    return {found.__name__ for found in below(SaidError)} - {"FileError"}


def keys_of(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return keys_of(node.body) + keys_of(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def uses() -> Iterator[tuple[str, str, set[str]]]:
    """(where, key, names of the values) of every sentence that the source makes of a literal key."""
    import switch.commands.acts  # noqa: F401 - brings every class

    errors = classes()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(
                node.func, ast.Name | ast.Attribute
            ):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name != "said" and name not in errors:
                continue
            given = node.args[BESIDE.get(name, 0) if "lines.py" not in str(path) else 0 :]
            for key in keys_of(given[0]) if given else []:
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                yield where, key, {one.arg for one in node.keywords if one.arg}


def test_every_key_that_is_used_has_a_text_with_its_values() -> None:
    found = list(uses())
    assert len(found) > 200
    for where, key, values in found:
        assert key in ERRORS, f"{where}: {key}"
        assert {name for name, _ in places(ERRORS[key][0])} == values, f"{where}: {key}"


def test_every_text_is_used() -> None:
    words = {
        node.value
        for path in SOURCES
        if TABLES not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert ERRORS.keys() <= words


def test_both_halves_say_the_same() -> None:
    for key, (english, chinese) in ERRORS.items():
        assert places(english) == places(chinese), key
        assert english.isascii(), key
        words = any(text.strip(": ") for text, *_ in string.Formatter().parse(english))
        assert not words or any("\u4e00" <= character <= "\u9fff" for character in chinese), key


def test_a_sentence_within_a_sentence_is_in_the_same_language() -> None:
    reason = said("file_field", field="amount", reason=said("file_blank"))
    error = FileError("F", 3, 7, "6222021234567890", reason)
    assert str(error) == f"F: line 3, column 7, {'*' * 16!r}: amount: mandatory, but blank"
    assert error.told(chinese=True) == f"F:第 3 行第 7 列 {'*' * 16!r}:amount:必填,但为空"


def test_an_error_within_a_sentence_is_in_the_same_language() -> None:
    inner = WaitingError("date_not_closed", date=date(2026, 8, 3))
    outer = said("dispute_deadlines", reason=inner)
    assert str(outer) == "deadlines of disputes: 2026-08-03 is not closed yet"
    assert outer.told(chinese=True) == "争议期限:2026-08-03 尚未日终"
