"""What `tongbao keys` does to keys that are stored: makes, gives out, puts in force, ends, rewraps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hsm import ceremony, lmk as lmks
from hsm.keys import Algorithm, KeyUsage
from hsm.local import LocalVault
from settlement.four_eyes import require
from switch import lmk_socket
from switch.adapters.system import SystemClock, SystemEntropy, core_dumps_off
from switch.commands.ceremony import hand_to_node
from switch.commands.common import (
    CommandError,
    Exit,
    actor,
    authorised,
    component_bytes,
    custody,
    office,
    print_line,
    print_progress,
    reference,
    refusals,
)
from switch.commands.custodians import Ceremony
from switch.data_keys import OWNER, check_lmk
from switch.key_rotation import NotHeldError, Rotated, rotate
from switch.lmk_file import CeremonyLog, ceremony_alone, read_file, replace_sealed
from terminals.registry import StoredKey

if TYPE_CHECKING:
    from hsm.keys import ExportedKey, KeyBlock
    from settlement.four_eyes import Approval
    from switch.adapters.postgres.key_custody import PostgresKeyCustody
    from switch.commands.common import Node
    from switch.commands.custodians import Sitting

LINK_USAGES = {"zmk": KeyUsage.ZMK, "zpk": KeyUsage.ZPK, "zak": KeyUsage.ZAK}
EXPORTED = {"zpk": KeyUsage.ZPK, "zak": KeyUsage.ZAK}
FORMS = ("tr31", "x", "hex")
EXPORT = "keys.export"
TOLD_S = 1.0  # between lines of progress


def vault(node: Node) -> LocalVault:
    """The vault of this command: opens the LMK itself."""
    core_dumps_off()
    return LocalVault(node.lmk(), SystemEntropy().bytes)


def stored(owner: str, usage: KeyUsage, block: KeyBlock, *, waits: bool = False) -> StoredKey:
    """A key block as the store keeps it; the store numbers the version."""
    return StoredKey(
        owner=owner,
        usage=usage.value,
        version=0,
        block=block.block,
        check_value=block.check_value,
        lmk_id=block.lmk_id,
        status="pending" if waits else "active",
    )


def say_stored(node: Node, kept: StoredKey) -> None:
    text = "key_waits" if kept.status == "pending" else "key_stored"
    print_line(
        node.say(
            text,
            owner=kept.owner,
            usage=kept.usage,
            version=kept.version,
            check_value=kept.check_value,
        )
    )


def usage_named(name: str, known: dict[str, KeyUsage]) -> KeyUsage:
    usage = known.get(name.lower())
    if usage is None:
        raise CommandError(f"--usage: {', '.join(known)}", Exit.USAGE)
    return usage


async def check_link(node: Node, dsn: str, link: str, lmk_ids: tuple[str, ...]) -> None:
    """The link is known, and the store's keys are under this LMK."""
    async with reference(dsn) as store:
        if not any(item.key == link for item in await store.items("link")):
            raise CommandError(node.say("not_found", kind="link", key=link))
        check_lmk((await store.snapshot()).keys(OWNER, KeyUsage.DATA.value), lmk_ids)


async def newest(
    node: Node, keys: PostgresKeyCustody, owner: str, usage: KeyUsage, version: int | None = None
) -> StoredKey:
    """The newest key in force, or the version that is asked for, which may wait but has not ended."""
    for key in await keys.keys_of(owner, usage.value):
        if key.version == version or (version is None and key.status == "active"):
            if key.status == "retired":
                raise CommandError(node.say("key_ended", key=name_of(key)))
            return key
    wanted = usage.value if version is None else f"{usage.value} version {version}"
    raise CommandError(node.say("not_found", kind=wanted, key=owner))


def name_of(key: StoredKey) -> str:
    return f"{key.owner} {key.usage} {key.version}"


# -- generate -------------------------------------------------------------------------------------


class Wish(NamedTuple):
    """What key is to be made, and how the other side gets it."""

    length: int  # bytes
    algorithm: Algorithm
    components: int  # of a ZMK, one a custodian
    form: str  # of FORMS
    at_once: bool = False  # in force even where another one is


