"""Goal: SM2 and SM3 are those of GB/T 32918 and GB/T 32905.

Method: a second implementation by the letter of the standards on drawn keys and data, in both
directions; the curve's corners; every piece of a signature, ciphertext and key changed; sources of random
bytes that are broken.
"""

import hmac
from collections.abc import Callable

import pytest
from hypothesis import given, settings, strategies as st

from hsm import ciphers, sm2
from hsm.errors import VaultError
from tests.hsm import sm2_by_the_letter as letter
from tests.hsm.support import seeded

few = settings(max_examples=12, deadline=None)

scalars = st.one_of(
    st.integers(1, letter.N - 2), st.integers(1, 20), st.integers(letter.N - 20, letter.N - 2)
)
messages = st.binary(max_size=200)
signers = st.one_of(st.just(sm2.SIGNER), st.binary(max_size=40))


def first(k: int, seed: int = 1) -> Callable[[int], bytes]:
    """A source whose first 32 bytes are k; `sign_digest` and `encrypt` take their k first."""
    rest = seeded(seed)
    given = [k.to_bytes(32, "big")]
    return lambda count: given.pop() if given and count == 32 else rest(count)


def private_bytes(d: int) -> bytes:
    return d.to_bytes(32, "big")


def public_bytes(d: int) -> bytes:
    return b"\x04" + letter.packed(letter.multiply(d, letter.G))


@few
@given(st.binary(max_size=300))
def test_sm3(data: bytes) -> None:
    assert ciphers.sm3(data) == letter.sm3(data)


def test_sm3_of_every_length_around_a_block_and_of_the_standards_second_sample() -> None:
    for length in [*range(50, 70), *range(115, 130)]:
        assert ciphers.sm3(bytes(length)) == letter.sm3(bytes(length))
    # GB/T 32905-2016 A.2
    assert ciphers.sm3(b"abcd" * 16).hex() == (
        "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"
    )


@few
@given(scalars, st.integers(0, 1000))
def test_public_keys(d: int, seed: int) -> None:
    public = sm2.public_key(private_bytes(d), seeded(seed))
    assert public == public_bytes(d)
    assert sm2.check_public(public) == sm2.check_public(public[1:]) == letter.multiply(d, letter.G)


@few
@given(scalars, messages, st.integers(1, letter.N - 1), signers)
def test_signatures(d: int, data: bytes, k: int, signer: bytes) -> None:
    hashed = sm2.digest(public_bytes(d), data, signer)
    signature = sm2.sign_digest(private_bytes(d), hashed, first(k))
    r, s = letter.sign(d, data, k, signer)
    assert signature == r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert sm2.verify(public_bytes(d), data, signature, signer)
    assert sm2.verify_digest(public_bytes(d), hashed, signature)


@few
@given(scalars, messages, signers, st.integers(0, 1000))
def test_the_other_implementation_verifies(d: int, data: bytes, signer: bytes, seed: int) -> None:
    signature = sm2.sign(private_bytes(d), data, seeded(seed), signer)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    assert letter.verify(letter.multiply(d, letter.G), data, r, s, signer)


@few
@given(scalars, st.binary(min_size=1, max_size=200), st.integers(1, letter.N - 1))
def test_encryption(d: int, data: bytes, k: int) -> None:
    c1, c2, c3 = letter.encrypt(letter.multiply(d, letter.G), data, k)
    if not any(letter.key_stream(letter.packed(letter.multiply(k * d, letter.G)), len(data))):
        return  # one byte in 256: another k is taken
    assert sm2.encrypt(public_bytes(d), data, first(k)) == c1 + c3 + c2
    assert sm2.decrypt(private_bytes(d), c1 + c3 + c2, seeded()) == data
    assert sm2.decrypt(private_bytes(d), c1 + c2 + c3, seeded(), check_last=True) == data


def test_a_key_stream_of_zeros_is_not_used() -> None:
    d = 7
    public = letter.multiply(d, letter.G)
    k, shared = 1, public
    while letter.key_stream(letter.packed(shared), 1) != b"\0":
        k, shared = k + 1, letter.add(shared, public)
    sealed = sm2.encrypt(public_bytes(d), b"x", first(k))
    assert sealed[:65] != b"\x04" + letter.packed(letter.multiply(k, letter.G))
    assert sm2.decrypt(private_bytes(d), sealed, seeded()) == b"x"
    c1, c2, c3 = letter.encrypt(letter.multiply(d, letter.G), b"x", k)
    with pytest.raises(VaultError, match="changed"):
        sm2.decrypt(private_bytes(d), c1 + c3 + c2, seeded())


