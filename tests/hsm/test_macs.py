"""Goal: every MAC is what its standard says, whole or in parts, and its profile what the table says.

Method: each is composed a second time here, block by block, over PyCryptodome's ciphers (SM4 over the
standard's letter), and compared on drawn keys, messages and places to cut. Hypothesis draws them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from Crypto.Cipher import AES, DES, DES3
from Crypto.Hash import CMAC, HMAC, SHA256, SHA384, SHA512
from hypothesis import given, settings, strategies as st

from hsm import ciphers, mac, mac_profiles, working_keys
from hsm.errors import VaultError
from hsm.keys import USAGES, Algorithm, KeyUsage
from hsm.mac_profiles import PROFILES, profiles_for
from tests.hsm import sm4_by_the_letter
from tests.hsm.support import odd

few = settings(max_examples=50, deadline=None)

seeds = st.integers(0, 10_000)
messages = st.binary(max_size=200)
paddings = st.sampled_from([1, 2, 3])
sm4_keys = st.binary(min_size=16, max_size=16)
aes_keys = st.sampled_from([16, 24, 32]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)

Encrypt = Callable[[bytes], bytes]


def des(key: bytes) -> Encrypt:
    return (DES.new(key, DES.MODE_ECB) if len(key) == 8 else DES3.new(key, DES3.MODE_ECB)).encrypt


def sm4(key: bytes) -> Encrypt:
    return lambda block: sm4_by_the_letter.encrypt(key, block)


def exclusive_or(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def padded(data: bytes, padding: int, width: int) -> bytes:
    if padding == 2:
        data += b"\x80"
    while len(data) % width or (not data and padding == 1):
        data += b"\0"
    return data


def with_length(data: bytes, padding: int, width: int) -> bytes:
    if padding != 3:
        return padded(data, padding, width)
    return (8 * len(data)).to_bytes(width, "big") + padded(data, 3, width)


def cbc(encrypt: Encrypt, data: bytes, width: int) -> bytes:
    value = bytes(width)
    for at in range(0, len(data), width):
        value = encrypt(exclusive_or(value, data[at : at + width]))
    return value


# -- ISO 9797-1 ------------------------------------------------------------------------------


@few
@given(seeds, st.sampled_from([8, 16, 24]), messages, paddings)
def test_algorithm_1_over_des(seed: int, size: int, data: bytes, padding: int) -> None:
    key = odd(seed, size)
    expected = cbc(des(key), with_length(data, padding, 8), 8)
    assert mac.x9_9(key, data, padding) == expected
    if size > 8:
        assert mac.tdes_cbc(key, data, padding) == expected
    else:
        with pytest.raises(VaultError, match="16 or 24"):
            mac.tdes_cbc(key, data, padding)


@few
@given(seeds, messages, paddings)
def test_algorithm_3(seed: int, data: bytes, padding: int) -> None:
    key = odd(seed, 16)
    value = cbc(des(key[:8]), with_length(data, padding, 8), 8)
    right = DES.new(key[8:], DES.MODE_ECB).decrypt(value)
    assert mac.x9_19(key, data, padding) == des(key[:8])(right)


@few
@given(aes_keys, sm4_keys, messages, paddings)
def test_algorithm_1_over_aes_and_sm4(
    aes_key: bytes, sm4_key: bytes, data: bytes, padding: int
) -> None:
    whole = with_length(data, padding, 16)
    aes = AES.new(aes_key, AES.MODE_ECB).encrypt
    assert mac.aes_cbc(aes_key, data, padding) == cbc(aes, whole, 16)
    assert mac.sm4_cbc(sm4_key, data, padding) == cbc(sm4(sm4_key), whole, 16)


ALGORITHMS: dict[str, tuple[int, int, Callable[..., bytes], Callable[..., bytes]]] = {
    # name -> key bytes, block, the whole and the end of it, the chaining value
    "x9.9": (8, 8, mac.x9_9, mac.x9_9_chain),
    "x9.9 double": (16, 8, mac.x9_9, mac.x9_9_chain),
    "x9.19": (16, 8, mac.x9_19, mac.x9_19_chain),
    "tdes": (24, 8, mac.tdes_cbc, mac.x9_9_chain),
    "aes": (32, 16, mac.aes_cbc, lambda key, data, at: mac.aes_cbc(key, data, 0, at)),
    "sm4": (16, 16, mac.sm4_cbc, lambda key, data, at: mac.sm4_cbc(key, data, 0, at)),
}


@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("name", ALGORITHMS)
@given(
    seed=seeds,
    blocks=st.lists(st.integers(1, 3), max_size=4),
    last=st.binary(min_size=1, max_size=40),
)
def test_a_message_in_parts_is_the_message(
    name: str, seed: int, blocks: list[int], last: bytes
) -> None:
    size, width, whole, chain = ALGORITHMS[name]
    key = odd(seed, size)
    parts = [odd(seed + at, count * width) for at, count in enumerate(blocks)]
    vector = None
    for part in parts:
        vector = chain(key, part, vector)
    for padding in (1, 2):
        assert whole(key, last, padding, vector) == whole(key, b"".join([*parts, last]), padding)
    aligned = last.ljust(-(-len(last) // width) * width, b"x")
    assert whole(key, aligned, 0, vector) == whole(key, b"".join([*parts, aligned]), 0)
    # Method 2 has a block of its own to add, so even an empty end is one.
    assert whole(key, b"", 2, vector) == whole(key, b"".join(parts), 2)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_parts_that_can_not_be(name: str) -> None:
    size, width, whole, chain = ALGORITHMS[name]
    key = odd(1, size)
    vector = chain(key, bytes(width), None)
    refusals: list[tuple[Callable[[], bytes], str]] = [
        (lambda: chain(key, bytes(width - 1), None), "whole blocks"),
        (lambda: chain(key, b"", None), "whole blocks"),
        (lambda: chain(key, b"", vector), "at least one byte"),
        (lambda: whole(key, b"", 1, vector), "at least one byte"),
        (lambda: whole(key, b"data", 3, vector), "whole message"),
        (lambda: whole(key, b"data", 1, bytes(width - 1)), "chaining value"),
        (lambda: whole(key, b"data", 1, bytes(width + 8)), "chaining value"),
        (lambda: whole(key, b"data", 4), "padding method"),
        (lambda: whole(odd(1, 40), b"data"), "byte"),
        (lambda: whole(b"", b"data"), "byte"),
    ]
    for refused, reason in refusals:
        with pytest.raises(VaultError, match=reason):
            refused()


# -- the others ------------------------------------------------------------------------------


@few
@given(aes_keys, seeds, st.sampled_from([16, 24]), messages)
def test_cmac(aes_key: bytes, seed: int, size: int, data: bytes) -> None:
    assert mac.aes_cmac(aes_key, data) == CMAC.new(aes_key, data, AES).digest()
    des_key = odd(seed, size)
    assert mac.tdes_cmac(des_key, data) == CMAC.new(des_key, data, DES3).digest()


@few
@given(st.binary(max_size=200), messages)
def test_hmac(key: bytes, data: bytes) -> None:
    for name, digest in (("sha256", SHA256), ("sha384", SHA384), ("sha512", SHA512)):
        assert ciphers.Hmac(key, name).digest(data) == HMAC.new(key, data, digest).digest()


@few
@given(st.binary(max_size=200), messages)
def test_hmac_over_sm3(key: bytes, data: bytes) -> None:
    def sm3(of: bytes) -> bytes:
        return hashlib.new("sm3", of).digest()

    block = (sm3(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = sm3(exclusive_or(block, b"\x36" * 64) + data)
    assert ciphers.Hmac(key, "sm3").digest(data) == sm3(exclusive_or(block, b"\x5c" * 64) + inner)


def test_hmac_over_nothing_else() -> None:
    for name in ("sha1", "md5", "", "shake_128"):
        with pytest.raises(VaultError, match="hash"):
            ciphers.Hmac(b"key", name)


def test_contexts_are_kept_within_a_bound_and_forgotten_when_told() -> None:
    kept = ciphers._contexts
    ciphers.forget()
    for make, cache in (
        (ciphers.tdes, kept.tdes),
        (ciphers.aes, kept.aes),
        (ciphers.sm4, kept.sm4),
    ):
        first = make(odd(0, 16))
        assert make(odd(0, 16)) is first
        for seed in range(1, ciphers.CONTEXTS_MAX + 1):
            make(odd(seed, 16))
        assert len(cache) == ciphers.CONTEXTS_MAX
        assert make(odd(0, 16)) is not first
    ciphers.forget()
    assert not kept.tdes
    assert not kept.aes
    assert not kept.sm4


def unionpay_by_the_letter(encrypt: Encrypt, data: bytes, width: int) -> bytes:
    data = padded(data, 3, width)
    fold = bytes(width)
    for at in range(0, len(data), width):
        fold = exclusive_or(fold, data[at : at + width])
    text = fold.hex().upper().encode()
    return encrypt(exclusive_or(encrypt(text[:width]), text[width:]))


@few
@given(sm4_keys, messages)
def test_unionpay_ecb_over_sm4(key: bytes, data: bytes) -> None:
    expected = unionpay_by_the_letter(sm4(key), data, 16)
    assert mac.unionpay_ecb_sm4(key, data) == expected
    assert mac.compute("unionpay-ecb-sm4", key, data) == expected.hex().upper()[:8].encode()
    assert mac.compute("unionpay-ecb-sm4-binary", key, data) == expected[:8]


def test_unionpay_ecb_over_sm4_of_every_length_around_a_block_and_of_the_longest() -> None:
    key = odd(1, 16)
    for length in [*range(70), 255, 256, 257, mac.MAC_DATA_MAX]:
        data = odd(length, length)
        assert mac.unionpay_ecb_sm4(key, data) == unionpay_by_the_letter(sm4(key), data, 16)
    with pytest.raises(VaultError, match="at most"):
        mac.unionpay_ecb_sm4(key, bytes(mac.MAC_DATA_MAX + 1))


# -- profiles --------------------------------------------------------------------------------

# algorithm -> all bytes of the result by a function of this module or of `hsm.mac`, tested above
WHOLE: dict[str, Callable[[bytes, bytes, int], bytes]] = {
    "unionpay-ecb": lambda key, data, _: mac.unionpay_ecb(key, data),
    "unionpay-ecb-sm4": lambda key, data, _: mac.unionpay_ecb_sm4(key, data),
    "x9.9": mac.x9_9,
    "x9.19": mac.x9_19,
    "sm4-cbc": mac.sm4_cbc,
    "aes-cmac": lambda key, data, _: mac.aes_cmac(key, data),
    "tdes-cmac": lambda key, data, _: mac.tdes_cmac(key, data),
    "hmac-sha256": lambda key, data, _: ciphers.Hmac(key, "sha256").digest(data),
    "hmac-sha384": lambda key, data, _: ciphers.Hmac(key, "sha384").digest(data),
    "hmac-sha512": lambda key, data, _: ciphers.Hmac(key, "sha512").digest(data),
    "hmac-sm3": lambda key, data, _: ciphers.Hmac(key, "sm3").digest(data),
}


@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("name", [name for name in PROFILES if name != "off"])
@given(seed=seeds, data=messages)
def test_a_profile_is_its_algorithm_padding_and_coding(name: str, seed: int, data: bytes) -> None:
    profile = PROFILES[name]
    for size in profile.mak_bytes:
        key = odd(seed, size)
        whole = WHOLE[profile.algorithm.value](key, data, profile.padding)
        coded = whole.hex().upper()[:8].encode() if profile.coding == "hex8" else whole[:8]
        assert mac.compute(name, key, data) == coded
        assert mac.verify(name, key, data, coded)
        assert not mac.verify(name, key, data, coded[:-1] + bytes([coded[-1] ^ 1]))
    with pytest.raises(VaultError, match="no keys of 7 bytes"):
        mac.compute(name, bytes(7), data)


def test_profiles_that_a_key_can_have() -> None:
    terminals = profiles_for(working_keys.MAK_LENGTHS)
    links = profiles_for(USAGES[KeyUsage.ZAK].lengths)
    assert {"unionpay-ecb", "x9.9", "x9.19-pad2", "cmac", "cmac-tdes", "off"} <= set(terminals)
    assert not {"sm4-cbc", "hmac-sha256", "unionpay-ecb-sm4"} & set(terminals)
    assert {"x9.19-binary", "sm4-cbc", "cmac"} <= set(links)
    assert "hmac-sha256" not in links
    assert profiles_for({Algorithm.DES: (8,)}) == (
        "unionpay-ecb",
        "unionpay-ecb-binary",
        "x9.9",
        "x9.9-binary",
        "x9.9-pad2",
        "x9.9-pad2-binary",
        "off",
    )


def test_the_document_shows_the_table() -> None:
    document = (Path(__file__).parents[2] / "docs" / "hsm.md").read_text(encoding="utf-8")
    assert f"```\n{mac_profiles.render()}\n```" in document
