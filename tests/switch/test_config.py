"""The configuration: what is refused and how it is told, and that the example is complete.

Method: a table of wrong files with the key's path and the reason; every setting of the tree is
looked for in the example.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from iso8583.dialects import registry
from settlement.settings import DEFAULTS
from switch import config as configs
from switch.commands.close import settings_of
from switch.config import Config, ConfigError, Section
from switch.control import Start

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "tongbao.example.toml"

# file, key's path, part of the reason
REFUSED = [
    ("workers = 0", "workers", ">= 1"),
    ("workers = 65", "workers", "<= 64"),
    ("workers = 2.5", "workers", "expected `int`"),
    ('workers = "2"', "workers", "expected `int`, got `str`"),
    ("workers = true", "workers", "expected `int`, got `bool`"),
    ("worker = 2", "worker", "no such setting"),
    ("[serve]\nframe_bytes = 1", "serve", "no such setting"),
    ("[server]\nframes = 1", "server.frames", "no such setting"),
    ("[server]\nframe_bytes = 8", "server.frame_bytes", ">= 64"),
    ("[server]\nframe_bytes = 70000", "server.frame_bytes", "<= 65535"),
    ("[server]\nidle_s = -1", "server.idle_s", ">= 1.0"),
    ("[server]\nidle_s = nan", "server.idle_s", ""),
    ("[server]\nidle_s = 5\nframe_s = 6", "server.frame_s", "at most server.idle_s"),
    ("[engine]\nsend_by_s = 5", "engine.send_by_s", "less than engine.lease_s"),
    ("[engine]\nlease_renew_s = 3", "engine.lease_renew_s", "half of engine.lease_s"),
    ("[rules]\nrefund_days = 0", "rules.refund_days", ">= 1"),
    ("[batch]\nitems_max = 1000", "batch.items_max", "<= 999"),
    ('node = "a b"', "node", "matching regex"),
    ('language = "fr"', "language", "fr"),
    ('timezone = "Asia/Peking"', "timezone", "no such time zone"),
    ('timezone = "Asia"', "timezone", "no such time zone"),
    ('timezone = "right/Asia/Shanghai"', "timezone", "no such time zone"),
    ('timezone = "localtime"', "timezone", "no such time zone"),
    ('timezone = "../Asia/Shanghai"', "timezone", "no such time zone"),
    ("listeners = []", "listeners", "length >= 1"),
    ("[[listeners]]\nport = 70000", "listeners[0].port", "<= 65535"),
    ('[[listeners]]\n[[listeners]]\nlength = "bcd"', "listeners[1].length", "bcd"),
    ('[[listeners]]\ndialect = "klingon"', "listeners[0].dialect", "there are unionpay_pos"),
    ('[[listeners]]\ntls_key = "k.pem"', "listeners[0].tls_certificate", "come together"),
    ('[[listeners]]\ntls_clients = "ca.pem"', "listeners[0].tls_clients", "only where the node"),
    ('[[listeners]]\nproxy_from = ["10.0.0.1/8"]', "listeners[0].proxy_from", "10.0.0.1/8"),
    ('[[listeners]]\nproxy_from = ["lb.example"]', "listeners[0].proxy_from", "lb.example"),
    ("[[links]]", "links[0].acquirer", "names one link"),
    ('[[links]]\nacquirer = "a"\n[[links]]\nacquirer = "a"', "links[0].acquirer", "the same"),
    ('[[links]]\nacquirer = "a"\ntls_key = "k"', "links[0].tls_certificate", "come together"),
    (
        '[[links]]\nacquirer = "a"\ntls_key = "k"\ntls_certificate = "c"',
        "links[0].tls_authorities",
        "must be named",
    ),
    (
        '[[links]]\nacquirer = "a"\nlisten_host = "h"\nsources = ["10.0.0.1"]\ntls_authorities = "a"',
        "links[0].tls_certificate",
        "has one",
    ),
    ('[[links]]\nacquirer = "a"\nlisten_port = 1', "links[0].listen_host", "where a port is"),
    ('[[links]]\nacquirer = "a"\nlisten_host = "h"', "links[0].sources", "from where"),
    (
        '[[links]]\nacquirer = "a"\nlisten_host = "h"\nsources = ["bank"]',
        "links[0].sources",
        "bank",
    ),
    ("[tls]\nwarn_days = [-1]", "tls.warn_days[0]", ">= 0"),
    ("[[listeners]]\nport = 9\n[[listeners]]\nport = 9", "listeners", "127.0.0.1:9"),
    ("[[listeners]]\nport = 9\n[metrics]\nport = 9", "listeners", "127.0.0.1:9"),
    ('[database]\ndsn = "mysql://"', "database.dsn", "postgresql://"),
    ('[log]\nlevel = "loud"', "log.level", "loud"),
    ("workers = ", "", "is not TOML"),
    ("workers = 1\nworkers = 2\n", "", "at line 2"),
]


@pytest.mark.parametrize(("text", "key", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_wrong_settings_are_refused_by_path_and_reason(text: str, key: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.parse(text, "node.toml")
    assert caught.value.key == key
    assert reason in caught.value.reason
    assert str(caught.value).startswith(f"node.toml: {key}")


def test_defaults_stand_where_a_file_is_silent() -> None:
    assert configs.parse("") == Config()
    assert configs.parse("[engine]\nsend_by_s = 1").engine.send_by_s == 1.0


def test_the_example_is_printed_from_the_table_and_reads_as_the_defaults() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text == configs.example(), "run: python -m switch.config > tongbao.example.toml"
    assert configs.parse(text) == Config()


def settings(prefix: str, of: Any) -> dict[str, Any]:
    """Every setting of the tree with its default, by path."""
    found: dict[str, Any] = {}
    for name in of.__struct_fields__:
        value = getattr(of, name)
        if name == "listeners":
            found |= settings("listeners.", value[0])
        elif name == "links":
            pass  # there are none; the example has their settings in comments
        elif isinstance(value, Section):
            found |= settings(f"{prefix}{name}.", value)
        else:
            found[f"{prefix}{name}"] = value
    return found


def test_the_example_has_every_setting_with_unit_and_default() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    table = tomllib.loads(text)
    for path, default in settings("", Config()).items():
        at: Any = table
        for part in path.split("."):
            at = at[0][part] if isinstance(at, list) else at[part]
        assert at == (list(default) if isinstance(default, tuple) else default), path
    for name in configs.LinkEdge.__struct_fields__:
        assert f"# {name} = " in text
    for line in text.splitlines():
        if "=" in line and not re.match(r"# [A-Z]", line):
            assert re.search(r"# .+\(.+\)$", line), f"no meaning and unit: {line}"


@pytest.mark.parametrize("name", ["example-node.toml", "example-edge.toml"])
def test_the_examples_of_nodes_can_be_read(name: str) -> None:
    loaded = configs.load(ROOT / "docs" / name)
    assert loaded.data == str(ROOT / "var")
    if name == "example-edge.toml":
        direct, balanced, plain = loaded.listeners
        assert direct.tls_clients == "/etc/tongbao/terminals-ca.pem"
        assert balanced.proxy_from == ("10.0.0.4", "10.0.0.5")
        assert plain.tls_certificate == ""


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    tls = '[[listeners]]\ntls_certificate = "pos.pem"\ntls_key = "/keys/pos.key"\n'
    text = f'data = "store"\n[hsm]\nlmk_file = "/keys/lmk"\n{tls}'
    file.write_text(text, encoding="utf-8")
    loaded = configs.load(file)
    assert loaded.listeners[0].tls_certificate == str(tmp_path / "pos.pem")
    assert loaded.listeners[0].tls_key == "/keys/pos.key"
    assert loaded.data == str(tmp_path / "store")
    assert loaded.hsm.lmk_file == "/keys/lmk"
    assert configs.with_data(loaded, Path("/elsewhere")).data == "/elsewhere"


ACME = 'name = "acme_pos"\nbase = "unionpay_pos"\nremove = [58]\n'


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test adds to the dialects is not known after it."""
    known = registry.names()
    yield
    for name in set(registry.names()) - set(known):
        del registry._DIALECTS[name]


