"""What TCP connections of a packet capture carried: pcap and pcapng in, byte streams out.

Reads both orders of bytes; Ethernet (with VLAN tags), Linux cooked, raw IP and loopback captures; IPv4
and IPv6 without fragments. Segments are put in order by sequence number: repeats are dropped, the
first bytes to arrive count; a hole ends the stream there, and what stands behind it begins another.
Source: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; RFC 9293 §3.4. Bounded: at most
`PACKETS_MAX` packets, `STREAMS_MAX` connections each way and `STREAM_BYTES_MAX` bytes of each.
Anything that is no packet is passed over; nothing is raised.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

PACKETS_MAX: Final = 1_000_000
STREAMS_MAX: Final = 1_024
STREAM_BYTES_MAX: Final = 16 * 1024 * 1024
_PCAP: Final[dict[bytes, Literal["little", "big"]]] = {
    b"\xd4\xc3\xb2\xa1": "little",  # microseconds
    b"\x4d\x3c\xb2\xa1": "little",  # nanoseconds
    b"\xa1\xb2\xc3\xd4": "big",
    b"\xa1\xb2\x3c\x4d": "big",
}
_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_WRAP: Final = 1 << 32
# link type -> (bytes before the network layer, offset of the Ethernet type or None)
_LINKS: Final = {
    0: (4, None),
    1: (14, 12),
    101: (0, None),
    108: (4, None),
    113: (16, 14),
    276: (20, 0),
}
_VLANS: Final = (b"\x81\x00", b"\x88\xa8")


class Stream(NamedTuple):
    """One direction of one connection: `10.0.0.1:5000 > 10.0.0.2:9000`, its bytes in order.

    `starts` are the offsets at which a segment began: where no length cuts the stream, each is taken
    for a message. `lost` when bytes are missing before it.
    """

    name: str
    data: bytes
    starts: tuple[int, ...]
    lost: bool


class _Segment(NamedTuple):
    name: str
    sequence: int
    opens: bool
    payload: bytes


def is_capture(data: bytes) -> bool:
    """Whether the bytes begin as a pcap or pcapng file does."""
    return data[:4] in _PCAP or data[:4] == _PCAPNG


def streams(data: bytes) -> list[Stream]:
    """The streams of a capture that carried anything, in the order of their first segment."""
    packets = _pcapng(data) if data[:4] == _PCAPNG else _pcap(data)
    parts: dict[str, list[_Segment]] = {}
    sizes: dict[str, int] = {}
    for number, (link, packet) in enumerate(packets):
        if number >= PACKETS_MAX:
            break
        segment = _segment(link, packet)
        if segment is None or (segment.name not in parts and len(parts) >= STREAMS_MAX):
            continue
        sizes[segment.name] = sizes.get(segment.name, 0) + len(segment.payload)
        if sizes[segment.name] <= STREAM_BYTES_MAX:
            parts.setdefault(segment.name, []).append(segment)
    return [stream for segments in parts.values() for stream in _ordered(segments)]


def _ordered(segments: list[_Segment]) -> Iterator[Stream]:
    """The segments of one direction put in order; a port that is used again is another connection."""
    sessions: list[list[_Segment]] = [[]]
    opened: int | None = None
    for segment in segments:
        if segment.opens and segment.sequence != opened:
            if sessions[-1]:
                sessions.append([])
            opened = segment.sequence
        sessions[-1].append(segment)
    for session in sessions:
        first = session[0].sequence
        # distances from the first segment, so that a sequence number may wrap
        placed = sorted(
            (((s.sequence + s.opens - first + _WRAP // 2) % _WRAP - _WRAP // 2, s.payload) for s in session),
            key=lambda one: one[0],
        )  # fmt: skip
        yield from _joined(session[0].name, placed)


def _joined(name: str, placed: list[tuple[int, bytes]]) -> Iterator[Stream]:
    data = bytearray()
    starts: list[int] = []
    begin = end = placed[0][0]
    lost = False
    for at, payload in placed:
        if not payload or at + len(payload) <= end:
            continue
        if at > end:
            if data:
                yield Stream(name, bytes(data), tuple(starts), lost)
                lost = True
            data, starts, begin, end = bytearray(), [], at, at
        starts.append(end - begin)
        data += payload[end - at :]
        end = at + len(payload)
    if data:
        yield Stream(name, bytes(data), tuple(starts), lost)


# -- files -------------------------------------------------------------------------------------


def _pcap(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Header 24 bytes (link type at 20), then records: seconds 4, fraction 4, kept 4, length 4."""
    order = _PCAP.get(data[:4])
    if order is None:
        return
    link = int.from_bytes(data[20:24], order) & 0x0FFFFFFF
    at = 24
    while at + 16 <= len(data):
        kept = int.from_bytes(data[at + 8 : at + 12], order)
        yield link, data[at + 16 : at + 16 + kept]
        at += 16 + kept


