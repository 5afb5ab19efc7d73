"""Goal: key blocks are those of the standard in every version, and nothing but a whole one opens.

Method: published blocks (`tests/vectors/key_blocks.json`, sources on the rows), opened and made again
with the padding they were made with; psec as a second implementation of A to D, PyCryptodome by the letter
of ISO 20038 of E; drawn headers there and back; tables of what is refused, and each character changed.
"""

import itertools
import json
from pathlib import Path

import msgspec
import psec
import pytest
from Crypto.Cipher import AES
from Crypto.Hash import CMAC
from hypothesis import assume, example, given, settings, strategies as st

from hsm import check_values, ciphers, key_block
from hsm.errors import KeyBlockError
from hsm.key_block import Header
from hsm.key_block_header import OPTIONAL_BLOCKS, parse_header
from hsm.key_block_rules import RULES, fault
from tests.hsm.support import odd, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

few = settings(max_examples=60, deadline=None)

ROWS: list[dict[str, str]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "key_blocks.json").read_text(encoding="utf-8")
)
BLOCK_BYTES = {"A": 8, "B": 8, "C": 8, "D": 16, "E": 16}
MAC_BYTES = {"A": 4, "B": 8, "C": 4, "D": 16, "E": 16}
KBPK = {"A": odd(1, 16), "B": odd(1, 24), "C": odd(1, 24), "D": seeded(1)(32), "E": seeded(1)(24)}

# -- known answers ---------------------------------------------------------------------------


def payload_of(kbpk: bytes, block: str) -> bytes:
    """The clear payload with its padding."""
    header, start = parse_header(block)
    encryption_key, _ = key_block.derive(kbpk, header.version)
    raw = bytes.fromhex(block[start:])
    sealed, mac = raw[: -MAC_BYTES[header.version]], raw[-MAC_BYTES[header.version] :]
    if header.version == "E":
        return ciphers.aes_ctr(encryption_key, mac, sealed)
    if header.version == "D":
        return ciphers.aes_cbc_decrypt(encryption_key, mac, sealed)
    vector = mac if header.version == "B" else block[:8].encode()
    return ciphers.tdes_cbc_decrypt(encryption_key, vector, sealed)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_published_blocks(row: dict[str, str]) -> None:
    kbpk, block = bytes.fromhex(row["kbpk"]), row["block"]
    header, key = key_block.unwrap(kbpk, block)
    assert key.hex().upper() == row["key"]
    assert header.version == block[0]
    assert row["name"].startswith("ISO 20038") or fault(header) is None
    if header.algorithm == "A":
        assert check_values.aes_check_value(key).hex().upper().startswith(row["check_value"])
    elif header.algorithm == "T":
        assert check_values.tdes_check_value(key).hex().upper() == row["check_value"]

    payload = payload_of(kbpk, block)
    padding = payload[2 + len(key) :]
    again = key_block.wrap(
        kbpk, header, key, lambda count: (padding * 9)[:count], pad_to=len(payload) - 2, legacy=True
    )
    if "PB" not in block:  # whose letters are not the payload's padding
        assert again == block
    assert key_block.unwrap(kbpk, again) == (header, key)


def test_the_published_blocks_cover_every_version_and_the_long_form() -> None:
    assert {row["block"][0] for row in ROWS} == set("ABCDE")
    header, _ = parse_header(ROWS[-1]["block"])
    assert [identifier for identifier, _ in header.optional] == ["CT", "KP", "TS"]
    assert len(header.option("CT") or "") == 0x5CC - 10


# -- a second implementation -----------------------------------------------------------------------

