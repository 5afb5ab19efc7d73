"""Rows of `tests/vectors/vectors.json`: their data and keys, and a check of a single output."""

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]


def upper(data: bytes) -> str:
    return data.hex().upper()


def data_of(row: Row) -> bytes:
    given = row["input"]
    return given["data_ascii"].encode() if "data_ascii" in given else bytes.fromhex(given["data"])


def key_of(row: Row) -> bytes:
    return bytes.fromhex(row["keys"]["key"])


def equal(function: Callable[[Row], bytes]) -> Callable[[Row], None]:
    def check(row: Row) -> None:
        assert upper(function(row)) == row["output"]

    return check
