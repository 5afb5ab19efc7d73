"""Who moves a case's money and who resolves the case meet here.

A close keeps casework out by the lock of its date. A statement does not: it resolves cases beside people
who work them. So both hold the locks of their cases until they have committed, and then look at what
the other may have written. Taken after `hold_open` and before anything is inserted for the cases.
"""

import zlib
from collections.abc import Collection
from typing import Any, Final

LOCK: Final = 8593  # class of the advisory locks of cases
LOCKS: Final = 256  # cases share them, so that no commit needs more


async def lock_cases(connection: Any, case_ids: Collection[str]) -> None:
    """In one order, so that no two wait for each other."""
    for number in sorted({zlib.crc32(case_id.encode()) % LOCKS for case_id in case_ids}):
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, number)
