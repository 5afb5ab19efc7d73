"""`tongbao keys take`: a key that a network device keeps, into the store. It never is in clear here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from hsm.keys import KeyUsage
from switch import vaults
from switch.cli import ConfigFile, DataFolder, Demo, Lang, end, node_of
from switch.commands.common import CommandError, Exit, authorised, print_line, reference
from switch.commands.key_acts import LINK_USAGES, stored
from switch.commands.keys import CheckValue, app, cryptogram_of

if TYPE_CHECKING:
    from hsm.keys import KeyBlock
    from switch.commands.common import Node
    from switch.reference import Snapshot
    from terminals.registry import StoredKey

USAGES = {**LINK_USAGES, "tmk": KeyUsage.TMK}


def take(
    node: Node,
    owner: str,
    usage_name: str,
    *,
    key: str | None,
    under_zmk: str | None,
    check_value: str | None,
) -> Exit:
    """A key under the device's LMK as its console showed it, or one under the link's ZMK."""
    usage = USAGES.get(usage_name.lower())
    if usage is None or (usage is KeyUsage.TMK) is not owner.startswith("terminal:"):
        raise CommandError("--link: --usage zmk, zpk, zak; --terminal: --usage tmk", Exit.USAGE)
    if (key is None) is (under_zmk is None) or (under_zmk and usage not in _UNDER_ZMK):
        raise CommandError("--key, or of a ZPK or ZAK --under-zmk", Exit.USAGE)
    if not node.config.hsm.device:
        raise CommandError(node.say("no_device"), Exit.USAGE)

    async def asked(snapshot: Snapshot) -> KeyBlock:
        hsm = vaults.network(node.config.hsm)
        hsm.start()  # whatever its LMK: it may be the one that keys move to
        try:
            await hsm.serves_within(node.config.hsm.start_wait_s)
            if key is not None:
                return await hsm.import_key(usage, None, key.strip(), check_value=check_value)
            assert under_zmk is not None
            zmk = snapshot.key(owner, KeyUsage.ZMK.value)
            if zmk is None:
                raise CommandError(node.say("not_found", kind="ZMK", key=owner))
            sent = cryptogram_of(under_zmk)
            return await hsm.import_key(usage, zmk.block, sent, check_value=check_value)
        finally:
            await hsm.stop()

    async def write(dsn: str, maker: str) -> StoredKey:
        async with reference(dsn) as store:
            kind, _, name = owner.partition(":")
            if not any(item.key == name for item in await store.items(kind)):
                raise CommandError(node.say("not_found", kind=kind, key=name))
            block = await asked(await store.snapshot())
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


_UNDER_ZMK = (KeyUsage.ZPK, KeyUsage.ZAK)


@app.command("take", help="help_take")
def keys_take(
    usage: Annotated[str, typer.Option("--usage", help="help_opt_usage")],
    link: Annotated[str | None, typer.Option("--link", help="help_opt_link")] = None,
    terminal: Annotated[
        str | None, typer.Option("--terminal", help="help_opt_take_terminal")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="help_opt_device_key")] = None,
    under_zmk: Annotated[str | None, typer.Option("--under-zmk", help="help_opt_under_zmk")] = None,
    check_value: CheckValue = None,
    demo: Demo = False,  # noqa: FBT002 - a flag of the command line
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    if (link is None) is (terminal is None):
        raise typer.BadParameter("--link, --terminal")
    owner = f"link:{link}" if link is not None else f"terminal:{terminal}"
    end(
        take(
            node_of(config, data, lang, demo=demo),
            owner,
            usage,
            key=key,
            under_zmk=under_zmk,
            check_value=check_value,
        )
    )
