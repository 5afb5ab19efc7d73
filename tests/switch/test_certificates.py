"""Certificate files while a node runs: renewed, half renewed, broken, gone, about to end.

Goal: workers are given another certificate exactly when the files hold a good one that is new; what is
wrong or ends is told once and shown for as long as it lasts. Method: real files, looks one by one, a
clock of the test's; log events are caught.
"""

from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import capture_logs

from switch.certificates import FILE_BYTES_MAX, Certificates
from switch.config import Config, Listener, Tls
from switch.metrics import Registry
from switch.supervisor import SupervisorError, certificates_of
from switch.tls import Pem, TlsError, context_of, validity_of
from tests.certificates import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

AUTHORITY = Certificate.make("root")
DAY = dt.timedelta(days=1)
NAME = "127.0.0.1:8583"


@pytest.fixture(autouse=True)
def every_level() -> Iterator[None]:
    """Other tests of the process may have set what is left out of logs."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


class Clock:
    def __init__(self) -> None:
        self.at = dt.datetime.now(dt.UTC)

    def now(self) -> dt.datetime:
        return self.at

    def monotonic_ns(self) -> int:
        raise AssertionError


class Bench:
    """One TLS listener beside a plain one."""

    def __init__(self, folder: Path, first: Certificate, *, clients: str = "") -> None:
        self.folder = folder
        self.clock = Clock()
        self.numbers = Registry()
        certificate, key = first.write(folder, "node")
        self.certificate, self.key = Path(certificate), Path(key)
        listener = Listener(tls_certificate=certificate, tls_key=key, tls_clients=clients)
        self.certificates = Certificates(
            [("127.0.0.1:1", Listener()), (NAME, listener)], Tls(), self.clock, self.numbers
        )

    def serial(self) -> int:
        """Of what workers are given; it can be served."""
        plain, pem = self.certificates.pems()
        assert plain is None
        assert pem is not None
        context_of(pem)
        return Certificate.serial_of(pem.certificate)

    def looks(self, times: int = 2) -> list[bool]:
        return [self.certificates.look() for _ in range(times)]

    def refused(self) -> str | None:
        (state,) = self.certificates.states()
        metric = self.numbers.gauge("tongbao_certificate_refused", "", "listener").value(NAME)
        assert metric == (state.refused is not None)
        return state.refused

    def expires_s(self) -> float:
        return self.numbers.gauge("tongbao_certificate_expires_seconds", "", "listener").value(NAME)


def made(**more: Any) -> Certificate:
    return Certificate.make("node", AUTHORITY, **more)


def test_a_new_certificate_is_taken_when_its_files_stand_still(tmp_path: Path) -> None:
    old, new = made(), made()
    bench = Bench(tmp_path, old)
    assert bench.looks() == [False, False]
    assert bench.serial() == old.serial
    with capture_logs() as said:
        bench.certificate.write_bytes(new.pem)
        assert not bench.certificates.look()  # its key is not there yet
        bench.key.write_bytes(new.key_pem())
        assert bench.looks(3) == [False, True, False]
    assert bench.serial() == new.serial
    assert [(line["event"], line["log_level"]) for line in said] == [("certificate_read", "info")]


def test_the_same_content_in_a_new_file_is_no_news(tmp_path: Path) -> None:
    old = made()
    bench = Bench(tmp_path, old)
    bench.certificate.unlink()
    bench.certificate.write_bytes(old.pem)
    assert bench.looks(3) == [False] * 3
    assert bench.refused() is None


def broken_files() -> list[tuple[str, bytes | None, bytes | None, str]]:
    other, ended, early = made(), made(lasts=-DAY), made(begins=DAY)
    under = other.key_pem(b"passphrase")
    return [
        ("noise", b"noise", None, "certificate and key"),
        ("empty", b"", None, "certificate and key"),
        ("key of another", other.pem, None, "key values mismatch"),
        ("under a passphrase", other.pem, under, "passphrase"),
        ("no certificate", other.key_pem(), other.key_pem(), "certificate and key"),
        ("too long", bytes(FILE_BYTES_MAX + 1), None, f"longer than {FILE_BYTES_MAX} bytes"),
        ("ended", ended.pem, ended.key_pem(), "it holds from"),
        ("not yet", early.pem, early.key_pem(), "it holds from"),
    ]


BROKEN = broken_files()


@pytest.mark.parametrize(
    ("certificate", "key", "reason"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_bad_file_leaves_the_old_one_in_place_and_is_told_once(
    tmp_path: Path, certificate: bytes | None, key: bytes | None, reason: str
) -> None:
    old, new = made(), made()
    bench = Bench(tmp_path, old)
    if certificate is not None:
        bench.certificate.write_bytes(certificate)
    if key is not None:
        bench.key.write_bytes(key)
    with capture_logs() as said:
        assert bench.looks(4) == [False] * 4
    assert bench.serial() == old.serial
    assert reason in str(bench.refused())
    assert [line["event"] for line in said] == ["certificate_refused"]
    new.write(tmp_path, "node")
    assert bench.looks() == [False, True]
    assert bench.serial() == new.serial
    assert bench.refused() is None


def test_a_file_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    old = made()
    bench = Bench(tmp_path, old)
    bench.key.unlink()
    assert bench.looks() == [False, False]
    assert str(bench.refused()).endswith("node.key: No such file or directory")
    bench.key.write_bytes(old.key_pem())
    assert bench.looks() == [False, False]
    assert bench.refused() is None


def test_what_holds_from_tomorrow_is_taken_tomorrow(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made())
    early = made(begins=DAY)
    early.write(tmp_path, "node")
    assert bench.looks(3) == [False] * 3
    bench.clock.at += 2 * DAY
    assert bench.looks() == [True, False]
    assert bench.serial() == early.serial


def test_its_end_is_told_at_each_threshold_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made(lasts=40 * DAY))
    told = []
    for _ in range(45):
        with capture_logs() as said:
            bench.looks(3)
        assert bench.certificates.states()[0].valid is (bench.expires_s() > 0)
        told += [(line["event"], line["log_level"], line["days"]) for line in said]
        bench.clock.at += DAY
    assert told == [
        ("certificate_ends_soon", "warning", 30.0),
        ("certificate_ends_soon", "warning", 7.0),
        ("certificate_ends_soon", "warning", 1.0),
        ("certificate_ended", "error", pytest.approx(0.0, abs=1.1)),
    ]
    assert bench.expires_s() < 0
    assert bench.certificates.states()[0].valid is False
    made().write(tmp_path, "node")
    with capture_logs() as said:
        assert bench.looks() == [False, True]
    assert [line["event"] for line in said] == ["certificate_read"]
    assert bench.expires_s() > 0


def test_a_node_starts_with_a_certificate_that_has_ended_and_says_so(tmp_path: Path) -> None:
    with capture_logs() as said:
        bench = Bench(tmp_path, made(lasts=-DAY))
    assert [line["event"] for line in said] == ["certificate_ended"]
    assert bench.expires_s() == pytest.approx(-DAY.total_seconds(), abs=60)


def test_the_chains_first_end_counts(tmp_path: Path) -> None:
    soon, late = made(lasts=5 * DAY), made(lasts=300 * DAY)
    pem = Pem(late.pem + soon.pem, late.key_pem())
    context_of(pem)
    assert validity_of(pem).ends_at == soon.made.not_valid_after_utc


def test_authorities_of_clients_are_watched_too(tmp_path: Path) -> None:
    clients = tmp_path / "clients.pem"
    clients.write_bytes(AUTHORITY.pem)
    bench = Bench(tmp_path, made(), clients=str(clients))
    clients.write_bytes(b"noise")
    assert bench.looks() == [False, False]
    assert "authorities: " in str(bench.refused())
    clients.write_bytes(Certificate.make("another root").pem)
    assert bench.looks() == [False, True]


def test_a_node_does_not_start_with_what_it_can_not_show(tmp_path: Path) -> None:
    certificate, key = made().write(tmp_path, "node")
    Path(key).write_bytes(made().key_pem())
    listener = Listener(tls_certificate=certificate, tls_key=key)
    with pytest.raises(
        TlsError, match=f"^{NAME}: certificate and key: key values mismatch .*node.pem, .*node.key"
    ):
        Certificates([(NAME, listener)], Tls(), Clock(), Registry())


@pytest.mark.parametrize(("language", "says"), [("en", "can not be served"), ("zh", "无法提供")])
def test_the_operator_is_told_which_listener(tmp_path: Path, language: str, says: str) -> None:
    certificate, key = made().write(tmp_path, "node")
    Path(key).unlink()
    config = Config(listeners=(Listener(tls_certificate=certificate, tls_key=key),))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with pytest.raises(SupervisorError) as caught:
            certificates_of(config, [listening], Registry(), language)
        assert f"127.0.0.1:{listening.getsockname()[1]}" in str(caught.value)
    assert says in str(caught.value)
    assert f"{key}: No such file" in str(caught.value)


def test_keys_do_not_show(tmp_path: Path) -> None:
    bench = Bench(tmp_path, made())
    assert "PRIVATE" not in repr(bench.certificates.pems())
