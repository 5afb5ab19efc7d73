"""The PROXY protocol, version 2: the address behind a balancer, said before anything else. Pure.

Source: "The PROXY protocol, versions 1 & 2", section 2.2 (Willy Tarreau, HAProxy). Layout of a header,
numbers big-endian:

    offset  bytes
    0       12     signature
    12      1      version (high half: 2) and command (low half: 0 LOCAL, 1 PROXY)
    13      1      family (high half) and transport (low half): 0x11 TCP over IPv4, 0x21 over IPv6
    14      2      length of what follows
    16      …      IPv4: addresses of 4 bytes (source, destination), ports of 2; IPv6: of 16, of 2
                   then TLVs, which are skipped

LOCAL is the balancer itself (a health check): what follows is skipped, the connection's own address
counts. Version 1, which is text, is not spoken.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
PREFIX_BYTES: Final = 16  # up to and with the length
REST_BYTES_MAX: Final = 2_048  # addresses and TLVs; usual ones have less than 300
LOCAL, PROXY = 0x20, 0x21
ADDRESS_BYTES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4, over IPv6

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyError(Exception):
    """Not a header that we take; the text is the rule."""


def rest_bytes(prefix: bytes) -> int:
    """How many bytes of the header follow its first 16.

    Raises `ProxyError`: no signature, another version or command, too long.
    """
    assert len(prefix) == PREFIX_BYTES
    if not prefix.startswith(SIGNATURE):
        raise ProxyError("proxy.signature")
    if prefix[12] not in (LOCAL, PROXY):
        raise ProxyError("proxy.version")
    length = int.from_bytes(prefix[14:16], "big")
    if length > REST_BYTES_MAX:
        raise ProxyError("proxy.length")
    return length


def source_of(header: bytes) -> str | None:
    """The address of the terminal; None for LOCAL.

    Raises `ProxyError`: not TCP over IPv4 or IPv6, or too short for its addresses.

    >>> source_of(SIGNATURE + bytes.fromhex("2111000cC0000201C6336401C35021870000")[:16])
    '192.0.2.1'
    """
    if header[12] == LOCAL:
        return None
    width = ADDRESS_BYTES.get(header[13])
    if width is None:
        raise ProxyError("proxy.family")
    if len(header) < PREFIX_BYTES + 2 * width + 4:
        raise ProxyError("proxy.length")
    return plain(ipaddress.ip_address(header[PREFIX_BYTES : PREFIX_BYTES + width]))


def plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An address in one form: IPv4 as such where it stands in an IPv6 address.

    >>> plain(ipaddress.ip_address("::ffff:192.0.2.1"))
    '192.0.2.1'
    """
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def normal(source: str) -> str:
    """The same for what a socket says of its peer, which may name a zone (`fe80::1%eth0`)."""
    if ":" not in source:
        return source
    try:
        return plain(ipaddress.ip_address(source.partition("%")[0]))
    except ValueError:
        return source


def networks(listed: Sequence[str]) -> list[Network]:
    """Addresses and networks of a configuration. Raises `ValueError` with the one that is none."""
    return [ipaddress.ip_network(each) for each in listed]


def is_listed(source: str, listed: Sequence[Network]) -> bool:
    """Is the peer one of those who must say whom they stand for?"""
    if not listed:
        return False
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    return any(address in network for network in listed)
