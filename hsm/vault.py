"""Where clear keys live: opened key blocks, each able to do what its usage allows and nothing else.

A `KeyTable` unwraps a block under the LMK once and keeps the opened key, bounded, one table a thread
(cipher contexts are not shared). What an opened key may do is its usage's row in `hsm.keys.USAGES`, less
what its mode of use takes away. `OpenKey.require` asks that; the functions of the hot path (`pin_decrypt`
and so on) are made from the same answer, so an opened MAK has none that touches a PIN block.
"""

import threading
from collections.abc import Callable
from typing import Final

from hsm import check_values, ciphers, key_block, mac
from hsm.des_keys import des_key_fault, with_odd_parity
from hsm.errors import KeyBlockError, KeyUsageError, VaultError, WeakKeyError
from hsm.key_block import Header
from hsm.keys import USAGES, Algorithm, KeyBlock, KeyUsage, Operation, operations_of
from hsm.lmk import Lmk

KEYS_MAX: Final = 16_384  # opened keys, per thread, where nobody says how many are needed

BlockFunction = Callable[[bytes], bytes]


class OpenKey:
    """A clear key with the functions its usage allows; a function it may not have is None."""

    __slots__ = (
        "algorithm",
        "exportability",
        "key",
        "key_decrypt",
        "key_encrypt",
        "macs",
        "mode",
        "operations",
        "pin_decrypt",
        "pin_encrypt",
        "usage",
    )

    def __init__(
        self,
        usage: KeyUsage,
        algorithm: Algorithm,
        key: bytes,
        *,
        mode: str | None = None,
        exportability: str | None = None,
    ) -> None:
        row = USAGES[usage]
        self.usage = usage
        self.algorithm = algorithm
        self.key = key
        self.mode = row.mode if mode is None else mode
        self.exportability = row.exportability if exportability is None else exportability
        self.operations: frozenset[Operation] = operations_of(usage, self.mode)
        self.pin_decrypt: BlockFunction | None = None
        self.pin_encrypt: BlockFunction | None = None
        self.key_encrypt: BlockFunction | None = None
        self.key_decrypt: BlockFunction | None = None
        self.macs: dict[str, BlockFunction] = {}
        allowed = self.operations
        if algorithm in (Algorithm.DES, Algorithm.TDES):
            tdes = ciphers.Tdes(key)
            if Operation.PIN_DECRYPT in allowed:
                self.pin_decrypt = tdes.decrypt
            if Operation.PIN_ENCRYPT in allowed:
                self.pin_encrypt = tdes.encrypt
            if Operation.KEY_WRAP in allowed:
                self.key_encrypt = tdes.encrypt
            if Operation.KEY_UNWRAP in allowed:
                self.key_decrypt = tdes.decrypt
        elif algorithm is Algorithm.AES:
            aes = ciphers.Aes(key)
            if Operation.KEY_WRAP in allowed:
                self.key_encrypt = aes.encrypt
            if Operation.KEY_UNWRAP in allowed:
                self.key_decrypt = aes.decrypt

    def __repr__(self) -> str:
        return f"OpenKey({self.usage.value}, {self.algorithm.name}, {len(self.key)} bytes)"

    def require(self, operation: Operation) -> None:
        """`KeyUsageError` unless usage and mode of use let this key do it."""
        if operation not in self.operations:
            raise KeyUsageError(
                f"a {self.usage.value} with mode of use {self.mode} may not {operation.value}"
            )

    def mac_function(self, profile_name: str) -> BlockFunction:
        """DE 64 by this key and profile, made once; refused to keys that are not for MACs."""
        self.require(Operation.MAC_GENERATE)
        profile = mac.profile_named(profile_name)
        if self.algorithm not in profile.key_algorithms:
            raise KeyUsageError(f"MAC profile {profile.name} is not for {self.algorithm.name} keys")
        function = mac.function(profile, self.key)
        self.macs[profile_name] = function
        return function

    def check_value(self) -> str:
        """Upper-case hex, as `Hsm.check_value`."""
        return check_value(self.algorithm, self.key)


