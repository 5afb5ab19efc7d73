"""Goal: M6 and M8 make every MAC whole and in blocks; the older commands agree with what is published.

Method: published commands under the public test LMK; psec and PyCryptodome as second implementations; any
way to cut a message gives the same MAC; one wrong field at a time.
"""

from itertools import pairwise

import psec
import pytest
from Crypto.Cipher import AES, DES3
from Crypto.Hash import CMAC
from hypothesis import given, settings, strategies as st

from hsm.keys import Algorithm, KeyUsage
from tests.hsm.host.support import Host, host_vault
from tests.hsm.support import odd, seeded

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")

KEY, SINGLE = odd(41, 16), odd(42, 8)
AES_KEY = seeded(43)(16)
DATA = b"Now is the time for all good men to come"

SINGLE_TAK, OTHER_TAK = "C6F34693FB39CB6E", "E96E2363E063746F"
ZAK = "UE84C6E8F364BB594D2F59F6E8A6BBBF5"
TAK = "U19D25F349FD03CC3556BB05F65283CA1"
MESSAGE = "givemeSOMEMACing"
HEX = "72C29C2371CC9BDB65B779B8E8D37B29ECC154AA56A8799FAE2F498F76ED92F2"


@pytest.fixture
def host() -> Host:
    return Host(host_vault(allow_weak=False))


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (f"MA{SINGLE_TAK}{MESSAGE}", "MB00170C2BDB"),
        (f"MC{SINGLE_TAK}170C2BDB{MESSAGE}", "MD00"),
        (f"MC{SINGLE_TAK}170C2BDB{MESSAGE[:-1]}h", "MD01"),
        (f"ME{SINGLE_TAK}{OTHER_TAK}170C2BDB{MESSAGE}", "MF00D7DA46FC"),
        (f"ME{SINGLE_TAK}{OTHER_TAK}170C2BDB{MESSAGE[:-1]}h", "MF01"),
        (f"MQ1{ZAK}010{MESSAGE}", "MR007F805A8874D3B604"),
        (f"MQ3{ZAK}832239FEDDD43CE1014givemeSOMEMOREMACing", "MR00D2BF9C1E86E5BB14"),
        (f"M601032003{TAK}0040{HEX}", "M7005F1448EE"),
        (f"M801032003{TAK}0040{HEX}5F1448EE", "M900"),
        (f"M801032003{TAK}0040{HEX}5F1448EF", "M901"),
    ],
)
def test_published_commands_give_the_published_answers(command: str, answer: str) -> None:
    assert Host()(command) == answer


def text_of(host: Host, key: bytes, algorithm: Algorithm) -> tuple[str, str]:
    """Key type and text: the variant scheme for DES, a block for others."""
    if algorithm in (Algorithm.DES, Algorithm.TDES):
        return "003", host.key(key, "003", "Z" if len(key) == 8 else "U")
    return "FFF", "S" + host.vault.keys.wrap(KeyUsage.MAK, algorithm, key).block


def second_mac(algorithm: str, key: bytes, data: bytes, padding: int) -> bytes:
    if algorithm == "1":
        return psec.mac.generate_cbc_mac(key, data, padding)
    if algorithm == "3":
        return psec.mac.generate_retail_mac(key[:8], key[8:], data, padding)
    if algorithm == "5":
        padded = data + (b"\x80" if padding == 2 else b"")
        padded += bytes(-len(padded) % 16)
        if padding == 3:
            padded = (8 * len(data)).to_bytes(16, "big") + padded
        return AES.new(key, AES.MODE_CBC, bytes(16)).encrypt(padded)[-16:]
    cipher = AES if len(key) == 16 and key == AES_KEY else DES3
    return CMAC.new(key, data, ciphermod=cipher).digest()


