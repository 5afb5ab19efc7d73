"""The spine on real parts: sign-on, trade, silence with reversal, restart, 0500.

Goal: the promises hold from the outside, over real TCP and PostgreSQL with two workers. Method:
simulated terminals and banks around a real node; after the traffic their views and the journal's
published view must agree, transaction by transaction.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from switch.transactions import TYPES
from terminals.simulator.bank import BankFaults, BankServer
from terminals.simulator.bank_lines import Dialler, Greeting
from terminals.simulator.fleet import Mix, TerminalFaults
from tests.certificates import Certificate, client_context
from tests.end_to_end.day import check_views, quiet, trade
from tests.end_to_end.node import Hosts, Node, furnish, running, terminal_options
from tests.end_to_end.wire import known

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("end_to_end")


def test_a_day_without_faults(tmp_path: Path) -> None:
    async def day(node: Node) -> None:
        async with Hosts() as hosts:
            await furnish(node, hosts, terminals=6)
            result = await trade(node, 6, 120)
            assert result.transactions == 120
            assert not result.undecided
            assert not result.surprises, (result.surprises, result.counts)
            assert not result.gave_up
            assert set(result.settlements) == {"balanced"}, result.settlements
            await quiet(node)
            await check_views(node, hosts, result)

    with running(tmp_path) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()
        check_lines(node)


def test_a_day_of_every_type(tmp_path: Path) -> None:
    """One bank connects to us, by TLS, and signs on; the other is of the binary kind."""
    papers = Certificate.make("our CA"), Certificate.make("bank CA")
    ours, banks = (Certificate.make("127.0.0.1", authority) for authority in papers)
    certificate, key = ours.write(tmp_path, "switch")
    authority, _ = papers[1].write(tmp_path, "bank-ca")
    client = client_context(papers[0], banks.write(tmp_path, "bank"))
    links = [
        "[[links]]",
        'acquirer = "bank_a"',
        'listen_host = "127.0.0.1"',
        'sources = ["127.0.0.1"]',
        f'tls_authorities = "{authority}"',
        f'tls_certificate = "{certificate}"',
        f'tls_key = "{key}"',
    ]
    weights = dict.fromkeys(Mix.__struct_fields__, 10.0)
    mix = Mix(**weights | {"wrong_pin": 0.0, "expired_card": 0.0, "poor_card": 0.0})

    async def day(node: Node) -> None:
        async with Hosts(kinds=("reference", "binary_host")) as hosts:
            hosts.servers[0] = BankServer(hosts.banks[0], Greeting)
            hosts.settings["bank_a"] = {"connects": "bank", "sign_on": "bank", "tls": True}
            await furnish(node, hosts, terminals=6, types=tuple(TYPES), ready=False)
            dialling = asyncio.create_task(dial(node, hosts.servers[0], client))
            await hosts.signed_on(2)
            last = terminal_options(5)
            await known(node, last.merchant, last.terminal)
            result = await trade(node, 6, 400, mix=mix)
            assert not result.undecided
            assert not result.surprises, (result.surprises, result.counts)
            assert set(result.settlements) == {"balanced"}, result.settlements
            seen = {slip.kind for slip in result.slips if slip.state == "approved"}
            assert seen >= set(mix_kinds()), set(mix_kinds()) - seen
            await quiet(node)
            await check_views(node, hosts, result)
            assert not hosts.banks[1].faults, hosts.banks[1].faults
            assert min(len(bank.accounts.entries) for bank in hosts.banks) > 50
            dialling.cancel()
            hosts.servers[0].close()
            while hosts.servers[0].connections:  # noqa: ASYNC110 - the farewell of TLS takes a round trip
                await asyncio.sleep(0.01)

    with running(tmp_path, more="\n".join(links)) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()


async def dial(node: Node, server: BankServer, tls: ssl.SSLContext) -> None:
    """Two connections of a bank to the node, whichever workers take them."""
    (at,) = node.facts["link_listeners"]

    async def connect(factory: Callable[[], asyncio.Protocol], host: str, port: int) -> object:
        return await asyncio.get_running_loop().create_connection(factory, host, port, ssl=tls)

    address = (at["host"], at["port"])
    await Dialler(connect, [address], server.protocol, count=2, pause_s=0.2).run()


def mix_kinds() -> list[str]:
    """Types that begin something, or follow what there is plenty of."""
    return [
        row.name
        for row in TYPES.values()
        if row.opens or row.advice or row.judge in ("refund", "release", "completion")
        if row.name != "moto_refund"
    ]


def check_lines(node: Node) -> None:
    """One line an authorisation, with all its timings: the parts lie within the whole."""
    files = sorted((node.folder / "data" / "log").glob("authorizations-*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    approved = [line for line in lines if line["rule"] == "acquirer"]
    assert approved
    for line in approved:
        parts = [line[f"{part}_us"] for part in ("decode", "commit1", "acquirer", "commit2")]
        assert min(parts) > 0, line
        assert sum(parts) <= line["total_us"], line


def test_silence_and_hang_ups_are_reversed(tmp_path: Path) -> None:
    async def day(node: Node) -> None:
        faults = BankFaults(silent=0.06, lost=0.04, late=0.05, late_s=4.0, drop=0.01, twice=0.03)
        async with Hosts([faults, faults]) as hosts:
            await furnish(node, hosts, terminals=6, timeout_s=2.0)
            mean = TerminalFaults(
                hang_up=0.05, repeat=0.05, repeat_lost=0.05, bad_mac=0.03, print_failure=0.03
            )
            result = await trade(node, 6, 150, mean)
            # a refund without answer is never reversed: the journal ends it
            assert {slip.kind for slip in result.undecided} <= {"refund"}, result.undecided
            assert result.repeats_same
            assert not result.repeats_different
            await quiet(node)
            await check_views(node, hosts, result)

    with running(tmp_path) as node:
        asyncio.run(day(node))
        assert node.stop() == 0, node.log()
