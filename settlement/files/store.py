"""Where the rows of clearing files that are no transactions are read; `Store.take_in` writes them."""

from datetime import date
from typing import Protocol

from settlement.files.rows import FileRow


class FileRows(Protocol):
    async def file_rows(self, kind: str, first: date, last: date) -> list[FileRow]:
        """Rows of one of `rows.KINDS` with these settlement dates, of each name's last version, by
        (settlement date, acquirer, file, line)."""
