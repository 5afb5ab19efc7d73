"""Card numbers at rest: ciphertext to show again, token to match, mask to print.

A PAN is stored as three things and never as itself (promise P6):

* ciphertext, AES-256-GCM, with the expiry, bound to the table, column and row that it stands in;
* token, 16 bytes of HMAC-SHA-256, equal for equal PANs, useless without its key;
* mask, the first 6 and last 4 digits.

Whole files that hold card numbers (incoming clearing files) are sealed by `LocalPans.seal`.

Ciphertext layout: offset 0 width 1 format (01) · 1, 2 data key id · 3, 4 nonce tail · 7, … AES-GCM of
`PAN=expiry` (ASCII, the part after `=` empty where there is none) · last 16 the tag.

The nonce is the row id (8 bytes) and a tail (4 bytes) that is an HMAC of the plaintext; the AES key is
derived from the data key for each column. So a nonce never repeats for a key as long as row ids are
unique within a column; and if one row is ever written again with another PAN, the tail keeps the two
apart but for one case in 2^32. The additional data are format, key id, column and row id: a
ciphertext moved to another row or column does not open.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from hsm import ciphers
from hsm.errors import KeyUsageError, VaultError
from hsm.keys import KeyUsage
from hsm.lmk import Lmk
from hsm.vault import KeyTable

TOKEN_BYTES: Final = 16
COLUMNS_MAX: Final = 64
PLAINTEXT_BYTES_MAX: Final = 64

FILE_NAME_BYTES_MAX: Final = 1024

_FORMAT: Final = 1
_FILE_FORMAT: Final = 2
_ROW_ID_END: Final = 1 << 63


class Pans(Protocol):
    """What folders outside the vault may do with card numbers."""

    def protect(self, pan: str, expiry: str | None, row_id: int, column: str) -> bytes:
        """Ciphertext for the row `row_id` (0 to 2^63 - 1) of `column`, named `schema.table.column`.

        `expiry` is YYMM. One (row id, column) holds one PAN for ever; protecting the same again gives
        the same bytes.
        """
        ...

    def reveal(self, cipher: bytes, row_id: int, column: str) -> tuple[str, str | None]:
        """PAN and expiry; `VaultError` for another row, column or key, or changed bytes."""
        ...

    def token(self, pan: str) -> bytes:
        """16 bytes by which equal PANs are found."""
        ...

    def mask(self, pan: str) -> str:
        """The first 6 and the last 4 digits, `*` between."""
        ...

    def content(self, parts: Iterable[str | None]) -> bytes:
        """16 bytes by which equal requests are found (rules §3); None and empty differ."""
        ...


def mask(pan: str) -> str:
    """The first 6 and last 4 characters; of fewer than 13 the last 4 alone; of fewer than 8 none.

    >>> mask("4111111111111111")
    '411111******1111'
    """
    length = len(pan)
    if length >= 13:
        return f"{pan[:6]}{'*' * (length - 10)}{pan[-4:]}"
    return "*" * (length - 4) + pan[-4:] if length >= 8 else "*" * length


class _ColumnCiphers(threading.local):
    def __init__(self) -> None:
        self.by_column: dict[tuple[int, str], tuple[ciphers.Gcm, bytes]] = {}


class LocalPans:
    """`Pans` by data keys under the LMK: one key to write with, all of them to read with.

    `data_keys` maps key id (1 to 65535) to a DATA key block; `current` is the id to write with. The
    TOKEN key does not rotate with them: tokens of old rows must go on matching.
    """

    def __init__(
        self, lmk: Lmk, data_keys: Mapping[int, str], current: int, token_key: str
    ) -> None:
        table = KeyTable(lmk, _no_entropy)
        self._data_keys: dict[int, bytes] = {}
        for key_id, block in data_keys.items():
            if not 0 < key_id < 65536:
                raise VaultError("a data key's id is 1 to 65535")
            self._data_keys[key_id] = open_as(table, block, KeyUsage.DATA)
        if current not in self._data_keys:
            raise VaultError("the current data key is not among the data keys")
        self._current = current
        root = open_as(table, token_key, KeyUsage.TOKEN)
        self._token = ciphers.Hmac(ciphers.hmac_sha256(root, b"tongbao/pan-token/1")).digest
        self._content = ciphers.Hmac(ciphers.hmac_sha256(root, b"tongbao/content/1")).digest
        self._tails = {
            key_id: ciphers.Hmac(ciphers.hmac_sha256(key, b"tongbao/pan-nonce/1")).digest
            for key_id, key in self._data_keys.items()
        }
        self._tail = self._tails[current]
        self._ciphers = _ColumnCiphers()

    def __repr__(self) -> str:
        return f"LocalPans({len(self._data_keys)} data keys, current {self._current})"

    def protect(self, pan: str, expiry: str | None, row_id: int, column: str) -> bytes:
        """See `Pans.protect`."""
        found = self._ciphers.by_column.get((self._current, column))
        gcm, prefix = found or self._column(self._current, column)
        if not 0 <= row_id < _ROW_ID_END:
            raise VaultError("a row id is 0 to 2^63 - 1")
        plaintext = f"{pan}={expiry or ''}".encode()
        if len(plaintext) > PLAINTEXT_BYTES_MAX or "=" in pan:
            raise VaultError("not a PAN and expiry")
        row = row_id.to_bytes(8, "big")
        tail = self._tail(row + plaintext)[:4]
        sealed = gcm.encrypt(row + tail, plaintext, prefix + row)
        return prefix[:3] + tail + sealed

    def reveal(self, cipher: bytes, row_id: int, column: str) -> tuple[str, str | None]:
        """See `Pans.reveal`."""
        if len(cipher) < 7 + 16 or cipher[0] != _FORMAT or not 0 <= row_id < _ROW_ID_END:
            raise VaultError("not a PAN ciphertext of format 1")
        key_id = int.from_bytes(cipher[1:3], "big")
        found = self._ciphers.by_column.get((key_id, column))
        gcm, prefix = found or self._column(key_id, column)
        row = row_id.to_bytes(8, "big")
        plaintext = gcm.decrypt(row + cipher[3:7], cipher[7:], prefix + row)
        pan, _, expiry = plaintext.decode().partition("=")
        return pan, expiry or None

    def token(self, pan: str) -> bytes:
        """See `Pans.token`."""
        return self._token(pan.encode())[:TOKEN_BYTES]

    mask = staticmethod(mask)

    def content(self, parts: Iterable[str | None]) -> bytes:
        """See `Pans.content`. Parts are framed by their lengths, so no two lists are alike."""
        framed = ",".join(["-" if part is None else f"{len(part)}:{part}" for part in parts])
        return self._content(framed.encode())[:TOKEN_BYTES]

    def seal(self, data: bytes, name: str) -> bytes:
        """A file with card numbers, bound to its name; the same file gives the same bytes.

        Layout: offset 0 width 1 format (02) · 1, 2 data key id · 3, 12 nonce · 15, … AES-256-GCM. The
        key is derived for the name, the nonce is an HMAC of the data: two files share one only if
        they are the same file.
        """
        gcm, digest, bound = self._file(self._current, name)
        nonce = digest(data)[:12]
        return bound[:3] + nonce + gcm.encrypt(nonce, data, bound)

    def open(self, sealed: bytes, name: str) -> bytes:
        """The file again; `VaultError` under another name or key, or if it was changed."""
        if len(sealed) < 15 + 16 or sealed[0] != _FILE_FORMAT:
            raise VaultError("not a sealed file of format 2")
        gcm, _, bound = self._file(int.from_bytes(sealed[1:3], "big"), name)
        return gcm.decrypt(sealed[3:15], sealed[15:], bound)

    def _file(self, key_id: int, name: str) -> tuple[ciphers.Gcm, Callable[[bytes], bytes], bytes]:
        data_key = self._data_key(key_id)
        label = name.encode()
        if not 0 < len(label) <= FILE_NAME_BYTES_MAX:
            raise VaultError(f"a file's name has 1 to {FILE_NAME_BYTES_MAX} bytes")
        key = ciphers.hmac_sha256(data_key, b"tongbao/file/1/" + label)
        digest = ciphers.Hmac(ciphers.hmac_sha256(data_key, b"tongbao/file-nonce/1")).digest
        return ciphers.Gcm(key), digest, bytes([_FILE_FORMAT]) + key_id.to_bytes(2, "big") + label

    def needs_new_key(self, cipher: bytes) -> bool:
        """Whether a stored ciphertext or sealed file is under another data key than the current one."""
        return int.from_bytes(cipher[1:3], "big") != self._current

    def _data_key(self, key_id: int) -> bytes:
        data_key = self._data_keys.get(key_id)
        if data_key is None:
            raise VaultError(f"data key {key_id} is not opened here")
        return data_key

    def _column(self, key_id: int, column: str) -> tuple[ciphers.Gcm, bytes]:
        data_key = self._data_key(key_id)
        cache = self._ciphers.by_column
        name = column.encode()
        if not 0 < len(name) < 256:
            raise VaultError("a column's name has 1 to 255 bytes")
        gcm = ciphers.Gcm(ciphers.hmac_sha256(data_key, b"tongbao/pan-column/1/" + name))
        # format, key id, length of the name, name: the constant front of the additional data
        prefix = bytes([_FORMAT]) + key_id.to_bytes(2, "big") + bytes([len(name)]) + name
        if len(cache) >= COLUMNS_MAX:
            del cache[next(iter(cache))]
        cache[key_id, column] = gcm, prefix
        return gcm, prefix


def open_as(table: KeyTable, block: str, usage: KeyUsage) -> bytes:
    opened = table.unwrap(block)
    if opened.usage is not usage:
        raise KeyUsageError(f"the key block is that of a {opened.usage.value}, not a {usage.value}")
    return opened.key


def _no_entropy(_length: int) -> bytes:
    raise AssertionError("opening keys draws no entropy")
