"""`tongbao evidence`: make a date's signed bundle, and check one."""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from hsm.ciphers import ed25519_verify
from hsm.signing import SigningKey
from settlement.evidence import Bundle, Finding, checked, made
from switch.cli import (
    ConfigFile,
    DataFolder,
    Demo,
    Json,
    Lang,
    PassphraseFd,
    day,
    end,
    group,
    node_of,
)
from switch.commands.common import (
    CommandError,
    Exit,
    authorised,
    print_line,
    print_object,
    print_objects,
    print_table,
    reference,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hsm.pans import LocalPans
    from settlement.evidence_facts import Decided
    from switch.commands.common import Node

app = group()

FOLDER = "evidence"  # in the data folder
KEY_BYTES = 32


@app.command("init", help="help_evidence_init")
def init_command(
    new: Annotated[bool, typer.Option("--new", help="help_opt_new_key")] = False,  # noqa: FBT002
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    end(init(node, new=new))


@app.command("keys", help="help_evidence_keys")
def keys_command(
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(keys(node_of(config, data, lang), as_json=json))


@app.command("make", help="help_evidence_make")
def make_command(
    date: Annotated[str, typer.Option("--date", help="help_opt_date")],
    out: Annotated[Path | None, typer.Option("--out", help="help_opt_out")] = None,
    demo: Demo = False,  # noqa: FBT002
    passphrase_fd: PassphraseFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, demo=demo, passphrase_fd=passphrase_fd)
    on = day(date)
    assert on is not None
    end(make(node, on, out))


@app.command("verify", help="help_evidence_verify")
def verify_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="help_arg_bundle")],
    key: Annotated[list[str], typer.Option("--key", help="help_opt_evidence_key")],
    rerun: Annotated[bool, typer.Option("--rerun", help="help_opt_rerun")] = False,  # noqa: FBT002
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(verify(node_of(config, data, lang), file, key, rerun=rerun, as_json=json))


# -- keys -----------------------------------------------------------------------------------------


def key_name(version: int) -> str:
    """What a sealed key is bound to."""
    return f"evidence key {version}"


async def opened_pans(node: Node, dsn: str) -> LocalPans:
    from switch.data_keys import open_pans
    from switch.store import prepare_data_keys

    lmk = node.lmk()
    await prepare_data_keys(dsn, lmk)
    async with reference(dsn) as store:
        return open_pans(lmk, await store.snapshot())


def init(node: Node, *, new: bool) -> Exit:
    """Make the key that signs, once; `--new` makes the next one, the former stay to be trusted."""
    from settlement.adapters.evidence_postgres import EvidenceKey, add_evidence_key, evidence_keys
    from switch.adapters.system import SystemEntropy, core_dumps_off

    core_dumps_off()

    async def write(dsn: str, kept: Sequence[EvidenceKey], maker: str) -> str:
        version = kept[0].version + 1 if kept else 1
        key = SigningKey.made(SystemEntropy().bytes)
        sealed = key.sealed(await opened_pans(node, dsn), key_name(version))
        await add_evidence_key(dsn, EvidenceKey(version, key.public_key.hex(), sealed), maker)
        return key.public_key.hex()

    with node.store() as store:
        kept = asyncio.run(evidence_keys(store.dsn))
        if not kept or new:
            who = authorised(node, "evidence.key", "evidence", store.dsn)
            print_line(asyncio.run(write(store.dsn, kept, who.operator)))
        else:
            print_line(kept[0].public_key)
    return Exit.DONE


def keys(node: Node, *, as_json: bool) -> Exit:
    from settlement.adapters.evidence_postgres import evidence_keys

    with node.store() as store:
        kept = asyncio.run(evidence_keys(store.dsn))
    columns = ("version", "public_key", "made_at")
    rows = [{name: getattr(one, name) for name in columns} for one in kept]
    if as_json:
        print_objects(rows)
    else:
        print_table(columns, ([row[name] for name in columns] for row in rows))
    return Exit.DONE


# -- making ---------------------------------------------------------------------------------------


def make(node: Node, on: dt.date, out: Path | None) -> Exit:
    """The bundle of a closed date. The same again is nothing; another under its name is refused."""
    from settlement.adapters.evidence_postgres import evidence_keys, open_evidence
    from settlement.evidence_facts import documents
    from settlement.run import WaitingError
    from switch.adapters.system import core_dumps_off
    from switch.commands.close import settings_of

    core_dumps_off()

    async def read(dsn: str) -> bytes:
        kept = await evidence_keys(dsn)
        if not kept:
            raise CommandError(node.say("evidence_no_key"), Exit.WAITING)
        pans = await opened_pans(node, dsn)
        key = SigningKey.opened(pans, kept[0].sealed, key_name(kept[0].version))
        async with open_evidence(dsn, on) as store:
            try:
                found = await documents(store, on, settings_of(node.config))
            except WaitingError as waiting:
                raise CommandError(node.told(waiting), Exit.WAITING) from waiting
            at = await store.begin(on, dt.datetime.max.replace(tzinfo=dt.UTC))  # recorded already
        return made(on, at, found, key)

    with node.store() as store:
        bundle = asyncio.run(read(store.dsn))
    path = out or node.config.data_folder / FOLDER / f"{on.isoformat()}.zip"
    write(path, bundle, node)
    print_line(str(path))
    return Exit.DONE


def write(path: Path, bundle: bytes, node: Node) -> None:
    from settlement.adapters.files import DirectorySink

    try:
        if path.exists() and path.read_bytes() != bundle:
            raise CommandError(node.say("evidence_differs", path=path), Exit.DIFFERENCES)
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = DirectorySink(path.parent)
        sink.write(path.name, bundle)
        sink.sync()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", Exit.USAGE) from error


# -- checking -------------------------------------------------------------------------------------


def trusted_keys(given: Sequence[str]) -> list[bytes]:
    """Public keys in hex, or @FILE with one a line."""
    found: list[bytes] = []
    for value in given:
        try:
            text = Path(value[1:]).read_text(encoding="utf-8") if value[:1] == "@" else value
        except OSError as error:
            raise CommandError(f"--key: {value[1:]}: {error.strerror}", Exit.USAGE) from error
        except UnicodeDecodeError as error:
            raise CommandError(f"--key: {value[1:]}: is not UTF-8", Exit.USAGE) from error
        parts = [_key(part) for part in text.split()]
        if not parts:
            raise CommandError("--key: none is named", Exit.USAGE)
        found += parts
    return found


def _key(text: str) -> bytes:
    with suppress(ValueError):
        key = bytes.fromhex(text)
        if len(key) == KEY_BYTES:
            return key
    raise CommandError(f"--key: {text[:80]!r} is not 64 hex digits", Exit.USAGE)


def verify(node: Node, path: Path, given: Sequence[str], *, rerun: bool, as_json: bool) -> Exit:
    """Signature and hashes; with `rerun` also whether the store still says so and decides so."""
    trusted = trusted_keys(given)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}", Exit.USAGE) from error
    bundle, findings = checked(data, ed25519_verify, trusted)
    decided: list[Decided] = []
    if rerun and bundle is not None and not findings:
        with node.store() as store:
            differing, decided = asyncio.run(run_again(store.dsn, bundle))
        findings = [*differing, *(one.finding for one in decided if one.finding)]
    if as_json:
        print_object(_told(bundle, findings, decided))
    else:
        _show(node, bundle, findings, decided)
    return Exit.DIFFERENCES if findings else Exit.DONE