def generate(node: Node, table: Sitting | None, link: str, usage_name: str, wish: Wish) -> Exit:
    """A new key of a link. Where one is in force already it waits, until the other side has it too."""
    if node.config.hsm.device:  # the node's vault could not open what this one made
        raise CommandError(node.say("generate_on_device"), Exit.USAGE)
    usage = usage_named(usage_name, LINK_USAGES)
    check_form(wish.form)
    owner = f"link:{link}"
    box = vault(node)
    with node.store() as store:
        who = authorised(node, "keys.generate", f"{owner} {usage.value}", store.dsn)
        asyncio.run(check_link(node, store.dsn, link, box.lmk_ids))

        async def keep(
            block: KeyBlock,
        ) -> tuple[StoredKey, tuple[StoredKey, ExportedKey] | None]:
            async with custody(store.dsn) as keys, reference(store.dsn) as kept:
                given = None
                if usage is not KeyUsage.ZMK:
                    zmk = await newest(node, keys, owner, KeyUsage.ZMK)
                    given = (
                        zmk,
                        box.export_key(block.block, zmk.block),
                    )  # refused before it is stored
                in_force = [
                    key for key in await keys.keys_of(owner, usage.value) if key.status == "active"
                ]
                waits = bool(in_force) and not wish.at_once
                made = await kept.add_key(
                    stored(owner, usage, block, waits=waits),
                    maker=who.operator,
                    act="keys.generate",
                )
                return made, given

        if usage is KeyUsage.ZMK:
            assert table is not None
            parts = ceremony.make_components(
                wish.components, wish.length, wish.algorithm, SystemEntropy().bytes
            )
            block = box.import_components(usage, parts, algorithm=wish.algorithm)
            hand_out_components(node, table, store.dsn, owner, parts, wish.algorithm)
        else:
            block = box.generate_key(usage, wish.length, algorithm=wish.algorithm)
        made, given = asyncio.run(keep(block))
    say_stored(node, made)
    if given is not None:
        print_export(node, made, *given, wish.form)
    return Exit.DONE


def hand_out_components(
    node: Node,
    table: Sitting,
    dsn: str,
    owner: str,
    parts: tuple[bytes, ...],
    algorithm: Algorithm,
) -> None:
    """Each component to another custodian, once, before the key of them is stored."""
    held = Ceremony(node, table, Path(node.config.hsm.lmk_file), dsn)
    for number, part in enumerate(parts, 1):
        who = held.custodian("holder", number, len(parts))
        check_value = ceremony.component_check_value(part, algorithm)
        held.hand_out(who, grouped(part.hex().upper()), check_value)
        held.write(
            "component.handed",
            who,
            key=owner,
            number=number,
            of=len(parts),
            check_value=check_value,
        )


def grouped(digits: str) -> str:
    """Hex as people copy it: four by four."""
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


# -- export ---------------------------------------------------------------------------------------


def check_form(form: str) -> None:
    if form not in FORMS:
        raise CommandError(f"--form: {', '.join(FORMS)}", Exit.USAGE)


def propose_export(node: Node, link: str, usage_name: str, version: int | None, form: str) -> Exit:
    """Ask a second person to let a key out; what he lets through is this version under this ZMK."""
    usage = usage_named(usage_name, EXPORTED)
    check_form(form)
    owner = f"link:{link}"

    async def write(dsn: str) -> Exit:
        async with custody(dsn) as keys:
            key = await newest(node, keys, owner, usage, version)
            zmk = await newest(node, keys, owner, KeyUsage.ZMK)
        subject = f"{owner} {usage.value}"
        payload: dict[str, object] = {
            "version": key.version,
            "check_value": key.check_value,
            "zmk_version": zmk.version,
            "zmk_check_value": zmk.check_value,
            "form": form,
        }
        async with office(dsn) as desk:
            async with refusals(desk.people, who, f"propose:{EXPORT}", subject):
                require(who, f"propose:{EXPORT}")
            made = await desk.people.propose(EXPORT, subject, payload, who)
        print_line(node.say("export_proposed", subject=subject, proposal=made.id))
        return Exit.WAITING

    with node.store() as store:
        who = actor(node, store.dsn)
        return asyncio.run(write(store.dsn))


