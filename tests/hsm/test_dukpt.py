"""Goal: the host's keys are the terminal's, whatever counter comes, and no other KSN has any.

Method: a terminal with its registers of future keys, on PyCryptodome, against derivation from the top;
rows of counters that are refused; what is kept between transactions never changes an answer.
"""

import itertools

import pytest
from hypothesis import given, settings, strategies as st

from hsm import dukpt_aes, dukpt_tdes
from hsm.dukpt_aes import AesDukpt, AesKeyType, AesUsage
from hsm.dukpt_tdes import TdesDukpt, TdesUsage
from hsm.errors import VaultError
from tests.hsm.dukpt_terminals import AesTerminal, TdesTerminal, derive, non_reversible, xor
from tests.hsm.support import odd, seeded

few = settings(max_examples=40, deadline=None)
BDK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
IKSN = bytes.fromhex("FFFF9876543210E00000")
IKID = bytes.fromhex("1234567890123456")

counters_tdes = st.sets(st.integers(0, 20), min_size=1, max_size=10).map(
    lambda bits: sum(1 << bit for bit in bits)
)
counters_aes = st.sets(st.integers(0, 31), min_size=1, max_size=16).map(
    lambda bits: sum(1 << bit for bit in bits)
)
double_keys = st.integers(0, 10_000).map(lambda seed: odd(seed, 16))
aes_keys = st.sampled_from([16, 24, 32]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)

# Tables 2 and 3 of X9.24-3
USAGES = {
    "0002": AesUsage.KEY_ENCRYPTION,
    "1000": AesUsage.PIN,
    "2000": AesUsage.MAC_GENERATE,
    "2001": AesUsage.MAC_VERIFY,
    "2002": AesUsage.MAC_BOTH,
    "3000": AesUsage.DATA_ENCRYPT,
    "3001": AesUsage.DATA_DECRYPT,
    "3002": AesUsage.DATA_BOTH,
}
KINDS = {
    "00000080": AesKeyType.TDES2,
    "000100C0": AesKeyType.TDES3,
    "00020080": AesKeyType.AES128,
    "000300C0": AesKeyType.AES192,
    "00040100": AesKeyType.AES256,
    "00050080": AesKeyType.HMAC128,
    "000500C0": AesKeyType.HMAC192,
    "00050100": AesKeyType.HMAC256,
}


def tdes_ksn(counter: int, serial: bytes = IKSN) -> bytes:
    return (int.from_bytes(serial, "big") | counter).to_bytes(10, "big")


def aes_ksn(counter: int, ikid: bytes = IKID) -> bytes:
    return ikid + counter.to_bytes(4, "big")


# -- a terminal and its host --------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 0x0FF7, 0x1FEF])
def test_a_tdes_terminal_and_its_host_have_the_same_keys(start: int) -> None:
    initial = dukpt_tdes.initial_key(BDK, IKSN)
    host = TdesDukpt(BDK)
    terminal = TdesTerminal(initial, IKSN)
    while terminal.counter < start:
        terminal.next_transaction()
    ksn = terminal.ksn()
    for _ in range(150):
        assert terminal.ksn() == ksn
        assert host.transaction_key(ksn) == terminal.key()
        assert dukpt_tdes.transaction_key(initial, ksn) == terminal.key()
        terminal.next_transaction()
        ksn = dukpt_tdes.next_ksn(ksn)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_an_aes_terminal_and_its_host_have_the_same_keys(size: int) -> None:
    bdk = seeded(size)(size)
    initial = dukpt_aes.initial_key(bdk, IKID)
    kind = {16: "00020080", 24: "000300C0", 32: "00040100"}[size]
    assert initial == derive(bdk, "8001", kind, IKID)
    host = AesDukpt(bdk)
    terminal = AesTerminal(initial, IKID + bytes(4))
    ksn = terminal.ksn()
    for _ in range(150):
        assert terminal.ksn() == ksn
        assert host.derivation_key(ksn) == terminal.key()
        assert dukpt_aes.derivation_key(initial, ksn) == terminal.key()
        terminal.next_transaction()
        ksn = dukpt_aes.next_ksn(ksn)