class _Opened(threading.local):
    """One dictionary a thread, and all of them in a list: threads are few, and live long."""

    def __init__(self, everywhere: list[dict[str, OpenKey]]) -> None:
        self.keys: dict[str, OpenKey] = {}
        everywhere.append(self.keys)


class KeyTable:
    """Key blocks under one LMK, or the one it takes over from: wraps, unwraps, remembers.

    New blocks are under the LMK. One that does not open under it is tried under its former one.
    """

    def __init__(self, lmk: Lmk, entropy: Callable[[int], bytes], keys_max: int = KEYS_MAX) -> None:
        assert keys_max > 0
        self.lmk = lmk
        self.entropy = entropy
        self._everywhere: list[dict[str, OpenKey]] = []
        self.opened = _Opened(self._everywhere)
        self._keys_max = keys_max
        self._opening = threading.Lock()  # never taken for a key that is opened already

    def __repr__(self) -> str:
        return f"KeyTable({self.lmk.lmk_id}, {len(self.opened.keys)} opened)"

    def open(self, block: str) -> OpenKey:
        """The opened key; the oldest one is forgotten at the bound."""
        keys = self.opened.keys
        found = keys.get(block)
        if found is None:
            with self._opening:
                found = self.unwrap(block)
                if len(keys) >= self._keys_max:
                    del keys[next(iter(keys))]
                keys[block] = found
        return found

    def take(self, lmk: Lmk) -> None:
        """Work with this LMK from now on; what only another one opened is closed, in every thread."""
        with self._opening:
            gone = not set(self.lmk.lmk_ids) <= set(lmk.lmk_ids)
            self.lmk = lmk
            if gone:
                self.forget()

    def forget(self) -> None:
        """Close every key; whoever needs one opens it again, if its LMK is still here."""
        for keys in self._everywhere:
            keys.clear()
        ciphers.forget()  # of this thread, where a vault's work is done: also what the LMK itself derived

    def _unwrap(self, block: str) -> tuple[Header, bytes]:
        lmk = self.lmk
        try:
            return key_block.unwrap(lmk._key, block)  # noqa: SLF001 - the vault
        except KeyBlockError:
            if lmk.former is None:
                raise
            return key_block.unwrap(lmk.former._key, block)  # noqa: SLF001 - the vault

    def unwrap(self, block: str) -> OpenKey:
        """A block of this LMK whose header says exactly what its usage's row says."""
        header, key = self._unwrap(block)
        usage = usage_labelled(header.option("LB"))
        row = USAGES[usage]
        algorithm = algorithm_of(header.algorithm)
        mode, exportability = header.mode, header.exportability
        if (
            header != header_for(usage, algorithm, mode=mode, exportability=exportability)
            or len(key) not in row.lengths[algorithm]
        ):
            raise KeyBlockError(f"the header is not that of a {usage.value} of this vault")
        return OpenKey(usage, algorithm, key, mode=mode, exportability=exportability)

    def wrap(
        self,
        usage: KeyUsage,
        algorithm: Algorithm,
        key: bytes,
        *,
        mode: str | None = None,
        exportability: str | None = None,
    ) -> KeyBlock:
        """A key block under the LMK; the length of the key is refused or hidden.

        `mode` and `exportability` can only be narrower than the usage's own.
        """
        check_length(usage, algorithm, key)
        block = key_block.wrap(
            self.lmk._key,  # noqa: SLF001 - the vault
            header_for(usage, algorithm, mode=mode, exportability=exportability),
            key,
            self.entropy,
            pad_to=32,
        )
        return KeyBlock(block, usage, check_value(algorithm, key), self.lmk.lmk_id)

    def random_key(self, algorithm: Algorithm, length: int) -> bytes:
        """A key from the entropy given in; DES keys with odd parity and never weak."""
        if algorithm not in (Algorithm.DES, Algorithm.TDES):
            return self.entropy(length)
        for _ in range(100):
            key = with_odd_parity(self.entropy(length))
            if des_key_fault(key) is None:
                return key
        raise VaultError("the source of entropy gives only weak keys")


