"""Goal: card verification values are those of other hands, and a wrong one is only wrong.

Method: published commands under the public test LMK; psec on drawn cards; one wrong field at a time.
"""

import psec
import pytest
from hypothesis import given, settings, strategies as st

from hsm.keys import KeyUsage
from tests.hsm.host.support import Host
from tests.hsm.support import odd

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:Warning")  # psec

CVK = odd(41, 16)
_U, _BARE = "U9B4934384B19946B040CD702B4D58145", "0A61E674E88C6A7EEABC38C2B2BB492F"


# github.com/nickntg/thalessimulatorlibrary, HostCommandTests.vb
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        (f"CW{_U}4123456789012345;8701101", "CX00561"),
        (f"CW{_BARE}4123456789012345;8701101", "CX00561"),
        (f"CW{_BARE}4999988887777;9105111", "CX00649"),
        (f"CY{_U}5614123456789012345;8701101", "CZ00"),
        (f"CY{_U}1114123456789012345;8701101", "CZ01"),
        (f"CY{_BARE}6494999988887777;9105111", "CZ00"),
        (f"CY{_BARE}1114999988887777;9105111", "CZ01"),
    ],
)
def test_a_published_command_gives_the_published_answer(command: str, answer: str) -> None:
    assert Host()(command) == answer


def digits(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=most)


@settings(max_examples=40, deadline=None)
@given(digits(12, 19), digits(4, 4), digits(3, 3), st.booleans())
def test_values_are_those_of_psec(pan: str, expiry: str, service: str, block: bool) -> None:
    host = Host()
    cvk = host.block(KeyUsage.CVK, CVK) if block else host.key(CVK, "402")
    value = psec.cvv.generate_cvv(CVK, pan, expiry, service)
    assert host(f"CW{cvk}{pan};{expiry}{service}") == f"CX00{value}"
    assert host(f"CY{cvk}{value}{pan};{expiry}{service}") == "CZ00"
    wrong = f"{(int(value) + 1) % 1000:03}"
    assert host(f"CY{cvk}{wrong}{pan};{expiry}{service}") == "CZ01"


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("41234567890;8701101", "22"),
        ("41234567890123456789;8701101", "15"),
        ("4123456789O12345;8701101", "22"),
        ("4123456789012345;870110", "80"),
        ("4123456789012345;87011011", "80"),
        ("4123456789012345;87X1101", "15"),
        ("41234567890123458701101", "15"),
    ],
)
def test_a_wrong_field_has_its_code(rest: str, code: str) -> None:
    host = Host()
    assert host(f"CW{host.key(CVK, '402')}{rest}") == "CX" + code
    assert host(f"CY{host.key(CVK, '402')}123{rest}") == "CZ" + code


def test_a_key_of_another_kind_is_refused() -> None:
    host, rest = Host(), "4123456789012345;8701101"
    assert host(f"CW{host.key(CVK, '002')}{rest}") == "CX10"
    assert host(f"CW{host.key(odd(42, 24), '402', 'T')}{rest}") == "CX27"
    assert host(f"CW{host.block(KeyUsage.PVK_VISA, CVK)}{rest}") == "CXA6"
    assert host(f"CY{host.key(CVK, '402')}12A{rest}") == "CZ15"
