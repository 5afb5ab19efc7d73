"""What was taken in, for people and for later steps; `Store.take_in` writes it."""

from datetime import date
from typing import Protocol

from settlement.clearing import IncomingFile
from settlement.files.rows import FileRow


class FileRows(Protocol):
    async def file_rows(self, kind: str, first: date, last: date) -> list[FileRow]:
        """Rows of one of `rows.KINDS` with these settlement dates, of each name's last version, by
        (settlement date, acquirer, file, line)."""

    async def files_between(self, first: date, last: date) -> list[IncomingFile]:
        """Files with these settlement dates, all versions, by (settlement date, acquirer, name,
        version), without their sealed bytes."""
