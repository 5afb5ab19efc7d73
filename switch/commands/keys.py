"""`tongbao keys`: keys of links and terminals, the LMK they are under, and its custodians.

A clear key is never shown; a component is, once, to its custodian.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hsm.ceremony import LENGTHS
from hsm.keys import Algorithm, KeyUsage
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, PassphraseFd, end, group, node_of
from switch.commands import ceremony, key_acts
from switch.commands.common import (
    CommandError,
    Exit,
    authorised,
    components,
    custody,
    print_line,
    print_objects,
    print_table,
    reading,
    reference,
)
from switch.commands.custodians import Ceremony, check_count, sitting
from switch.commands.key_acts import LINK_USAGES, newest, say_stored, stored, usage_named, vault
from switch.commands.link import exchanges_of
from switch.commands.login import ask
from switch.data_keys import OWNER, check_lmk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.keys import KeyBlock
    from hsm.local import LocalVault
    from switch.commands.common import Node
    from switch.commands.custodians import Sitting
    from terminals.registry import StoredKey

TERMINAL_USAGES = {"tmk": KeyUsage.TMK}
COLUMNS = (
    "owner",
    "usage",
    "version",
    "status",
    "check_value",
    "lmk_id",
    "created_at",
    "retired_at",
)


class Owner(NamedTuple):
    """Whose key it is: a link's, or a terminal's."""

    kind: str  # of the reference item
    key: str
    usages: dict[str, KeyUsage]

    @property
    def name(self) -> str:
        return f"{self.kind}:{self.key}"


def owner_of(link: str | None, terminal: str | None) -> Owner:
    """`--link`, or `--terminal`; of a terminal's key that comes under a ZMK, the ZMK is the link's."""
    if terminal is not None:
        return Owner("terminal", terminal, TERMINAL_USAGES)
    if link is None:
        raise CommandError("--link, --terminal", Exit.USAGE)
    return Owner("link", link, LINK_USAGES)


def import_key(
    node: Node,
    link: str | None,
    terminal: str | None,
    usage_name: str,
    *,
    given: Sequence[str],
    under_zmk: str | None,
    algorithm_name: str,
    check_value: str | None,
    components_count: int,
    from_fd: int | None,
) -> Exit:
    """A key from components, or under the link's ZMK: a TR-31 block of version A to D, or plain hex.

    Each component is entered by another custodian; `given`, all by one person, are taken with `--demo`.
    """
    owner = owner_of(link, terminal)
    usage = usage_named(usage_name, owner.usages)
    if under_zmk is not None and (given or usage is KeyUsage.ZMK or link is None):
        raise CommandError(node.say("under_zmk_use"), Exit.USAGE)
    algorithm = Algorithm[algorithm_name.upper()]
    if under_zmk is None and not given and node.config.hsm.device:
        raise CommandError(node.say("components_on_device"), Exit.USAGE)
    check_count(node, components_count)
    parts = components(node, "component", given)
    table = sitting(node, from_fd) if under_zmk is None and not parts else None
    box = vault(node)

    async def exists(dsn: str) -> None:
        """Before custodians are asked."""
        async with reference(dsn) as store:
            if not any(item.key == owner.key for item in await store.items(owner.kind)):
                raise CommandError(node.say("not_found", kind=owner.kind, key=owner.key))

    async def write(dsn: str, maker: str) -> StoredKey:
        async with reference(dsn) as store, custody(dsn) as keys:
            snapshot = await store.snapshot()
            check_lmk(snapshot.keys(OWNER, KeyUsage.DATA.value), box.lmk_ids)
            checks = Checks(algorithm, check_value, weak=node.demo)
            if under_zmk is None:
                block = from_components(box, usage, parts, checks)
            else:
                zmk = await newest(node, keys, f"link:{link}", KeyUsage.ZMK)
                block = from_zmk(box, usage, zmk.block, under_zmk, checks)
            return await store.add_key(stored(owner.name, usage, block), maker=maker)

    with node.store() as store:
        who = authorised(node, "keys.import", f"{owner.name} {usage.value}", store.dsn)
        asyncio.run(exists(store.dsn))
        if table is not None:
            held = Ceremony(node, table, Path(node.config.hsm.lmk_file), store.dsn)
            parts = held.components(components_count, LENGTHS[algorithm], algorithm, key=owner.name)
        kept = asyncio.run(write(store.dsn, who.operator))
    say_stored(node, kept)
    return Exit.DONE


class Checks(NamedTuple):
    """What a key must be to be taken."""

    algorithm: Algorithm
    check_value: str | None
    weak: bool  # may be one of the known weak keys


def from_components(
    box: LocalVault, usage: KeyUsage, parts: Sequence[bytes], checks: Checks
) -> KeyBlock:
    return box.import_components(
        usage,
        parts,
        algorithm=checks.algorithm,
        check_value=checks.check_value,
        allow_weak=checks.weak,
    )


def from_zmk(
    box: LocalVault, usage: KeyUsage, zmk: str, cryptogram: str, checks: Checks
) -> KeyBlock:
    return box.import_key(
        usage,
        zmk,
        cryptogram_of(cryptogram),
        algorithm=checks.algorithm,
        check_value=checks.check_value,
        allow_weak=checks.weak,
    )


def cryptogram_of(text: str) -> bytes | str:
    """Hex digits are ECB under the ZMK, `X` or `Y` before them its scheme of X9.17; whatever else is a
    TR-31 block. A block of version A to D is hex digits too, but names its own length.

    >>> cryptogram_of("00ff"), cryptogram_of("D0112K0TB00S0000")[:5]
    (b'\\x00\\xff', 'D0112')
    >>> cryptogram_of("X" + "00" * 16) == bytes(16)
    True
    """
    compact = "".join(text.split())
    if compact[:1].upper() in ("X", "Y") and len(compact) in (33, 49):
        compact = compact[1:]
    if compact[:1] in "ABCD" and compact[1:5] == f"{len(compact):04}":
        return compact
    try:
        return bytes.fromhex(compact)
    except ValueError:
        return compact


def send_key(node: Node, link: str, usage: KeyUsage) -> Exit:
    """Ask for a new key: a worker that is signed on makes it and sends it over the link."""

    async def write(dsn: str, maker: str) -> int | None:
        async with (
            reference(dsn) as store,
            custody(dsn) as keys,
            exchanges_of(dsn) as exchanges,
        ):
            if not any(item.key == link for item in await store.items("link")):
                raise CommandError(node.say("not_found", kind="link", key=link))
            await newest(node, keys, f"link:{link}", KeyUsage.ZMK)  # it is sent under it
            asked = await exchanges.ask(link, usage.value, maker)
            return None if asked is None else asked.exchange_id

    with node.store() as store:
        who = authorised(node, "keys.generate", f"link:{link} {usage.value}", store.dsn)
        number = asyncio.run(write(store.dsn, who.operator))
    if number is None:
        raise CommandError(node.say("key_under_way", link=link, usage=usage.value), Exit.WAITING)
    print_line(node.say("key_asked_for", number=number, link=link, usage=usage.value))
    return Exit.DONE


def list_keys(node: Node, *, as_json: bool) -> Exit:
    """Every stored key with usage, version, status and check value, never the block."""

    async def read(dsn: str) -> list[dict[str, object]]:
        async with reading(dsn) as reader:
            return await reader.stored_keys()

    with node.store() as store:
        keys = asyncio.run(read(store.dsn))
    if as_json:
        print_objects(keys)
    else:
        print_table(COLUMNS, ([key[name] for name in COLUMNS] for key in keys))
    return Exit.DONE


# -- the commands --------------------------------------------------------------------------------

app = group()
app.add_typer(ceremony.app, name="ceremony", help="help_ceremony")
CheckValue = Annotated[str | None, typer.Option("--check-value", help="help_opt_check_value")]
KeyAlgorithm = Annotated[str, typer.Option("--algorithm", help="help_opt_algorithm")]
Link = Annotated[str | None, typer.Option("--link", help="help_opt_link")]
OfLink = Annotated[str, typer.Option("--link", help="help_opt_link")]
OfTerminal = Annotated[
    str | None,
    typer.Option("--terminal", metavar="MERCHANT/TERMINAL", help="help_opt_key_terminal"),
]
Usage = Annotated[str, typer.Option("--usage", help="help_opt_usage")]
Version = Annotated[int, typer.Option("--version", help="help_opt_key_version")]
Form = Annotated[str, typer.Option("--form", help="help_opt_key_form")]
Bytes = Annotated[int, typer.Option("--bytes", help="help_opt_bytes")]
FromFd = ceremony.FromFd
Components = Annotated[int, typer.Option("--components", help="help_opt_components")]


def algorithm(text: str) -> str:
    if text.lower() not in ("tdes", "aes"):
        raise typer.BadParameter("tdes, aes", param_hint="--algorithm")
    return text


@app.command("import", help="help_import")
def keys_import(
    usage: Usage,
    link: Link = None,
    terminal: OfTerminal = None,
    component: Annotated[
        list[str] | None, typer.Option("--component", help="help_opt_component")
    ] = None,
    under_zmk: Annotated[str | None, typer.Option("--under-zmk", help="help_opt_under_zmk")] = None,
    check_value: CheckValue = None,
    algorithm_name: KeyAlgorithm = "tdes",
    components_count: Components = ceremony.COMPONENTS,
    from_fd: FromFd = None,
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(
        import_key(
            node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd),
            link,
            terminal,
            usage,
            given=component or [],
            under_zmk=under_zmk,
            algorithm_name=algorithm(algorithm_name),
            check_value=check_value,
            components_count=components_count,
            from_fd=from_fd,
        )
    )


@app.command("generate", help="help_generate")
def keys_generate(
    usage: Usage,
    link: OfLink,
    length: Bytes = 16,
    algorithm_name: KeyAlgorithm = "tdes",
    components_count: Components = ceremony.COMPONENTS,
    form: Form = "tr31",
    now: Annotated[bool, typer.Option("--now", help="help_opt_now")] = False,  # noqa: FBT002
    from_fd: FromFd = None,
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    wish = key_acts.Wish(length, algorithm_of(algorithm_name), components_count, form, at_once=now)
    end(key_acts.generate(node, sitting_for(node, usage, from_fd), link, usage, wish))


def algorithm_of(name: str) -> Algorithm:
    return Algorithm[algorithm(name).upper()]


def sitting_for(node: Node, usage: str, from_fd: int | None) -> Sitting | None:
    """Custodians are there for a ZMK alone: each is handed a component."""
    return sitting(node, from_fd) if usage.lower() == "zmk" else None


@app.command("export", help="help_export")
def keys_export(
    usage: Usage,
    link: OfLink,
    version: Annotated[int | None, typer.Option("--version", help="help_opt_key_version")] = None,
    form: Form = "tr31",
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    end(key_acts.propose_export(node, link, usage, version, form))


@app.command("activate", help="help_activate")
def keys_activate(
    usage: Usage,
    version: Version,
    link: Link = None,
    terminal: OfTerminal = None,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    owner = owner_of(link, terminal)
    node = node_of(config, data, lang, demo=demo)
    end(key_acts.activate(node, owner.name, usage_named(usage, owner.usages), version))


@app.command("rotate", help="help_rotate")
def keys_rotate(
    lmk: Annotated[bool, typer.Option("--lmk", help="help_opt_rotate_lmk")] = False,  # noqa: FBT002
    usage: Annotated[str, typer.Option("--usage", help="help_opt_usage")] = "",
    link: Link = None,
    length: Bytes = 16,
    algorithm_name: KeyAlgorithm = "tdes",
    components_count: Components = ceremony.COMPONENTS,
    form: Form = "tr31",
    from_fd: FromFd = None,
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    if lmk is (link is not None and bool(usage)):
        raise CommandError(node.say("rotate_what"), Exit.USAGE)
    if lmk:
        end(key_acts.rotate_lmk(node))
    assert link is not None
    wish = key_acts.Wish(length, algorithm_of(algorithm_name), components_count, form)
    end(key_acts.generate(node, sitting_for(node, usage, from_fd), link, usage, wish))


@app.command("send", help="help_keys_send")
def keys_send(
    usage: Annotated[str, typer.Option("--usage", help="help_opt_sent_usage")],
    link: OfLink,
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    found = usage_named(usage, key_acts.EXPORTED)
    end(send_key(node, link, found))


@app.command("retire", help="help_retire")
def keys_retire(
    lmk: Annotated[
        str | None, typer.Option("--lmk", metavar="LMK", help="help_opt_retire_lmk")
    ] = None,
    usage: Annotated[str, typer.Option("--usage", help="help_opt_usage")] = "",
    version: Annotated[int | None, typer.Option("--version", help="help_opt_key_version")] = None,
    link: Link = None,
    terminal: OfTerminal = None,
    in_use: Annotated[bool, typer.Option("--in-use", help="help_opt_in_use")] = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo)
    if lmk is not None:
        end(key_acts.retire_lmk(node, lmk.upper()))
    owner = owner_of(link, terminal)
    if version is None or not usage:
        raise CommandError("--usage, --version", Exit.USAGE)
    found = usage_named(usage, owner.usages)
    end(key_acts.retire_key(node, owner.name, found, version, in_use=in_use))


@app.command("component", help="help_component")
def keys_component(
    generate: Annotated[bool, typer.Option("--generate", help="help_opt_generate")] = False,  # noqa: FBT002
    length: Bytes = 32,
    algorithm_name: KeyAlgorithm = "aes",
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang)
    chosen = algorithm_of(algorithm_name)
    typed = "" if generate else ask(node, "component_typed", "--generate")
    end(
        key_acts.component(
            node, generate_one=generate, length=length, algorithm=chosen, typed=typed
        )
    )


@app.command("list", help="help_list")
def keys_list(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(list_keys(node_of(config, data, lang), as_json=json))