def header_for(
    usage: KeyUsage,
    algorithm: Algorithm,
    *,
    mode: str | None = None,
    exportability: str | None = None,
) -> Header:
    """The header of a key of ours under the LMK: its TR-31 code, and its usage as label.

    `KeyUsageError` for a mode the usage does not have, or a key that could leave where none may. A key with
    exportability E leaves in key blocks alone, by host command.
    """
    row = USAGES[usage]
    if algorithm not in row.tr31_usage:
        raise KeyUsageError(f"there is no {usage.value} for {algorithm.name}")
    if mode not in (None, row.mode) and not narrows(usage, mode):
        raise KeyUsageError(f"there is no {usage.value} with mode of use {mode[:1]!r}")
    allowed = "SEN" if row.exportability == "S" else "N"
    if exportability is not None and exportability not in tuple(allowed):
        raise KeyUsageError(f"a {usage.value} does not have exportability {exportability[:1]!r}")
    return Header(
        version="D",
        usage=row.tr31_usage[algorithm],
        algorithm=algorithm.value,
        mode=mode or row.mode,
        exportability=exportability or row.exportability,
        optional=(("LB", usage.value),),
    )


def narrows(usage: KeyUsage, mode: str) -> bool:
    """Whether this mode of use leaves the usage some, but not all, of its own operations."""
    return frozenset() < operations_of(usage, mode) < operations_of(usage, USAGES[usage].mode)


def usage_labelled(label: str | None) -> KeyUsage:
    try:
        return KeyUsage(label)
    except ValueError as error:
        raise KeyBlockError("the block has no label of this vault") from error


def algorithm_of(letter: str) -> Algorithm:
    """The algorithm of TR-31 header byte 7."""
    try:
        return Algorithm(letter)
    except ValueError as error:
        raise KeyBlockError(f"no key of algorithm {letter!r} is kept here") from error


def algorithm_for(usage: KeyUsage, length: int, asked: Algorithm | None) -> Algorithm:
    """What was asked for, else what the usage has alone, else DES by length."""
    known = USAGES[usage].tr31_usage
    if asked is not None:
        if asked not in known:
            raise KeyUsageError(f"there is no {usage.value} for {asked.name}")
        return asked
    if len(known) == 1:
        return next(iter(known))
    return Algorithm.DES if length == 8 else Algorithm.TDES


def check_length(usage: KeyUsage, algorithm: Algorithm, key: bytes) -> None:
    lengths = USAGES[usage].lengths.get(algorithm, ())
    if len(key) not in lengths:
        raise VaultError(f"a {algorithm.name} {usage.value} does not have {len(key)} bytes")


def check_strength(algorithm: Algorithm, key: bytes) -> None:
    """`WeakKeyError` for a DES key that should not exist, and for an AES key of zeros."""
    if algorithm in (Algorithm.DES, Algorithm.TDES):
        fault = des_key_fault(key)
        if fault is not None:
            raise type(fault)(f"the key is refused: {fault}")
    elif not any(key):
        raise WeakKeyError("the key is refused: all zero")


def check_value(algorithm: Algorithm, key: bytes) -> str:
    if algorithm is Algorithm.AES:
        return check_values.aes_check_value(key).hex().upper()
    if algorithm is Algorithm.HMAC:
        return check_values.hmac_check_value(key).hex().upper()
    if algorithm is Algorithm.SM4:
        return check_values.sm4_check_value(key).hex().upper()
    return check_values.tdes_check_value(key).hex().upper()
