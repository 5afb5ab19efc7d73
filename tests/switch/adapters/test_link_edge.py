"""Links over real sockets: TLS with certificates on both sides, listening, and what is told when not.

Goal: with the right certificates a purchase goes through, whoever connects; with any other nothing is
connected, and the log names the peer, the reason and the files. Method: a bank of the test's own script
behind `ssl`, certificates made for the test, asyncio's loop and uvloop.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import ssl
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import uvloop
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from hsm.adapters.local import LocalHsm
from switch.acquirers.iso8583_link import IsoLink
from switch.adapters.link_edge import SystemLinkEdge
from switch.adapters.system import SystemClock, SystemTransport
from switch.config import LinkEdge
from switch.ports import EdgeError
from switch.reference import Snapshot
from switch.tls import Pem, TlsError, link_context
from tests.certificates import Certificate
from tests.switch.acquirers.wire import (
    FAR_NS,
    Bank,
    BankConnection,
    FixedSlots,
    MemoryNumbers,
    World,
    answer_to,
    make_key,
    make_link,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from switch.reference import Link

BOTH = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


class Papers:
    """Authorities of either side, and what they vouch for."""

    def __init__(self) -> None:
        self.ours_ca, self.banks_ca = Certificate.make("our CA"), Certificate.make("bank CA")
        self.ours = Certificate.make("switch", self.ours_ca)
        self.bank = Certificate.make("bank", self.banks_ca)
        self.stranger = Certificate.make("stranger", Certificate.make("other CA"))

    def pem(self) -> Pem:
        return Pem(self.ours.pem, self.ours.key_pem(), self.banks_ca.pem)

    def pin(self, of: Certificate) -> str:
        return hashlib.sha256(of.made.public_bytes(serialization.Encoding.DER)).hexdigest()


PAPERS = Papers()


def context(of: Certificate, authority: Certificate, *, serves: bool) -> ssl.SSLContext:
    """The bank's, by hand."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=authority.pem.decode())
    with tempfile.TemporaryDirectory() as folder:
        made.load_cert_chain(*of.write(Path(folder), "bank"))
    made.verify_mode = ssl.CERT_REQUIRED
    return made


