"""Goal: M0, M2 and M4 are ECB and CBC in every form of input and output, with keys for data alone.

Method: PyCryptodome as second implementation; a message cut into blocks; one wrong field at a time.
"""

import pytest
from Crypto.Cipher import AES, DES, DES3
from hypothesis import given, settings, strategies as st

from hsm.ciphers import Sm4
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.host.support import Host, host_vault
from tests.hsm.support import odd, seeded

KEY, OTHER = odd(51, 16), odd(52, 24)
AES_KEY, SM4_KEY = seeded(53)(32), seeded(54)(16)


@pytest.fixture
def host() -> Host:
    return Host(host_vault(allow_weak=False))


def cipher(key: bytes, mode: str, vector: bytes) -> object:
    module = {8: DES, 16: DES3, 24: DES3, 32: AES}[len(key)]
    if mode == "00":
        return module.new(key, module.MODE_ECB)
    return module.new(key, module.MODE_CBC, vector)


def second(key: bytes, mode: str, vector: bytes, data: bytes) -> bytes:
    return cipher(key, mode, vector).encrypt(data)  # type: ignore[attr-defined, no-any-return]


def text_of(host: Host, key: bytes) -> tuple[str, str]:
    if len(key) == 32:
        return "FFF", "S" + host.vault.keys.wrap(KeyUsage.ZEK, Algorithm.AES, key).block
    return "00A", host.key(key, "00A", "U" if len(key) == 16 else "T")


def write(data: bytes, form: str) -> bytes:
    shown = data.hex().upper().encode() if form == "1" else data
    return b"%04X" % len(shown) + shown


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([KEY, OTHER, AES_KEY]),
    st.sampled_from(["00", "01"]),
    st.sampled_from("01"),
    st.sampled_from("01"),
    st.integers(1, 6),
    st.data(),
)
def test_data_goes_in_and_comes_out(
    key: bytes, mode: str, into: str, out: str, blocks: int, draw: st.DataObject
) -> None:
    host = Host(host_vault(allow_weak=False))
    block = 16 if len(key) == 32 else 8
    data = draw.draw(st.binary(min_size=block * blocks, max_size=block * blocks))
    vector = draw.draw(st.binary(min_size=block, max_size=block))
    code, text = text_of(host, key)
    expected = second(key, mode, vector, data)
    shown = vector.hex().upper() if mode == "01" else ""
    chained = expected[-block:].hex().upper() if mode == "01" else ""
    head = f"{mode}{into}{out}{code}{text}{shown}".encode()
    answer = host(b"M0" + head + write(data, into)).encode("latin-1")
    assert answer == b"M100" + chained.encode() + write(expected, out)
    answer = host(b"M2" + head + write(expected, into)).encode("latin-1")
    assert answer == b"M300" + chained.encode() + write(data, out)


def test_a_message_in_blocks_is_the_message(host: Host) -> None:
    code, text = text_of(host, KEY)
    data, vector = bytes(range(64)), seeded(5)(8)
    whole, at = b"", vector
    for start in range(0, 64, 16):
        part = data[start : start + 16].hex().upper()
        answer = host(f"M00111{code}{text}{at.hex()}0020{part}")
        at = bytes.fromhex(answer[4:20])
        whole += bytes.fromhex(answer[24:])
    assert whole == second(KEY, "01", vector, data)


def test_text_goes_in_and_comes_out(host: Host) -> None:
    code, text = text_of(host, KEY)
    answer = host(f"M00021{code}{text}0010sixteen letters.")
    assert answer[:8] == "M1000020"
    assert host(f"M20012{code}{text}" + answer[4:]) == "M3000010sixteen letters."


def test_sm4_keys_are_data_keys_too(host: Host) -> None:
    text = "S" + host.vault.keys.wrap(KeyUsage.ZEK, Algorithm.SM4, SM4_KEY).block
    answer = host(f"M00011FFF{text}0020" + "00" * 16)
    assert answer == "M1000020" + Sm4(SM4_KEY).encrypt(bytes(16)).hex().upper()


def test_a_terminals_track_goes_to_a_zone(host: Host) -> None:
    tek, zek = host.key(KEY, "30B"), host.key(OTHER, "00A", "T")
    data, first, second_vector = bytes(range(24)), seeded(1)(8), seeded(2)(8)
    sealed = second(KEY, "01", first, data)
    expected = second(OTHER, "01", second_vector, data)
    answer = host(f"M401011130B{tek}00A{zek}{first.hex()}{second_vector.hex()}0030{sealed.hex()}")
    assert answer == (
        "M500"
        + sealed[-8:].hex().upper()
        + expected[-8:].hex().upper()
        + "0030"
        + expected.hex().upper()
    )
    ecb = second(OTHER, "00", b"", data)
    answer = host(f"M401001130B{tek}00A{zek}{first.hex()}0030{sealed.hex()}")
    assert answer == "M500" + sealed[-8:].hex().upper() + "0030" + ecb.hex().upper()
    assert host(f"M400001130B{tek}30B{tek}0010" + "0" * 16) == "M505"
    assert host(f"M400001130B{tek}00A{tek}0010" + "0" * 16) == "M511"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("M002", "02"),
        ("M013", "02"),
        ("M0003", "03"),
        ("M00013", "04"),
        ("M00012", "04"),
        ("M00011001", "05"),
        ("M0001130B{tek}", "05"),
        ("M0001100A{zek}0002AB", "06"),
        ("M0001100A{zek}0000", "06"),
        ("M0001100A{zek}0011" + "A" * 17, "15"),
        ("M0001100A{zek}0010" + "A" * 15, "80"),
        ("M0001100A{zek}0010" + "A" * 15 + "G", "15"),
        ("M0001100A{zek}0010" + "A" * 17, "80"),
        ("M0001100A{tek}0010" + "A" * 16, "10"),
        ("M0011100A{zek}0010" + "A" * 16, "80"),
        ("M00011FFF{zek}0010" + "A" * 16, "A1"),
        ("M0001100A{tdk}0010" + "A" * 16, "A1"),
        ("M00011FFF{tdk}0010" + "A" * 16, "A6"),
        ("M00011FFF{zpk}0010" + "A" * 16, "A6"),
        ("M2002", "03"),
        ("M20013", "04"),
        ("M20011FFF{zpk}0010" + "A" * 16, "A6"),
    ],
)
def test_it_says_what_is_wrong(host: Host, command: str, code: str) -> None:
    wrap = host.vault.keys.wrap
    texts = {
        "zek": host.key(KEY, "00A"),
        "tek": host.key(KEY, "30B"),
        "tdk": "S" + wrap(KeyUsage.TDK, Algorithm.TDES, KEY).block,
        "zpk": "S" + wrap(KeyUsage.ZPK, Algorithm.TDES, KEY).block,
    }
    assert host(command.format(**texts))[2:] == code
