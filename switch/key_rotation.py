"""All stored keys from one LMK to the next, while nodes use them.

    ceremony: the new LMK is sealed with the former one inside, and handed to the running node
        │     every worker opens keys under both, wraps under the new one
    rotate:   every stored key, then every terminal's key set, is put under the new LMK, a batch a commit
        │     both forms open meanwhile, so that no decision is stale by it
    retire:   no stored key is under the former LMK: nodes read all in their new form, and it is dropped

Every step may be killed and done again. A batch replaces a block only where it still stands as it was
read, so two rotations at once do no harm. Nothing is rotated while a live worker lacks the new LMK: it
could not open what the others store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from hsm.errors import VaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hsm.keys import KeyBlock
    from hsm.local import LocalVault
    from terminals.registry import StoredKey

DATA = "data"  # owner of the node's data keys: no node starts that can not open them
BATCH = 200  # blocks a commit: a node's snapshot lock is held for milliseconds


class Holder(msgspec.Struct, frozen=True):
    """A live worker, and the LMKs it said it can open keys under, the present one first."""

    node: str
    worker: int
    lmk_ids: tuple[str, ...]


class SessionKeys(msgspec.Struct, frozen=True):
    """The blocks of one terminal's key set."""

    session_id: int
    pik: str
    mak: str
    tdk: str | None


class Custody(Protocol):
    """Where keys are kept, as their custodians see it."""

    async def hold(self, node: str, worker: int, lmk_ids: Sequence[str]) -> None:
        """This worker opens keys under these LMKs from now on."""

    async def holders(self) -> list[Holder]:
        """Every live worker of every node."""
        ...

    async def under(self, lmk_id: str) -> tuple[int, int]:
        """How many stored keys and key sets are, or may be, under this LMK."""
        ...

    async def left(self, lmk_id: str) -> tuple[int, int]:
        """How many are under any other."""
        ...

    async def keys_not_under(
        self, lmk_id: str, after: StoredKey | None, limit: int, *, owner: str = ""
    ) -> list[StoredKey]:
        """The next ones by owner, usage and version; of this owner, or of all."""
        ...

    async def rewrap_keys(
        self, lmk_id: str, former: Sequence[StoredKey], blocks: Sequence[KeyBlock], maker: str
    ) -> int:
        """In one commit with its record in the audit log; how many still stood as they were read."""
        ...

    async def keys_of(self, owner: str, usage: str) -> list[StoredKey]:
        """All versions, the newest first, whatever their status."""
        ...

    async def sessions_not_under(
        self, lmk_id: str, after: int, limit: int
    ) -> list[SessionKeys]: ...

    async def erase_superseded(self, session_ids: Sequence[int]) -> set[int]:
        """Erase the blocks of those that nobody looks back to; their ids."""
        ...

    async def rewrap_sessions(
        self, lmk_id: str, former: Sequence[SessionKeys], later: Sequence[SessionKeys]
    ) -> int: ...


class NotHeldError(Exception):
    """A live worker can not open keys under the LMK yet."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(f"{holder.node}/{holder.worker}")
        self.holder = holder


class Rotated(msgspec.Struct):
    """What one rotation did."""

    keys: int = 0
    sessions: int = 0
    erased: int = 0


async def rotate(
    custody: Custody,
    vault: LocalVault,
    maker: str,
    told: Callable[[Rotated], None] = lambda _: None,
) -> Rotated:
    """Put every key under the vault's LMK; `told` hears after every commit. Raises `NotHeldError`.

    The holders are asked again once the data keys are moved: a node that starts from then on must have
    the LMK, and one that started before is seen.
    """
    done = Rotated()
    lmk_id = vault.lmk_id
    await check_held(custody, lmk_id)
    for owner in (DATA, ""):  # all of them: what came meanwhile under another LMK is found too
        last = None
        while keys := await custody.keys_not_under(lmk_id, last, BATCH, owner=owner):
            last = keys[-1]
            blocks = [rewrapped(vault, key.block, f"{key.owner} {key.usage}") for key in keys]
            done.keys += await custody.rewrap_keys(lmk_id, keys, blocks, maker)
            told(done)
        await check_held(custody, lmk_id)
    after = 0
    while found := await custody.sessions_not_under(lmk_id, after, BATCH):
        after = found[-1].session_id
        erased = await custody.erase_superseded([keys.session_id for keys in found])
        kept = [keys for keys in found if keys.session_id not in erased]
        later = [session_rewrapped(vault, keys) for keys in kept]
        done.sessions += await custody.rewrap_sessions(lmk_id, kept, later)
        done.erased += len(erased)
        told(done)
    return done


async def check_held(custody: Custody, lmk_id: str) -> None:
    """Raises `NotHeldError` for a live worker that does not wrap under this LMK."""
    for holder in await custody.holders():
        if holder.lmk_ids[:1] != (lmk_id,):
            raise NotHeldError(holder)


def rewrapped(vault: LocalVault, block: str, name: str) -> KeyBlock:
    try:
        return vault.rewrap(block)
    except VaultError as error:
        lmks = " and ".join(vault.lmk_ids)
        raise VaultError(f"{name} does not open under LMK {lmks}: {error}") from error


def session_rewrapped(vault: LocalVault, keys: SessionKeys) -> SessionKeys:
    name = f"key set {keys.session_id}"
    return SessionKeys(
        session_id=keys.session_id,
        pik=rewrapped(vault, keys.pik, name).block,
        mak=rewrapped(vault, keys.mak, name).block,
        tdk=rewrapped(vault, keys.tdk, name).block if keys.tdk else None,
    )
