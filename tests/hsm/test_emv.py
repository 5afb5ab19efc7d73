"""Goal: keys, cryptograms, answers and scripts of chip cards are those of another implementation.

Method: pyemv, step by step and scheme by scheme, on drawn cards and transactions; SM4 by the letter of
its standard where pyemv has nothing; rows of chip data that is refused, and what the refusal says.
"""

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyemv
import pytest
from hypothesis import given, settings, strategies as st

from hsm import ciphers, des_keys, emv_cryptograms, emv_keys, emv_profiles, emv_scripts
from hsm.emv_profiles import PROFILES, EmvProfile
from hsm.emv_scripts import DataStyle
from hsm.errors import VaultError
from tests.hsm import sm4_by_the_letter
from tests.hsm.support import odd

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

few = settings(max_examples=40, deadline=None)

keys = st.integers(0, 10_000).map(lambda seed: odd(seed, 16))
pans = st.text("0123456789", min_size=8, max_size=19)
psns = st.text("0123456789", min_size=2, max_size=2)
pins = st.text("0123456789", min_size=4, max_size=12)
eight = st.binary(min_size=8, max_size=8)
four = st.binary(min_size=4, max_size=4)
two = st.binary(min_size=2, max_size=2)

KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PAN = "6222021234567890"
TAGS = {
    "9F02": bytes.fromhex("000000012345"),
    "9F03": bytes(6),
    "9F1A": bytes.fromhex("0156"),
    "95": bytes.fromhex("0000048000"),
    "5F2A": bytes.fromhex("0156"),
    "9A": bytes.fromhex("261127"),
    "9C": b"\0",
    "9F37": bytes.fromhex("52BF4585"),
    "82": bytes.fromhex("7C00"),
    "9F36": bytes.fromhex("001C"),
    "9F10": bytes.fromhex("07010103A0000001"),
    "9F26": bytes.fromhex("0011223344556677"),
}
MCHIP = TAGS | {"9F10": bytes.fromhex("0110A00003220000DAC1000000000000FFFF")}


@st.composite
def chip_data(draw: st.DrawFn) -> dict[str, bytes]:
    tags = {
        tag: draw(st.binary(min_size=length, max_size=length))
        for tag, length in emv_profiles.ELEMENTS.items()
    }
    return tags | {"9F10": draw(st.binary(min_size=18, max_size=32)), "9F26": draw(eight)}


# -- keys ----------------------------------------------------------------------------------


@few
@given(keys, pans, psns)
def test_master_keys(key: bytes, pan: str, psn: str) -> None:
    for option, theirs in (("A", pyemv.kd.derive_icc_mk_a), ("B", pyemv.kd.derive_icc_mk_b)):
        y = emv_keys.diversifier(pan, psn, option=option)
        assert emv_keys.master_key(key, y) == theirs(key, pan, psn)
        sealed = sm4_by_the_letter.encrypt(key, y + bytes(byte ^ 0xFF for byte in y))
        assert emv_keys.master_key_sm4(key, y) == sealed


def test_option_b_where_a_hash_has_too_few_digits() -> None:
    # one in some 18,000 cards: its letters fill the rest
    def decimals(pan: str) -> int:
        hashed = hashlib.sha1(bytes.fromhex(f"0{pan}00")).hexdigest()
        return sum(letter.isdigit() for letter in hashed)

    short = next(pan for pan in (f"1{n:016}" for n in range(10**6)) if decimals(pan) < 16)
    y = emv_keys.diversifier(short, option="B")
    assert emv_keys.master_key(KEY, y) == pyemv.kd.derive_icc_mk_b(KEY, short, "00")


