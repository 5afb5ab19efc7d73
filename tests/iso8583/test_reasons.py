# ruff: noqa: RUF001 - Chinese punctuation
"""Every reason that the language gives has its Chinese.

Goal: an operator who reads Chinese is told in Chinese what is wrong with bytes, inputs and dialects.
Method: the reasons are read out of the source, numbers and names put in; refusals met in other tests.
"""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iso8583 import reasons
from iso8583.codec import codec_for
from iso8583.contents import CONTENT
from iso8583.dialects import registry
from iso8583.dialects.from_toml import DialectFileError, from_toml
from iso8583.inspect import inspect_message
from iso8583.inspector import rendering
from tests.iso8583.corpus import record
from tests.iso8583.test_from_toml import REFUSED
from tests.iso8583.test_inspect import BROKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(reasons.__file__).parent
GIVEN_BY = {"DecodeError", "Problem", "DialectFileError", "refuse", "_left_out", "ValueError"}
FILES = [
    *(
        ROOT / f"{name}.py"
        for name in ("faults", "generic", "reading", "track", "composites", "tlv")
    ),
    *(ROOT / "dialects" / f"{name}.py" for name in ("table", "from_toml")),
    *(ROOT / "inspector").glob("*.py"),
    ROOT / "inspect.py",
]


def given_in(file: Path) -> Iterator[str]:
    """The reasons of a file: literals handed to errors, or set as `reason` before."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        values: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            values = node.args[-2:] if name in GIVEN_BY else []
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            values = [node.value] if node.targets[0].id == "reason" else []
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value
            elif isinstance(value, ast.JoinedStr):
                yield "".join(
                    str(one.value) if isinstance(one, ast.Constant) else "7" for one in value.values
                )


def is_chinese(text: str) -> bool:
    return re.search("[\u4e00-\u9fff]", text) is not None


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_reason_is_in_the_table(file: Path) -> None:
    for given in given_in(file):
        # the name of the dialect or element stands before, and goes where the key is told
        english = re.sub("^(7: |DE 7: )+", "", given) if file.stem == "table" else given
        if re.search("[a-z]{2}", english.removeprefix("7 in")) and " " in english:
            assert is_chinese(reasons.reason(english, "zh")), (file.name, english)


def test_reasons_were_found() -> None:
    found = [one for file in FILES for one in given_in(file)]
    assert len(found) > 60
    assert "needs 7 bytes, 7 left" in found


def test_contents_and_encodings() -> None:
    for _, english in CONTENT.values():
        assert is_chinese(reasons.reason(english, "zh")), english
        assert reasons.reason(f"{english} in cp500", "zh").endswith("编码cp500）")
    assert reasons.reason("something else in gbk", "zh") == "something else in gbk"
    assert reasons.reason("not a digit") == "not a digit"
    assert doctest.testmod(reasons).failed == 0


def test_both_halves_say_as_many_numbers() -> None:
    for english, chinese in reasons.REASONS.items():
        count = english.count("{}")
        assert sorted({*re.findall(r"\{(\d)\}", chinese)}) == list("0123"[:count]), english


@pytest.mark.parametrize(("text", "key", "line", "english"), REFUSED)
def test_refused_files_are_told_in_chinese(text: str, key: str, line: int, english: str) -> None:
    with pytest.raises(DialectFileError) as refused:
        from_toml(text, registry.get)
    assert english in refused.value.text()
    told = refused.value.text("zh")
    assert is_chinese(told.removeprefix(f"第{line}行: ")), told
    assert key in told


@pytest.mark.parametrize("name", [name for name, *_ in BROKEN])
def test_broken_messages_are_told_in_chinese(name: str) -> None:
    found = inspect_message(record(name)["hex"])
    assert found.error is not None
    assert is_chinese(reasons.reason(found.error.reason, "zh")), found.error.reason
    assert found.error.reason not in found.summary("zh")
    assert reasons.reason(found.error.reason, "zh") in found.summary("zh")
    assert rendering.table(found, "zh").row_count >= 1


def test_a_message_cut_anywhere_is_told_in_chinese() -> None:
    message: dict[int, str | bytes] = {0: "0200", 3: "000000", 11: "000001", 41: "12345678"}
    for name in ("unionpay_pos", "iso1987_ascii", "iso1993_ebcdic", "visa"):
        codec = codec_for(name)
        data = codec.encode({**message, 0: codec.dialect.versions[0] + "200"})
        for cut in range(len(data)):
            error = codec.explain(data[:cut]).error
            assert error is not None
            assert is_chinese(reasons.reason(error.reason, "zh")), error.reason
