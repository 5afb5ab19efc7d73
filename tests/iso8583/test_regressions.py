"""What the fuzzer once found never comes back: `regressions/*.json`, replayed; and its checks bite.

Files are written by `make fuzz` (`tests/fuzz/run.py`) and committed with the mend.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from iso8583.codec import Codec
from tests.iso8583 import checks

FILES = sorted((Path(__file__).resolve().parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_was_found_stays_mended(file: Path) -> None:
    checks.replay(file.read_text(encoding="utf-8"))


def test_a_case_says_what_was_given() -> None:
    message = {0: "0200", 3: "000000", 52: bytes(8), 4: None}
    text = checks.as_case("encoded_alike", "iso1987_ascii", message)
    checks.replay(text)
    assert '"hex": "0000000000000000"' in text
    checks.replay(checks.as_case("decoded_alike", "unionpay_pos", bytes.fromhex("0200ff")))


def test_the_checks_find_a_codec_that_says_yes_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    case = checks.as_case("decoded_alike", "unionpay_pos", bytes.fromhex("02000020000000000000"))
    monkeypatch.setattr(Codec, "decode", lambda _codec, _data: {0: "0200"})
    with pytest.raises(AssertionError):
        checks.replay(case)


@pytest.mark.parametrize("name", ["unionpay_pos", "iso2003_binary", "ipm_ebcdic"])
@pytest.mark.parametrize(
    "fill", [b"\x00", b"\xff", b"0", b"\xf0", b"\x99", b"\x10"], ids=lambda fill: fill.hex()
)
def test_hostile_lengths_cost_little(name: str, fill: bytes) -> None:
    codec = checks.codec_of(name)
    mti = codec.generic.mtis[codec.dialect.versions[0] + "200"]
    for bitmap in (b"\x7f" + b"\xff" * 7, b"\xff" * 16, b"\xff" * 24, fill * 8):
        checks.bounded(name, (mti + bitmap + fill * 65_537)[:65_537])
