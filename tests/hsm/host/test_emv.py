"""Goal: a host judges chip cards as pyemv does, and answers and changes PINs that pyemv's cards would take.

Method: pyemv on drawn transactions for every scheme, mode and script; SM4 by `hsm`'s own functions, whose tests
stand elsewhere; each field that can be wrong.
"""

import pyemv
import pytest
from hypothesis import given, settings, strategies as st

from hsm import emv_cryptograms, emv_keys
from hsm.keys import Algorithm, KeyUsage
from tests.hsm.host.support import Host
from tests.hsm.host.test_pins import ACCOUNT, TPK, sealed
from tests.hsm.support import odd, seeded

MK_AC, MK_SMI, MK_SMC = odd(51, 16), odd(52, 16), odd(53, 16)
PAN, PSN = "5555000000253211", "01"
CARD = bytes.fromhex((PAN + PSN)[-16:])

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")  # pyemv
_EXAMPLES = settings(max_examples=20, deadline=None)
blobs = st.binary(min_size=1, max_size=255)
atcs = st.binary(min_size=2, max_size=2)
numbers = st.binary(min_size=4, max_size=4)
arqcs = st.binary(min_size=8, max_size=8)


def ask(host: Host, command: str, *parts: bytes) -> tuple[str, bytes]:
    """Error code and data of the answer."""
    answer = host(command.encode() + b"".join(parts))
    return answer[2:4], answer[4:].encode("latin-1")


def counted(data: bytes) -> bytes:
    return b"%02X" % len(data) + data + b";"


def zeros_after(key: bytes, data: bytes) -> bytes:
    return pyemv.ac.generate_ac(key, data, pyemv.ac.PaddingType.VISA)


def master(key: bytes = MK_AC) -> bytes:
    return pyemv.kd.derive_icc_mk_a(key, PAN, PSN)