async def run_again(dsn: str, bundle: Bundle) -> tuple[list[Finding], list[Decided]]:
    """The store against the bundle, and the date's decisions once more, in a scratch folder."""
    from settlement.adapters.engines import open_engine
    from settlement.adapters.evidence_postgres import open_evidence
    from settlement.adapters.extracts import ParquetExtracts
    from settlement.adapters.postgres import PostgresDates
    from settlement.evidence_facts import compared, decided_again
    from settlement.fees import Tariffs
    from settlement.ports import REFERENCE_KINDS, NoProgress
    from settlement.run import Run
    from settlement.settings import Settings

    on = bundle.manifest.business_date
    documents = {name: bundle.document(name) for name in bundle.contents}
    settings = msgspec.convert(documents["settings.json"], Settings)
    with tempfile.TemporaryDirectory(prefix="tongbao-evidence-") as folder:
        engine = open_engine(settings, Path(folder))
        try:
            async with open_evidence(dsn, on) as store:
                differing = await compared(store, documents, on)
                run = Run(
                    date=on,
                    at=bundle.manifest.recorded_at,
                    files=_Nothing(),
                    store=store,
                    casework=_Nothing(),
                    payouts=_Nothing(),
                    dates=PostgresDates(store.pool),
                    pans=_Nothing(),
                    sink=_Nothing(),
                    engine=engine,
                    extracts=ParquetExtracts(engine, Path(folder)),
                    progress=NoProgress(),
                    settings=settings,
                    approved=frozenset(),
                    tariffs=Tariffs(await store.references(REFERENCE_KINDS)),
                    steps=await store.steps(on),
                )
                return differing, [one async for one in decided_again(run)]
        finally:
            engine.close()


class _Nothing:
    """Stands for ports that deciding again has no business with: any use is an error."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"deciding again uses {name}")


def _told(
    bundle: Bundle | None, findings: Sequence[Finding], decided: Sequence[Decided]
) -> dict[str, Any]:
    return {
        "business_date": bundle.manifest.business_date if bundle else None,
        "public_key": bundle.manifest.public_key if bundle else None,
        "holds": not findings,
        "findings": findings,
        "decided_again": decided,
    }


def _show(
    node: Node, bundle: Bundle | None, findings: Sequence[Finding], decided: Sequence[Decided]
) -> None:
    if bundle is not None:
        print_line(f"{bundle.manifest.business_date} {bundle.manifest.public_key}")
    for one in decided:
        print_line(f"{one.step} {one.content[:16]}{'' if one.finding else ' ='}")
    if findings:
        print_table(("", ""), ((one.place, one.problem) for one in findings))
    else:
        print_line(node.say("evidence_rerun_holds" if decided else "evidence_holds"))
