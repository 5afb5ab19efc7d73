"""The fleet against a host without a bank, in virtual time over in-memory transports.

Method: whole days are driven with every fault, and afterwards both ends must agree on the money.
One test uses real TCP.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import msgspec
import pytest

from switch.virtual.loop import run_virtual
from terminals.simulator.fleet import Fleet, FleetOptions, FleetResult, Mix, TerminalFaults, run
from terminals.simulator.terminal import Terminal, TerminalOptions
from tests.terminals.simulator.host import TMK, TinyHost
from tests.terminals.simulator.memory import MemoryNet

if TYPE_CHECKING:
    from collections.abc import Callable

ALL_FAULTS = TerminalFaults(
    hang_up=0.06,
    repeat=0.06,
    repeat_lost=0.06,
    double=0.06,
    bad_mac=0.06,
    garbage=0.06,
    print_failure=0.06,
    bad_answer=0.06,
)


def terminals(count: int) -> list[Terminal]:
    return [
        Terminal(
            TerminalOptions(merchant="898100000000001", terminal=f"{10000001 + n}", tmk=TMK),
            tpdu_source=f"{n + 1:04}",
        )
        for n in range(count)
    ]


def options(**changes: object) -> FleetOptions:
    known: dict[str, object] = {"transactions": 200, "think_s": 0.5, "answer_timeout_s": 10.0}
    return FleetOptions(**(known | changes))  # type: ignore[arg-type]


def trade(
    of: FleetOptions,
    *,
    seed: int = 1,
    count: int = 5,
    net: MemoryNet | None = None,
    progress: Callable[[str, str], None] | None = None,
) -> FleetResult:
    net = net or MemoryNet(TinyHost())

    async def world() -> FleetResult:
        return await run(terminals(count), of, random.Random(seed), net.connect, progress)

    result, _ = run_virtual(world())
    assert net.live == 0
    return result


def host_effect_minor(host: TinyHost) -> int:
    """What the host's approvals, less what was reversed, moved."""
    total = 0
    reversed_keys = {key[1:] for key in host.stored if key[0] == "0400"}
    for key, answer in host.stored.items():
        if key[0] == "0400" or answer[39] != "00" or 4 not in answer:
            continue
        if key[0] in ("0100", "0200") and key[1:] in reversed_keys:
            continue
        sign = {"000000": 1, "200000": -1}.get(str(answer[3]), 0)
        total += sign * int(str(answer[4]))
    return total


# -- a quiet day --------------------------------------------------------------------


def test_a_day_without_faults() -> None:
    seen: list[tuple[str, str]] = []
    net = MemoryNet(TinyHost())
    result = trade(options(), net=net, progress=lambda kind, code: seen.append((kind, code)))
    assert result.transactions == 200
    assert sum(result.counts["purchase"].values()) > 100
    assert set(result.counts) == {"sign_on", "purchase", "void", "refund", "balance", "settle"}
    assert result.settlements == {"balanced": 5}
    assert result.gave_up == []
    assert result.undecided == []
    assert result.reversals == {}
    assert result.latency["purchase"].p50_ms == pytest.approx(20)
    assert result.effect_minor == host_effect_minor(net.host)
    assert len(seen) == sum(sum(codes.values()) for codes in result.counts.values())
    assert result.connects == 5


@pytest.mark.parametrize(
    ("changes", "dials"),
    [
        ({"one_shot": 1.0}, 215),
        ({"terminals_per_line": 5}, 1),
        ({"terminals_per_line": 2}, 3),
    ],
)
def test_lines(changes: dict[str, object], dials: int) -> None:
    result = trade(options(mix=Mix(purchase=1, void=0, refund=0, balance=0), **changes))
    assert sum(sum(codes.values()) for codes in result.counts.values()) == 210
    assert result.connects in (dials, 210)
    assert result.settlements == {"balanced": 5}


def test_shared_lines_need_addresses_of_their_own() -> None:
    async def world() -> None:
        same = [terminals(1)[0], terminals(1)[0]]
        Fleet(same, options(terminals_per_line=2), random.Random(1), MemoryNet(TinyHost()).connect)

    with pytest.raises(ValueError, match="TPDU"):
        run_virtual(world())