labels = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
optionals = st.lists(
    st.one_of(
        labels.map(lambda text: ("LB", text)),
        st.just(("LB", "x" * 300)),
        st.sampled_from(
            [
                ("KS", "00604B120F9292800000"),
                ("KC", ""),
                ("KP", ""),
                ("TS", "20200818004100Z"),
                ("TC", "2018-06-18T20:42:39.22Z"),
                ("WP", "001"),
                ("DA", "01P0TEEM3TCN"),
                ("10", "IBMC1234"),
                ("CT", "00" + "QUJD" * 80),
                ("AL", "0101"),
                ("PK", "00112233"),
            ]
        ),
    ),
    max_size=5,
    unique_by=lambda option: option[0],
).map(tuple)
headers = st.builds(
    Header,
    version=st.sampled_from("ABCDE"),
    usage=st.sampled_from(sorted(RULES)),
    algorithm=st.just("T"),
    mode=st.sampled_from("BCDEGNSVXY"),
    key_version=st.sampled_from(["00", "12", "c1", "zZ"]),
    exportability=st.sampled_from("NES"),
    optional=optionals,
    context=st.sampled_from("012"),
)
keys = st.sampled_from([16, 24]).flatmap(
    lambda size: st.integers(0, 99).map(lambda n: odd(n, size))
)


@few
@given(headers.filter(lambda header: header.version != "E" and header.context == "0"), keys)
def test_against_psec(header: Header, key: bytes) -> None:
    kbpk = KBPK[header.version]
    short = [option for option in header.optional if len(option[1]) < 252]
    header = Header(
        header.version, header.usage, "T", header.mode, header.key_version, header.exportability,
        tuple(short),
    )  # fmt: skip
    block = key_block.wrap(kbpk, header, key, seeded(3), pad_to=24, legacy=True)
    theirs, opened = psec.tr31.unwrap(kbpk, block)
    assert opened == key
    filled, _ = key_block.unwrap(kbpk, block)
    assert dict(theirs.blocks) == dict(filled.optional)
    assert (theirs.key_usage, theirs.mode_of_use) == (header.usage, header.mode)
    assert (theirs.version_num, theirs.exportability) == (header.key_version, header.exportability)
    theirs.blocks["LB"] = "y" * 400  # they count a long length in bytes, X9.143 in digits
    back, opened = key_block.unwrap(kbpk, psec.tr31.wrap(kbpk, theirs, key))
    assert opened == key
    assert back.option("LB") == "y" * 400
    assert dict(back.optional).keys() == dict(filled.optional).keys() | {"LB"}


def cmac(key: bytes, data: bytes) -> bytes:
    mac = CMAC.new(key, ciphermod=AES)
    mac.update(data)
    return mac.digest()


@few
@given(st.sampled_from([16, 24, 32]), keys, st.integers(0, 40))
def test_version_e_by_the_letter(kbpk_bytes: int, key: bytes, pad_to: int) -> None:
    kbpk = seeded(5)(kbpk_bytes)
    block = key_block.wrap(kbpk, Header("E", "P0", "T", "B"), key, seeded(3), pad_to=pad_to)
    code = f"{kbpk_bytes // 8:04X}{kbpk_bytes * 8:04X}"

    def derived(purpose: str) -> bytes:
        parts = [cmac(kbpk, bytes.fromhex(f"0{n}{purpose}00{code}")) for n in (1, 2)]
        return b"".join(parts)[:kbpk_bytes]

    raw = bytes.fromhex(block[16:])
    counter = int.from_bytes(raw[-16:], "big")
    clear = AES.new(derived("0002"), AES.MODE_CTR, nonce=b"", initial_value=counter).decrypt(
        raw[:-16]
    )
    assert clear[: 2 + len(key)] == (len(key) * 8).to_bytes(2, "big") + key
    assert len(clear) == max(len(key), pad_to) + 2
    assert cmac(derived("0001"), block[:16].encode() + clear) == raw[-16:]


# -- there and back ------------------------------------------------------------------------------


@few
@given(headers, keys, st.sampled_from([0, 24, 32]))
def test_there_and_back(header: Header, key: bytes, pad_to: int) -> None:
    kbpk = KBPK[header.version]
    block = key_block.wrap(kbpk, header, key, seeded(3), pad_to=pad_to, legacy=True)
    back, opened = key_block.unwrap(kbpk, block)
    assert opened == key
    for (identifier, data), given_option in zip(back.optional, header.optional, strict=True):
        assert identifier == given_option[0]
        assert data == given_option[1] or given_option[1] == ""
    assert key_block.wrap(kbpk, back, key, seeded(3), pad_to=pad_to, legacy=True) == block


