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


# -- one LMK takes over from another --------------------------------------------------------------


def succession() -> Lmk:
    """The LMK that takes over from `make()`."""
    return lmk.following(lmk.make(seeded(9)), make())


def test_a_former_lmk_travels_with_the_one_that_takes_over() -> None:
    lmk_now = succession()
    assert lmk_now.lmk_ids == (lmk.make(seeded(9)).lmk_id, make().lmk_id)
    assert lmk.take_over(lmk.hand_over(lmk_now)).lmk_ids == lmk_now.lmk_ids
    sealed = lmk.seal(lmk_now, seeded(2), passphrase=PASSPHRASE, shares=(2, 3), cost=COST)
    assert json.loads(sealed.payload)["version"] == 2
    assert lmk.read_sealed(sealed.payload).lmk_ids == lmk_now.lmk_ids
    for opened in (
        lmk.open_with_passphrase(sealed.payload, PASSPHRASE),
        lmk.open_with_shares(sealed.payload, sealed.shares[1:]),
    ):
        assert lmk.hand_over(opened) == lmk.hand_over(lmk_now)
    for secret in (lmk_now, make()):
        assert lmk.hand_over(lmk.without_former(secret)) not in sealed.payload


def test_a_former_lmk_is_dropped_without_opening_anything() -> None:
    sealed = lmk.seal(succession(), seeded(2), passphrase=PASSPHRASE, cost=COST)
    later = lmk.drop_former(sealed.payload)
    assert json.loads(later)["version"] == 1
    opened = lmk.open_with_passphrase(later, PASSPHRASE)
    assert opened.lmk_ids == (succession().lmk_id,)
    assert lmk.drop_former(later) == later


def test_at_most_one_former_lmk() -> None:
    with pytest.raises(VaultError, match="not retired yet"):
        lmk.following(lmk.make(seeded(10)), succession())
    with pytest.raises(VaultError, match="another one"):
        lmk.following(make(), make())


def test_a_changed_former_slot_opens_nothing() -> None:
    sealed = lmk.seal(succession(), seeded(2), passphrase=PASSPHRASE, cost=COST)
    whole = json.loads(sealed.payload)
    for name, value in (("lmk_id", "0" * 10), ("nonce", ""), ("ciphertext", "AAAA")):
        changed = {**whole, "former": {**whole["former"], name: value}}
        with pytest.raises(VaultError, match="former LMK does not open"):
            lmk.open_with_passphrase(json.dumps(changed).encode(), PASSPHRASE)
    for version in (1, 3):
        with pytest.raises(VaultError, match="version 1 or 2"):
            lmk.read_sealed(json.dumps({**whole, "version": version}).encode())


def test_shares_issued_anew_open_and_the_old_ones_do_not() -> None:
    sealed = lmk.seal(succession(), seeded(2), passphrase=PASSPHRASE, shares=(2, 3), cost=COST)
    again = lmk.reissue_shares(sealed.payload, succession(), seeded(5), (2, 4))
    assert len(again.shares) == 4
    opened = lmk.open_with_shares(again.payload, again.shares[2:])
    assert lmk.hand_over(opened) == lmk.hand_over(succession())
    assert same(lmk.open_with_passphrase(again.payload, PASSPHRASE), succession())
    with pytest.raises(VaultError, match="does not open"):
        lmk.open_with_shares(again.payload, sealed.shares[:2])
    with pytest.raises(VaultError, match="not that of the file"):
        lmk.reissue_shares(sealed.payload, make(), seeded(5), (2, 4))


def test_an_lmk_of_components() -> None:
    parts = [seeded(number)(32) for number in range(3)]
    made = lmk.from_components(parts)
    by_hand = bytes(a ^ b ^ c for a, b, c in zip(*parts, strict=True))
    assert lmk.hand_over(made) == by_hand
    assert same(made, lmk.from_components(parts[::-1]))
    for wrong, reason in (
        (parts[:1], "2 to 9 components"),
        ([*parts, parts[0]], "same component"),
        ([parts[0], bytes(32)], "of zeros"),
        ([parts[0], parts[1][:16]], "32 bytes"),
        ([parts[0], parts[1], bytes(a ^ b for a, b in zip(*parts[:2], strict=True))], "cancel"),
    ):
        with pytest.raises(VaultError, match=reason):
            lmk.from_components(wrong)