def test_an_unbalanced_batch_is_uploaded() -> None:
    host = TinyHost()
    host.balanced = False
    result = trade(options(transactions=60), net=MemoryNet(host))
    assert result.settlements == {"uploaded": 5}
    assert result.counts["upload_end"] == {"00": 5}


def test_duration_and_rate() -> None:
    result = trade(options(transactions=0, duration_s=100.0, rate_tps=4.0, settle=False))
    assert 300 < result.transactions < 500
    assert result.elapsed_s < 120


def test_stop_ends_early_and_settles() -> None:
    net = MemoryNet(TinyHost())

    async def world() -> FleetResult:
        fleet = Fleet(terminals(3), options(transactions=10_000), random.Random(1), net.connect)
        asyncio.get_running_loop().call_later(20.0, fleet.stop)
        return await fleet.run()

    result, elapsed_s = run_virtual(world())
    assert elapsed_s < 25
    assert 0 < result.transactions < 300
    assert result.settlements == {"balanced": 3}


# -- adversity --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "changes",
    [{}, {"terminals_per_line": 5}, {"one_shot": 1.0}],
    ids=["own lines", "one line", "one-shot"],
)
def test_every_fault_and_both_ends_agree(seed: int, changes: dict[str, object]) -> None:
    net = MemoryNet(TinyHost())
    mix = Mix(pre_authorisation=5)
    result = trade(options(faults=ALL_FAULTS, mix=mix, **changes), seed=seed, net=net)
    assert result.gave_up == []
    assert result.repeats_different == []
    assert result.undecided == []
    assert result.effect_minor == host_effect_minor(net.host)
    assert result.settlements == {"balanced": 5}
    assert set(result.faults) == set(msgspec.structs.asdict(ALL_FAULTS))
    assert {name.split()[0] for name in result.reversals} == {"98", "96", "A0"}
    assert result.counts["purchase"]["A0"] > 0


@pytest.mark.parametrize("trouble", ["drop_every", "silent_every"])
def test_a_bad_network(trouble: str) -> None:
    net = MemoryNet(TinyHost())
    setattr(net, trouble, 7)
    result = trade(options(tries=60), net=net)
    assert result.gave_up == []
    assert result.undecided == []
    assert result.effect_minor == host_effect_minor(net.host)
    assert sum(result.reversals.values()) > 5


def test_connections_refused_for_a_while() -> None:
    net = MemoryNet(TinyHost())
    net.refuse = 20
    assert trade(options(), net=net).gave_up == []


def test_no_host_at_all_ends() -> None:
    net = MemoryNet(TinyHost())
    net.refuse = 1_000_000
    result = trade(options(tries=3), net=net)
    assert len(result.gave_up) == 5
    assert result.transactions == 0


def test_the_same_seed_is_the_same_day() -> None:
    def day(seed: int) -> bytes:
        result = trade(options(faults=ALL_FAULTS), seed=seed)
        return msgspec.json.encode((result.counts, result.views(), result.reversals))

    assert day(4) == day(4)
    assert day(4) != day(5)


def test_views_and_repr_show_no_pan() -> None:
    result = trade(options(transactions=20))
    shown = repr((result, result.views(), result.slips))
    assert not any(slip.pan in shown for slip in result.slips)


@pytest.mark.parametrize(
    "wrong",
    [
        {"transactions": 0},
        {"terminals_per_line": 0},
        {"amount_min_minor": 0},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must be set|terminals_per_line|amount_min"):
        options(**wrong)


def test_wrong_mixes_and_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="weights"):
        Mix(purchase=-1)
    with pytest.raises(ValueError, match="together"):
        TerminalFaults(hang_up=0.7, repeat=0.7)


# -- real TCP ------------------------------------------------------------------------------


def test_over_real_tcp() -> None:
    host = TinyHost()

    class Served(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(host.reply(host.frame(data)))

    async def world() -> FleetResult:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def connect(
            to: str, at: int, factory: Callable[[], asyncio.Protocol]
        ) -> tuple[asyncio.BaseTransport, asyncio.Protocol]:
            return await loop.create_connection(factory, to, at)

        of = FleetOptions(port=port, transactions=40)
        result = await run(terminals(4), of, random.Random(1), connect)
        server.close()
        await server.wait_closed()
        return result

    result = asyncio.run(world())
    assert result.settlements == {"balanced": 4}
    assert result.effect_minor == host_effect_minor(host)
