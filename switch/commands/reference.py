"""`tongbao merchant`, `terminal`, `data`: reference data, versioned, checked before it is stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from hsm.keys import Algorithm, KeyUsage
from switch.commands.common import (
    CommandError,
    Exit,
    components,
    maker,
    print_line,
    print_object,
    print_objects,
    print_table,
    reference,
    show_content,
)
from switch.commands.keys import stored, vault
from switch.data_keys import OWNER, check_lmk
from switch.reference_file import (
    KINDS,
    ItemError,
    ReferenceFileError,
    convert,
    named_by,
    parse,
    render,
)

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from hsm.keys import KeyBlock
    from switch.commands.common import Node
    from switch.reference import Item, ReferenceStore

# Columns of a list, by kind.
COLUMNS = {
    "merchant": ("merchant", "name", "mcc", "status", "currency", "fee_plan"),
    "terminal": ("merchant", "terminal", "status", "profile", "dialect", "mac_profile", "serial"),
}


def newest(items: list[Item]) -> dict[tuple[str, str], Item]:
    """The last version of each item, scheduled ones included, by kind and key."""
    found: dict[tuple[str, str], Item] = {}
    for item in sorted(items, key=lambda item: (item.kind, item.key, item.version)):
        found[item.kind, item.key] = item
    return found


def in_order(item: Item) -> dict[str, Any]:
    """Its content in the order of the shape, with the default of every key it was stored without."""
    if item.kind not in KINDS:
        return item.content
    shape = KINDS[item.kind].shape
    try:
        content: dict[str, Any] = msgspec.to_builtins(msgspec.convert(item.content, shape))
    except msgspec.ValidationError:  # of another release: as it is
        content = item.content
    return {name: content[name] for name in shape.__struct_fields__ if name in content} | content


def list_items(node: Node, kind: str, *, as_json: bool) -> Exit:
    """The newest version of every item of a kind."""

    async def read(dsn: str) -> list[Item]:
        async with reference(dsn) as store:
            return await store.items(kind)

    with node.store() as store:
        items = list(newest(asyncio.run(read(store.dsn))).values())
    if as_json:
        print_objects({**in_order(item), "version": item.version} for item in items)
    else:
        columns = COLUMNS[kind]
        print_table(columns, ([item.content.get(name) for name in columns] for item in items))
    return Exit.DONE


def show_item(node: Node, kind: str, key: str, *, as_json: bool) -> Exit:
    """An item with all its versions, newest first."""

    async def read(dsn: str) -> list[Item]:
        async with reference(dsn) as store:
            return [item for item in await store.items(kind) if item.key == key]

    with node.store() as store:
        versions = sorted(asyncio.run(read(store.dsn)), key=lambda item: -item.version)
    if not versions:
        raise CommandError(node.say("not_found", kind=kind, key=key))
    if as_json:
        print_object(
            {
                **in_order(versions[0]),
                "version": versions[0].version,
                "versions": [
                    {
                        "version": item.version,
                        "effective_from": item.effective_from,
                        "maker": item.maker,
                    }
                    for item in versions
                ],
            }
        )
    else:
        show_content(kind, key, versions[0].version, in_order(versions[0]))
    return Exit.DONE


# -- changing -----------------------------------------------------------------------------------


async def apply(
    store: ReferenceStore,
    node: Node,
    entries: list[tuple[str, str, dict[str, Any]]],
    effective_from: dt.datetime | None = None,
) -> None:
    """Store what differs, and say so."""
    changed = await store.apply(entries, maker=maker(), effective_from=effective_from)
    for item in changed:
        print_line(node.say("applied", kind=item.kind, key=item.key, version=item.version))
    if not changed:
        print_line(node.say("unchanged"))


def checked(kind: str, content: dict[str, Any]) -> msgspec.Struct:
    try:
        return convert(kind, content)
    except ItemError as error:
        raise CommandError(f"{error.path}: {error}", Exit.USAGE) from error
    except msgspec.ValidationError as error:
        raise CommandError(str(error), Exit.USAGE) from error


def check_named(item: msgspec.Struct, known: dict[tuple[str, str], Item], node: Node) -> None:
    for _, kind, key in named_by(item):
        if (kind, key) not in known:
            raise CommandError(node.say("not_found", kind=kind, key=key))


def add_merchant(node: Node, content: dict[str, Any]) -> Exit:
    item = checked("merchant", content)
    key = KINDS["merchant"].key(item)

    async def write(dsn: str) -> None:
        async with reference(dsn) as store:
            check_named(item, newest(await store.items()), node)
            await apply(store, node, [("merchant", key, msgspec.to_builtins(item))])

    with node.store() as store:
        asyncio.run(write(store.dsn))
    return Exit.DONE


def add_terminal(
    node: Node,
    content: dict[str, Any],
    tmk_components: list[str],
    tmk_algorithm: str,
    check_value: str | None,
) -> Exit:
    """Register a terminal; with components its TMK goes into the vault first."""
    item = checked("terminal", content)
    key = KINDS["terminal"].key(item)
    parts = components(node, "tmk-component", tmk_components)
    block: KeyBlock | None = None
    if parts:
        block = vault(node).import_components(
            KeyUsage.TMK,
            parts,
            algorithm=Algorithm[tmk_algorithm.upper()],
            check_value=check_value,
            allow_weak=node.demo,
        )

    async def write(dsn: str) -> None:
        async with reference(dsn) as store:
            check_named(item, newest(await store.items()), node)
            if block is not None:
                check_lmk((await store.snapshot()).keys(OWNER, KeyUsage.DATA.value), block.lmk_id)
                kept = await store.add_key(stored(f"terminal:{key}", KeyUsage.TMK, block))
                print_line(
                    node.say(
                        "key_stored",
                        owner=kept.owner,
                        usage=kept.usage,
                        version=kept.version,
                        check_value=kept.check_value,
                    )
                )
            await apply(store, node, [("terminal", key, msgspec.to_builtins(item))])

    with node.store() as store:
        asyncio.run(write(store.dsn))
    return Exit.DONE


def suspend_terminal(node: Node, key: str, status: str) -> Exit:
    """A new version of the terminal with another status."""

    async def write(dsn: str) -> None:
        async with reference(dsn) as store:
            found = newest(await store.items("terminal")).get(("terminal", key))
            if found is None:
                raise CommandError(node.say("not_found", kind="terminal", key=key))
            content = {**found.content, "status": status}
            await apply(store, node, [("terminal", key, content)])

    with node.store() as store:
        asyncio.run(write(store.dsn))
    return Exit.DONE


def apply_file(node: Node, path: Path, effective_from: dt.datetime | None) -> Exit:
    """`tongbao data apply FILE`: all of the file, or nothing."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}", Exit.USAGE) from error

    async def write(dsn: str) -> None:
        async with reference(dsn) as store:
            in_force: dict[str, set[str]] = {}
            parents: dict[str, str] = {}
            for (kind, key), item in newest(await store.items()).items():
                in_force.setdefault(kind, set()).add(key)
                if kind == "agent":
                    parents[key] = str(item.content.get("parent", ""))
            try:
                entries = parse(text, str(path), in_force, parents)
            except ReferenceFileError as error:
                raise CommandError(str(error), Exit.USAGE) from error
            await apply(store, node, entries, effective_from)

    with node.store() as store:
        asyncio.run(write(store.dsn))
    return Exit.DONE


def show_data(node: Node, *, as_json: bool) -> Exit:
    """Everything in its newest version, as a file that `data apply` takes."""

    async def read(dsn: str) -> list[Item]:
        async with reference(dsn) as store:
            return await store.items()

    with node.store() as store:
        items = list(newest(asyncio.run(read(store.dsn))).values())
    if as_json:
        print_objects(msgspec.structs.replace(item, content=in_order(item)) for item in items)
    else:
        print_line(render([(item.kind, item.key, in_order(item)) for item in items]))
    return Exit.DONE
