"""Goal: an LMK can be sealed and opened by those who should, and by nobody else.

Method: round trips with a small scrypt cost; every byte of a sealed file changed; shares lost, repeated,
mistyped and of another LMK; components of a ceremony.
"""

import copy
import itertools
import json
import pickle

import pytest

from hsm import ceremony, ciphers, lmk
from hsm.errors import VaultError
from hsm.lmk import Lmk
from tests.hsm.support import seeded

PASSPHRASE = "six custodians and a parrot"
COST = 1 << 4


def make() -> Lmk:
    return lmk.make(seeded(1))


def same(left: Lmk, right: Lmk) -> bool:
    return lmk.hand_over(left) == lmk.hand_over(right)


def test_the_test_lmk_is_known() -> None:
    assert lmk.is_test_lmk(lmk.TEST_LMK)
    assert lmk.TEST_LMK.check_value == lmk.TEST_LMK_CHECK_VALUE == "35571B903C"
    assert not lmk.is_test_lmk(make())
    assert lmk.is_test_lmk(lmk.take_over(lmk.hand_over(lmk.TEST_LMK)))


def test_a_passphrase_opens_what_it_sealed() -> None:
    sealed = lmk.seal(make(), seeded(2), passphrase=PASSPHRASE, cost=COST)
    assert sealed.shares == ()
    assert same(lmk.open_with_passphrase(sealed.payload, PASSPHRASE), make())
    with pytest.raises(VaultError, match="does not open"):
        lmk.open_with_passphrase(sealed.payload, PASSPHRASE + " ")
    with pytest.raises(VaultError, match="not sealed with shares"):
        lmk.open_with_shares(sealed.payload, [])
    assert lmk.hand_over(make()) not in sealed.payload


def test_any_threshold_of_shares_opens() -> None:
    sealed = lmk.seal(make(), seeded(2), shares=(3, 5))
    assert len(sealed.shares) == 5
    for chosen in itertools.permutations(sealed.shares, 3):
        assert same(lmk.open_with_shares(sealed.payload, chosen), make())
    assert same(lmk.open_with_shares(sealed.payload, sealed.shares), make())
    for few in ([], sealed.shares[:2], [sealed.shares[0]] * 3):
        with pytest.raises(VaultError, match="3 different shares"):
            lmk.open_with_shares(sealed.payload, few)
    with pytest.raises(VaultError, match="not sealed with a passphrase"):
        lmk.open_with_passphrase(sealed.payload, PASSPHRASE)


def test_shares_as_people_type_them() -> None:
    sealed = lmk.seal(make(), seeded(2), shares=(2, 2))
    typed = [f"  {share.lower().replace(' ', '')}\n" for share in sealed.shares]
    assert same(lmk.open_with_shares(sealed.payload, typed), make())


def test_wrong_shares() -> None:
    sealed = lmk.seal(make(), seeded(2), shares=(2, 3))
    other = lmk.seal(make(), seeded(3), shares=(2, 3))
    first, second = sealed.shares[:2]
    label, number, groups, _ = second.split("-")
    swapped = groups[:3] + ("0" if groups[3] != "0" else "1") + groups[4:]
    digits = swapped.replace(" ", "")
    forged = f"{label}-{number}-{swapped}-{ceremony.share_check(label, int(number), digits)}"
    for given, reason in (
        ([first, f"{label}-{number}-{swapped}-{second[-4:]}"], "mistyped"),
        ([first, forged], "does not open"),
        ([first, second, forged], "differs"),
        ([first, "nonsense"], "four parts"),
        ([first, "AB-1-CD-EF"], "another LMK"),
        ([first, f"{label}-x-{groups}-0000"], "decimal"),
        ([first, f"{label}-17-{groups}-0000"], "1 to 16"),
        ([first, f"{label}-02-00-{ceremony.share_check(label, 2, '00')}"], "length"),
        ([first, f"{label}-02-zz-{ceremony.share_check(label, 2, 'ZZ')}"], "hex"),
        (other.shares[:2], "does not open"),
    ):
        with pytest.raises(VaultError, match=reason):
            lmk.open_with_shares(sealed.payload, given)


def test_either_way_opens_where_both_were_made() -> None:
    sealed = lmk.seal(make(), seeded(2), passphrase=PASSPHRASE, shares=(2, 3), cost=COST)
    assert same(lmk.open_with_passphrase(sealed.payload, PASSPHRASE), make())
    assert same(lmk.open_with_shares(sealed.payload, sealed.shares[1:]), make())
    described = lmk.read_sealed(sealed.payload)
    assert described.lmk_id == make().lmk_id
    assert described.shares is not None
    assert (described.shares.threshold, described.shares.count) == (2, 3)


def test_a_changed_file_does_not_open() -> None:
    payload = lmk.seal(make(), seeded(2), passphrase=PASSPHRASE, cost=COST).payload
    for position in range(len(payload)):
        changed = payload[:position] + bytes([payload[position] ^ 0x01]) + payload[position + 1 :]
        try:
            opened = lmk.open_with_passphrase(changed, PASSPHRASE)
        except VaultError:
            continue
        # only white space and the unused bits of base64 are left
        assert same(opened, make())
        assert msg_equal(changed, payload), position


def msg_equal(left: bytes, right: bytes) -> bool:
    return lmk.read_sealed(left) == lmk.read_sealed(right)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "other"),
        (("version",), 2),
        (("lmk_id",), "0000000000"),
        (("surprise",), 1),
        (("passphrase", "cost"), 3),
        (("passphrase", "cost"), 0),
        (("passphrase", "cost"), 1 << 40),
        (("passphrase", "cost"), 1 << 5),
        (("passphrase", "nonce"), "AAAA"),
        (("passphrase", "ciphertext"), ""),
        (("passphrase", "salt"), 7),
        (("passphrase",), None),
    ],
)
def test_a_file_with_other_values_does_not_open(path: tuple[str, ...], value: object) -> None:
    payload = lmk.seal(make(), seeded(2), passphrase=PASSPHRASE, cost=COST).payload
    tree = json.loads(payload)
    inner = tree
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(VaultError):
        lmk.open_with_passphrase(json.dumps(tree).encode(), PASSPHRASE)


def test_what_is_refused_to_be_sealed() -> None:
    with pytest.raises(VaultError):
        lmk.seal(make(), seeded(2))
    with pytest.raises(VaultError, match="12 characters"):
        lmk.seal(make(), seeded(2), passphrase="short", cost=COST)
    for shares in ((1, 3), (4, 3), (2, 17), (0, 0)):
        with pytest.raises(VaultError, match="threshold"):
            lmk.seal(make(), seeded(2), shares=shares)
    with pytest.raises(VaultError):
        Lmk(bytes(16))
    with pytest.raises(VaultError):
        lmk.read_sealed(b"\xff{")


def test_an_lmk_is_not_copied_about_by_accident() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(make())
    with pytest.raises(TypeError):
        copy.deepcopy(make())
    assert lmk.hand_over(make()).hex() not in repr(make())
    sealed = lmk.seal(make(), seeded(2), shares=(2, 3))
    assert not any(share in repr(sealed) for share in sealed.shares)


def test_scrypt_is_rfc_7914() -> None:
    # RFC 7914 clause 12, third vector: N = 16384, r = 8, p = 1
    key = ciphers.scrypt(b"pleaseletmein", b"SodiumChloride", cost=16384, length=64)
    assert key.hex().startswith("7023bdcb3afd7348461c06cd81fd38eb")