def other(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


def tree(key: bytes, atc: bytes, levels: int, branches: int) -> bytes:
    return pyemv.kd.derive_emv2000_tree_sk(key, atc, levels, branches, bytes(16))


@_EXAMPLES
@given(blobs, atcs, numbers, st.sampled_from("01"), st.booleans())
def test_kq_agrees_with_pyemv(
    data: bytes, atc: bytes, number: bytes, scheme: str, block: bool
) -> None:
    host = Host()
    key = host.block(KeyUsage.MK_AC, MK_AC) if block else host.key(MK_AC, "109")
    session = master()
    if scheme == "1":
        session = pyemv.kd.derive_common_sk(master(), atc + bytes(2) + number)
    arqc = zeros_after(session, data)
    arpc = pyemv.ac.generate_arpc_1(master(), arqc, b"00")
    given = CARD, atc, number
    assert ask(host, f"KQ0{scheme}{key}", *given, counted(data), arqc) == ("00", b"")
    assert ask(host, f"KQ1{scheme}{key}", *given, counted(data), arqc, b"00") == ("00", arpc)
    assert ask(host, f"KQ2{scheme}{key}", *given, arqc, b"00") == ("00", arpc)
    assert ask(host, f"KQ0{scheme}{key}", *given, counted(data), other(arqc)) == ("01", b"")
    assert ask(host, f"KQ1{scheme}{key}", *given, counted(data), other(arqc), b"00")[0] == "01"


@_EXAMPLES
@given(blobs, atcs, st.sampled_from("BC"))
def test_kqs_own_schemes_make_their_session_keys(data: bytes, atc: bytes, scheme: str) -> None:
    host = Host()
    if scheme == "B":
        session = emv_keys.pboc_session_key(master(), atc)
    else:
        session = pyemv.kd.derive_common_sk(master(), atc + bytes(6))
    arqc = zeros_after(session, data)
    answer = ask(
        host,
        f"KQ1{scheme}{host.key(MK_AC, '109')}",
        CARD,
        atc,
        bytes(4),
        counted(data),
        arqc,
        b"00",
    )
    assert answer == ("00", pyemv.ac.generate_arpc_1(session, arqc, b"00"))


def test_pboc_with_sm4() -> None:
    host, data, atc = Host(), b"chip data", b"\0\7"
    clear = seeded(54)(16)
    key = host.block(KeyUsage.MK_AC, clear, Algorithm.SM4)
    session = emv_keys.pboc_session_key_sm4(emv_keys.master_key_sm4(clear, CARD), atc)
    arqc = emv_cryptograms.application_cryptogram_sm4(session, data)
    arpc = emv_cryptograms.arpc_method_1_sm4(session, arqc, b"00")
    given = CARD, atc, bytes(4), counted(data), arqc, b"00"
    assert ask(host, f"KQ1B{key}", *given) == ("00", arpc)
    assert ask(host, f"KQ10{key}", *given)[0] == "A7"
    assert ask(host, f"KW02{key}", CARD, atc, counted(data), arqc)[0] == "A7"


@_EXAMPLES
@given(blobs, atcs, st.sampled_from(["2", "00", "01"]), st.binary(max_size=8))
def test_kw_agrees_with_pyemv(data: bytes, atc: bytes, kind: str, proprietary: bytes) -> None:
    host = Host()
    key, scheme, parameter = host.key(MK_AC, "109"), kind[0], kind[1:].encode()
    session = {
        "2": lambda: pyemv.kd.derive_common_sk(master(), atc + bytes(6)),
        "00": lambda: tree(master(), atc, 16, 2),
        "01": lambda: tree(master(), atc, 8, 4),
    }[kind]()
    arqc = zeros_after(session, data)
    given = CARD, parameter, atc
    update = b"\x01\x02\x03\x04"
    end = update, b"%X" % len(proprietary), proprietary
    first = pyemv.ac.generate_arpc_1(session, arqc, b"05")
    second = pyemv.ac.generate_arpc_2(session, arqc, update, proprietary) + update
    assert ask(host, f"KW0{scheme}{key}", *given, counted(data), arqc) == ("00", b"")
    assert ask(host, f"KW1{scheme}{key}", *given, counted(data), arqc, b"05") == ("00", first)
    assert ask(host, f"KW2{scheme}{key}", *given, arqc, b"05") == ("00", first)
    assert ask(host, f"KW3{scheme}{key}", *given, counted(data), arqc, *end) == ("00", second)
    assert ask(host, f"KW4{scheme}{key}", *given, arqc, *end) == ("00", second)
    for mode, rest in (("0", ()), ("1", (b"05",)), ("3", end)):
        wrong = ask(host, f"KW{mode}{scheme}{key}", *given, counted(data), other(arqc), *rest)
        assert wrong == ("01", b"")


@pytest.mark.parametrize(
    ("command", "rest", "code"),
    [
        ("KQ30{key}", b"", "04"),
        ("KQ02{key}", b"", "05"),
        ("KQ00{smi}", bytes(8 + 2 + 4) + b"01x;" + bytes(8), "10"),
        ("KQ00{block}", bytes(8 + 2 + 4) + b"01x;" + bytes(8), "A6"),
        ("KQ00{key}", bytes(8 + 2 + 4) + b"00;" + bytes(8), "81"),
        ("KQ00{key}", bytes(8 + 2 + 4) + b"02x;" + bytes(8), "15"),
        ("KQ00{key}", bytes(8 + 2 + 4) + b"01x;" + bytes(7), "80"),
        ("KQ00{key}", bytes(8 + 2 + 4) + b"01x;" + bytes(9), "80"),
        ("KQ00{key}", bytes(8 + 2 + 4) + b"0Gx;" + bytes(8), "15"),
        ("KQ20{key}", bytes(8 + 2 + 4 + 8 + 1), "80"),
        ("KQ00{key}", bytes(8 + 2 + 4) + b"01x;" + bytes(8) + b"%01", "01"),
        ("KW50{key}", b"", "04"),
        ("KW01{key}", b"", "05"),
        ("KW00{key}", bytes(8) + b"2", "52"),
        ("KW42{key}", bytes(8 + 2 + 8 + 4) + b"9123456789", "80"),
        ("KW42{key}", bytes(8 + 2 + 8 + 4) + b"912345678", "80"),
        ("KU10{smi}", b"", "04"),
        ("KU02{smi}", b"", "05"),
        ("KU00{key}", bytes(16) + b"0001x;", "10"),
        ("KU00{smi}", bytes(16) + b"0000;", "80"),
        ("KU00{smi}", bytes(16) + b"0001xx", "15"),
    ],
)
def test_a_wrong_command_has_its_code(command: str, rest: bytes, code: str) -> None:
    host = Host()
    filled = command.format(
        key=host.key(MK_AC, "109"),
        smi=host.key(MK_SMI, "209"),
        block=host.block(KeyUsage.MK_SMI, MK_AC),
    )
    assert ask(host, filled, rest)[0] == code


# -- scripts --------------------------------------------------------------------------------------------


def script_key(issuer: bytes, scheme: str, session_data: bytes) -> bytes:
    icc = master(issuer)
    if scheme == "0":
        return pyemv.kd.derive_visa_sm_sk(icc, session_data[6:])
    return pyemv.kd.derive_common_sk(icc, session_data)


@_EXAMPLES
@given(blobs, arqcs, st.sampled_from("01"))
def test_a_scripts_mac_is_that_of_pyemv(data: bytes, session_data: bytes, scheme: str) -> None:
    host = Host()
    answer = ask(
        host,
        f"KU0{scheme}{host.key(MK_SMI, '209')}",
        CARD,
        session_data,
        b"%04X" % len(data),
        data,
        b";",
    )
    key = script_key(MK_SMI, scheme, session_data)
    assert answer == ("00", pyemv.sm.generate_command_mac(key, data))


def change(
    host: Host, scheme: str, destination: str, header: bytes, session_data: bytes, **changed: str
) -> tuple[str, bytes]:
    fields = {
        "smc": host.key(MK_SMC, "309"), "kind": "1", "key": host.key(TPK, "002"), "source": "01",
        "account": ACCOUNT, "ac": host.key(MK_AC, "109") if destination == "41" else "",
    } | changed  # fmt: skip
    return ask(
        host,
        f"KU4{scheme}{host.key(MK_SMI, '209')}",
        CARD,
        session_data,
        b"%04X" % len(header) + header + b";",
        fields["smc"].encode(),
        session_data,
        b"%04X" % len(header) + b"0008" + bytes.fromhex(sealed("123456")),
        f";{fields['kind']}{fields['key']}{fields['source']}{destination}".encode(),
        fields["account"].encode() + fields["ac"].encode(),
    )


@_EXAMPLES
@given(arqcs, st.sampled_from([("0", "41"), ("0", "34"), ("1", "34")]))
def test_a_changed_pin_is_that_of_pyemv(session_data: bytes, kind: tuple[str, str]) -> None:
    scheme, destination = kind
    if destination == "41":
        block = pyemv.sm.format_vis_pin_block(master(), "123456")
    else:
        block = pyemv.sm.format_iso9564_2_pin_block("123456")
    style = pyemv.sm.EncryptionType.VISA if scheme == "0" else pyemv.sm.EncryptionType.MASTERCARD
    sealed_pin = pyemv.sm.encrypt_command_data(
        script_key(MK_SMC, scheme, session_data), block, style
    )
    header = bytes((0x84, 0x24, 0, 2, len(sealed_pin) + 8)) + session_data[:2] + session_data
    mac = pyemv.sm.generate_command_mac(
        script_key(MK_SMI, scheme, session_data), header + sealed_pin
    )
    answer = change(Host(), scheme, destination, header, session_data)
    assert answer == ("00", mac + b"%04X" % len(sealed_pin) + sealed_pin)


@pytest.mark.parametrize(
    ("destination", "changed", "code"),
    [
        ("42", {}, "23"),
        ("01", {}, "23"),
        ("34", {"source": "05"}, "29"),
        ("34", {"source": "04"}, "23"),
        ("34", {"kind": "2"}, "28"),
        ("34", {"kind": "F"}, "A1"),
        ("34", {"kind": "0"}, "10"),
        ("34", {"account": ACCOUNT[::-1]}, "20"),
        ("34", {"account": ACCOUNT[:-1]}, "80"),
        ("34", {"smc": "U" + "0" * 32}, "11"),
        ("41", {"ac": ""}, "80"),
    ],
)
def test_a_wrong_change_has_its_code(destination: str, changed: dict[str, str], code: str) -> None:
    assert change(Host(), "0", destination, bytes(15), bytes(8), **changed) == (code, b"")


def test_scripts_are_of_triple_des_alone() -> None:
    host, clear = Host(), seeded(54)(16)
    smi, smc, ac = (
        host.block(usage, clear, Algorithm.SM4)
        for usage in (KeyUsage.MK_SMI, KeyUsage.MK_SMC, KeyUsage.MK_AC)
    )
    assert ask(host, f"KU00{smi}", bytes(16), b"0001x;")[0] == "A7"
    assert change(host, "0", "34", bytes(15), bytes(8), smc=smc)[0] == "A7"
    assert change(host, "0", "41", bytes(15), bytes(8), ac=ac)[0] == "A7"


def test_a_changed_pin_goes_in_at_its_offset() -> None:
    host, header, rest = Host(), b"header", b"the rest"
    command = (
        f"KU41{host.key(MK_SMI, '209')}".encode() + CARD + bytes(8)
        + b"%04X" % len(header + rest) + header + rest + b";"
        + host.key(MK_SMC, "309").encode() + bytes(8)
    )  # fmt: skip
    end = b"0008" + bytes.fromhex(sealed()) + f";1{host.key(TPK, '002')}0134{ACCOUNT}".encode()
    code, answer = ask(host, "", command, b"0006", end)
    key = script_key(MK_SMI, "1", bytes(8))
    assert code == "00"
    assert answer[:8] == pyemv.sm.generate_command_mac(key, header + answer[12:] + rest)
    assert ask(host, "", command, b"000F", end)[0] == "80"
    assert ask(host, "", command, b"0006", end.replace(b"0008", b"0010", 1))[0] == "80"


def test_a_cryptogram_that_looks_like_a_trailer_is_none() -> None:
    host = Host()
    command = f"KQ00{host.key(MK_AC, '109')}", CARD, bytes(6), counted(b"x")
    assert ask(host, *command, b"\x19ABCDEFG") == ("01", b"")
    assert ask(host, *command, b"\x19ABCDEFG\x19ABC") == ("01", b"\x19ABC")
