"""The keys of card numbers at rest: made once, wrapped by the vault, versioned (rules §13).

By the vault of this machine, wherever PIN and MAC work is done: card numbers are local.

They are stored keys of the owner `data`. DATA keys encrypt: the newest writes, all of them read. The
one TOKEN key makes tokens and content hashes; it is the first version for ever, so that tokens of old
rows go on matching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsm.keys import KeyUsage
from hsm.pans import LocalPans
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.lmk import Lmk
    from hsm.local import LocalVault
    from switch.reference import ReferenceStore, Snapshot

OWNER = "data"
BYTES = {KeyUsage.DATA: 32, KeyUsage.TOKEN: 32}


class OtherLmkError(Exception):
    """The store holds keys under another LMK than the one that was opened."""


async def ensure(store: ReferenceStore, vault: LocalVault) -> None:
    """Make the data keys of a new store. Two nodes that do it at once add a version too many."""
    snapshot = await store.snapshot()
    for usage, length in BYTES.items():
        kept = snapshot.keys(OWNER, usage.value)
        check_lmk(kept, vault.lmk_ids)
        if not kept:
            made = vault.generate_key(usage, length)
            await store.add_key(
                StoredKey(
                    owner=OWNER,
                    usage=usage.value,
                    version=0,
                    block=made.block,
                    check_value=made.check_value,
                    lmk_id=made.lmk_id,
                ),
                act="data_keys.make",
            )


def check_lmk(kept: Sequence[StoredKey], lmk_ids: Sequence[str]) -> None:
    """Refuse to mix LMKs: what one wrapped, another can not open. `lmk_ids`: of the LMK that was
    opened, and of the one it takes over from."""
    for key in kept:
        if key.lmk_id not in lmk_ids:
            raise OtherLmkError(
                f"the store's keys are under LMK {key.lmk_id}; LMK {lmk_ids[0]} was opened"
            )


def open_pans(lmk: Lmk, snapshot: Snapshot) -> LocalPans:
    """`hsm.pans.Pans` by the store's data keys."""
    data = snapshot.keys(OWNER, KeyUsage.DATA.value)
    tokens = snapshot.keys(OWNER, KeyUsage.TOKEN.value)
    assert data, "ensure() ran before"
    assert tokens, "ensure() ran before"
    check_lmk([*data, *tokens], lmk.lmk_ids)
    return LocalPans(
        lmk,
        {key.version: key.block for key in data},
        max(key.version for key in data),
        min(tokens, key=lambda key: key.version).block,
    )
