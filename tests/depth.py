"""How many examples the costly drawn tests play: enough in every run, ten times as many in a deep one.

Costly is what closes days or asks PostgreSQL for each example. `make test-deep` sets the environment
variable, and runs the drawn tests alone.
"""

import os
from typing import Final

DEPTH: Final = int(os.environ.get("TONGBAO_TEST_DEPTH", "1"))


def examples(count: int) -> int:
    """`max_examples` of a costly test."""
    return count * DEPTH
