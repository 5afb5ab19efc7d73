"""Composition: the only module that names adapters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from switch.config import Config
    from switch.worker import Control


async def run_worker(
    config: Config,
    worker_index: int,
    listening_sockets: Sequence[socket.socket],
    lmk: bytes,
    control: Control,
) -> None:
    """Serve until told to drain."""
    del config, worker_index, listening_sockets, lmk
    control.ready()
    await control.drain_requested()