@few
@given(keys, two, four, eight)
def test_session_keys(key: bytes, atc: bytes, number: bytes, arqc: bytes) -> None:
    for r in (emv_keys.r_of_atc(atc), emv_keys.r_of_atc_and_number(atc, number), arqc):
        assert emv_keys.common_session_key(key, r) == pyemv.kd.derive_common_sk(key, r)
    assert emv_keys.visa_script_key(key, atc) == pyemv.kd.derive_visa_sm_sk(key, atc)
    complement = bytes(byte ^ 0xFF for byte in atc)
    data = bytes(6) + atc + bytes(6) + complement
    sealed = ciphers.tdes_ecb_encrypt(key, data)
    assert emv_keys.pboc_session_key(key, atc) == des_keys.with_odd_parity(sealed)
    assert emv_keys.pboc_session_key_sm4(key, atc) == sm4_by_the_letter.encrypt(key, data)


@few
@given(
    keys,
    two,
    st.sampled_from([(2, 16), (4, 8), (3, 11), (16, 4), (255, 3)]),
    st.binary(min_size=16, max_size=16),
)
def test_the_tree(key: bytes, atc: bytes, shape: tuple[int, int], vector: bytes) -> None:
    branch, height = shape
    ours = emv_keys.emv2000_session_key(key, atc, branch=branch, height=height, vector=vector)
    assert ours == pyemv.kd.derive_emv2000_tree_sk(key, atc, height, branch, vector)


@pytest.mark.parametrize(
    ("branch", "height", "says"),
    [
        (1, 16, "2 to 255"),
        (256, 2, "2 to 255"),
        (2, 17, "16 levels"),
        (4, 0, "16 levels"),
        (2, 15, "too few"),
        (4, 7, "too few"),
        (255, 1, "too few"),
    ],
)
def test_trees_that_are_refused(branch: int, height: int, says: str) -> None:
    with pytest.raises(VaultError, match=says):
        emv_keys.emv2000_session_key(KEY, b"\0\1", branch=branch, height=height)


# -- cryptograms -----------------------------------------------------------------------------


@few
@given(keys, st.binary(min_size=1, max_size=300), eight, two, four, st.binary(max_size=8))
def test_cryptograms(
    key: bytes, data: bytes, arqc: bytes, arc: bytes, csu: bytes, proprietary: bytes
) -> None:
    for padding, theirs in ((1, pyemv.ac.PaddingType.VISA), (2, pyemv.ac.PaddingType.EMV)):
        made = emv_cryptograms.application_cryptogram(key, data, padding)
        assert made == pyemv.ac.generate_ac(key, data, theirs)
        assert emv_cryptograms.verify(made, made)
        assert not emv_cryptograms.verify(made, made[:7] + bytes((made[7] ^ 1,)))
    assert emv_cryptograms.arpc_method_1(key, arqc, arc) == pyemv.ac.generate_arpc_1(key, arqc, arc)
    assert emv_cryptograms.arpc_method_2(key, arqc, csu, proprietary) == pyemv.ac.generate_arpc_2(
        key, arqc, csu, proprietary
    )


@few
@given(keys, st.binary(min_size=1, max_size=60), eight, two)
def test_cryptograms_with_sm4(key: bytes, data: bytes, arqc: bytes, arc: bytes) -> None:
    padded = data + b"\x80"
    padded += bytes(-len(padded) % 16)
    chain = bytes(16)
    for start in range(0, len(padded), 16):
        block = bytes(a ^ b for a, b in zip(chain, padded[start : start + 16], strict=True))
        chain = sm4_by_the_letter.encrypt(key, block)
    assert emv_cryptograms.application_cryptogram_sm4(key, data) == chain[:8]
    mixed = bytes(a ^ b for a, b in zip(arqc, arc + bytes(6), strict=True))
    sealed = sm4_by_the_letter.encrypt(key, mixed + bytes(8))
    assert emv_cryptograms.arpc_method_1_sm4(key, arqc, arc) == sealed[:8]


# -- schemes ----------------------------------------------------------------------------------


