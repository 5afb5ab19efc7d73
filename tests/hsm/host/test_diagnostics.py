"""Goal: the device says what it is, echoes, hashes, and leaves the authorised state when told.

Method: published answers for hashes; the fields of an answer one by one.
"""

import hashlib

import pytest

from hsm.host.vault import HostVault, Identity
from hsm.lmk import TEST_LMK
from hsm.variant import VariantLmk
from tests.hsm.host.support import Clock, Host, host_vault
from tests.hsm.support import seeded

FOX = "The quick brown fox jumps over the lazy dog"


def test_the_device_names_its_lmk_and_software() -> None:
    host = Host()
    answer = host("NC")
    assert answer == "ND00" + VariantLmk.TEST.check_value + "0" * 10 + "TB00-0000"
    assert host("NC%01") == "ND00" + TEST_LMK.check_value + "0" * 6 + "TB00-0000"
    assert host("NC%02") == "ND13"
    assert host("NCx") == "ND80"


@pytest.mark.parametrize(
    ("buffer_bytes", "connections_max", "shown"),
    [(2048, 5, "0105"), (4096, 64, "1164"), (16_384, 64, "2164"), (65_535, 500, "3199")],
)
def test_the_port_tells_how_it_is_set(buffer_bytes: int, connections_max: int, shown: str) -> None:
    identity = Identity("TB01-0203", buffer_bytes, connections_max)
    vault = HostVault(TEST_LMK, VariantLmk.TEST, seeded(1), Clock(), identity=identity)
    assert Host(vault)("NO00") == f"NP00{shown}TB01-020300000"
    assert Host(vault)("NO01") == "NP15"
    assert Host(vault)("NO0") == "NP80"


@pytest.mark.parametrize("data", ["", "ping", "0123456789ABCDEF", "a\x19b%00"])
def test_echo(data: str) -> None:
    host = Host()
    assert host(f"B2{len(data):04X}{data}") == "B300" + data
    assert host(f"B2{len(data) + 1:04X}{data}")[:4] == "B380"
    assert host("B2zzzz") == "B315"


def test_ra_ends_the_authorised_state() -> None:
    vault = host_vault()
    host = Host(vault)
    assert host("RA") == "RB00"
    vault.authorise(60)
    assert host("A00000U")[:4] == "A100"
    assert host("RA") == "RB00"
    assert host("A00000U") == "A117"


@pytest.mark.parametrize(
    ("identifier", "name", "published"),
    [
        ("01", "sha1", "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"),
        ("02", "md5", "9e107d9d372bb6826bd81d3542a419d6"),
        ("05", "sha224", "730e109bd7a8a32b1cb9d9a09aa2325d2430587ddbc0c38bad911525"),
        ("06", "sha256", "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592"),
        ("07", "sha384", ""),
        ("08", "sha512", ""),
    ],
)
def test_hashes(identifier: str, name: str, published: str) -> None:
    answer = Host()(f"GM{identifier}{len(FOX):05}{FOX}").encode("latin-1")
    assert answer[:4] == b"GN00"
    assert answer[4:] == hashlib.new(name, FOX.encode()).digest()
    assert published in ("", answer[4:].hex())


@pytest.mark.parametrize(
    ("data", "code"), [("03", "05"), ("0600044abc", "80"), ("060000x", "15"), ("0600001ab", "80")]
)
def test_hashes_say_what_is_wrong(data: str, code: str) -> None:
    assert Host()("GM" + data) == "GN" + code
