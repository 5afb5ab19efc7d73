"""Goal: a device serves those it should, its console takes two officers, and it says what it is.

Method: the real process with real sockets; certificates made for the test.
"""

import asyncio
import datetime as dt
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hsm.host.framing import frame
from switch.device.config import Device, Officer, absolute, example, load
from switch.device.control import Ask, Named, fault_of
from switch.people.credentials import of_password
from tests.hsm.host.test_server import CA, CB, read

ROOT = Path(__file__).resolve().parents[3]
PASSWORDS = {"wang": "correct horse wang", "zhao": "correct horse zhao"}


def tongbao(*words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    descriptors: tuple[int, ...] = ()
    if given:
        out, into = os.pipe()
        os.write(into, given.encode())
        os.close(into)
        words, descriptors = (*words, "--passwords-fd", str(out)), (out,)
    done = subprocess.run(
        [sys.executable, "-m", "tongbao", "hsm", *words, "--lang", "en"],
        cwd=ROOT, capture_output=True, text=True, pass_fds=descriptors, timeout=600, check=False,
    )  # fmt: skip
    for descriptor in descriptors:
        os.close(descriptor)
    return done


@contextmanager
def running(folder: Path, settings: str = "") -> Iterator[tuple[int, Path]]:
    """A device of the public test LMK: its port and its file."""
    file, ready = folder / "device.toml", folder / "ready"
    ready.unlink(missing_ok=True)
    file.write_text(f"port = 0\nfolder = 'hsm'\n{settings}", encoding="utf-8")
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "tongbao", "hsm", "serve", "--demo", "--lang", "en",
             "--config", str(file), "--ready-file", str(ready)],
            cwd=ROOT, stderr=said,
        )  # fmt: skip
    try:
        for _ in range(1_200):
            if ready.exists() and ready.read_text():
                break
            assert process.poll() is None, (folder / "said").read_text()
            time.sleep(0.1)
        yield int(ready.read_text().rpartition(":")[2]), file
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


async def ask_ca(port: int, context: ssl.SSLContext | None = None) -> bytes:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        try:
            writer.write(frame(b"0000" + CA))
            return await read(reader)
        finally:
            writer.close()
            with suppress(ssl.SSLError, ConnectionError):
                await writer.wait_closed()


def test_it_serves_counts_and_says_that_it_is_not_certified(tmp_path: Path) -> None:
    officers = "".join(
        tongbao("officer", name, given=password + "\n").stdout
        for name, password in PASSWORDS.items()
    )
    with running(tmp_path, officers) as (port, file):
        assert asyncio.run(ask_ca(port)) == b"0000" + CB
        status = tongbao("status", "--json", "--config", str(file))
        found = json.loads(status.stdout)
        assert found["commands"] == [{"command": "CA", "calls": 1, "errors": {}}]
        assert found["authorised"] is False

        both = ("authorise", "--officer", "wang", "--officer", "zhao", "--config", str(file))
        wrong = tongbao(*both, given=f"{PASSWORDS['wang']}\nnot zhao's\n")
        assert wrong.returncode != 0
        assert "wrong" in wrong.stderr
        right = tongbao(*both, "--json", given="\n".join(PASSWORDS.values()) + "\n")
        assert json.loads(right.stdout)["authorised"] is True
        ended = tongbao("cancel", "--json", "--config", str(file))
        assert json.loads(ended.stdout)["authorised"] is False
    said = (tmp_path / "said").read_text()
    assert "never be certified" in said
    assert "no TLS" in said
    log = (tmp_path / "hsm" / "log" / "hsm.jsonl").read_text()
    assert "hsm_authorised_state" in log
    for password in PASSWORDS.values():
        assert password not in log + said
    assert (tmp_path / "hsm").stat().st_mode & 0o077 == 0


def made_certificate(
    folder: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    certificate = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, key


def test_only_clients_with_a_certificate_of_the_authority_are_served(tmp_path: Path) -> None:
    authority = made_certificate(tmp_path, "authority", None)
    for name in ("device", "switch"):
        made_certificate(tmp_path, name, authority)
    stranger = made_certificate(tmp_path, "stranger-authority", None)
    made_certificate(tmp_path, "stranger", stranger)

    def context(name: str | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=tmp_path / "authority.pem")
        made.check_hostname = False
        if name is not None:
            made.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        return made

    tls = "[tls]\ncertificate = 'device.pem'\nkey = 'device.key'\nclients = 'authority.pem'\n"
    with running(tmp_path, tls) as (port, _):
        assert asyncio.run(ask_ca(port, context("switch"))) == b"0000" + CB
        for other in (None, "stranger"):
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                asyncio.run(ask_ca(port, context(other)))
        with pytest.raises((TimeoutError, ConnectionError, asyncio.IncompleteReadError)):
            asyncio.run(ask_ca(port))
        assert asyncio.run(ask_ca(port, context("switch"))) == b"0000" + CB


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ("port = 70000", "port"),
        ("commands = ['CA', 'Q9']", "commands"),
        ("[tls]\ncertificate = 'device.pem'", "tls"),
        ("[[officers]]\nname = 'wang'\npassword = 'plain'", "officers[0].password"),
        ("[tls]\nclients = 'a.pem'", "tls.clients"),
        ("prot = 1", "prot"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: str, where: str) -> None:
    file = tmp_path / "device.toml"
    file.write_text(settings, encoding="utf-8")
    done = tongbao("serve", "--demo", "--config", str(file))
    assert done.returncode != 0
    assert f"{file}: {where}: " in done.stderr


def test_every_setting_is_in_the_example(tmp_path: Path) -> None:
    text = (ROOT / "tongbao-hsm.example.toml").read_text(encoding="utf-8")
    assert text == example(), "run: python -m switch.device.config > tongbao-hsm.example.toml"
    (tmp_path / "device.toml").write_text(text, encoding="utf-8")
    device = load(tmp_path / "device.toml")
    assert device == absolute(Device(), tmp_path)


def test_a_console_that_says_nothing_holds_up_no_other(tmp_path: Path) -> None:
    with running(tmp_path) as (_, file), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / "hsm" / "control"))
        silent.sendall(b'{"what": ')
        assert tongbao("status", "--config", str(file)).returncode == 0
        silent.sendall(b'"status"}\n')
        assert b'"lmk_id"' in silent.recv(4096)


