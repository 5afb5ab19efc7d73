"""What errors of the core say: key -> (English, Chinese), values in braces."""

from typing import Final

from settlement.error_texts import bank, books, files

ERRORS: Final[dict[str, tuple[str, str]]] = {**books.ERRORS, **files.ERRORS, **bank.ERRORS}
assert len(ERRORS) == len(books.ERRORS) + len(files.ERRORS) + len(bank.ERRORS), "a key stands twice"