@pytest.mark.parametrize(
    ("algorithm", "length"),
    [("D", 8), ("T", 16), ("A", 32), ("H", 1), ("H", 64), ("4", 16), ("R", 1191)],
)
def test_keys_of_every_algorithm(algorithm: str, length: int) -> None:
    for version in "BD":
        header = Header(version, "D0", algorithm, "B")
        block = key_block.wrap(KBPK[version], header, seeded(2)(length), seeded(3), pad_to=32)
        assert key_block.unwrap(KBPK[version], block) == (header, seeded(2)(length))


def test_padding_hides_the_length_of_the_key() -> None:
    for version in "ABCDE":
        lengths = {
            len(
                key_block.wrap(
                    KBPK[version], Header(version, "P0", "T", "B"), odd(1, length), seeded(3),
                    pad_to=24, legacy=True,
                )
            )
            for length in (16, 24)
        }  # fmt: skip
        assert len(lengths) == 1


# -- what is refused ---------------------------------------------------------------------------


def test_old_versions_are_made_only_when_asked_for() -> None:
    for version in "AC":
        with pytest.raises(KeyBlockError, match="old partners"):
            key_block.wrap(
                KBPK[version], Header(version, "P0", "T", "E"), odd(1, 16), seeded(1), pad_to=24
            )


LABELLED = {
    version: key_block.wrap(
        KBPK[version],
        Header(version, "P0", "T", "B", optional=(("LB", "ZPK"), ("KC", ""))),
        odd(3, 16), seeded(3), pad_to=24, legacy=True,
    )
    for version in "ABCDE"
}  # fmt: skip


@pytest.mark.parametrize("version", "ABCDE")
def test_each_changed_character_is_refused(version: str) -> None:
    kbpk, block = KBPK[version], LABELLED[version]
    key_block.unwrap(kbpk, block)
    for position in range(len(block)):
        for letter in {"0", "1", "A", "Z", " ", block[position].swapcase()} - {block[position]}:
            with pytest.raises(KeyBlockError):
                key_block.unwrap(kbpk, block[:position] + letter + block[position + 1 :])
    for cut in (block[:-1], block[:-2], block[:-16], block + "0", block + "00", block[1:]):
        with pytest.raises(KeyBlockError):
            key_block.unwrap(kbpk, cut)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from("ABCDE"), st.integers(0, 400), st.characters(min_codepoint=1))
def test_a_changed_character_is_refused(version: str, position: int, letter: str) -> None:
    block = LABELLED[version]
    position %= len(block)
    assume(letter != block[position])
    with pytest.raises(KeyBlockError):
        key_block.unwrap(KBPK[version], block[:position] + letter + block[position + 1 :])


@few
@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(KeyBlockError):
        key_block.unwrap(bytes(range(32)), text)


@few
@given(st.sampled_from("ABCDE"), st.integers(0, 99), st.text("0123456789ABCDEFPBKS", max_size=80))
@example("D", 1, "LB000")
@example("D", 1, "LB0004000A")
@example("B", 1, "LB0003000A")
@example("D", 1, "LB03")
@example("D", 0, "")
def test_any_optional_blocks_are_refused(version: str, count: int, text: str) -> None:
    block = f"{version}{16 + len(text):04}P0TB00N{count:02}00{text}"
    with pytest.raises(KeyBlockError):
        key_block.unwrap(KBPK[version], block)


