"""The vault in this process: the port `Hsm` by an LMK and a source of entropy.

A software vault is a test tool in the eyes of PCI PIN and PCI HSM: it can do the same, it can never be
certified. Production PIN work belongs to a network device behind the same port (`docs/hsm.md`).
"""

import hmac
from collections.abc import Callable, Sequence

from hsm import ceremony, check_values, key_block, key_block_rules, working_keys
from hsm.des_keys import with_odd_parity
from hsm.errors import KeyUsageError, PinBlockError, VaultError
from hsm.issuer import LocalIssuer
from hsm.keys import USAGES, Algorithm, ExportedKey, KeyBlock, KeyUsage, Operation, WorkingKeys
from hsm.lmk import Lmk
from hsm.mac import MAC_DATA_MAX
from hsm.pin_block import decode_format0, format0_is_valid_for
from hsm.vault import (
    KEYS_MAX,
    BlockFunction,
    KeyTable,
    OpenKey,
    algorithm_for,
    algorithm_of,
    check_length,
    check_strength,
)
from hsm.working_keys import ClearWorkingKeys


class LocalVault:
    """`hsm.ports.Hsm` on this machine's processor."""

    def __init__(
        self, lmk: Lmk, entropy: Callable[[int], bytes], *, keys_max: int = KEYS_MAX
    ) -> None:
        self._keys = KeyTable(lmk, entropy, keys_max)
        self._opened = self._keys.opened
        self.issuer = LocalIssuer(self._keys)

    def __repr__(self) -> str:
        return f"LocalVault({self.lmk_id})"

    @property
    def lmk_id(self) -> str:
        """The check value of the LMK."""
        return self._keys.lmk.lmk_id

    @property
    def lmk_ids(self) -> tuple[str, ...]:
        """LMKs whose blocks open here: the LMK, then the one it takes over from."""
        return self._keys.lmk.lmk_ids

    def take(self, lmk: Lmk) -> None:
        """Work with another LMK: one that takes over from the present, or this one without its former.

        Keys that are opened stay so while their LMK is here; then none can be opened or used.
        """
        self._keys.take(lmk)

    def rewrap(self, block: str) -> KeyBlock:
        """The same key under the present LMK, whichever of the two the block is under."""
        opened = self._keys.unwrap(block)
        return self._keys.wrap(
            opened.usage,
            opened.algorithm,
            opened.key,
            mode=opened.mode,
            exportability=opened.exportability,
        )

    # -- every message ------------------------------------------------------------------

    def translate_pin(
        self, pin_block: bytes, source_key: str, destination_key: str, pan: str
    ) -> bytes:
        """See `hsm.ports.Hsm.translate_pin`.

        The PAN does not change, so the clear block does not either: it is opened, judged, and
        closed again under the other key.
        """
        opened = self._opened.keys
        source = opened.get(source_key) or self._keys.open(source_key)
        destination = opened.get(destination_key) or self._keys.open(destination_key)
        decrypt, encrypt = source.pin_decrypt, destination.pin_encrypt
        if decrypt is None:
            raise KeyUsageError(f"{source} opens no PIN blocks of format 0")
        if encrypt is None:
            raise KeyUsageError(f"{destination} closes no PIN blocks of format 0")
        if len(pin_block) != 8:
            raise PinBlockError("a PIN block of this format has 8 bytes")
        clear = decrypt(pin_block)
        if not format0_is_valid_for(clear, pan):
            decode_format0(clear, pan)  # says which rule was broken
            raise AssertionError("two readings of format 0 disagree")
        return encrypt(clear)

    def mac(self, key: str, profile: str, data: bytes) -> bytes:
        """See `hsm.ports.Hsm.mac`."""
        opened = self._opened.keys.get(key)
        function = opened.macs.get(profile) if opened is not None else None
        if function is None:
            function = self._mac_function(key, profile)
        if len(data) > MAC_DATA_MAX:
            raise VaultError(f"a MAC covers at most {MAC_DATA_MAX} bytes")
        return function(data)

    def verify_mac(self, key: str, profile: str, data: bytes, mac: bytes) -> bool:
        """See `hsm.ports.Hsm.verify_mac`."""
        return hmac.compare_digest(self.mac(key, profile, data), mac)

    def _mac_function(self, key: str, profile: str) -> BlockFunction:
        if profile == "off":
            return lambda _data: b""
        return self._keys.open(key).mac_function(profile)

    # -- keys ---------------------------------------------------------------------------

    def generate_working_keys(
        self,
        tmk: str,
        layout: str,
        mak_bytes: int,
        *,
        mak_algorithm: Algorithm | None = None,
    ) -> WorkingKeys:
        """See `hsm.ports.Hsm.generate_working_keys`."""
        carrier = self._keys.open(tmk)
        if carrier.usage is not KeyUsage.TMK or carrier.algorithm is not Algorithm.TDES:
            raise KeyUsageError("working keys go to a terminal under a Triple DES TMK")
        assert carrier.key_encrypt is not None
        slots = working_keys.layout_named(layout)
        algorithm = algorithm_for(KeyUsage.MAK, mak_bytes, mak_algorithm)
        working_keys.check_mak(slots, mak_bytes, algorithm)

        pik_algorithm = Algorithm.DES if slots.pik_bytes == 8 else Algorithm.TDES
        clear = ClearWorkingKeys(
            pik=self._keys.random_key(pik_algorithm, slots.pik_bytes),
            mak=self._keys.random_key(algorithm, mak_bytes),
            tdk=self._keys.random_key(Algorithm.TDES, slots.tdk_bytes) if slots.tdk_bytes else None,
        )
        tdk_block = tdk_check_value = None
        if clear.tdk is not None:
            tdk_block = self._keys.wrap(KeyUsage.TDK, Algorithm.TDES, clear.tdk).block
            tdk_check_value = (
                check_values.tdes_check_value(clear.tdk, 4, on_wire=True).hex().upper()
            )
        return WorkingKeys(
            layout=layout,
            de62=working_keys.encode_de62(carrier.key_encrypt, slots, clear, algorithm),
            pik=self._keys.wrap(KeyUsage.TPK, pik_algorithm, clear.pik).block,
            pik_check_value=check_values.tdes_check_value(clear.pik, 4, on_wire=True).hex().upper(),
            mak=self._keys.wrap(KeyUsage.MAK, algorithm, clear.mak).block,
            mak_check_value=working_keys.mak_check_value(clear.mak, algorithm).hex().upper(),
            tdk=tdk_block,
            tdk_check_value=tdk_check_value,
            lmk_id=self.lmk_id,
        )

    def generate_key(
        self, usage: KeyUsage, length: int, *, algorithm: Algorithm | None = None
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.generate_key`."""
        chosen = algorithm_for(usage, length, algorithm)
        check_length(usage, chosen, bytes(length))
        return self._keys.wrap(usage, chosen, self._keys.random_key(chosen, length))

    def import_key(
        self,
        usage: KeyUsage,
        under: str | None,
        cryptogram: bytes | str,
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.import_key`."""
        if under is None:
            return self._import_own(usage, cryptogram, check_value)
        carrier = self._keys.open(under)
        if carrier.usage not in USAGES[usage].carried_by:
            raise KeyUsageError(f"a {usage.value} does not come under a {carrier.usage.value}")
        carrier.require(Operation.KEY_UNWRAP)
        if isinstance(cryptogram, str):
            chosen, key = open_foreign_block(usage, carrier, cryptogram)
            if algorithm not in (None, chosen):
                raise KeyUsageError(f"the key block holds a {chosen.name} key")
        else:
            chosen = algorithm_for(usage, len(cryptogram), algorithm)
            assert carrier.key_decrypt is not None
            if len(cryptogram) % (16 if carrier.algorithm is Algorithm.AES else 8):
                raise VaultError("the cryptogram is not whole cipher blocks")
            key = carrier.key_decrypt(cryptogram)
        check_length(usage, chosen, key)
        if not allow_weak and strength_bits(OpenKey(usage, chosen, key)) > strength_bits(carrier):
            raise VaultError("a key does not come under a weaker one")
        return self._accept(usage, chosen, key, check_value, allow_weak=allow_weak)

    def import_components(
        self,
        usage: KeyUsage,
        components: Sequence[bytes],
        *,
        algorithm: Algorithm | None = None,
        check_value: str | None = None,
        allow_weak: bool = False,
    ) -> KeyBlock:
        """See `hsm.ports.Hsm.import_components`."""
        if not USAGES[usage].carried_by:
            raise KeyUsageError(f"a {usage.value} is generated here and never entered")
        if allow_weak and len(components) == 1:
            key = components[0]
        else:
            key = ceremony.combine_components(components)
        chosen = algorithm_for(usage, len(key), algorithm)
        if chosen in (Algorithm.DES, Algorithm.TDES):
            # Two odd components XOR to an even key: parity is asked of each, and then made.
            if not allow_weak and any(with_odd_parity(c) != c for c in components):
                raise VaultError("a component has wrong parity")
            key = with_odd_parity(key) if any(key) else key
        return self._accept(usage, chosen, key, check_value, allow_weak=allow_weak)

    def export_key(self, key: str, under: str) -> ExportedKey:
        """See `hsm.ports.Hsm.export_key`."""
        opened, carrier = self._keys.open(key), self._keys.open(under)
        row = USAGES[opened.usage]
        if opened.exportability != "S":
            raise KeyUsageError(f"a {opened.usage.value} does not leave this vault")
        if carrier.usage not in row.carried_by:
            raise KeyUsageError(f"a {opened.usage.value} does not go under a {carrier.usage.value}")
        carrier.require(Operation.KEY_WRAP)
        if strength_bits(opened) > strength_bits(carrier):
            raise VaultError("a key does not go under a weaker one")
        assert carrier.key_encrypt is not None
        is_aes = carrier.algorithm is Algorithm.AES
        header = key_block.Header(
            version="D" if is_aes else "B",
            usage=row.tr31_usage[opened.algorithm],
            algorithm=opened.algorithm.value,
            mode=row.mode,
        )
        if opened.algorithm is Algorithm.AES:
            check_value = check_values.aes_ecb_check_value(opened.key)
        else:
            check_value = check_values.tdes_check_value(opened.key)
        block = key_block.wrap(
            carrier.key, header, opened.key, self._keys.entropy, pad_to=32 if is_aes else 24
        )
        padded = opened.key
        if len(padded) % (16 if is_aes else 8):
            raise VaultError("this key has no ECB form under an AES key")
        return ExportedKey(
            block, carrier.key_encrypt(padded).hex().upper(), check_value.hex().upper()
        )

    def check_value(self, key: str) -> str:
        """See `hsm.ports.Hsm.check_value`."""
        return self._keys.open(key).check_value()

    def _accept(
        self,
        usage: KeyUsage,
        algorithm: Algorithm,
        key: bytes,
        check_value: str | None,
        *,
        allow_weak: bool,
    ) -> KeyBlock:
        check_length(usage, algorithm, key)
        if not allow_weak:
            check_strength(algorithm, key)
        if check_value is not None:
            compare_check_value(algorithm, key, check_value)
        return self._keys.wrap(usage, algorithm, key)

    def _import_own(
        self, usage: KeyUsage, cryptogram: bytes | str, check_value: str | None
    ) -> KeyBlock:
        if not isinstance(cryptogram, str):
            raise VaultError("only a key block comes without a key it is under")
        opened = self._keys.open(cryptogram)
        if opened.usage is not usage:
            raise KeyUsageError(f"the key block is that of a {opened.usage.value}")
        if check_value is not None:
            compare_check_value(opened.algorithm, opened.key, check_value)
        return KeyBlock(cryptogram, usage, opened.check_value(), self.lmk_id)


def open_foreign_block(usage: KeyUsage, carrier: OpenKey, block: str) -> tuple[Algorithm, bytes]:
    """Algorithm and key of another party's TR-31 block, if its header allows this usage."""
    header, key = key_block.unwrap(carrier.key, block)
    expected = "D" if carrier.algorithm is Algorithm.AES else "ABC"
    if header.version not in expected:
        raise KeyUsageError(f"a key block under this key has version {', '.join(expected)}")
    fault = key_block_rules.fault(header)
    if fault is not None:
        raise KeyUsageError(str(fault))
    row = USAGES[usage]
    if header.usage not in row.accepts or header.mode not in row.accepts_modes:
        raise KeyUsageError(
            f"a key block of usage {header.usage} and mode {header.mode} is no {usage.value}"
        )
    algorithm = algorithm_of(header.algorithm)
    if algorithm not in row.tr31_usage:
        raise KeyUsageError(f"there is no {usage.value} for {algorithm.name}")
    return algorithm, key


def strength_bits(key: OpenKey) -> int:
    """Effective bits (NIST SP 800-57): single DES 56, two-key Triple DES 80, three-key 112, others their length.

    No more than 256 count: nothing stronger carries an HMAC key.
    """
    if key.algorithm in (Algorithm.DES, Algorithm.TDES):
        return {8: 56, 16: 80, 24: 112}[len(key.key)]
    return min(len(key.key) * 8, 256)


def compare_check_value(algorithm: Algorithm, key: bytes, given: str) -> None:
    """`VaultError` unless `given`, 4 to 10 hex digits, starts one of the key's check values."""
    text = given.strip().upper()
    if algorithm is Algorithm.AES:
        known = [check_values.aes_check_value(key), check_values.aes_ecb_check_value(key, 4)]
    elif algorithm is Algorithm.HMAC:
        known = [check_values.hmac_check_value(key)]
    elif algorithm is Algorithm.SM4:
        known = [check_values.sm4_check_value(key)]
    else:
        known = [check_values.tdes_check_value(key, 4, on_wire=True)]
    if len(text) < 4 or not any(value.hex().upper().startswith(text) for value in known):
        raise VaultError("the check value does not agree")