class Branch:
    def __init__(self, link: Link, bank: Bank, edge: SystemLinkEdge) -> None:
        self.bank = bank
        self.edge = edge
        self.snapshot = Snapshot(1, [], [make_key("ZAK", bank.zak)])
        self.iso = IsoLink(
            link,
            slots=FixedSlots(1),
            transport=edge.way_out(link) if link.connects == "us" else SystemTransport(),
            accepts=edge.way_in(link) if link.accepts else None,
            sources=edge.sources(link),
            clock=SystemClock(),
            hsm=LocalHsm(bank.vault),
            numbers=MemoryNumbers(),
            reference=lambda: self.snapshot,
            on_late=lambda *_: None,
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 - what a link does, it tells nobody
                await asyncio.sleep(0.01)

    async def buy(self) -> None:
        await self.until(lambda: self.iso.ready)
        message, attempt = World.message(self)  # type: ignore[arg-type]
        answer = await answer_to(self.iso, message, attempt, FAR_NS)
        assert answer.response_code == "00"

    async def stop(self) -> None:
        """Both sides: a loop that ends before a connection has leaves a warning to another test."""
        await self.iso.stop()
        self.bank.drop()
        await self.until(lambda: not self.bank.connections)

    @property
    def link(self) -> Link:
        return self.iso.link


def edge_of(*, listening: socket.socket | None = None) -> SystemLinkEdge:
    edge = LinkEdge(
        acquirer="bank_a",
        tls_authorities="/etc/bank-ca.pem",
        tls_certificate="/etc/switch.pem",
        tls_key="/etc/switch.key",
        listen_host="127.0.0.1" if listening else "",
        sources=("127.0.0.1",),
    )
    made = SystemLinkEdge([edge], [listening] if listening else [], SystemTransport())
    made.renew([PAPERS.pem()])
    return made


def run(loop: str, story: Callable[[], Awaitable[None]]) -> list[MutableMapping[str, Any]]:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with capture_logs() as logs, asyncio.Runner(loop_factory=factory) as runner:
        runner.run(story())  # type: ignore[arg-type]
    return logs


@asynccontextmanager
async def dialled(server_tls: ssl.SSLContext, **settings: Any) -> AsyncIterator[Branch]:
    """We connect to a bank that serves."""
    link = make_link(host="127.0.0.1", port=1, reconnect_s=0.05, **settings)
    bank = Bank(link)
    server = await asyncio.get_running_loop().create_server(
        lambda: BankConnection(bank), "127.0.0.1", 0, ssl=server_tls
    )
    port = server.sockets[0].getsockname()[1]
    branch = Branch(msgspec.structs.replace(link, port=port), bank, edge_of())
    await branch.iso.start()
    try:
        yield branch
    finally:
        await branch.stop()
        server.close()


@asynccontextmanager
async def listened(
    connect_timeout_s: float = 60.0, **settings: Any
) -> AsyncIterator[tuple[Branch, int]]:
    """The bank connects to us."""
    link = make_link(connects="bank", connect_timeout_s=connect_timeout_s, **settings)
    bank = Bank(link)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        branch = Branch(link, bank, edge_of(listening=listening))
        await branch.iso.start()
        try:
            yield branch, listening.getsockname()[1]
        finally:
            await branch.stop()


@BOTH
def test_we_connect_by_tls_and_show_our_certificate(loop: str) -> None:
    async def story() -> None:
        server = context(PAPERS.bank, PAPERS.ours_ca, serves=True)
        pins = (PAPERS.pin(PAPERS.stranger), PAPERS.pin(PAPERS.bank).upper())
        async with dialled(server, tls=True, tls_pins=pins) as branch:
            await branch.buy()
            (connection,) = branch.bank.connections
            assert connection.transport is not None
            tls = connection.transport.get_extra_info("ssl_object")
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
            shown = tls.getpeercert(binary_form=True)
            assert hashlib.sha256(shown).hexdigest() == PAPERS.pin(PAPERS.ours)

    run(loop, story)


REFUSED = [
    ("other authority", {}, "stranger", "127.0.0.1: self-signed certificate|unable to get"),
    ("other name", {"tls_name": "bank.example"}, "bank", "bank.example: .*bank.example"),
    ("other pin", {"tls_pins": ("00" * 32,)}, "bank", "none of those in tls_pins"),
]


@BOTH
@pytest.mark.parametrize(
    ("settings", "shows", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_another_bank_is_not_connected_to(
    loop: str, settings: dict[str, Any], shows: str, says: str
) -> None:
    async def story() -> None:
        server = context(getattr(PAPERS, shows), PAPERS.ours_ca, serves=True)
        with capture_logs() as logs:
            async with dialled(server, tls=True, **settings) as branch:
                await branch.until(
                    lambda: any(log["event"] == "link_connect_failed" for log in logs)
                )
                assert not branch.iso.ready
                assert not branch.bank.received
        told = next(log["error"] for log in logs if log["event"] == "link_connect_failed")
        assert "/etc/bank-ca.pem, /etc/switch.pem" in told
        assert re.search(says, told), told

    run(loop, story)


@BOTH
def test_a_bank_connects_by_tls(loop: str) -> None:
    async def story() -> None:
        async with listened(tls=True, tls_pins=(PAPERS.pin(PAPERS.bank),)) as (branch, port):
            client = context(PAPERS.bank, PAPERS.ours_ca, serves=False)
            await asyncio.get_running_loop().create_connection(
                lambda: BankConnection(branch.bank), "127.0.0.1", port, ssl=client
            )
            await branch.buy()

    run(loop, story)


@BOTH
def test_who_connects_with_another_certificate_keeps_nobody_out(loop: str) -> None:
    async def story() -> None:
        async with listened(connect_timeout_s=5.0, tls=True) as (branch, port):
            for wrong in (PAPERS.stranger, None):
                client = context(wrong or PAPERS.bank, PAPERS.ours_ca, serves=False)
                if wrong is None:  # none at all
                    client = ssl.create_default_context(cadata=PAPERS.ours_ca.pem.decode())
                try:
                    transport, _ = await asyncio.get_running_loop().create_connection(
                        asyncio.Protocol, "127.0.0.1", port, ssl=client
                    )
                    transport.close()
                except OSError:
                    pass
            await branch.until(lambda: branch.iso.counters.connections_refused == 2)
            with socket.create_connection(("127.0.0.1", port)):  # and one that says nothing
                await branch.until(lambda: branch.iso.counters.connections_refused == 3)
            client = context(PAPERS.bank, PAPERS.ours_ca, serves=False)
            await asyncio.get_running_loop().create_connection(
                lambda: BankConnection(branch.bank), "127.0.0.1", port, ssl=client
            )
            await branch.buy()

    logs = run(loop, story)
    told = [log["error"] for log in logs if log["event"] == "link_accept_failed"]
    assert len(told) == 3
    assert "/etc/bank-ca.pem" in told[0]


@BOTH
def test_two_workers_share_a_listening_socket(loop: str) -> None:
    """Whoever has a free slot takes the connection; the one too many is closed."""

    async def story() -> None:
        link = make_link(connects="bank", extra_s=0.3)
        bank = Bank(link)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            branches = [Branch(link, bank, edge_of(listening=listening)) for _ in range(2)]
            for branch in branches:
                await branch.iso.start()
            running = asyncio.get_running_loop()
            for _ in range(2):
                await running.create_connection(lambda: BankConnection(bank), "127.0.0.1", port)
            for branch in branches:
                await branch.buy()
            await running.create_connection(lambda: BankConnection(bank), "127.0.0.1", port)
            counters = [branch.iso.counters for branch in branches]
            await branches[0].until(lambda: sum(c.connections_refused for c in counters) == 1)
            for branch in branches:
                await branch.buy()
            for branch in branches:
                await branch.stop()

    run(loop, story)


@BOTH
def test_renewed_files_are_shown_from_then_on(loop: str) -> None:
    async def story() -> None:
        server = context(PAPERS.bank, PAPERS.ours_ca, serves=True)
        async with dialled(server, tls=True) as branch:
            await branch.buy()
            newer = Certificate.make("switch", PAPERS.ours_ca)
            branch.edge.renew([Pem(newer.pem, newer.key_pem(), PAPERS.banks_ca.pem)])
            branch.bank.drop()
            await branch.until(lambda: branch.iso.counters.connections_lost == 1)
            await branch.buy()
            connection = branch.bank.connections[-1]
            assert connection.transport is not None
            shown = connection.transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert hashlib.sha256(shown).hexdigest() == PAPERS.pin(newer)

    run(loop, story)


def test_what_a_node_lacks_is_named() -> None:
    plain = SystemTransport()
    none = SystemLinkEdge([], [], plain)
    with pytest.raises(EdgeError, match=r"links.tls_authorities: the link has TLS"):
        none.way_out(make_link(tls=True))
    with pytest.raises(EdgeError, match=r"links.listen_host: the bank connects to us"):
        none.way_in(make_link(connects="bank"))
    assert none.way_out(make_link()) is plain
    with pytest.raises(TlsError, match="authorities: a link names those"):
        link_context(Pem(b"", b""), serves=False)
