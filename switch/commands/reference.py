"""`tongbao merchant`, `terminal`, `data`: reference data, versioned, checked before it is stored."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec

from hsm.keys import Algorithm, KeyUsage
from settlement.contracts import agent_of
from settlement.four_eyes import Actor, require
from switch.commands.common import (
    CommandError,
    Exit,
    Node,
    authorised,
    components,
    office,
    print_line,
    print_object,
    print_objects,
    print_table,
    reference,
    refusals,
    show_content,
)
from switch.commands.key_acts import stored, vault
from switch.data_keys import OWNER, check_lmk
from switch.reference import ACCOUNT, DESTINATION, OURS, bank_account, destination, payee_of
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
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from hsm.keys import KeyBlock
    from settlement.four_eyes import Approval, Proposal
    from switch.reference import Item, ReferenceStore

    Entry = tuple[str, str, dict[str, Any]]  # kind, key, content

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


def newest_of(node: Node, kind: str | None = None) -> list[Item]:
    """The newest version of every item, of a kind or of all."""

    async def read(dsn: str) -> list[Item]:
        async with reference(dsn) as store:
            return await store.items(kind)

    with node.store() as store:
        return list(newest(asyncio.run(read(store.dsn))).values())


def with_version(item: Item) -> dict[str, Any]:
    return {**in_order(item), "version": item.version}


def list_items(node: Node, kind: str, *, as_json: bool) -> Exit:
    items = newest_of(node, kind)
    if as_json:
        print_objects(map(with_version, items))
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


class Change(msgspec.Struct, frozen=True):
    """What one operator changes by one act."""

    node: Node
    dsn: str
    who: Actor
    act: str

    async def apply(
        self,
        store: ReferenceStore,
        entries: list[Entry],
        effective_from: dt.datetime | None = None,
    ) -> Exit:
        """Store what differs, and say so. Another settlement account of a merchant, and an account
        of ours, are proposed."""
        entries, accounts = without_accounts(entries, newest(await store.items()))
        async with office(self.dsn) as desk:
            for one in accounts:
                verb = f"propose:{one.act}"
                async with refusals(desk.people, self.who, verb, one.subject):
                    require(self.who, verb)
            changed = await store.apply(
                entries, maker=self.who.operator, act=self.act, effective_from=effective_from
            )
            say_applied(self.node, changed, unchanged=not accounts)
            for one in accounts:
                if effective_from is not None:
                    one.payload["effective_from"] = effective_from.isoformat()
                made = await desk.people.propose(one.act, one.subject, one.payload, self.who)
                what = "ours_proposed" if one.act == OURS else "account_proposed"
                print_line(self.node.say(what, subject=one.subject, proposal=made.id))
        return Exit.WAITING if accounts else Exit.DONE


class Proposed(msgspec.Struct, frozen=True):
    """A change that takes two. `payload` has what is wanted, and what it stood at: `former`."""

    act: str
    subject: str
    payload: dict[str, object]


def without_accounts(
    entries: list[Entry], known: dict[tuple[str, str], Item]
) -> tuple[list[Entry], list[Proposed]]:
    """The entries with payees' settlement accounts as they are and without accounts of ours that
    differ, and the changes of these."""
    kept: list[Entry] = []
    accounts: list[Proposed] = []
    for kind, key, content in entries:
        if kind == "bank_account":
            ours = former_of_ours(known.get((kind, key)))
            if ours != bank_account(content):
                accounts.append(Proposed(OURS, key, {**bank_account(content), "former": ours}))
            continue
        payee, item, wanted = payee_of(kind, key), known.get((kind, key)), destination(content)
        former = destination(item.content) if item else wanted
        if not payee or former == wanted:
            kept.append((kind, key, content))
        else:
            kept.append((kind, key, {**content, **former}))
            accounts.append(Proposed(ACCOUNT, payee, {**wanted, "former": former}))
    return kept, accounts


def say_applied(node: Node, changed: list[Item], *, unchanged: bool = True) -> None:
    for item in changed:
        print_line(node.say("applied", kind=item.kind, key=item.key, version=item.version))
    if not changed and unchanged:
        print_line(node.say("unchanged"))


async def change_account(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `merchant.account` lets through."""
    proposal = approval.proposal
    async with reference(dsn) as store:
        found = await account_now(store, proposal)
        if found is None or not still_stands(found, proposal):
            raise CommandError(node.say("proposal_overtaken", proposal=proposal.id))
        content = {**found.content, **destination(proposal.payload)}
        changed = await store.apply(
            [(found.kind, found.key, content)],
            maker=proposal.maker,
            act=ACCOUNT,
            effective_from=effective_of(approval),
            approval=approval,
        )
    say_applied(node, changed)