@pytest.mark.parametrize("version", "ABCDE")
def test_mac_and_padding_fail_in_the_same_words(version: str) -> None:
    """Blocks with a good MAC over an impossible length: nobody without the protection key can make one."""
    kbpk, block = KBPK[version], LABELLED[version]
    encryption_key, mac_key = key_block.derive(kbpk, version)
    _, start = parse_header(block)
    raw, payload = block[:start].encode(), payload_of(kbpk, block)
    said = set()
    for bits in (0, 1, 127, 129, 8 * len(payload) - 8, 0xFFFF):
        bad = bits.to_bytes(2, "big") + payload[2:]
        if version in "AC":
            sealed = ciphers.tdes_cbc_encrypt(encryption_key, raw[:8], bad)
            mac = ciphers.tdes(mac_key).cbc_mac(raw + sealed)[:4]
        elif version == "B":
            mac = ciphers.tdes_cmac(mac_key, raw + bad)
            sealed = ciphers.tdes_cbc_encrypt(encryption_key, mac, bad)
        else:
            mac = ciphers.aes_cmac(mac_key, raw + bad)
            seal = ciphers.aes_cbc_encrypt if version == "D" else ciphers.aes_ctr
            sealed = seal(encryption_key, mac, bad)
        with pytest.raises(KeyBlockError) as caught:
            key_block.unwrap(kbpk, block[:start] + (sealed + mac).hex().upper())
        said.add(str(caught.value))
    with pytest.raises(KeyBlockError) as caught:
        key_block.unwrap(kbpk, block[:-1] + ("0" if block[-1] != "0" else "1"))
    with pytest.raises(KeyBlockError) as other:
        key_block.unwrap(kbpk[::-1], block)
    assert said == {str(caught.value)} == {str(other.value)}


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("AL", "0102"), "asymmetric key life"),
        (("AL", "0201"), "asymmetric key life"),
        (("BI", "000123456789"), None),
        (("BI", "00012345678"), "derivation key id"),
        (("BI", "0101234567"), "another algorithm"),
        (("CT", "00"), "certificate"),
        (("CT", "03QUJD"), "certificate"),
        (("CT", "00QUJ"), "certificate"),
        (("CT", "00QU D"), "certificate"),
        (("CT", "02"), "certificate"),
        (("CT", "02000004QUJD"), None),
        (("CT", "02000004QUJD010004QUJD"), None),
        (("CT", "02000005QUJD"), "certificate"),
        (("CT", "02000003QUJD"), "certificate"),
        (("CT", "0200000aQUJD"), "certificate"),
        (("DA", "01P0TEE"), None),
        (("DA", "01"), "derivations"),
        (("DA", "01P0TE"), "derivations"),
        (("DA", "02P0TEE"), "derivations"),
        (("DA", "01P0TEX"), "derivations"),
        (("HM", "21"), "not for keys of algorithm T"),
        (("IK", "0123456789ABCDEF"), "not for keys of algorithm T"),
        (("KC", "00"), "check value"),
        (("KC", "02112233"), "check value"),
        (("KC", "0011223344"), "check value"),
        (("KC", "00aabbcc"), "check value"),
        (("KP", "01112233445566"), "check value"),
        (("PK", "01112233445566"), "check value"),
        (("KS", "00604B120F92928"), "key serial number"),
        (("KS", "08VM9A"), "key serial number"),
        (("KV", "0001"), None),
        (("KV", "00 1"), "key block values"),
        (("LB", "caf\u00e9"), "label"),
        (("LB", "two\nlines"), "label"),
        (("PB", "0000"), "unknown id"),
        (("TS", "2018-06-18T20:42:39.22"), "time stamp"),
        (("TS", "20180231204239Z"), "time stamp"),
        (("TS", "2018-06-18 20:42:39Z"), "time stamp"),
        (("TC", "20180618244239Z"), "time of creation"),
        (("TC", "\u0662\u0660\u0661\u0668-06-18T20:42:39Z"), "time of creation"),
        (("WP", "004"), "wrapping pedigree"),
        (("WP", "010"), "wrapping pedigree"),
        (("XX", ""), "unknown id"),
        (("lb", ""), "unknown id"),
        (("9", ""), "unknown id"),
        (("99", "anything"), None),
        (("9Z", "caf\u00e9"), "proprietary"),
    ],
)
def test_optional_blocks_have_their_form(option: tuple[str, str], words: str | None) -> None:
    def made() -> str:
        header = Header("B", "B3", "T", "X", optional=(option,))
        return key_block.wrap(KBPK["B"], header, odd(1, 16), seeded(1), pad_to=24)

    if words is None:
        assert key_block.unwrap(KBPK["B"], made())[0].optional == (option,)
        return
    with pytest.raises(KeyBlockError, match=words):
        made()
    text = f"{option[0]}{len(option[1]) + 4:02X}{option[1]}"
    text += (
        "" if len(text) % 8 == 0 else f"PB{12 - len(text) % 8:02X}".ljust(12 - len(text) % 8, "X")
    )
    count = 1 + text.count("PB", 4)
    with pytest.raises(KeyBlockError):  # and as it would come from others
        key_block.unwrap(KBPK["B"], f"B{len(text) + 96:04}B3TX00N{count:02}00{text}{'0' * 80}")


