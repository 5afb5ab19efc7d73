"""A node serves terminals in a dialect of its operator's own, in every worker.

Method: a real node of two workers with `docs/example-dialect.toml`; connections enough to reach both.
The file is broken under it: what runs goes on, and a start says what is wrong with it.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Final

import pytest

from iso8583.codec import Codec
from iso8583.dialects import registry
from iso8583.dialects.from_toml import from_toml
from iso8583.framing import POS, Frame, build
from tests.end_to_end.node import ROOT, Node
from tests.end_to_end.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from iso8583.message import Message

pytestmark = pytest.mark.xdist_group("end_to_end")

EXAMPLE = ROOT / "docs" / "example-dialect.toml"
CONNECTIONS = 12
PURCHASE: Final[Message] = {
    0: "0200",
    3: "000000",
    4: "000000010000",
    11: "000001",
    22: "012",
    25: "00",
    41: "10000001",
    42: "102584054110001",
    48: "TIP 5.00",
    49: "156",
    60: "22000001",
}


async def codes(node: Node, codec: Codec) -> list[str]:
    """DE 39 of the answers to a purchase, each on a connection of its own."""
    request = codec.encode(PURCHASE)
    frame = Frame(bytes.fromhex("6000060000"), bytes.fromhex("603100000000"), request)
    found = []
    for _ in range(CONNECTIONS):
        async with Wire(node.address) as wire:
            wire.send(build(frame, POS))
            found.append(str(codec.decode((await wire.frame()).body)[39]))
    return found


def test_a_dialect_of_ones_own_is_served_by_every_worker(tmp_path: Path) -> None:
    file = tmp_path / "acme.toml"
    shutil.copy(EXAMPLE, file)
    codec = Codec(from_toml(EXAMPLE.read_text(encoding="utf-8"), registry.get))
    node = Node(tmp_path, dialects=[file], more='dialect = "acme_pos"')
    node.start()
    try:
        # nobody knows the terminal: whoever could not read the message would answer 30
        assert asyncio.run(codes(node, codec)) == ["97"] * CONNECTIONS
        file.write_text("name = 1", encoding="utf-8")
        assert asyncio.run(codes(node, codec)) == ["97"] * CONNECTIONS
    finally:
        assert node.stop() == 0
    with pytest.raises(AssertionError, match=r"acme\.toml: line 1: name: expected `str`"):
        node.start()
