"""When an operator is locked out: after so many failures in a row, for so long after the last."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def locked_until(
    failures: Sequence[dt.datetime], *, failures_max: int, lock_out_s: float
) -> dt.datetime | None:
    """The end of the lock-out, or None. `failures` since the last success or unlocking, in order.

    Once it has ended one more try is let in; a failure begins it anew.

    >>> at = dt.datetime(2026, 3, 4, tzinfo=dt.UTC)
    >>> locked_until([at, at], failures_max=3, lock_out_s=60.0)
    >>> locked_until([at, at, at], failures_max=3, lock_out_s=60.0).isoformat()
    '2026-03-04T00:01:00+00:00'
    """
    if len(failures) < failures_max:
        return None
    return failures[-1] + dt.timedelta(seconds=lock_out_s)