def test_optional_blocks_stand_once_and_padding_last() -> None:
    twice = Header("B", "P0", "T", "B", optional=(("LB", "a"), ("LB", "b")))
    with pytest.raises(KeyBlockError, match="LB stands twice"):
        key_block.wrap(KBPK["B"], twice, odd(1, 16), seeded(1), pad_to=24)
    for text, words in (
        ("PB08AAAALB08abcd", "PB is not the last"),
        ("PB08AAAAPB08AAAA", "PB is not the last"),
        ("LB08abcdLB08efgh", "LB stands twice"),
    ):
        with pytest.raises(KeyBlockError, match=words):
            parse_header(f"B{16 + len(text):04}P0TB00N0200{text}")


@pytest.mark.parametrize("version", "ABCDE")
def test_optional_blocks_of_every_length_are_padded(version: str) -> None:
    for length in (*range(40), 251, 252, 253):
        header = Header(version, "P0", "T", "B", optional=(("LB", "x" * length),))
        block = key_block.wrap(
            KBPK[version], header, odd(1, 16), seeded(length), pad_to=24, legacy=True
        )
        assert parse_header(block)[1] % BLOCK_BYTES[version] == 0
        assert key_block.unwrap(KBPK[version], block) == (header, odd(1, 16))
        # X9.143: the long form counts its length in digits
        assert block[16:].startswith(f"LB{length + 4:02X}" if length < 252 else "LB0004010")


def test_headers_out_of_shape() -> None:
    for text, words in (
        ("B0016P0TB00N0001", "reserved byte"),
        ("B0020P0TB00N0100LB03", "length of an optional block"),
        ("B0020P0TB00N0100LB05", "length of an optional block"),
        ("B0026P0TB00N0100LB00040009", "length of an optional block"),
        ("B0026P0TB00N0100LB0004000B", "length of an optional block"),
        ("B0026P0TB00N0100LB0003000A", "malformed"),
        ("B0020P0TB00N0100LB0a", "malformed"),
        ("B0018P0TB00N0100LB", "malformed"),
        ("B0016P0TB00N1700", "at most 16"),
        ("B0016P0TB00N0A00", "at most 16"),
        ("B0017P0TB00N0000", "length in the header"),
        ("B00+6P0TB00N0000", "length in the header"),
        ("B0015P0TB00N000", "16 to"),
    ):
        with pytest.raises(KeyBlockError, match=words):
            parse_header(text)
    assert parse_header("B0026P0TB00N0100LB0004000A")[0].optional == (("LB", ""),)
    assert parse_header("B0026P0TB00N0100LB0002000A")[0].optional == (("LB", ""),)