def their_card(name: str, keys: tuple[bytes, bytes, bytes], pan: str, psn: str) -> Any:
    kind = {
        "visa-cvn10": pyemv.cvn.VisaCVN10,
        "visa-cvn18": pyemv.cvn.VisaCVN18,
        "visa-cvn22": pyemv.cvn.VisaCVN22,
        "mastercard-cvn16": pyemv.cvn.MasterCardCVN16,
        "mastercard-cvn17": pyemv.cvn.MasterCardCVN17,
        "mastercard-cvn20": pyemv.cvn.MasterCardCVN20,
        "mastercard-cvn21": pyemv.cvn.MasterCardCVN21,
    }[name]
    return kind(*keys, pan, psn)


THEIRS = [profile for name, profile in PROFILES.items() if name.startswith(("visa", "master"))]


@pytest.mark.parametrize("profile", THEIRS, ids=lambda row: row.name)
@settings(max_examples=15, deadline=None)
@given(st.tuples(keys, keys, keys), pans, psns, chip_data(), pins, two, four)
def test_a_card_of_each_scheme(
    profile: EmvProfile,
    three: tuple[bytes, bytes, bytes],
    pan: str,
    psn: str,
    tags: dict[str, bytes],
    pin: str,
    arc: bytes,
    csu: bytes,
) -> None:
    card = their_card(profile.name, three, pan, psn)
    issuer_data = tags["9F10"]
    last: tuple[bytes, ...] = (issuer_data,)
    if profile.name == "visa-cvn10":
        last = (issuer_data[3:7],)
    elif profile.name in ("mastercard-cvn16", "mastercard-cvn20"):
        last = (issuer_data[2:8],)
    elif profile.name.startswith("mastercard"):
        last = (issuer_data[2:8], issuer_data[10:])
    theirs = card.generate_ac(*(tags[tag] for tag in emv_profiles.ELEMENTS), *last)
    assert emv_profiles.cryptogram(profile, three[0], pan, psn, tags) == theirs
    assert emv_profiles.verify(profile, three[0], pan, psn, tags | {"9F26": theirs})
    assert not emv_profiles.verify(
        profile, three[0], pan, psn, tags | {"9F26": theirs[:-1] + bytes((theirs[-1] ^ 1,))}
    )

    arqc, atc = tags["9F26"], tags["9F36"]
    answer = csu if profile.arpc_method == 2 else arc
    with_atc = (arqc, atc) if profile.arpc_with_session_key else (arqc,)
    ours = emv_profiles.issuer_authentication_data(profile, three[0], pan, psn, tags, answer)
    assert ours == card.generate_arpc(*with_atc, answer) + answer

    change = emv_profiles.pin_change(profile, three, pan, psn, tags, pin)
    assert change == card.generate_pin_change_command(pin, arqc, atc)
    if profile.name.startswith("visa"):
        change = emv_profiles.pin_change(profile, three, pan, psn, tags, pin, "1234")
        assert change == card.generate_pin_change_command(pin, arqc, atc, "1234")
    else:
        with pytest.raises(VaultError, match="no current PIN"):
            emv_profiles.pin_change(profile, three, pan, psn, tags, pin, "1234")

    header = bytes.fromhex("8424000008")
    key = emv_profiles.script_key(profile, three[1], pan, psn, tags)
    assert emv_scripts.script_mac(key, header, atc=atc, cryptogram=arqc) == (
        card.generate_command_mac(header, arqc, atc)
    )


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda row: row.name)
def test_a_card_and_its_issuer(profile: EmvProfile) -> None:
    tags = MCHIP if profile.name.startswith("mastercard") else TAGS
    made = emv_profiles.cryptogram(profile, KEY, PAN, "01", tags)
    good = tags | {"9F26": made}
    assert emv_profiles.verify(profile, KEY, PAN, "01", good)
    for tag in emv_profiles.ELEMENTS:
        value = good[tag]
        changed = good | {tag: bytes((value[0] ^ 1,)) + value[1:]}
        assert not emv_profiles.verify(profile, KEY, PAN, "01", changed), tag
    at = profile.issuer_data[0][0]
    value = good["9F10"]
    changed = good | {"9F10": value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]}
    assert not emv_profiles.verify(profile, KEY, PAN, "01", changed)
    assert not emv_profiles.verify(profile, KEY, PAN, "02", good)
    answer = bytes(2 if profile.arpc_method == 1 else 4)
    data = emv_profiles.issuer_authentication_data(profile, KEY, PAN, "01", good, answer)
    assert len(data) == (10 if profile.arpc_method == 1 else 8)
    assert data.endswith(answer)