@pytest.mark.usefixtures("forgotten")
def test_dialects_of_ones_own_are_known_to_listeners_and_workers(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(ACME, encoding="utf-8")
    file = tmp_path / "node.toml"
    file.write_text(
        'dialects = ["acme.toml"]\n[[listeners]]\ndialect = "acme_pos"\n', encoding="utf-8"
    )
    loaded = configs.load(file)
    assert loaded.dialects == (str(tmp_path / "acme.toml"),)
    assert registry.get("acme_pos").element(58) is None
    start = Start(loaded, 0, False, b"", "", registry.added())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(start), type=Start) == start
    assert [dialect.name for dialect in start.dialects] == ["acme_pos"]


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ACME + "colour = 1\n", "line 4: colour: no such key"),
        (ACME.replace("acme_pos", "unionpay_pos"), "name: there is a dialect unionpay_pos already"),
    ],
)
def test_a_dialect_that_is_none_is_refused_with_its_file(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "acme.toml").write_text(text, encoding="utf-8")
    file = tmp_path / "node.toml"
    file.write_text('dialects = ["acme.toml"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/acme.toml: {reason}")):
        configs.load(file)


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}/none.toml: can not be read")):
        configs.load(tmp_path / "none.toml")


def test_a_configuration_goes_to_a_worker_and_back() -> None:
    packed = msgspec.msgpack.encode(Config(workers=3))
    assert msgspec.msgpack.decode(packed, type=Config) == Config(workers=3)


def test_the_day_ends_defaults_are_those_of_settlement() -> None:
    assert settings_of(Config()) == DEFAULTS
