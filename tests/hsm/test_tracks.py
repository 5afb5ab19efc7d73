"""Goal: an enciphered track is the terminals' track, opens again, and a bad one tells nothing.

Method: the block is cut out and enciphered a second time here over the packed bytes, with PyCryptodome
(SM4 by the letter of its standard), for drawn tracks of every length; refusals are a table.
"""

from collections.abc import Callable

import pytest
from Crypto.Cipher import DES3
from hypothesis import given, settings, strategies as st

from hsm import tracks
from hsm.errors import VaultError
from tests.hsm import sm4_by_the_letter
from tests.hsm.support import odd

few = settings(max_examples=80, deadline=None)

KEY = odd(1, 16)
TRACK = "6222021234567890123=30122201234567800"

drawn_tracks = st.text("0123456789=", min_size=17, max_size=104)


def by_the_letter(encrypt: Callable[[bytes], bytes], track: str, width: int) -> str:
    """Pack to BCD, encipher the whole bytes before the last byte, unpack."""
    packed = bytes.fromhex(track.replace("=", "D") + "0" * (len(track) % 2))
    sealed = packed[: -1 - width] + encrypt(packed[-1 - width : -1]) + packed[-1:]
    return sealed.hex().upper()[: len(track)]


@few
@given(st.integers(0, 10_000), st.sampled_from([16, 24]), drawn_tracks)
def test_over_triple_des(seed: int, size: int, track: str) -> None:
    key = odd(seed, size)
    if len(track) < 18 - len(track) % 2:
        track += "00"
    sealed = tracks.encrypt(key, track)
    assert sealed == by_the_letter(DES3.new(key, DES3.MODE_ECB).encrypt, track, 8)
    assert tracks.decrypt(key, sealed) == track
    assert tracks.decrypt(key, sealed.replace("D", "=")) == track


@few
@given(st.binary(min_size=16, max_size=16), st.text("0123456789=", min_size=34, max_size=104))
def test_over_sm4(key: bytes, track: str) -> None:
    sealed = tracks.encrypt(key, track, sm4=True)
    expected = by_the_letter(lambda block: sm4_by_the_letter.encrypt(key, block), track, 16)
    assert sealed == expected
    assert tracks.decrypt(key, sealed, sm4=True) == track


def test_the_shortest_and_the_longest() -> None:
    for length, sm4 in ((17, False), (18, False), (33, True), (34, True), (104, False)):
        track = "1" * length
        assert tracks.decrypt(KEY, tracks.encrypt(KEY, track, sm4=sm4), sm4=sm4) == track
    for length, sm4 in ((1, False), (16, False), (32, True)):
        with pytest.raises(VaultError, match="no whole block"):
            tracks.encrypt(KEY, "1" * length, sm4=sm4)


def test_a_wrong_key_does_not_open() -> None:
    sealed = tracks.encrypt(KEY, TRACK)
    opened = 0
    for seed in range(2, 402):
        try:
            clear = tracks.decrypt(odd(seed, 16), sealed)
            assert clear != TRACK
            opened += 1
        except VaultError as error:
            assert "wrong key" in str(error)  # noqa: PT017 - one in 400 may open by chance
    assert opened <= 6


def test_a_track_2_that_is_none() -> None:
    tracks.check_track_2(TRACK)
    for track in (
        TRACK.replace("=", "0"),
        "=" + TRACK,
        TRACK[:24],
        TRACK[8:],
        TRACK + "0",
        "12345678901=3012201",
    ):
        with pytest.raises(VaultError, match="track 2"):
            tracks.check_track_2(track)


@few
@given(st.text("0123456789", min_size=12, max_size=19), st.text("0123456789", max_size=20))
def test_a_mask_shows_ten_digits(pan: str, rest: str) -> None:
    for separator in "=D":
        masked = tracks.masked(pan + separator + rest)
        assert len(masked) == len(pan) + 1 + len(rest)
        assert masked.startswith(pan[:6])
        assert masked.replace("*", "") == f"{pan[:6]}{pan[-4:]}="
    assert tracks.masked(pan + rest) == "*" * len(pan + rest)
    assert set(tracks.masked(f"{pan[:11]}={rest}")) == {"*"}
    assert set(tracks.masked(f"{pan.ljust(20, '0')}={rest}")) == {"*"}


REFUSALS: list[tuple[Callable[[], object], str]] = [
    (lambda: tracks.encrypt(KEY, ""), "digits and separators"),
    (lambda: tracks.encrypt(KEY, "B" + TRACK), "digits and separators"),
    (lambda: tracks.encrypt(KEY, TRACK + "\n"), "digits and separators"),
    (lambda: tracks.encrypt(KEY, "\uff11" + TRACK), "digits and separators"),
    (lambda: tracks.encrypt(KEY, "1" * 105), "at most 104"),
    (lambda: tracks.encrypt(bytes(8), TRACK), "16 or 24 bytes"),
    (lambda: tracks.encrypt(odd(1, 24), TRACK, sm4=True), "16 bytes"),
    (lambda: tracks.decrypt(KEY, ""), "hex digits"),
    (lambda: tracks.decrypt(KEY, "G" * 37), "hex digits"),
    (lambda: tracks.decrypt(KEY, "1" * 16), "no whole block"),
    (lambda: tracks.decrypt(KEY, "1" * 105), "at most 104"),
    (lambda: tracks.decrypt(bytes(8), TRACK), "16 or 24 bytes"),
]


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row[1])
def test_refusals_show_no_track(row: tuple[Callable[[], object], str]) -> None:
    call, reason = row
    with pytest.raises(VaultError, match=reason) as caught:
        call()
    assert TRACK[:12] not in str(caught.value)