@few
@given(st.lists(st.integers(0, 40), min_size=2, max_size=2), st.integers(1, 2**64))
def test_the_curves_corners(two: list[int], z: int) -> None:
    """Sums of small and opposite multiples: doubling, infinity, either side infinite."""
    points = [letter.multiply(k % 20, letter.G) for k in two]
    points = [
        p and (p[0], -p[1] % letter.P) if k > 19 else p for p, k in zip(points, two, strict=True)
    ]
    given = [(p[0] * z**2, p[1] * z**3, z) if p else (1, 1, 0) for p in points]
    left, right = ((x % sm2.P, y % sm2.P, z % sm2.P) for x, y, z in given)
    total = sm2._add(left, right)
    expected = letter.add(*points)
    assert (None if total[2] == 0 else sm2._affine(total)) == expected
    twice = sm2._double(left)
    assert (None if twice[2] == 0 else sm2._affine(twice)) == letter.add(points[0], points[0])


# -- what does not hold, what is refused ------------------------------------------------------------

D = 0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_a_changed_signature_does_not_hold(at: int) -> None:
    public = public_bytes(D)
    signature = sm2.sign(private_bytes(D), b"data", seeded())
    changed = bytearray(signature)
    changed[at] ^= 1
    assert sm2.verify(public, b"data", signature)
    assert not sm2.verify(public, b"data", bytes(changed))
    assert not sm2.verify(public, b"datA", signature)
    assert not sm2.verify(public, b"data", signature, b"another")
    assert not sm2.verify(public_bytes(D - 1), b"data", signature)


def test_signatures_that_are_none() -> None:
    public = public_bytes(D)
    n = letter.N
    for r, s in ((0, 1), (1, 0), (n, 1), (1, n), (5, n - 5), (2**256 - 1, 2**256 - 1)):
        assert not sm2.verify(public, b"", r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    for length in (0, 63, 65):
        assert not sm2.verify(public, b"", bytes(length))


@few
@given(st.integers(0, 64 + 32 + 4), st.integers(1, 255))
def test_a_changed_ciphertext_does_not_open(at: int, change: int) -> None:
    sealed = bytearray(sm2.encrypt(public_bytes(D), b"clear", seeded()))
    sealed[at] ^= change
    with pytest.raises(VaultError, match=r"changed|public key"):
        sm2.decrypt(private_bytes(D), bytes(sealed), seeded())


def test_a_ciphertext_in_the_other_order_does_not_open() -> None:
    sealed = sm2.encrypt(public_bytes(D), b"clear", seeded())
    with pytest.raises(VaultError, match="changed"):
        sm2.decrypt(private_bytes(D), sealed, seeded(), check_last=True)
    with pytest.raises(VaultError, match="another key"):
        sm2.decrypt(private_bytes(D - 1), sealed, seeded())


@few
@given(st.one_of(st.binary(max_size=70), st.binary(min_size=64, max_size=64)))
def test_any_bytes_as_a_public_key(public: bytes) -> None:
    with pytest.raises(VaultError, match="SM2 public key"):
        sm2.check_public(public)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=70))
def test_any_bytes_as_a_ciphertext_or_signature(data: bytes, signature: bytes) -> None:
    for sealed in (data, public_bytes(5) + data):
        with pytest.raises(VaultError):
            sm2.decrypt(private_bytes(D), sealed, seeded())
    assert not sm2.verify(public_bytes(D), data, signature)


def test_what_else_is_refused() -> None:
    public, random = public_bytes(D), seeded()
    x, y = sm2.check_public(public)
    for says, call in (
        ("no point", lambda: sm2.check_public(bytes(64))),
        ("no point", lambda: sm2.check_public(public[:64] + bytes((public[64] ^ 1,)))),
        ("no point", lambda: sm2.check_public(b"\xff" * 64)),
        ("04, x and y", lambda: sm2.check_public(b"\x02" + public[1:])),
        ("32 bytes", lambda: sm2.public_key(bytes(32), random)),
        ("32 bytes", lambda: sm2.public_key(private_bytes(letter.N - 1), random)),
        ("32 bytes", lambda: sm2.public_key(b"\1", random)),
        ("32 bytes", lambda: sm2.sign(b"\xff" * 32, b"", random)),
        ("at most 8191", lambda: sm2.digest(public, b"", bytes(8192))),
        ("at most 65536", lambda: sm2.digest(public, bytes(65537))),
        ("digest of 32", lambda: sm2.sign_digest(private_bytes(D), b"", random)),
        ("digest of 32", lambda: sm2.verify_digest(public, bytes(33), bytes(64))),
        ("1 to 65536", lambda: sm2.encrypt(public, b"", random)),
        ("1 to 65536", lambda: sm2.encrypt(public, bytes(65537), random)),
        ("97 bytes more", lambda: sm2.decrypt(private_bytes(D), public + bytes(32), random)),
        ("97 bytes more", lambda: sm2.decrypt(private_bytes(D), bytes(65536 + 98), random)),
        ("broken", lambda: sm2.generate(bytes)),
        ("broken", lambda: sm2.encrypt(public, b"1", lambda count: b"\xff" * count)),
        ("broken", lambda: sm2.sign(private_bytes(D), b"1", bytes)),
    ):
        with pytest.raises(VaultError, match=says):
            call()
    assert (x * x * x - 3 * x + sm2.B - y * y) % sm2.P == 0
    assert hmac.compare_digest(sm2.generate(seeded(3)), sm2.generate(seeded(3)))