@few
@given(double_keys, st.binary(min_size=8, max_size=8), counters_tdes)
def test_any_tdes_counter(bdk: bytes, serial: bytes, counter: int) -> None:
    ksn = tdes_ksn(counter, serial[:7] + bytes((serial[7] & 0xE0, 0, 0)))
    key = dukpt_tdes.initial_key(bdk, ksn)
    so_far = 0
    for bit in range(20, -1, -1):
        if counter >> bit & 1:
            so_far |= 1 << bit
            base = int.from_bytes(dukpt_tdes.device_of(ksn), "big")
            key = non_reversible(key, (base | so_far).to_bytes(10, "big")[2:])
    assert TdesDukpt(bdk).transaction_key(ksn) == key
    assert dukpt_tdes.counter_of(ksn) == counter


@few
@given(
    aes_keys,
    counters_aes,
    st.sampled_from(tuple(USAGES.items())),
    st.sampled_from(tuple(KINDS.items())),
)
def test_aes_working_keys(
    bdk: bytes, counter: int, usage: tuple[str, AesUsage], kind: tuple[str, AesKeyType]
) -> None:
    ksn = aes_ksn(counter)
    host = AesDukpt(bdk)
    too_strong = kind[1].bits > len(bdk) * 8 and kind[1] is not AesKeyType.TDES3
    if too_strong or (kind[1].name.startswith("HMAC") and not usage[1].name.startswith("MAC")):
        with pytest.raises(VaultError, match=r"stronger|makes MACs"):
            host.working_key(ksn, usage[1], kind[1])
        return
    expected = derive(host.derivation_key(ksn), usage[0], kind[0], ksn[4:])
    assert host.working_key(ksn, usage[1], kind[1]) == expected


@few
@given(double_keys)
def test_tdes_working_keys_are_five_different_ones(key: bytes) -> None:
    made = {usage: dukpt_tdes.working_key(key, usage) for usage in TdesUsage}
    assert len({key, *made.values()}) == 6
    assert xor(made[TdesUsage.PIN], key) == bytes.fromhex("00000000000000FF" * 2)


# -- what is kept -----------------------------------------------------------------------------


@few
@given(st.lists(st.tuples(counters_tdes, st.integers(0, 3)), max_size=25), st.integers(1, 12))
def test_what_is_kept_changes_no_tdes_key(many: list[tuple[int, int]], kept_max: int) -> None:
    host = TdesDukpt(BDK, kept_max)
    # a device only counts on; of counters that go back an earlier key may rightly be kept
    for device, counter in sorted({(device, counter) for counter, device in many}):
        ksn = tdes_ksn(counter, IKSN[:6] + bytes((device,)) + IKSN[7:])
        alone = dukpt_tdes.transaction_key(dukpt_tdes.initial_key(BDK, ksn), ksn)
        assert host.transaction_key(ksn) == alone
        assert len(host._kept) <= kept_max
        assert int.from_bytes(alone, "big") not in host._kept.values()


@few
@given(st.lists(st.tuples(counters_aes, st.integers(0, 3)), max_size=25), st.integers(1, 18))
def test_what_is_kept_changes_no_aes_key(many: list[tuple[int, int]], kept_max: int) -> None:
    bdk = bytes(range(32))
    host = AesDukpt(bdk, kept_max)
    for counter, device in many:
        ksn = aes_ksn(counter, IKID[:7] + bytes((device,)))
        assert host.derivation_key(ksn) == dukpt_aes.derivation_key(host.initial_key(ksn), ksn)
        assert len(host._kept) <= kept_max


# -- what is refused ----------------------------------------------------------------------------


