"""Reading the tables of our own pages, for tests that hold them against the program."""

from __future__ import annotations


def sections(page: str) -> dict[str, str]:
    """The text under each heading, whatever its level, up to the next heading."""
    found: dict[str, str] = {}
    heading = ""
    for line in page.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
            assert heading not in found, f"two headings {heading!r}"
            found[heading] = ""
        elif heading:
            found[heading] += line + "\n"
    return found


def table(text: str) -> list[list[str]]:
    """The rows of the first table in a text, without its head; `\\|` is a bar in a cell."""
    rows: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith("|"):
            cells = line.replace("\\|", "\0").strip().strip("|").split("|")
            rows.append([cell.strip().replace("\0", "|") for cell in cells])
        elif rows:
            break
    assert len(rows) > 2, "no table"
    return rows[2:]
