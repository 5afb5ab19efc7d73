"""The embedded engine for days of a few rows: planning how to read them is most of what a close costs.

So in every run it plans nothing, a quarter less for each of some thousand closes; in `make test-deep`
it does, as the command's own engine always does (`tests/crash`, `tests/end_to_end`, the command's tests).
"""

import tempfile
from pathlib import Path

from settlement.adapters.duckdb_engine import DuckDbEngine
from tests.depth import DEPTH


def small_engine() -> DuckDbEngine:
    made = DuckDbEngine(threads=1, memory_mib=256, spill=Path(tempfile.gettempdir()))
    if DEPTH == 1:
        made._database.execute("PRAGMA disable_optimizer")
    return made
