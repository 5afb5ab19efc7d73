"""Passwords, codes and SSH keys; and the judgement over a try.

Known answers: RFC 6238 (TOTP; also `cryptography`'s own implementation as the oracle), RFC 7914 through
`hashlib.scrypt`, and the real `ssh-keygen -Y sign`.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given, strategies as st

from switch.config import People
from switch.people import credentials, login, ssh
from switch.people.credentials import Credential
from switch.people.login import Standing, Verdict
from switch.people.operators import Operator

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
PASSWORD = "correct horse battery"
TOTP_SECRET = bytes(range(20))
LI = Operator(id="li", version=1, name="Li", roles=("finance",))
SETTINGS = People(failures_max=3, lock_out_s=60.0)
STEP = int(NOW.timestamp()) // 30


@pytest.fixture(scope="module")
def credential() -> Credential:
    return credentials.of_password("li", PASSWORD, TOTP_SECRET, os.urandom)


# -- password and code ----------------------------------------------------------------------------


def test_a_password_opens_its_totp_secret_and_nothing_else_does(credential: Credential) -> None:
    assert credentials.totp_secret(credential, PASSWORD) == TOTP_SECRET
    assert credentials.totp_secret(credential, PASSWORD + " ") is None
    moved = msgspec.structs.replace(credential, operator="wang")
    assert credentials.totp_secret(moved, PASSWORD) is None
    assert PASSWORD not in repr(credential)
    assert credential.totp is not None
    assert TOTP_SECRET not in credential.totp
    assert credential.secret not in repr(credential)


def test_what_is_kept_of_a_password_is_scrypt(credential: Credential) -> None:
    _, name, cost, salt, kept = credential.secret.split("$")
    assert (name, cost) == ("scrypt", "ln=15,r=8,p=1")
    made = hashlib.scrypt(
        PASSWORD.encode(),
        salt=base64.b64decode(salt + "=="),
        n=1 << 15,
        r=8,
        p=1,
        maxmem=1 << 26,
        dklen=32,
    )
    assert base64.b64encode(made).decode().rstrip("=") == kept


@pytest.mark.parametrize("secret", ["", "$scrypt$ln=63,r=8,p=1$AAAA$AAAA", "$scrypt$ln=15$A$A"])
def test_what_is_no_hash_matches_nothing(secret: str) -> None:
    assert not credentials.matches(Credential("li", "password", secret=secret), PASSWORD)


@given(st.binary(min_size=16, max_size=32), st.integers(0, 2**33))
def test_codes_are_those_of_another_implementation(secret: bytes, step: int) -> None:
    theirs = TOTP(secret, 6, SHA1(), 30).generate(step * 30)
    assert credentials.totp(secret, step) == theirs.decode()


@pytest.mark.parametrize(("off", "found"), [(-2, None), (-1, -1), (0, 0), (1, 1), (2, None)])
def test_a_code_is_good_a_step_either_way(off: int, found: int | None) -> None:
    code = credentials.totp(TOTP_SECRET, STEP + off)
    step = credentials.step_of(TOTP_SECRET, code, NOW)
    assert step == (None if found is None else STEP + found)


def test_a_password_has_a_length() -> None:
    assert credentials.fault("short") == "password_length"
    assert credentials.fault(PASSWORD) is None
    assert credentials.fault("x" * 1_025) == "password_length"


def test_an_enrolment_code_is_taken_however_it_is_typed() -> None:
    code = credentials.new_code(os.urandom)
    enrolment = credentials.of_enrolment("li", code, NOW, os.urandom)
    for typed in (code, code.lower(), code.replace("-", " ")):
        assert credentials.matches(enrolment, credentials.plain_code(typed))
    assert not credentials.matches(enrolment, credentials.plain_code(code[:-1]))


# -- the judgement --------------------------------------------------------------------------------


def standing(credential: Credential | None, **more: Any) -> Standing:
    values: dict[str, Any] = {"now": NOW, "operator": LI, "credential": credential}
    return Standing(**(values | more))


def test_password_and_code_pass_once(credential: Credential) -> None:
    code = credentials.totp(TOTP_SECRET, STEP)
    first = login.by_password(standing(credential), PASSWORD, code, SETTINGS)
    assert first == Verdict(totp_step=STEP)
    again = login.by_password(standing(credential, totp_step=STEP), PASSWORD, code, SETTINGS)
    assert again == Verdict("replayed_code")
    earlier = credentials.totp(TOTP_SECRET, STEP - 1)
    assert not login.by_password(
        standing(credential, totp_step=STEP), PASSWORD, earlier, SETTINGS
    ).passed


FAILED = [NOW - dt.timedelta(seconds=each) for each in (50, 40, 30)]


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"operator": None}, Verdict("wrong", counts=False)),
        (
            {"operator": msgspec.structs.replace(LI, state="suspended")},
            Verdict("suspended", counts=False),
        ),
        ({"credential": None}, Verdict("other_credential", counts=False)),
        (
            {"failures": tuple(FAILED)},
            Verdict("locked", counts=False, until=NOW + dt.timedelta(seconds=30)),
        ),
        ({"failures": tuple(FAILED[1:])}, Verdict(totp_step=STEP)),
        (
            {"failures": tuple(each - dt.timedelta(seconds=31) for each in FAILED)},
            Verdict(totp_step=STEP),
        ),
    ],
)
def test_who_is_let_in(credential: Credential, more: dict[str, Any], verdict: Verdict) -> None:
    code = credentials.totp(TOTP_SECRET, STEP)
    at = standing(more.pop("credential", credential), **more)
    assert login.by_password(at, PASSWORD, code, SETTINGS) == verdict


@pytest.mark.parametrize(("password", "code"), [(PASSWORD, "000000"), ("x" * 12, None)])
def test_a_wrong_half_counts(credential: Credential, password: str, code: str | None) -> None:
    shown = code or credentials.totp(TOTP_SECRET, STEP)
    assert login.by_password(standing(credential), password, shown, SETTINGS) == Verdict("wrong")


def test_an_enrolment_ends(credential: Credential) -> None:
    enrolment = credentials.of_enrolment("li", "ABCDEF", NOW, os.urandom)
    before = standing(enrolment, now=NOW - dt.timedelta(seconds=1))
    assert login.by_enrolment(before, "abcdef", SETTINGS).passed
    assert login.by_enrolment(before, "abcdeg", SETTINGS) == Verdict("wrong")
    assert login.by_enrolment(standing(enrolment), "abcdef", SETTINGS).reason == "expired"
    assert login.by_enrolment(standing(credential), PASSWORD, SETTINGS).reason == (
        "other_credential"
    )


# -- SSH keys -------------------------------------------------------------------------------------

KEYS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
}
needs_ssh = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is the oracle")


def keygen(*words: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *words], check=True, capture_output=True)


def signed(folder: Path, kind: str, message: bytes, namespace: str = "tongbao") -> ssh.Signature:
    key, file = folder / kind, folder / "message"
    if not key.exists():
        keygen(*KEYS[kind], "-N", "", "-f", key)
    file.write_bytes(message)
    (folder / "message.sig").unlink(missing_ok=True)
    keygen("-Y", "sign", "-f", key, "-n", namespace, file)
    return ssh.parse((folder / "message.sig").read_text())


@needs_ssh
@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_of_ssh_keygen_verifies(tmp_path: Path, kind: str) -> None:
    found = signed(tmp_path, kind, b"challenge")
    key = ssh.key_blob((tmp_path / f"{kind}.pub").read_text())
    assert ssh.verify(found, key, b"challenge")
    assert not ssh.verify(found, key, b"challenge!")
    assert not ssh.verify(signed(tmp_path, kind, b"challenge", "git"), key, b"challenge")
    torn = found.signature[:-1] + bytes([found.signature[-1] ^ 1])
    assert not ssh.verify(msgspec.structs.replace(found, signature=torn), key, b"challenge")
    for cut in (b"", found.signature[:7], found.signature[:-1]):
        assert not ssh.verify(msgspec.structs.replace(found, signature=cut), key, b"challenge")
    other = "ed25519" if kind != "ed25519" else "rsa"
    _ = signed(tmp_path, other, b"")
    assert not ssh.verify(
        found, ssh.key_blob((tmp_path / f"{other}.pub").read_text()), b"challenge"
    )


@needs_ssh
def test_keys_that_are_not_taken(tmp_path: Path) -> None:
    keygen("-t", "rsa", "-b", "1024", "-N", "", "-f", tmp_path / "short")
    for line in ((tmp_path / "short.pub").read_text(), "ssh-ed25519", "ssh-ed25519 @@", "x AAAA"):
        with pytest.raises(ssh.SshError):
            ssh.key_blob(line)


@pytest.mark.parametrize(
    "text",
    ["", f"{ssh.BEGIN}\n@@\n{ssh.END}", f"{ssh.BEGIN}\nAAAA\n{ssh.END}", "U1NIU0lHAAAAAQ=="],
)
def test_what_is_no_signature(text: str) -> None:
    with pytest.raises(ssh.SshError):
        ssh.parse(text)


@needs_ssh
def test_a_signature_is_judged_like_a_password(tmp_path: Path) -> None:
    found = signed(tmp_path, "ed25519", b"challenge")
    line = (tmp_path / "ed25519.pub").read_text()
    at = standing(Credential("li", "ssh_key", public_key=line))
    assert login.by_signature(at, b"challenge", found, SETTINGS).passed
    assert login.by_signature(at, b"another", found, SETTINGS) == Verdict("wrong")