def test_the_page_shows_the_table() -> None:
    page = Path(__file__).parent.parent.parent / "docs" / "chip.md"
    assert f"```\n{emv_profiles.render()}\n```" in page.read_text(encoding="utf-8")


# -- scripts -------------------------------------------------------------------------------------


@few
@given(keys, st.binary(min_size=1, max_size=255))
def test_data_of_scripts(key: bytes, data: bytes) -> None:
    for style in DataStyle:
        theirs = pyemv.sm.EncryptionType[style.name]
        assert emv_scripts.encrypt_data(key, data, style) == pyemv.sm.encrypt_command_data(
            key, data, theirs
        )


@few
@given(keys, pins, st.one_of(st.none(), pins))
def test_visa_pin_blocks(key: bytes, pin: str, current: str | None) -> None:
    assert emv_scripts.visa_pin_block(key, pin, current) == pyemv.sm.format_vis_pin_block(
        key, pin, current
    )


@few
@given(keys, st.lists(st.binary(min_size=4, max_size=60), max_size=5), eight, st.integers(4, 8))
def test_macs_of_a_script_are_chained(
    key: bytes, commands: list[bytes], arqc: bytes, length: int
) -> None:
    before = arqc
    expected = []
    for command in commands:
        before = pyemv.sm.generate_command_mac(key, before + command)
        expected.append(before[:length])
    assert emv_scripts.chained_macs(key, commands, arqc, length) == expected


def test_mastercard_counts_the_cryptogram_on() -> None:
    arqc = bytes.fromhex("FFFFFFFFFFFFFFFE")
    assert [emv_scripts.cryptogram_of_command(arqc, nth).hex()[-2:] for nth in range(3)] == [
        "fe",
        "ff",
        "00",
    ]


# -- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("tag", [*emv_profiles.ELEMENTS, "9F10", "9F26"])
def test_chip_data_that_is_missing_or_cut(profile: EmvProfile, tag: str) -> None:
    tags = MCHIP if profile.name.startswith("mastercard") else TAGS
    for changed in (
        {name: value for name, value in tags.items() if name != tag},
        tags | {tag: b""},
        tags | {tag: tags[tag] + bytes(30)},
    ):
        with pytest.raises(VaultError, match=f"tag {tag} ") as refused:
            emv_profiles.verify(profile, KEY, PAN, "00", changed)
        assert tags[tag].hex() not in str(refused.value).lower() or len(tags[tag]) < 2


@few
@given(
    st.sampled_from(tuple(PROFILES.values())),
    st.dictionaries(st.sampled_from([*TAGS, "9F34", ""]), st.binary(max_size=40)),
    st.text(max_size=20),
    st.text(max_size=3),
)
def test_any_chip_data_is_refused(
    profile: EmvProfile, tags: dict[str, bytes], pan: str, psn: str
) -> None:
    for call in (
        lambda: emv_profiles.verify(profile, KEY, PAN, "00", tags),
        lambda: emv_profiles.verify(profile, KEY, pan, psn, TAGS | tags),
        lambda: emv_profiles.issuer_authentication_data(profile, KEY, pan, psn, tags, b""),
        lambda: emv_profiles.pin_change(profile, (KEY, KEY, KEY), pan, psn, tags, pan, psn),
    ):
        with suppress(VaultError):
            assert not call()