@pytest.mark.parametrize("version", "BD")
def test_a_header_that_is_not_whole_cipher_blocks_is_refused(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a maker who does not pad: the MAC is good."""
    header = Header(version, "P0", "T", "B", optional=(("LB", "odd"),))
    with monkeypatch.context() as patched:
        patched.setitem(key_block._BLOCK_BYTES, version, 1)
        block = key_block.wrap(KBPK[version], header, odd(1, 16), seeded(1), pad_to=30)
    with pytest.raises(KeyBlockError, match="whole cipher blocks"):
        key_block.unwrap(KBPK[version], block)


def test_there_are_not_more_optional_blocks_than_a_reader_takes() -> None:
    many = tuple((str(number), "") for number in range(10, 27))
    with pytest.raises(KeyBlockError, match="too long"):
        key_block.wrap(
            KBPK["B"], Header("B", "P0", "T", "B", optional=many), odd(1, 16), seeded(1), pad_to=24
        )
    long = (("LB", "x" * 4000),)
    with pytest.raises(KeyBlockError, match="too long"):
        key_block.wrap(
            KBPK["B"], Header("B", "P0", "T", "B", optional=long), odd(1, 16), seeded(1), pad_to=24
        )


def test_every_kind_of_optional_block_has_a_row_in_the_table_above() -> None:
    tried = {
        option[0][0]
        for mark in test_optional_blocks_have_their_form.pytestmark  # type: ignore[attr-defined]
        for option in mark.args[1]
    }
    assert OPTIONAL_BLOCKS.keys() - {"FL"} <= tried


@pytest.mark.parametrize(
    "change",
    [
        {"version": "F"},
        {"usage": "p0"},
        {"usage": "P"},
        {"algorithm": "TT"},
        {"mode": ""},
        {"key_version": "0"},
        {"key_version": "0-"},
        {"exportability": "X"},
        {"context": "3"},
    ],
    ids=str,
)
def test_elements_have_their_form(change: dict[str, str]) -> None:
    header = msgspec.structs.replace(Header("B", "P0", "T", "B"), **change)
    with pytest.raises(KeyBlockError, match="in the header"):
        key_block.wrap(KBPK["B"], header, odd(1, 16), seeded(1), pad_to=24)


def test_keys_have_the_length_of_their_algorithm() -> None:
    for algorithm, length in (("T", 8), ("D", 16), ("A", 8), ("T", 32), ("H", 0), ("H", 2000)):
        with pytest.raises(KeyBlockError, match="bytes"):
            key_block.wrap(
                KBPK["B"], Header("B", "D0", algorithm, "B"), bytes(length), seeded(1), pad_to=24
            )
    for version, length in (("B", 8), ("B", 32), ("D", 8), ("A", 8), ("E", 20)):
        with pytest.raises(KeyBlockError, match=f"version {version} needs"):
            key_block.wrap(
                bytes(length), Header(version, "D0", "H", "B"), bytes(16), seeded(1), pad_to=24,
                legacy=True,
            )  # fmt: skip


# -- check values in the header -------------------------------------------------------------------------


def test_check_values_are_filled_in() -> None:
    # openemv/tr31, test/tr31_export_test.c, "Optional blocks KC and KP"
    kbpk = bytes.fromhex("88E1AB2A2E3DD38C1FA039A536500CC8A87AB9D62DC92C01058FA79F44657DE6")
    key = bytes.fromhex("3F419E1CB7079442AA37474C2EFBF8B8")
    header = Header("D", "P0", "T", "E", exportability="E", optional=(("KC", ""), ("KP", "")))
    block = key_block.wrap(kbpk, header, key, seeded(1), pad_to=0)
    assert block.startswith("D0144P0TE00E0300KC0C0057C409KP10012331550BC9PB04")
    assert len(block) == 144
    assert key_block.unwrap(kbpk, block)[1] == key


@pytest.mark.parametrize(
    ("version", "algorithm", "option", "agrees"),
    [
        ("B", "T", ("KC", "00{tdes}"), True),
        ("B", "T", ("KC", "00{tdes:.4}"), True),
        ("B", "T", ("KC", "01{tdes}"), False),
        ("B", "T", ("KC", "00000000"), False),
        ("B", "T", ("KP", "00{kbpk}"), True),
        ("B", "T", ("KP", "00{tdes}"), False),
        ("D", "A", ("KC", "01{aes}"), True),
        ("D", "A", ("KC", "01{aes:.6}"), True),
        ("D", "A", ("KC", "00{ecb}"), True),
        ("D", "A", ("KC", "00{aes:.6}"), False),
        ("D", "A", ("KC", "01{ecb}"), False),
        ("D", "A", ("KP", "01{kbpk}"), True),
        ("D", "A", ("KP", "01{aes}"), False),
        ("D", "H", ("KC", "01{aes}"), False),
    ],
)
def test_check_values_are_compared(
    version: str,
    algorithm: str,
    option: tuple[str, str],
    agrees: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, kbpk = odd(2, 16), KBPK[version]
    values = {
        "tdes": check_values.tdes_check_value(key),
        "aes": check_values.aes_check_value(key),
        "ecb": check_values.aes_ecb_check_value(key),
        "kbpk": check_values.aes_check_value(kbpk)
        if version == "D"
        else check_values.tdes_check_value(kbpk),
    }
    data = option[1].format(**{name: value.hex().upper() for name, value in values.items()})
    header = Header(version, "D0", algorithm, "B", optional=((option[0], data),))

    def made() -> str:
        return key_block.wrap(kbpk, header, key, seeded(1), pad_to=24)

    if agrees:
        assert key_block.unwrap(kbpk, made()) == (header, key)
        return
    with pytest.raises(KeyBlockError, match="check value"):
        made()
    with monkeypatch.context() as patched:  # a block by a maker who does not look
        patched.setattr(key_block, "check_key", lambda *_: None)
        block = made()
    with pytest.raises(KeyBlockError, match="check value"):
        key_block.unwrap(kbpk, block)


# -- usage, algorithm, mode ----------------------------------------------------------------------------

# The rule read a second way: what a key of the family does.
BOTH_WAYS = {"D0", "D2", "D3", "K0", "K1", "K4", "P0"}
PROVES = {usage for usage in RULES if usage[0] in "MVC"}
DERIVES = {"B0", "B1", "B2", "B3", *(f"E{n}" for n in range(7))}
ASYMMETRIC = {"D1", "E7", "K2", "K3", "S0", "S1", "S2"}


@pytest.mark.parametrize("usage", sorted(RULES))
def test_every_pairing(usage: str) -> None:
    modes = (
        "BDEN" if usage in BOTH_WAYS else "CGVN" if usage in PROVES
        else "XYN" if usage == "B2" else "XN" if usage in DERIVES
        else {"I0": "N", "P1": "GN", "K3": "BDEX"}.get(usage, "SV" if usage[0] == "S" else "BDE")
    )  # fmt: skip
    if usage in ASYMMETRIC:
        algorithms = {"K2": "R", "S0": "RES", "S1": "RES", "S2": "RES"}.get(usage, "RE")
    elif usage == "M7":
        algorithms = "H"
    elif usage in {"M0", "M1", "M2", "M3", "M4"}:
        algorithms = "T"
    else:
        algorithms = "A" if usage == "K4" else "TA"
    algorithms += "D" if usage in {"D0", "P0", "M1"} else ""
    for algorithm, mode in itertools.product("ADEHRST4", "BCDEGNSVXY"):
        found = fault(Header("B", usage, algorithm, mode))
        assert (found is None) is (algorithm in algorithms and mode in modes), (algorithm, mode)
        if found is not None:
            assert found.element == ("mode" if algorithm in algorithms else "algorithm")


@pytest.mark.parametrize(
    ("header", "element"),
    [
        (Header("B", "Z0", "T", "B"), "usage"),
        (Header("B", "10", "T", "1"), "usage"),
        (Header("B", "P0", "T", "B", key_version="c2"), "key_version"),
        (Header("B", "P0", "T", "B", context="1"), "context"),
        (Header("D", "B0", "A", "X", optional=(("IK", "0123456789ABCDEF"),)), "optional"),
        (Header("D", "K0", "A", "B", optional=(("DA", "01P0TEE"),)), "optional"),
    ],
)
def test_other_faults_of_a_header(header: Header, element: str) -> None:
    found = fault(header)
    assert found is not None
    assert found.element == element
    assert str(found) == found.text