def _pcapng(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Blocks: type 4, length 4, body, length 4. 1 an interface, 6 a packet, 3 a simple packet."""
    order: Literal["little", "big"] = "little"
    links: list[int] = []
    at = 0
    while at + 12 <= len(data):
        kind = data[at : at + 4]
        if kind == _PCAPNG:
            order = "little" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else "big"
            links = []
        size = int.from_bytes(data[at + 4 : at + 8], order)
        body = data[at + 8 : at + size - 4]
        number = int.from_bytes(kind, order)
        if size < 12:
            return
        if number == 1:
            links.append(int.from_bytes(body[:2], order))
        elif number == 6:
            interface = int.from_bytes(body[:4], order)
            kept = int.from_bytes(body[12:16], order)
            if interface < len(links):
                yield links[interface], body[20 : 20 + kept]
        elif number == 3 and links:
            yield links[0], body[4 : 4 + int.from_bytes(body[:4], order)]
        at += size


# -- packets -----------------------------------------------------------------------------------


def _segment(link: int, packet: bytes) -> _Segment | None:
    """The TCP segment of a packet; None where there is none."""
    if link not in _LINKS:
        return None
    at, kind_at = _LINKS[link]
    while kind_at is not None and packet[kind_at : kind_at + 2] in _VLANS:
        at, kind_at = at + 4, kind_at + 4
    network = packet[at:]
    version = network[:1].hex()[:1]
    if version == "4" and len(network) >= 20:
        head, total = (network[0] & 15) * 4, int.from_bytes(network[2:4], "big")
        fragment = int.from_bytes(network[6:8], "big") & 0x3FFF
        if network[9] != 6 or fragment or head < 20:
            return None
        # zero where the card cuts the segments itself (offload)
        tcp = network[head:total] if total else network[head:]
        return _tcp(network[12:16], network[16:20], tcp)
    if version == "6" and len(network) >= 40 and network[6] == 6:
        size = int.from_bytes(network[4:6], "big")
        return _tcp(
            network[8:24], network[24:40], network[40 : 40 + size] if size else network[40:]
        )
    return None


def _tcp(source: bytes, destination: bytes, tcp: bytes) -> _Segment | None:
    head = (tcp[12] >> 4) * 4 if len(tcp) >= 20 else 0
    if head < 20:
        return None
    opens = bool(tcp[13] & 0x02)
    name = _name(source, destination, tcp[:4])
    return _Segment(name, int.from_bytes(tcp[4:8], "big"), opens, tcp[head:])


@lru_cache(2 * STREAMS_MAX)
def _name(source: bytes, destination: bytes, octets: bytes) -> str:
    ports = int.from_bytes(octets[:2], "big"), int.from_bytes(octets[2:], "big")
    return " > ".join(
        f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        for address, port in zip(map(ip_address, (source, destination)), ports, strict=True)
    )
