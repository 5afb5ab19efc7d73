"""DE 62 of a sign-on answer: a terminal's working keys under its TMK, as pure functions.

Layout by DE 60.3 (`reference` of the trade: POS messages, sign-on), each key enciphered ECB under the
TMK and followed by its 4-byte check value, the start of E(key, zeros):

    001  24 bytes   PIK 8, KCV 4, MAK 8, KCV 4
    003  40 bytes   PIK 16, KCV 4, MAK slot 16, KCV 4
    004  60 bytes   as 003, TDK 16, KCV 4

The MAK slot of 003 and 004 holds 16 bytes of key, or 8 followed by 8 binary zero bytes as transmitted,
whose check value is single DES. An AES MAK fills the slot; its check value is E(key, 16 zero bytes).
"""

from collections.abc import Callable
from typing import Final

import msgspec

from hsm import check_values, ciphers
from hsm.errors import VaultError
from hsm.keys import Algorithm


class Layout(msgspec.Struct, frozen=True):
    """Widths of the slots; `tdk_bytes` 0: none."""

    pik_bytes: int
    mak_slot_bytes: int
    tdk_bytes: int

    @property
    def total_bytes(self) -> int:
        """The length of DE 62."""
        slots = self.pik_bytes + 4 + self.mak_slot_bytes + 4
        return slots + (self.tdk_bytes + 4 if self.tdk_bytes else 0)


LAYOUTS: Final = {
    "001": Layout(8, 8, 0),
    "003": Layout(16, 16, 0),
    "004": Layout(16, 16, 16),
}


# The MAKs that a sign-on can bring.
MAK_LENGTHS: Final = {Algorithm.DES: (8,), Algorithm.TDES: (16,), Algorithm.AES: (16,)}


class ClearWorkingKeys(msgspec.Struct, frozen=True):
    """What a terminal's PIN pad holds after a sign-on. For simulated terminals only."""

    pik: bytes
    mak: bytes
    tdk: bytes | None

    def __repr__(self) -> str:
        return "ClearWorkingKeys(…)"


def layout_named(code: str) -> Layout:
    """The layout of a DE 60.3 code, or `VaultError`."""
    layout = LAYOUTS.get(code)
    if layout is None:
        raise VaultError(f"no layout of working keys is called {code[:8]!r}")
    return layout


def check_mak(layout: Layout, mak_bytes: int, mak_algorithm: Algorithm) -> None:
    """`VaultError` unless a MAK of this length and algorithm has a place in the layout."""
    allowed = MAK_LENGTHS.get(mak_algorithm, ())
    if mak_bytes not in allowed or mak_bytes > layout.mak_slot_bytes:
        raise VaultError(f"a {mak_algorithm.name} MAK of {mak_bytes} bytes does not fit the layout")


def mak_check_value(mak: bytes, mak_algorithm: Algorithm) -> bytes:
    """The 4 bytes that follow the MAK slot."""
    if mak_algorithm is Algorithm.AES:
        return check_values.aes_ecb_check_value(mak, 4)
    return check_values.tdes_check_value(mak, 4, on_wire=True)


def encode_de62(
    encrypt: Callable[[bytes], bytes],
    layout: Layout,
    keys: ClearWorkingKeys,
    mak_algorithm: Algorithm,
) -> bytes:
    """DE 62, where `encrypt` is ECB under the TMK."""
    check_mak(layout, len(keys.mak), mak_algorithm)
    assert len(keys.pik) == layout.pik_bytes
    assert (len(keys.tdk) if keys.tdk else 0) == layout.tdk_bytes
    parts = [
        encrypt(keys.pik),
        check_values.tdes_check_value(keys.pik, 4, on_wire=True),
        encrypt(keys.mak).ljust(layout.mak_slot_bytes, b"\0"),
        mak_check_value(keys.mak, mak_algorithm),
    ]
    if keys.tdk:
        parts += [encrypt(keys.tdk), check_values.tdes_check_value(keys.tdk, 4, on_wire=True)]
    de62 = b"".join(parts)
    assert len(de62) == layout.total_bytes
    return de62


def open_de62(
    tmk: bytes,
    layout_code: str,
    de62: bytes,
    mak_bytes: int,
    mak_algorithm: Algorithm | None = None,
) -> ClearWorkingKeys:
    """The keys of a sign-on answer under a clear TMK: the terminal's side.

    `mak_algorithm` defaults to DES for 8 bytes and Triple DES for 16. `VaultError` for a wrong length
    or a check value that does not agree.
    """
    layout = layout_named(layout_code)
    algorithm = mak_algorithm or (Algorithm.DES if mak_bytes == 8 else Algorithm.TDES)
    check_mak(layout, mak_bytes, algorithm)
    if len(de62) != layout.total_bytes:
        raise VaultError(f"DE 62 of layout {layout_code} has {layout.total_bytes} bytes")
    pik_end = layout.pik_bytes
    mak_start = pik_end + 4
    mak_end = mak_start + layout.mak_slot_bytes
    pik = ciphers.tdes_ecb_decrypt(tmk, de62[:pik_end])
    mak = ciphers.tdes_ecb_decrypt(tmk, de62[mak_start : mak_start + mak_bytes])
    agreed = [
        check_values.tdes_check_value(pik, 4, on_wire=True) == de62[pik_end:mak_start],
        mak_check_value(mak, algorithm) == de62[mak_end : mak_end + 4],
    ]
    tdk = None
    if layout.tdk_bytes:
        tdk_start = mak_end + 4
        tdk = ciphers.tdes_ecb_decrypt(tmk, de62[tdk_start : tdk_start + layout.tdk_bytes])
        agreed.append(
            check_values.tdes_check_value(tdk, 4, on_wire=True)
            == de62[tdk_start + layout.tdk_bytes :]
        )
    if not all(agreed):
        raise VaultError("a check value in DE 62 does not agree: wrong TMK, or wrong MAK length")
    return ClearWorkingKeys(pik, mak, tdk)
