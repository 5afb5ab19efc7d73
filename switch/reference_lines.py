"""Where in the text of a file of reference data a key stands, for who has to correct it. Pure."""

from __future__ import annotations

import re

AT = re.compile(r"(?P<kind>[a-z_]+)\[(?P<number>[0-9]+)\](?P<path>.*)")
PART = re.compile(r"\.([A-Za-z0-9_-]+)")
HEAD = re.compile(r"\s*\[\[\s*(?P<kind>[a-z_]+)\s*\]\]")  # of an item, not of a table within it


def line_of(text: str, at: str) -> int:
    """Where the key of a path stands, as far as it can be followed; 0 where that can not be said.

    >>> line_of("[[link]]\\nport = 1\\n[[link]]\\nport = 0\\n", "link[2].port")
    4
    """
    found = AT.match(at)
    if found is None:
        return 0
    kind, number = found["kind"], int(found["number"])
    lines = text.splitlines()
    heads = [line for line, said in enumerate(lines, 1) if HEAD.match(said)]
    ours = [line for line in heads if _name_in(lines[line - 1]) == kind]
    if number > len(ours):
        return 0  # inline, or in a text of several lines
    place = ours[number - 1]
    end = next((line for line in heads if line > place), len(lines) + 1)
    table = kind
    for key in PART.findall(found["path"]):
        table = f"{table}.{key}"
        for line in range(place + 1, end):
            said = lines[line - 1]
            if said.partition("=")[0].strip() == key or said.strip() == f"[{table}]":
                place = line
                break
        else:
            break
    return place


def _name_in(line: str) -> str:
    found = HEAD.match(line)
    return "" if found is None else found["kind"]
