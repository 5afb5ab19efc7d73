"""Texts of the demonstration: both languages, the same values, and no key that is missing."""

from __future__ import annotations

import re
import string
from pathlib import Path

from switch.demo.texts import TEXTS

FOLDER = Path(__file__).resolve().parents[3] / "switch" / "demo"


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_halves_say_the_same() -> None:
    for key, (english, chinese) in TEXTS.items():
        assert english, key
        assert places(english) == places(chinese), key
        han = any("\u4e00" <= character <= "\u9fff" for character in chinese)
        assert han or key == "help_lang", key


def test_every_stage_check_and_event_has_a_text() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py"))
    for key in re.findall(r'"((?:stage|check|event|verdict)_[a-z]+)"', source):
        assert key in TEXTS, key
