"""A DSN as an operator writes it: `postgresql://user@h1:p1,h2:p2/db`, or with `?host=h1,h2&port=p1,p2`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PORT = 5432
SCHEMES = ("postgresql", "postgres")


def dsns_of(dsn: str) -> list[str]:
    """A DSN for each server that `dsn` names, in order. Raises ValueError, which says what is wrong.

    >>> dsns_of("postgresql://u:p@db1,db2:5433/pos?sslmode=require")[1]
    'postgresql://u:p@/pos?sslmode=require&host=db2&port=5433'
    """
    parts = urlsplit(dsn)
    if parts.scheme not in SCHEMES:
        raise ValueError("must begin with postgresql://")
    user, at, hosts = parts.netloc.rpartition("@")
    query = parse_qsl(parts.query, keep_blank_values=True)
    if hosts:
        named = [_host_and_port(host, unquote) for host in hosts.split(",")]
    elif listed := _last(query, "host"):
        named = [_host_and_port(host, str) for host in listed.split(",")]
        named = _with_ports(named, _last(query, "port"))
    else:
        return [dsn]  # the library's own places
    for host, port in named:
        if not host or not port.isdecimal():
            raise ValueError(f"names a host {host!r} with port {port!r}")
    rest = [(name, value) for name, value in query if name not in ("host", "port")]
    found = []
    for host, port in named:
        one = urlencode([*rest, ("host", host), ("port", port)], quote_via=quote)
        found.append(f"{parts.scheme}://{user}{at}{parts.path}?{one}")
    return found


def name_of(dsn: str) -> str:
    """The host and port of a DSN that `dsns_of` made."""
    query = parse_qsl(urlsplit(dsn).query)
    return f"{_last(query, 'host')}:{_last(query, 'port')}"


def _host_and_port(text: str, decode: Callable[[str], str]) -> tuple[str, str]:
    """`host`, `host:port`, `[v6]`, `[v6]:port`, or a Unix socket's folder."""
    bare = text.startswith("/") or text.endswith("]") or ":" not in text
    host, _, port = (text, "", str(PORT)) if bare else text.rpartition(":")
    return decode(host), port


def _with_ports(named: list[tuple[str, str]], ports: str) -> list[tuple[str, str]]:
    given = ports.split(",") if ports else []
    if len(given) not in (0, 1, len(named)):
        raise ValueError(f"names {len(named)} hosts and {len(given)} ports")
    return [(host, given[n % len(given)]) for n, (host, _) in enumerate(named)] if given else named


def _last(query: Iterable[tuple[str, str]], name: str) -> str:
    return ["", *(value for key, value in query if key == name)][-1]
