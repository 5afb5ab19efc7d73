"""PROXY protocol v2 headers: known ones are read, all others are refused by name.

Method: headers built from the specification's layout by `struct` and `socket` alone; every single
byte of a good one changed; noise. The reader must name a rule or give an address, never anything else.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given, strategies as st

from switch.proxy_protocol import (
    PREFIX_BYTES,
    REST_BYTES_MAX,
    SIGNATURE,
    ProxyError,
    is_listed,
    networks,
    normal,
    rest_bytes,
    source_of,
)

RULES = {"proxy.signature", "proxy.version", "proxy.length", "proxy.family"}


def header(
    source: str, *, command: int = 0x21, family: int | None = None, more: bytes = b""
) -> bytes:
    """A header as a balancer writes it."""
    over6 = ":" in source
    of = socket.AF_INET6 if over6 else socket.AF_INET
    ours = "2001:db8::99" if over6 else "198.51.100.1"
    rest = socket.inet_pton(of, source) + socket.inet_pton(of, ours)
    rest += struct.pack(">HH", 56324, 8583) + more
    family = (0x21 if over6 else 0x11) if family is None else family
    return SIGNATURE + struct.pack(">BBH", command, family, len(rest)) + rest


def read(data: bytes) -> str | None:
    """As a connection reads it: sixteen bytes, then what they announce."""
    length = rest_bytes(data[:PREFIX_BYTES])
    return source_of(data[: PREFIX_BYTES + length])


@pytest.mark.parametrize(
    ("data", "source"),
    [
        # the two of haproxy's documentation, byte by byte
        (bytes.fromhex("0d0a0d0a000d0a515549540a2111000c7f0000017f000001dc042187"), "127.0.0.1"),
        (bytes.fromhex("0d0a0d0a000d0a515549540a20000000"), None),
        (header("192.0.2.7"), "192.0.2.7"),
        (header("2001:db8::7"), "2001:db8::7"),
        (header("::ffff:192.0.2.7"), "192.0.2.7"),
        (
            header("192.0.2.7", more=bytes.fromhex("030004aabbccdd") + b"\x04\x00\x03abc"),
            "192.0.2.7",
        ),
        (header("192.0.2.7", command=0x20), None),  # LOCAL, whatever addresses follow
        (header("192.0.2.7", more=bytes(REST_BYTES_MAX - 12)), "192.0.2.7"),
    ],
)
def test_known_headers(data: bytes, source: str | None) -> None:
    assert read(data) == source


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 8583\r\n", "proxy.signature"),  # version 1
        (bytes(16), "proxy.signature"),
        (header("192.0.2.7", command=0x11), "proxy.version"),
        (header("192.0.2.7", command=0x22), "proxy.version"),
        (header("192.0.2.7", family=0x00), "proxy.family"),  # unknown
        (header("192.0.2.7", family=0x12), "proxy.family"),  # UDP
        (header("192.0.2.7", family=0x31), "proxy.family"),  # a Unix socket
        (header("192.0.2.7", family=0x21), "proxy.length"),  # 12 bytes for two of 16
        (SIGNATURE + bytes.fromhex("2111000b") + bytes(11), "proxy.length"),
        (header("192.0.2.7", more=bytes(REST_BYTES_MAX - 11)), "proxy.length"),
        (SIGNATURE + bytes.fromhex("2111ffff"), "proxy.length"),
    ],
)
def test_all_others_are_refused_by_rule(data: bytes, rule: str) -> None:
    with pytest.raises(ProxyError, match=f"^{rule}$"):
        read(data)


@given(st.ip_addresses(), st.binary(max_size=200))
def test_every_address_with_whatever_behind_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, more: bytes
) -> None:
    found = read(header(str(address), more=more))
    assert found is not None
    assert ipaddress.ip_address(found) in (address, getattr(address, "ipv4_mapped", None))


@given(
    st.binary(min_size=PREFIX_BYTES, max_size=64),
    st.booleans(),
    st.integers(0, 63),
    st.binary(min_size=1, max_size=1),
)
def test_noise_and_changed_bytes_are_refused_or_read(
    noise: bytes, signed: bool, at: int, byte: bytes
) -> None:
    good = header("192.0.2.7", more=noise)
    for data in (SIGNATURE + noise if signed else noise, good[:at] + byte + good[at + 1 :]):
        assert judged(data) in RULES or data.startswith(SIGNATURE)


def judged(data: bytes) -> str:
    """The rule that refuses it, else the address that it gives."""
    try:
        found = read(data)
    except ProxyError as error:
        return str(error)
    return "" if found is None else str(ipaddress.ip_address(found))


def test_who_is_listed() -> None:
    listed = networks(("10.1.0.0/16", "192.0.2.9", "2001:db8::/64"))
    assert [
        is_listed(source, listed)
        for source in (
            "10.1.7.7",
            "10.2.7.7",
            "192.0.2.9",
            "2001:db8::5",
            "2001:db9::5",
            "",
            "unix",
        )
    ] == [True, False, True, True, False, False, False]
    assert not is_listed("10.1.7.7", [])
    with pytest.raises(ValueError, match=r"10\.1\.0\.1/16"):
        networks(("10.1.0.1/16",))


def test_what_a_socket_says_of_its_peer() -> None:
    assert [normal(source) for source in ("::ffff:10.0.0.1", "fe80::1%eth0", "10.0.0.1", "")] == [
        "10.0.0.1", "fe80::1", "10.0.0.1", "",
    ]  # fmt: skip