async def change_ours(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `bank.account` lets through."""
    proposal = approval.proposal
    async with reference(dsn) as store:
        if not still_stands(await account_now(store, proposal), proposal):
            raise CommandError(node.say("proposal_overtaken", proposal=proposal.id))
        changed = await store.apply(
            [("bank_account", proposal.subject, bank_account(proposal.payload))],
            maker=proposal.maker,
            act=OURS,
            effective_from=effective_of(approval),
            approval=approval,
        )
    say_applied(node, changed)


async def account_now(store: ReferenceStore, proposal: Proposal) -> Item | None:
    """What a proposal to change an account is about, in its newest version."""
    agent = agent_of(proposal.subject)
    kind, key = ("agent", agent) if agent else ("merchant", proposal.subject)
    if proposal.act == OURS:
        kind, key = "bank_account", proposal.subject
    return newest(await store.items(kind)).get((kind, key))


def still_stands(now: Item | None, proposal: Proposal) -> bool:
    """Whether the account is what it was when the change was proposed; else the proposal is void."""
    if proposal.act == OURS:
        return former_of_ours(now) == proposal.payload["former"]
    return now is not None and destination(now.content) == proposal.payload["former"]


def former_of_ours(item: Item | None) -> dict[str, object] | None:
    return None if item is None else bank_account(item.content)


def effective_of(approval: Approval) -> dt.datetime | None:
    moment = approval.proposal.payload.get("effective_from")
    return None if moment is None else dt.datetime.fromisoformat(str(moment))


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

    async def write(change: Change) -> Exit:
        async with reference(change.dsn) as store:
            known = newest(await store.items())
            check_named(item, known, node)
            entry = msgspec.to_builtins(item)
            if ("merchant", key) in known:
                stands = destination(known["merchant", key].content)
                entry |= {name: stands[name] for name in DESTINATION if name not in content}
            return await change.apply(store, [("merchant", key, entry)])

    return changing(node, "merchant.add", key, write)


def changing(
    node: Node, act: str, subject: str, write: Callable[[Change], Coroutine[Any, Any, Exit]]
) -> Exit:
    """Run `write` on the store, as an operator who may do `act`."""
    with node.store() as store:
        who = authorised(node, act, subject, store.dsn)
        return asyncio.run(write(Change(node, store.dsn, who, act)))


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
        box = vault(node)
        block = box.import_components(
            KeyUsage.TMK,
            parts,
            algorithm=Algorithm[tmk_algorithm.upper()],
            check_value=check_value,
            allow_weak=node.demo,
        )

    async def write(change: Change) -> Exit:
        async with reference(change.dsn) as store:
            check_named(item, newest(await store.items()), node)
            if block is not None:
                check_lmk((await store.snapshot()).keys(OWNER, KeyUsage.DATA.value), box.lmk_ids)
                kept = await store.add_key(
                    stored(f"terminal:{key}", KeyUsage.TMK, block),
                    maker=change.who.operator,
                    act=change.act,
                )
                print_line(
                    node.say(
                        "key_stored",
                        owner=kept.owner,
                        usage=kept.usage,
                        version=kept.version,
                        check_value=kept.check_value,
                    )
                )
            return await change.apply(store, [("terminal", key, msgspec.to_builtins(item))])

    return changing(node, "terminal.add", key, write)


def suspend_terminal(node: Node, key: str, status: str) -> Exit:
    """A new version of the terminal with another status."""

    async def write(change: Change) -> Exit:
        async with reference(change.dsn) as store:
            found = newest(await store.items("terminal")).get(("terminal", key))
            if found is None:
                raise CommandError(node.say("not_found", kind="terminal", key=key))
            content = {**found.content, "status": status}
            return await change.apply(store, [("terminal", key, content)])

    return changing(node, "terminal.suspend", key, write)


def apply_file(node: Node, path: Path, effective_from: dt.datetime | None) -> Exit:
    """`tongbao data apply FILE`: all of the file, or nothing."""
    text = text_of(path)

    async def write(change: Change) -> Exit:
        async with reference(change.dsn) as store:
            entries = parsed(text, path, newest(await store.items()))
            return await change.apply(store, entries, effective_from)

    return changing(node, "data.apply", path.name, write)


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CommandError(f"{path}: {reason}", Exit.USAGE) from error


def parsed(text: str, path: Path, known: dict[tuple[str, str], Item]) -> list[Entry]:
    """The items of a file, held against the newest version of everything that there is."""
    in_force: dict[str, set[str]] = {}
    parents: dict[str, str] = {}
    for (kind, key), item in known.items():
        in_force.setdefault(kind, set()).add(key)
        if kind == "agent":
            parents[key] = str(item.content.get("parent", ""))
    standing = {of: item.content for of, item in known.items()}
    try:
        return parse(text, str(path), in_force, parents, standing)
    except ReferenceFileError as error:
        raise CommandError(error.with_line, Exit.USAGE) from error


def show_data(node: Node, *, as_json: bool) -> Exit:
    """Everything in its newest version, as a file that `data apply` takes."""
    items = newest_of(node)
    if as_json:
        print_objects(msgspec.structs.replace(item, content=in_order(item)) for item in items)
    else:
        print_line(render([(item.kind, item.key, in_order(item)) for item in items]))
    return Exit.DONE