async def export_approved(node: Node, dsn: str, approval: Approval) -> None:
    """What an approval of `keys.export` lets through: printed once, to the one who approves."""
    proposal = approval.proposal
    owner, _, usage = proposal.subject.rpartition(" ")
    wanted = proposal.payload
    async with custody(dsn) as keys:
        key = await newest(node, keys, owner, KeyUsage[usage], int(str(wanted["version"])))
        zmk = await newest(node, keys, owner, KeyUsage.ZMK, int(str(wanted["zmk_version"])))
    box = await asyncio.to_thread(vault, node)
    exported = box.export_key(key.block, zmk.block)
    async with office(dsn) as desk:
        await desk.people.approve(approval)
    print_export(node, key, zmk, exported, str(wanted["form"]))


def print_export(
    node: Node, key: StoredKey, zmk: StoredKey, exported: ExportedKey, form: str
) -> None:
    """The cryptogram for the other side."""
    text = exported.key_block
    if form != "tr31":
        prefix = {32: "X", 48: "Y"}.get(len(exported.ecb_hex), "") if form == "x" else ""
        text = prefix + exported.ecb_hex
    print_line(
        node.say(
            "exported",
            key=name_of(key),
            zmk=zmk.version,
            zmk_check_value=zmk.check_value,
            check_value=exported.check_value,
        )
    )
    print_line(f"  {text}")


# -- in force, and ended --------------------------------------------------------------------------


def activate(node: Node, owner: str, usage: KeyUsage, version: int) -> Exit:
    """A key that waited is used from now on; the one before stays good until it is ended."""

    async def write(dsn: str, maker: str) -> None:
        async with custody(dsn) as keys:
            key = await newest(node, keys, owner, usage, version)
            if key.status == "active":
                return
            for other in await keys.keys_of(owner, usage.value):
                if other.version > version and other.status == "active":
                    raise CommandError(
                        node.say("key_overtaken", key=name_of(key), newer=other.version)
                    )
            await keys.activate(owner, usage.value, version, maker)

    with node.store() as store:
        who = authorised(node, "keys.activate", f"{owner} {usage.value}", store.dsn)
        asyncio.run(write(store.dsn, who.operator))
    print_line(node.say("key_active", owner=owner, usage=usage.value, version=version))
    return Exit.DONE


def retire_key(node: Node, owner: str, usage: KeyUsage, version: int, *, in_use: bool) -> Exit:
    """End a key: nodes neither use nor accept it once they have seen it, within half a second."""

    async def write(dsn: str, maker: str) -> None:
        async with custody(dsn) as keys:
            known = await keys.keys_of(owner, usage.value)
            found = next((key for key in known if key.version == version), None)
            if found is None:
                kind = f"{usage.value} version {version}"
                raise CommandError(node.say("not_found", kind=kind, key=owner))
            active = [key.version for key in known if key.status == "active"]
            if version == max(active, default=0):
                older = [str(each) for each in active if each != version]
                if older:  # it would come back into use
                    raise CommandError(
                        node.say("retire_older_first", key=name_of(found), older=", ".join(older))
                    )
                if not in_use:
                    raise CommandError(node.say("key_in_use", key=name_of(found)))
            await keys.retire(owner, usage.value, version, maker)

    if owner == OWNER:
        raise CommandError(node.say("data_key_stays"), Exit.USAGE)
    with node.store() as store:
        who = authorised(node, "keys.retire", f"{owner} {usage.value}", store.dsn)
        asyncio.run(write(store.dsn, who.operator))
    print_line(node.say("key_retired", owner=owner, usage=usage.value, version=version))
    return Exit.DONE


# -- the LMK --------------------------------------------------------------------------------------


