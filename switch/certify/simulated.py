"""The pack against the simulated bank, in virtual time: the same bytes every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch.certify import cards as test_cards
from switch.certify.rig import Rig, every_type
from switch.certify.runner import Runner
from switch.reference import Link
from switch.replay.played_terminal import made_key
from switch.virtual.loop import run_virtual
from switch.virtual.network import Network, Weather
from switch.virtual.ports import EPOCH, Machine, NetworkTransport, SimulatedClock, entropy_of
from terminals.registry import StoredKey
from terminals.simulator.accounts import Accounts, Rules
from terminals.simulator.bank import BankOptions, BankServer
from terminals.simulator.binary_bank import bank_of
from terminals.simulator.dice import Dice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switch.certify.case import Case
    from switch.certify.runner import CaseResult
    from switch.certify.tap import Crossing

NAME: Final = "simulated"
MERCHANT: Final = "104110058120001"
TERMINALS: Final = ("90000001", "90000002")
LATENCY_S: Final = 0.02
LINK: Final = Link(
    acquirer=NAME,
    host=NAME,
    port=1,
    de32="48020000",
    timeout_s=5.0,
    echo_idle_s=10.0,
    max_connections=1,
    retry_s=1.0,
    retry_max_s=2.0,
)
BINARY_LINK: Final = msgspec.structs.replace(
    LINK,
    dialect="iso1987_binary.key_16",
    form="binary_host",
    mac_algorithm="tdes-cbc-binary",
)
LINKS: Final = {"reference": LINK, "binary_host": BINARY_LINK}  # by the kind of bank


class _Bits:
    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def getrandbits(self, k: int, /) -> int:
        value = 0
        for _ in range((k + 63) // 64):
            value = value << 64 | self._dice.bits64()
        return value & ((1 << k) - 1)


def run(
    cases: Sequence[Case],
    link: Link = LINK,
    on_case: Callable[[CaseResult], None] = lambda _: None,
) -> tuple[list[CaseResult], list[Crossing]]:
    """Every case, and everything that crossed the link."""

    async def main() -> tuple[list[CaseResult], list[Crossing]]:
        cards = test_cards.simulated(step.card for case in cases for step in case.step)
        keys = {usage: made_key(f"certify {usage.value}") for usage in _USAGES}
        bank = bank_of(
            BankOptions(
                name=link.acquirer,
                kind="binary_host" if link.form else "reference",
                zpk=keys[KeyUsage.ZPK].hex(),
                zak=keys[KeyUsage.ZAK].hex(),
                zmk=keys[KeyUsage.ZMK].hex(),
                dialect=link.dialect,
                mac_profile=link.mac_algorithm,
                latency_s=LATENCY_S,
            ),
            EPOCH.date(),
            _Bits(Dice(3)),
        )
        bank.accounts = Accounts(cards.values(), Rules(partial_approvals=True))
        server = BankServer(bank)
        network = Network(Dice(4), Weather(delay_s=(0.0005, 0.0005)))
        network.listen(link.host, link.port, server.protocol, None)
        vault = LocalVault(TEST_LMK, entropy_of(Dice(5)))
        rig = Rig(
            link,
            merchant=every_type(MERCHANT, "CERTIFICATION"),
            terminals=TERMINALS,
            keys=[_stored(vault, link, usage, key) for usage, key in keys.items()],
            prefixes=test_cards.prefixes(cards.values()),
            lmk=TEST_LMK,
            vault=vault,
            clock=SimulatedClock(Machine()),
            transport=NetworkTransport(network, "10.0.0.1"),
        )
        results = await Runner(rig, cards, server, on_case=on_case).run(cases)
        return results, rig.tap.crossings

    return run_virtual(main())[0]


_USAGES: Final = (KeyUsage.ZPK, KeyUsage.ZAK, KeyUsage.ZMK)


def _stored(vault: LocalVault, link: Link, usage: KeyUsage, clear: bytes) -> StoredKey:
    made = vault.import_components(usage, [clear], allow_weak=True)
    return StoredKey(
        owner=f"link:{link.acquirer}",
        usage=usage.value,
        version=0,
        block=made.block,
        check_value=made.check_value,
        lmk_id=made.lmk_id,
    )
