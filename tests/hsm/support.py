"""A vault that gives the same keys in every run, and the clear keys its port does not give."""

import random
from collections.abc import Callable

from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def make_vault(seed: int = 1, *, keys_max: int = 1000) -> LocalVault:
    return LocalVault(TEST_LMK, seeded(seed), keys_max=keys_max)


def stored(
    vault: LocalVault, usage: KeyUsage, key: bytes, algorithm: Algorithm | None = None
) -> str:
    """A known clear key as a block of this vault."""
    return vault.import_components(usage, [key], algorithm=algorithm, allow_weak=True).block


def odd(seed: int, length: int) -> bytes:
    """A DES key that a vault accepts."""
    from hsm.des_keys import with_odd_parity

    return with_odd_parity(seeded(seed)(length))
