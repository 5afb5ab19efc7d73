"""The JSON Schemas of `docs/schemas`, and validating real output against them.

To a script a schema says what is there at least; fields may be added. To us it says more: an object
may have no field that the schema does not name, so that nothing comes out that is not written down.
"""

from __future__ import annotations

import datetime as dt
import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

SCHEMAS = Path(__file__).resolve().parent.parent / "docs" / "schemas"
FORMATS = FormatChecker(())


def is_date(value: object) -> bool:
    return not isinstance(value, str) or dt.date.fromisoformat(value) is not None


def is_time(value: object) -> bool:
    """RFC 3339: date, `T`, time, zone."""
    if not isinstance(value, str):
        return True
    return "T" in value and dt.datetime.fromisoformat(value).tzinfo is not None


FORMATS.checks("date", ValueError)(is_date)
FORMATS.checks("date-time", ValueError)(is_time)


@cache
def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(found)
    return found


def closed(part: Any) -> Any:
    """The same schema, but objects that list their properties have no other."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    inside = {name: closed(each) for name, each in part.items()}
    if part.get("type") == "object" and isinstance(part.get("properties"), dict):
        inside.setdefault("additionalProperties", False)
    return inside


def assert_valid(name: str, value: Any) -> None:
    validator = Draft202012Validator(closed(schema(name)), format_checker=FORMATS)
    wrong = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
    assert not wrong, f"{name}: {'; '.join(wrong[:5])}"