def test_issuer_data_too_short_for_its_profile() -> None:
    for name, length in (("visa-cvn10", 6), ("mastercard-cvn16", 7), ("mastercard-cvn17", 10)):
        with pytest.raises(VaultError, match="9F10 has not the length"):
            emv_profiles.cryptogram_data(PROFILES[name], MCHIP | {"9F10": bytes(length)})


def test_what_else_is_refused() -> None:
    arqc = TAGS["9F26"]
    csk, sm4 = PROFILES["unionpay-uics"], PROFILES["pboc-sm4"]
    for says, call in (
        ("called 'visa'", lambda: emv_profiles.profile_named("visa")),
        ("PAN has 8 to 19", lambda: emv_keys.diversifier("1234567")),
        ("PAN has 8 to 19", lambda: emv_keys.diversifier("٣" * 16)),
        ("sequence number has 2", lambda: emv_keys.diversifier(PAN, "1")),
        ("at most 11", lambda: emv_keys.diversifier_b(b"")),
        ("at most 11", lambda: emv_keys.diversifier_b(bytes(12))),
        ("option A or B", lambda: emv_keys.diversifier(PAN, option="C")),
        ("16 bytes", lambda: emv_keys.master_key(KEY[:8], bytes(8))),
        ("16 bytes", lambda: emv_keys.master_key_sm4(KEY + KEY, bytes(8))),
        ("8 bytes", lambda: emv_keys.master_key(KEY, bytes(7))),
        ("8 bytes", lambda: emv_keys.common_session_key(KEY, bytes(9))),
        ("ATC has 2", lambda: emv_keys.visa_script_key(KEY, bytes(3))),
        ("ATC has 2", lambda: emv_keys.pboc_session_key_sm4(KEY, b"")),
        ("16 bytes", lambda: emv_keys.emv2000_session_key(KEY, bytes(2), vector=bytes(8))),
        ("number has 4", lambda: emv_keys.r_of_atc_and_number(bytes(2), b"")),
        ("covers 1 to", lambda: emv_cryptograms.application_cryptogram(KEY, b"")),
        ("covers 1 to", lambda: emv_cryptograms.application_cryptogram_sm4(KEY, bytes(2000))),
        ("method 1 or 2", lambda: emv_cryptograms.application_cryptogram(KEY, b"1", 3)),
        ("8 bytes", lambda: emv_cryptograms.verify(bytes(8), bytes(7))),
        ("code has 2", lambda: emv_cryptograms.arpc_method_1(KEY, arqc, b"000")),
        ("update has 4", lambda: emv_cryptograms.arpc_method_2(KEY, arqc, b"000")),
        ("at most 8", lambda: emv_cryptograms.arpc_method_2(KEY, arqc, bytes(4), bytes(9))),
        ("header has 5", lambda: emv_scripts.script_mac(KEY, bytes(4))),
        ("4 to 8", lambda: emv_scripts.script_mac(KEY, bytes(5), length=3)),
        ("at most 255", lambda: emv_scripts.script_mac(KEY, bytes(5), data=bytes(256))),
        ("at most 16", lambda: emv_scripts.chained_macs(KEY, [bytes(9)] * 17, arqc)),
        ("4 to 260", lambda: emv_scripts.chained_macs(KEY, [b""], arqc)),
        ("at most 16", lambda: emv_scripts.cryptogram_of_command(arqc, 16)),
        ("nothing to encrypt", lambda: emv_scripts.encrypt_data(KEY, b"", DataStyle.EMV)),
        ("4 to 12 digits", lambda: emv_scripts.visa_pin_block(KEY, "123")),
        ("4 to 12 digits", lambda: emv_scripts.visa_pin_block(KEY, "1234", "1234567890123")),
        ("not built", lambda: emv_profiles.script_key(sm4, KEY, PAN, "00", TAGS)),
        (
            "no proprietary",
            lambda: emv_profiles.issuer_authentication_data(csk, KEY, PAN, "00", TAGS, b"00", b"1"),
        ),
    ):
        with pytest.raises(VaultError, match=says):
            call()
