"""`tongbao keys`: links' keys into the vault, and what is kept. A clear key is never shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from hsm.keys import Algorithm, KeyUsage
from hsm.local import LocalVault
from switch.adapters.system import SystemEntropy, core_dumps_off
from switch.cli import ConfigFile, DataFolder, Demo, Json, Lang, PassphraseFd, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    authorised,
    components,
    print_line,
    print_objects,
    print_table,
    reading,
    reference,
)
from switch.data_keys import OWNER, check_lmk
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.keys import KeyBlock
    from switch.commands.common import Node

LINK_USAGES = {"zmk": KeyUsage.ZMK, "zpk": KeyUsage.ZPK, "zak": KeyUsage.ZAK}
COLUMNS = ("owner", "usage", "version", "check_value", "lmk_id", "created_at")


def vault(node: Node) -> LocalVault:
    """The vault of this command: opens the LMK itself."""
    core_dumps_off()
    return LocalVault(node.lmk(), SystemEntropy().bytes)


def stored(owner: str, usage: KeyUsage, block: KeyBlock) -> StoredKey:
    """A key block as the store keeps it; the store numbers the version."""
    return StoredKey(
        owner=owner,
        usage=usage.value,
        version=0,
        block=block.block,
        check_value=block.check_value,
        lmk_id=block.lmk_id,
    )


def import_key(
    node: Node,
    link: str,
    usage_name: str,
    *,
    given: Sequence[str],
    under_zmk: str | None,
    algorithm_name: str,
    check_value: str | None,
) -> Exit:
    """A link's key: from components, or under the link's ZMK as TR-31 or plain hex."""
    usage = LINK_USAGES.get(usage_name.lower())
    if usage is None:
        raise CommandError(f"--usage: {', '.join(LINK_USAGES)}", Exit.USAGE)
    if under_zmk is not None and (given or usage is KeyUsage.ZMK):
        raise CommandError("--under-zmk: for a ZPK or ZAK, without components", Exit.USAGE)
    algorithm = Algorithm[algorithm_name.upper()]
    owner = f"link:{link}"
    parts = components(node, "component", given) if under_zmk is None else []
    if under_zmk is None and not parts:
        raise CommandError("give --component (twice or more) or --under-zmk", Exit.USAGE)
    box = vault(node)

    async def write(dsn: str, maker: str) -> StoredKey:
        async with reference(dsn) as store:
            if not any(item.key == link for item in await store.items("link")):
                raise CommandError(node.say("not_found", kind="link", key=link))
            snapshot = await store.snapshot()
            check_lmk(snapshot.keys(OWNER, KeyUsage.DATA.value), box.lmk_ids)
            checks = Checks(algorithm, check_value, weak=node.demo)
            if under_zmk is None:
                block = from_components(box, usage, parts, checks)
            else:
                zmk = snapshot.key(owner, KeyUsage.ZMK.value)
                if zmk is None:
                    raise CommandError(node.say("not_found", kind="ZMK", key=owner))
                block = from_zmk(box, usage, zmk.block, under_zmk, checks)
            return await store.add_key(stored(owner, usage, block), maker=maker)

    with node.store() as store:
        who = authorised(node, "keys.import", f"{owner} {usage.value}", store.dsn)
        kept = asyncio.run(write(store.dsn, who.operator))
    print_line(
        node.say(
            "key_stored",
            owner=kept.owner,
            usage=kept.usage,
            version=kept.version,
            check_value=kept.check_value,
        )
    )
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
    """Hex digits are ECB under the ZMK; whatever else is a TR-31 block (it begins with a letter).

    >>> cryptogram_of("00ff"), cryptogram_of("D0112K0TB00S0000")[:5]
    (b'\\x00\\xff', 'D0112')
    """
    compact = "".join(text.split())
    try:
        return bytes.fromhex(compact)
    except ValueError:
        return compact


def list_keys(node: Node, *, as_json: bool) -> Exit:
    """Every stored key with usage, version and check value, never the block."""

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
CheckValue = Annotated[str | None, typer.Option("--check-value", help="help_opt_check_value")]
KeyAlgorithm = Annotated[str, typer.Option("--algorithm", help="help_opt_algorithm")]


def algorithm(text: str) -> str:
    if text.lower() not in ("tdes", "aes"):
        raise typer.BadParameter("tdes, aes", param_hint="--algorithm")
    return text


@app.command("import", help="help_import")
def keys_import(
    link: Annotated[str, typer.Option("--link", help="help_opt_link")],
    usage: Annotated[str, typer.Option("--usage", help="help_opt_usage")],
    component: Annotated[
        list[str] | None, typer.Option("--component", help="help_opt_component")
    ] = None,
    under_zmk: Annotated[str | None, typer.Option("--under-zmk", help="help_opt_under_zmk")] = None,
    check_value: CheckValue = None,
    algorithm_name: KeyAlgorithm = "tdes",
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
            usage,
            given=component or [],
            under_zmk=under_zmk,
            algorithm_name=algorithm(algorithm_name),
            check_value=check_value,
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