def test_a_second_device_on_the_port_leaves_the_first_its_console(tmp_path: Path) -> None:
    with running(tmp_path, "dukpt_replay = false") as (port, file):
        second = tmp_path / "second.toml"
        second.write_text(f"port = {port}\nfolder = 'hsm'\ndukpt_replay = false", encoding="utf-8")
        done = tongbao("serve", "--demo", "--config", str(second))
        assert done.returncode == 1
        assert (
            f"host port 127.0.0.1:{port} can not be opened: Address already in use" in done.stderr
        )
        assert tongbao("status", "--config", str(file)).returncode == 0


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("wang", b"\xff\xfe\n", "not UTF-8"),
        ("wang", b"short\n", "12 to 1024"),
        ('wa"ng', b"a password of words\n", "letters, digits"),
    ],
)
def test_an_officer_that_no_file_could_name_is_refused(name: str, given: bytes, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tongbao", "hsm", "officer", name, "--passwords-fd", "0", "--lang", "en"],
        cwd=ROOT, input=given, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_without_demo_there_must_be_an_lmk(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text("port = 0\nlmk_file = 'none'", encoding="utf-8")
    done = tongbao("serve", "--config", str(file))
    assert done.returncode == 1
    assert "tongbao init" in done.stderr


def ask(port: int, *commands: str) -> list[str]:
    """Answers of one connection, without header and answer code."""

    async def talk() -> list[str]:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for command in commands:
                writer.write(frame(b"0000" + command.encode()))
            answers = [(await read(reader))[6:].decode() for _ in commands]
            writer.close()
            return answers

    return asyncio.run(talk())


# Of the public test LMK: a published command by DUKPT; a wrong PVV, and the right one.
CI = (
    "CIU8E3D3E2FD5919657F05A1AA90D32A014U9D961F6AF1D24B38AB37B320022FF57D"
    "605FFFF9876543210E000011B9C1845EB993A7A01401234567890"
)
DC = (
    "DCU8463435FC4B4DAA0C49025272C29B12CX367930344805B1FAD6146EF4ED7502B3"
    "028DCC093FB0471F03550000025321144"
)


def test_counters_and_wrong_pins_are_remembered_as_the_settings_say(tmp_path: Path) -> None:
    with running(tmp_path, "pin_failures = 2\npin_digits_max = 6") as (port, file):
        assert ask(port, CI, CI) == ["00047D26134E85E7DADF01", "39"]
        assert ask(port, DC + "01", DC + "02", DC + "01", DC + "01") == ["01", "00", "01", "01"]
        assert ask(port, DC + "02") == ["39"]
        assert len(ask(port, "JA50000002532106")[0]) == 2 + 7
        again = tongbao("serve", "--demo", "--config", str(file))
        assert again.returncode == 1
        assert "another process has the counters" in again.stderr
    counters = tmp_path / "hsm" / "dukpt-counters"
    assert counters.read_text() == "08D7B4/pin/FFFF9876543210E00000 1\n"
    with running(tmp_path) as (port, _):
        assert ask(port, CI, DC + "02") == ["39", "00"]
    with running(tmp_path, "dukpt_replay = false") as (port, _):
        assert ask(port, CI, CI) == ["00047D26134E85E7DADF01"] * 2


def officer(name: str) -> Officer:
    made = of_password(name, PASSWORDS[name], b"", lambda count: bytes(count))
    return Officer(name=name, password=made.secret)


DEVICE = Device(officers=(officer("wang"), officer("zhao")), authorised_max_s=60.0)
WANG, ZHAO = (Named(name, password) for name, password in PASSWORDS.items())


@pytest.mark.parametrize(
    ("officers", "duration_s", "fault"),
    [
        ([WANG, ZHAO], 60.0, None),
        ([WANG, WANG], 60.0, "hsm_two_officers"),
        ([WANG], 60.0, "hsm_two_officers"),
        ([WANG, ZHAO], 61.0, "hsm_duration"),
        ([WANG, ZHAO], 0.0, "hsm_duration"),
        ([WANG, Named("zhao", PASSWORDS["wang"])], 60.0, "hsm_wrong_officer"),
        ([WANG, Named("li", PASSWORDS["zhao"])], 60.0, "hsm_wrong_officer"),
    ],
)
def test_who_may_authorise(officers: list[Named], duration_s: float, fault: str | None) -> None:
    assert fault_of(Ask("authorise", officers, duration_s), DEVICE) == fault


def test_a_device_without_officers_is_never_authorised() -> None:
    assert fault_of(Ask("authorise", [WANG, ZHAO], 1.0), Device()) == "hsm_no_officers"