def rotate_lmk(node: Node) -> Exit:
    """Every stored key under the LMK of the file; again after it was killed."""
    if node.demo:
        raise CommandError(node.say("lmk_of_the_demo"), Exit.USAGE)
    box = vault(node)
    said_at = 0.0

    def told(done: Rotated) -> None:
        nonlocal said_at
        now = asyncio.get_running_loop().time()
        if now - said_at >= TOLD_S:
            said_at = now
            print_progress(node.say("rotating", keys=done.keys, sessions=done.sessions))

    async def write(dsn: str, maker: str) -> tuple[Rotated, tuple[int, int]]:
        async with custody(dsn) as keys:
            done = await rotate(keys, box, maker, told)
            return done, await keys.left(box.lmk_id)

    with node.store() as store:
        who = authorised(node, "keys.rotate", f"lmk:{box.lmk_id}", store.dsn)
        log = CeremonyLog(Path(node.config.hsm.lmk_file), SystemClock().now, node.language)
        log.append("lmk.rotating", who.operator, {"lmk_ids": list(box.lmk_ids)})
        try:
            done, left = asyncio.run(write(store.dsn, who.operator))
        except NotHeldError as error:
            holder = error.holder
            raise CommandError(
                node.say("lmk_not_held", node=holder.node, worker=holder.worker, lmk_id=box.lmk_id),
                Exit.WAITING,
            ) from error
        facts = {"keys": done.keys, "sessions": done.sessions, "erased": done.erased}
        log.append("lmk.rotated", who.operator, {"lmk_id": box.lmk_id, **facts})
    print_line(node.say("rotated", lmk_id=box.lmk_id, **facts))
    if any(left):
        raise CommandError(node.say("keys_left", keys=left[0], sessions=left[1]), Exit.WAITING)
    return Exit.DONE


def retire_lmk(node: Node, lmk_id: str) -> Exit:
    """Drop the LMK before this one, once nothing is under it: from the file, then from the node."""
    if node.demo:
        raise CommandError(node.say("lmk_of_the_demo"), Exit.USAGE)
    path = Path(node.config.hsm.lmk_file)
    try:
        sealed = lmks.read_sealed(read_file(path, node.language))
    except FileNotFoundError:
        raise CommandError(node.say("no_lmk", path=path)) from None
    if lmk_id == sealed.lmk_id:
        raise CommandError(node.say("lmk_not_former"), Exit.USAGE)

    async def under(dsn: str) -> tuple[int, int]:
        async with custody(dsn) as keys:
            return await keys.under(lmk_id)

    async def note(dsn: str, maker: str, anchor: str) -> None:
        async with office(dsn) as desk:
            after = {"lmk_id": lmk_id, "ceremony_log": anchor}
            await desk.people.audit(maker, "keys.retire", f"lmk:{lmk_id}", None, after)

    with ceremony_alone(path, node.language), node.store() as store:
        who = authorised(node, "keys.retire", f"lmk:{lmk_id}", store.dsn)
        keys, sessions = asyncio.run(under(store.dsn))
        if keys or sessions:
            raise CommandError(
                node.say("keys_under", keys=keys, sessions=sessions, lmk_id=lmk_id), Exit.WAITING
            )
        log = CeremonyLog(path, SystemClock().now, node.language)
        record = log.append("lmk.retired", who.operator, {"lmk_id": lmk_id})
        if lmk_id in sealed.lmk_ids:
            replace_sealed(path, lmks.drop_former(read_file(path, node.language)))
        asyncio.run(note(store.dsn, who.operator, record.anchor))
        code = hand_to_node(node, lmk_socket.Dropped(lmk_id))
    print_line(node.say("lmk_retired", lmk_id=lmk_id, path=path))
    return code


# -- components -----------------------------------------------------------------------------------


def component(
    node: Node, *, generate_one: bool, length: int, algorithm: Algorithm, typed: str
) -> Exit:
    """A new component, shown once; or the check value of one that is typed in. Nothing is kept."""
    core_dumps_off()
    if generate_one:
        part = ceremony.make_component(length, algorithm, SystemEntropy().bytes)
        print_line(grouped(part.hex().upper()))
    else:
        part = component_bytes(node, typed, ceremony.LENGTHS[algorithm])
    check_value = ceremony.component_check_value(part, algorithm)
    print_line(node.say("its_check_value", check_value=check_value))
    return Exit.DONE
