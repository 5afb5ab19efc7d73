"""A DSN of several servers, held against the library that reads it too."""

from __future__ import annotations

from typing import Any

import pytest
from asyncpg.connect_utils import _parse_connect_dsn_and_args

from switch.dsn import dsns_of, name_of

DSNS = [
    "postgresql://h1/db",
    "postgres://h1:5433/db",
    "postgresql://h1,h2/db",
    "postgresql://h1,h2:5433,h3/db",
    "postgresql://u:p%40x@h1:1,[::1]:2,[::2]/db",
    "postgresql://u@/db?host=h1,h2&port=1,2",
    "postgresql://u@/db?port=7&host=h1,h2",
    "postgresql://u@/db?host=h1:8,h2",
    "postgresql://u@/db?host=/tmp/a%20b,/tmp/c&port=5",
    "postgresql://u@%2Ftmp%2Fx:5/db",
    "postgresql://u@h1,h2:7/d%20b?application_name=a%20b&sslmode=disable",
    "postgresql:///db",
]


def read(dsn: str) -> tuple[list[Any], tuple[Any, ...]]:
    names = (
        "host port user password passfile database ssl service servicefile server_settings"
        " target_session_attrs krbsrvname gsslib"
    )
    given = dict.fromkeys(names.split())
    addresses, rest = _parse_connect_dsn_and_args(dsn=dsn, direct_tls=False, **given)
    return addresses, (rest.user, rest.password, rest.database, rest.server_settings)


@pytest.mark.parametrize("dsn", DSNS)
def test_each_server_is_named_by_itself(dsn: str) -> None:
    addresses, rest = read(dsn)
    ones = dsns_of(dsn)
    if ones == [dsn]:
        return
    assert [read(one)[0] for one in ones] == [[address] for address in addresses]
    assert all(read(one)[1] == rest for one in ones)


def test_names_and_what_is_refused() -> None:
    assert [name_of(one) for one in dsns_of(DSNS[3])] == ["h1:5432", "h2:5433", "h3:5432"]
    assert dsns_of(DSNS[-1]) == [DSNS[-1]]
    for dsn, reason in (
        ("mysql://h1/db", "must begin with postgresql://"),
        ("postgresql:///db?host=h1,h2,h3&port=1,2", "names 3 hosts and 2 ports"),
        ("postgresql://h1,,h2/db", "names a host ''"),
        ("postgresql://h1:x/db", "port 'x'"),
    ):
        with pytest.raises(ValueError, match=reason):
            dsns_of(dsn)