def test_a_terminal_has_this_many_tdes_keys() -> None:
    # X9.24-1: "1,048,575 transactions": counted, not walked
    assert sum(1 for n in range(1, 1 << 21) if n.bit_count() <= 10) == (1 << 20) - 1
    last = tdes_ksn(0x1FF800)
    assert dukpt_tdes.counter_of(last)
    with pytest.raises(VaultError, match="used all its keys"):
        dukpt_tdes.next_ksn(last)
    with pytest.raises(VaultError, match="used all its keys"):
        dukpt_aes.next_ksn(aes_ksn(0xFFFF0000))


@few
@given(counters_tdes, counters_aes)
def test_the_next_counter_is_the_next_that_is_valid(tdes: int, aes: int) -> None:
    if tdes != 0x1FF800:
        ours = dukpt_tdes.counter_of(dukpt_tdes.next_ksn(tdes_ksn(tdes)))
        assert ours == next(n for n in itertools.count(tdes + 1) if n.bit_count() <= 10)
    if aes < 0xFFFF0000 and aes & 0xFFF:
        ours = dukpt_aes.counter_of(dukpt_aes.next_ksn(aes_ksn(aes)))
        assert ours == next(n for n in itertools.count(aes + 1) if n.bit_count() <= 16)


@pytest.mark.parametrize("length", [0, 1, 9, 11, 12])
def test_a_tdes_ksn_of_another_length(length: int) -> None:
    for function in (dukpt_tdes.counter_of, dukpt_tdes.device_of, TdesDukpt(BDK).transaction_key):
        with pytest.raises(VaultError, match="10 bytes"):
            function(bytes(length))


@pytest.mark.parametrize("length", [0, 1, 8, 10, 11, 13])
def test_an_aes_ksn_of_another_length(length: int) -> None:
    for function in (dukpt_aes.counter_of, dukpt_aes.device_of, AesDukpt(BDK).derivation_key):
        with pytest.raises(VaultError, match="12 bytes"):
            function(bytes(length))


def test_counters_that_no_transaction_has() -> None:
    for ksn, reason in ((tdes_ksn(0), "counter is 0"), (tdes_ksn(0x7FF), "one bits")):
        for tdes in (TdesDukpt(BDK).transaction_key, dukpt_tdes.counter_of):
            with pytest.raises(VaultError, match=reason):
                tdes(ksn)
    for ksn, reason in ((aes_ksn(0), "counter is 0"), (aes_ksn(0x1FFFF), "one bits")):
        for aes in (AesDukpt(BDK).derivation_key, dukpt_aes.counter_of):
            with pytest.raises(VaultError, match=reason):
                aes(ksn)
        with pytest.raises(VaultError, match=reason):
            dukpt_aes.working_key(BDK, ksn, AesUsage.PIN, AesKeyType.AES128)


@pytest.mark.parametrize("length", [0, 8, 15, 17, 24])
def test_keys_of_another_length(length: int) -> None:
    key = bytes(length)
    for make in (
        lambda: TdesDukpt(key),
        lambda: dukpt_tdes.initial_key(key, IKSN),
        lambda: dukpt_tdes.transaction_key(key, tdes_ksn(1)),
        lambda: dukpt_tdes.working_key(key, TdesUsage.PIN),
    ):
        with pytest.raises(VaultError, match="16 bytes"):
            make()
    if length != 24:
        with pytest.raises(VaultError, match="16, 24 or 32 bytes"):
            AesDukpt(key)
    with pytest.raises(VaultError, match="8 bytes"):
        dukpt_aes.initial_key(BDK, bytes(length if length != 8 else 7))


@few
@given(st.text(max_size=30))
def test_any_text_as_a_ksn(text: str) -> None:
    for parse, sizes in ((dukpt_tdes.parse_ksn, range(6, 21)), (dukpt_aes.parse_ksn, (24,))):
        if len(text) in sizes and set(text) <= set("0123456789abcdefABCDEF"):
            assert parse(text).hex().endswith(text.lower())
        else:
            with pytest.raises(VaultError, match="hex digits"):
                parse(text)
