"""What an issuer asks of its vault: PINs, card verification values, chip cards. Keys are blocks of the vault.

Each method asks its key for the one operation it is for (`OpenKey.require`): `KeyUsageError` else. A wrong
PIN, value or cryptogram is an answer, False or None, whose parts do not show. How many wrong PINs an account
may have is the issuer's to count.
"""

from typing import Final

from hsm import card_values, ciphers, emv_profiles, pin_translation, pin_verify
from hsm.card_values import CardValue, CardValueProfile
from hsm.digits import account_of
from hsm.emv_profiles import EmvProfile, Tags
from hsm.errors import KeyUsageError
from hsm.keys import Algorithm, Operation
from hsm.pin_translation import PinFormat
from hsm.vault import KeyTable, OpenKey

DEFAULT_CARD_VALUES: Final = CardValueProfile()


class LocalIssuer:
    """An issuer's side of `hsm.local.LocalVault`, whose opened keys it shares."""

    def __init__(self, keys: KeyTable) -> None:
        self._keys = keys

    def verify_pin_pvv(
        self,
        pin_block: bytes,
        pin_key: str,
        pvk: str,
        pan: str,
        key_index: str,
        value: str,
        source: PinFormat = PinFormat.ISO_0,
    ) -> bool:
        """Whether the PIN in a block under a TPK or ZPK is the one of this PVV (4 digits; PVKI 1 digit).

        `PinBlockError` for a block that does not open; a wrong PIN is False.
        """
        opened = self._open(pvk, Operation.PIN_VERIFY_VISA)
        pin = self._open_pin(pin_block, pin_key, pan, source)
        return pin_verify.verify_pvv(opened.key, account_of(pan), key_index, pin, value)

    def verify_pin_ibm(
        self,
        pin_block: bytes,
        pin_key: str,
        pvk: str,
        pan: str,
        validation: str,
        table: str,
        offset: str,
        *,
        check_length: int | None = None,
        source: PinFormat = PinFormat.ISO_0,
    ) -> bool:
        """Whether the PIN in a block agrees with an offset of IBM 3624, as `hsm.pin_verify.verify_offset`.

        `validation` is 16 hex digits, `table` a decimalisation table; who may choose it finds PINs, so it is
        a setting of the issuer and never a field of a message.
        """
        opened = self._open(pvk, Operation.PIN_VERIFY_IBM)
        pin = self._open_pin(pin_block, pin_key, pan, source)
        return pin_verify.verify_offset(opened.key, validation, table, pin, offset, check_length)

    def make_card_value(
        self,
        cvk: str,
        pan: str,
        expiry_yymm: str,
        service_code: str,
        kind: CardValue,
        profile: CardValueProfile = DEFAULT_CARD_VALUES,
    ) -> str:
        """The 3 digits of a CVV, CVV2 or iCVV; of the last two the card's service code does not count."""
        opened = self._open(cvk, Operation.CARD_VALUE)
        expiry, service = profile.inputs(kind, expiry_yymm, service_code)
        return card_values.card_value(opened.key, pan, expiry, service)

    def verify_card_value(
        self,
        cvk: str,
        pan: str,
        expiry_yymm: str,
        service_code: str,
        kind: CardValue,
        value: str,
        profile: CardValueProfile = DEFAULT_CARD_VALUES,
    ) -> bool:
        """Whether it is the card's; takes the same time for any answer."""
        opened = self._open(cvk, Operation.CARD_VALUE)
        expiry, service = profile.inputs(kind, expiry_yymm, service_code)
        return card_values.verify(opened.key, pan, expiry, service, value)

    def verify_arqc(self, mk_ac: str, profile: str, pan: str, psn: str, tags: Tags) -> bool:
        """Whether tag 9F26 is the card's, by a scheme of `hsm.emv_profiles`."""
        row, opened = self._emv(mk_ac, profile)
        return emv_profiles.verify(row, opened.key, pan, psn, tags)

    def answer_arqc(
        self,
        mk_ac: str,
        profile: str,
        pan: str,
        psn: str,
        tags: Tags,
        answer: bytes,
        proprietary: bytes = b"",
    ) -> bytes | None:
        """The value of tag 91 (ARPC and what it answers) for a right cryptogram; None for a wrong one.

        `answer`: the authorisation response code, 2 bytes, or the card status update, 4, as the scheme has it.
        """
        row, opened = self._emv(mk_ac, profile)
        made = emv_profiles.issuer_authentication_data(
            row, opened.key, pan, psn, tags, answer, proprietary
        )
        return made if emv_profiles.verify(row, opened.key, pan, psn, tags) else None

    def _emv(self, mk_ac: str, profile: str) -> tuple[EmvProfile, OpenKey]:
        row, opened = emv_profiles.profile_named(profile), self._open(mk_ac, Operation.DERIVE_AC)
        if opened.algorithm.name != row.cipher:
            raise KeyUsageError(f"profile {row.name} needs a {row.cipher} key")
        return row, opened

    def _open_pin(self, pin_block: bytes, pin_key: str, pan: str, source: PinFormat) -> str:
        opened = self._open(pin_key, Operation.PIN_DECRYPT)
        decrypt = opened.pin_decrypt
        if source is PinFormat.ISO_4:
            is_aes = opened.algorithm is Algorithm.AES
            decrypt = ciphers.aes(opened.key).decrypt if is_aes else None
        if decrypt is None:
            raise KeyUsageError(f"{opened} opens no PIN blocks of {source.value}")
        return pin_translation.open_pin(pin_block, source, pan, decrypt)

    def _open(self, key: str, operation: Operation) -> OpenKey:
        opened = self._keys.open(key)
        opened.require(operation)
        return opened
