"""Goal: keys move from one LMK to the next while they are used, and then the old LMK is out of reach.

Method: a vault with a key of every usage goes through the change, step by step; at each step every block
that should open does the same work as before, and every other one opens nowhere, in no thread.
"""

import threading

import pytest

from hsm import ciphers, key_block, lmk as lmks
from hsm.errors import KeyBlockError
from hsm.keys import USAGES, KeyUsage
from hsm.local import LocalVault
from tests.hsm.support import seeded

OLD = lmks.make(seeded(1))
NEW = lmks.make(seeded(2))
BOTH = lmks.following(NEW, OLD)
KINDS = [
    (usage, algorithm, length)
    for usage, row in USAGES.items()
    for algorithm, lengths in row.lengths.items()
    for length in lengths
]


def vault(lmk: lmks.Lmk, seed: int = 3) -> LocalVault:
    return LocalVault(lmk, seeded(seed))


def test_every_usage_is_rewrapped_and_stays_the_same_key() -> None:
    before, between, after = vault(OLD), vault(BOTH), vault(NEW)
    for usage, algorithm, length in KINDS:
        made = before.generate_key(usage, length, algorithm=algorithm)
        with pytest.raises(KeyBlockError):
            after.check_value(made.block)
        assert between.check_value(made.block) == made.check_value
        moved = between.rewrap(made.block)
        assert (moved.usage, moved.check_value) == (usage, made.check_value)
        assert moved.lmk_id == NEW.lmk_id
        assert after.check_value(moved.block) == made.check_value
        with pytest.raises(KeyBlockError):
            before.check_value(moved.block)
        again = between.rewrap(moved.block)  # twice is as good as once
        assert after.check_value(again.block) == made.check_value


def test_a_vault_changes_under_work() -> None:
    working = vault(OLD)
    zak = working.generate_key(KeyUsage.ZAK, 16).block
    mac = working.mac(zak, "x9.19-binary", b"message")
    working.take(BOTH)
    assert working.lmk_id == NEW.lmk_id
    assert working.lmk_ids == (NEW.lmk_id, OLD.lmk_id)
    moved = working.rewrap(zak).block
    assert working.mac(zak, "x9.19-binary", b"message") == mac
    assert working.mac(moved, "x9.19-binary", b"message") == mac
    assert working.generate_key(KeyUsage.ZPK, 16).lmk_id == NEW.lmk_id
    working.take(NEW)
    assert working.mac(moved, "x9.19-binary", b"message") == mac
    with pytest.raises(KeyBlockError):
        working.mac(zak, "x9.19-binary", b"message")


def test_after_it_is_retired_no_thread_reaches_the_old_lmk() -> None:
    working = vault(BOTH)
    block = vault(OLD).generate_key(KeyUsage.ZAK, 16).block
    opened, retired = threading.Event(), threading.Event()
    said: list[object] = []

    def work() -> None:
        said.append(working.mac(block, "x9.19-binary", b"x"))  # it is in this thread's cache now
        opened.set()
        retired.wait(120)
        try:
            said.append(working.mac(block, "x9.19-binary", b"x"))
        except KeyBlockError as error:
            said.append(error)

    other = threading.Thread(target=work)
    other.start()
    assert opened.wait(120)
    working.take(NEW)
    retired.set()
    other.join(120)
    assert isinstance(said[0], bytes)
    assert isinstance(said[1], KeyBlockError)


def test_after_it_is_retired_no_context_of_it_is_kept() -> None:
    working = vault(BOTH)
    block = vault(OLD).generate_key(KeyUsage.ZAK, 16).block
    working.check_value(block)
    derived = set(key_block.derive(OLD._key, "D"))
    assert derived & set(ciphers._contexts.aes)
    working.take(NEW)
    assert not derived & set(ciphers._contexts.aes)


def test_keys_stay_open_while_their_lmk_is_here() -> None:
    working = vault(OLD)
    block = working.generate_key(KeyUsage.ZAK, 16).block
    kept = working._keys.open(block)
    working.take(BOTH)
    assert working._keys.open(block) is kept


def test_a_foreign_block_opens_under_neither() -> None:
    block = vault(lmks.make(seeded(7))).generate_key(KeyUsage.ZPK, 16).block
    with pytest.raises(KeyBlockError):
        vault(BOTH).check_value(block)