CASES = [
    ("1", SINGLE, Algorithm.DES, "123"),
    ("1", KEY, Algorithm.TDES, "123"),
    ("3", KEY, Algorithm.TDES, "123"),
    ("5", AES_KEY, Algorithm.AES, "123"),
    ("6", AES_KEY, Algorithm.AES, "04"),
    ("6", KEY, Algorithm.TDES, "04"),
]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(CASES), st.binary(min_size=1, max_size=90), st.data())
def test_every_algorithm_is_that_of_a_second_implementation(
    case: tuple[str, bytes, Algorithm, str], data: bytes, draw: st.DataObject
) -> None:
    algorithm, key, kind, paddings = case
    host = Host(host_vault(allow_weak=False))
    padding, size = draw.draw(st.sampled_from(paddings)), draw.draw(st.sampled_from("01"))
    code, text = text_of(host, key, kind)
    shown = data.hex().upper()
    head = f"01{size}{algorithm}{padding}{code}{text}{len(shown):04X}{shown}"
    expected = (
        second_mac(algorithm, key, data, int(padding))[: 8 if size == "1" else 4].hex().upper()
    )
    assert host("M6" + head) == "M700" + expected
    assert host("M8" + head + expected) == "M900"
    wrong = expected[:-1] + ("0" if expected[-1] != "0" else "1")
    assert host("M8" + head + wrong) == "M901"
    binary = b"M6" + f"00{size}{algorithm}{padding}{code}{text}{len(data):04X}".encode() + data
    assert host(binary) == "M700" + expected


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CASES), st.binary(min_size=1, max_size=120), st.data())
def test_however_a_message_is_cut_its_mac_is_the_same(
    case: tuple[str, bytes, Algorithm, str], data: bytes, draw: st.DataObject
) -> None:
    algorithm, key, kind, paddings = case
    host = Host(host_vault(allow_weak=False))
    padding = draw.draw(st.sampled_from(paddings.replace("3", "")))
    code, text = text_of(host, key, kind)
    block = 16 if kind is Algorithm.AES else 8

    def ask(command: str, mode: str, vector: str, part: bytes, after: str = "") -> str:
        shown = part.hex().upper()
        head = f"{mode}11{algorithm}{padding}{code}{text}{vector}{len(shown):04X}{shown}{after}"
        answer = host(command + head)
        assert answer[2:4] == "00", answer
        return answer[4:]

    whole = ask("M6", "0", "", data)
    cuts = sorted(draw.draw(st.sets(st.integers(1, max(1, (len(data) - 1) // block)), max_size=4)))
    places = [0, *(cut * block for cut in cuts if cut * block < len(data)), len(data)]
    for command in ("M6", "M8"):
        vector = ""
        parts = [data[start:end] for start, end in pairwise(places)]
        if len(parts) == 1:
            continue
        for number, part in enumerate(parts[:-1]):
            vector = ask(command, "2" if number else "1", vector, part)
        last = ask(command, "3", vector, parts[-1], whole if command == "M8" else "")
        assert last == ("" if command == "M8" else whole)


@pytest.mark.parametrize("binary", [False, True])
def test_large_messages_by_x9_19_and_x9_9(host: Host, binary: bool) -> None:
    for key, length, algorithm in ((KEY, "1", "3"), (SINGLE, "0", "1")):
        for kind, code in (("0", "003"), ("1", "008")):
            if code == "008" and len(key) == 8:
                continue  # a MAC key of a zone has no single length
            text = host.key(key, code, "U" if length == "1" else "Z")

            def ask(
                block: str, vector: str, data: bytes, start: str = kind + length, key: str = text
            ) -> str:
                size = f"{len(data):04X}".encode()
                shown = data if binary else data.hex().encode()
                head = f"MS{block}{start}{0 if binary else 1}{key}{vector}".encode()
                return host(head + size + shown)

            expected = second_mac(algorithm, key, DATA, 1).hex().upper()
            assert ask("0", "", DATA) == "MT00" + expected
            first = ask("1", "", DATA[:16])
            middle = ask("2", first[4:], DATA[16:32])
            assert ask("3", middle[4:], DATA[32:]) == "MT00" + expected
            assert ask("1", "", DATA[:15]) == "MT06"
            assert ask("3", middle[4:], b"") == "MT80"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("9", "02"),
        ("07", "03"),
        ("012", "15"),
        ("0102", "04"),
        ("01034", "09"),
        ("01165", "09"),
        ("01031001", "05"),
        ("01031009", "05"),
        ("01131003{zak}0002AB", "10"),
        ("01141003{tak}0002AB", "04"),
        ("01151003{tak}0002AB", "A7"),
        ("01131003{single}0002AB", "A7"),
        ("01130003{tak}0002AB", "06"),
        ("11131003{tak}0002AB", "06"),
        ("11133003{tak}0010" + "AB" * 8, "09"),
        ("31133003{tak}" + "0" * 16 + "0002AB", "09"),
        ("31131003{tak}" + "0" * 16 + "0000", "80"),
        ("31131003{tak}" + "0" * 15 + "X0002AB", "15"),
        ("01131003{tak}0003ABC", "15"),
        ("01131003{tak}0004AB", "80"),
        ("01131003{tak}FFFFAB", "80"),
        ("01131003{tak}00G2AB", "15"),
        ("01131003{tak}0002ABextra", "80"),
        ("02131003{tak}0002\x01\x02", "15"),
        ("01131FFF{tak}0002AB", "A1"),
        ("01131003{block}0002AB", "A1"),
        ("01131FFF{pin}0002AB", "A6"),
    ],
)
def test_m6_says_what_is_wrong(host: Host, data: str, code: str) -> None:
    wrap = host.vault.keys.wrap
    data = data.format(
        tak=host.key(KEY, "003"),
        zak=host.key(KEY, "008"),
        single=host.key(SINGLE, "003", "Z"),
        block="S" + wrap(KeyUsage.MAK, Algorithm.TDES, KEY).block,
        pin="S" + wrap(KeyUsage.ZPK, Algorithm.TDES, KEY).block,
    )
    assert host("M6" + data) == "M7" + code


def test_a_key_that_may_only_verify_makes_no_mac(host: Host) -> None:
    wrap = host.vault.keys.wrap
    verifier = "S" + wrap(KeyUsage.ZAK, Algorithm.TDES, KEY, mode="V").block
    maker = "S" + wrap(KeyUsage.ZAK, Algorithm.TDES, KEY, mode="G").block
    made = host("M601131FFF" + maker + "0002AB")
    assert made[:4] == "M700"
    assert host("M601131FFF" + verifier + "0002AB") == "M7A6"
    assert host("M801131FFF" + verifier + "0002AB" + made[4:]) == "M900"
    assert host("M801131FFF" + maker + "0002AB" + made[4:]) == "M9A6"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("MS4", "05"),
        ("MS02", "04"),
        ("MS002", "06"),
        ("MS0012", "03"),
        ("MS0010{single}0000", "80"),
        ("MS0001{tak}0000", "04"),
        ("MS0010{tak}0004ab", "80"),
        ("MQ4", "05"),
        ("MQ0{tak}001a", "10"),
        ("MA{tak}", "80"),
        ("MA{zak}data", "10"),
        ("MC{tak}1234567", "80"),
        ("ME{tak}{zak}12345678data", "11"),
        ("MC{tak}1234567Gdata", "15"),
    ],
)
def test_the_older_commands_say_what_is_wrong(host: Host, command: str, code: str) -> None:
    texts = {
        "tak": host.key(KEY, "003"),
        "zak": host.key(KEY, "008"),
        "single": host.key(SINGLE, "003", "Z"),
    }
    assert host(command.format(**texts))[2:] == code
