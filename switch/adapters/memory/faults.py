"""What is injected around a commit: delays, an outage, an acknowledgement that gets lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switch.journal import Commit


class LostAcknowledgementError(Exception):
    """Raised by a fault: the connection broke. The store asks again, as the real one does."""


class Faults:
    """What happens around a commit; `commit` is None while a decision is not made yet.

    Either may sleep, raise LostAcknowledgementError, or be cancelled with its process. `before` may
    raise StoreDownError: nothing stands.
    """

    async def before(self, commit: Commit | None) -> None:
        await asyncio.sleep(0)

    async def after(self, commit: Commit | None) -> None:
        """The rows stand by now."""
