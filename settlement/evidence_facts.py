"""What goes into a date's evidence, gathered from the store; and the decisions made once more.

The documents are a function of recorded facts, of the rules in this release and of the settings
given in: gathered again from an untouched store they are the same. `decided_again` goes further:
it runs reconciliation, fees, postings and nets of the date once more on the store as it stood when
the date was closed, and compares what comes out with what was recorded.
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final

import msgspec
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from settlement.close import facts_of
from settlement.columns import Relation, schema_of
from settlement.evidence import Finding, canonical, first_difference
from settlement.fees import ZONE, Plan, Tariffs
from settlement.ledger import trial_balance
from settlement.passes import PASSES
from settlement.ports import REFERENCE_KINDS, SHAPES, Extracted, Facts, Step, Store
from settlement.posting_rules import POSTING_RULES
from settlement.reconcile import VERSIONS
from settlement.run import Run, WaitingError
from settlement.settings import Settings
from settlement.sums import SUM_PASSES

# Facts of a date that are hashed line by line, never held.
EXTRACTS: Final[tuple[Extracted, ...]] = (
    "captures",
    "records",
    "matches",
    "members",
    "merchant_fees",
    "network_costs",
    "agent_shares",
    "entries",
)
AGAIN: Final = ("reconcile", "fees", "post", "net")  # steps whose facts rest on the store alone
LAST_STEP: Final = "reports"


async def documents(store: Store, business_date: date, settings: Settings) -> dict[str, Any]:
    """The documents of a date's evidence by name. Raises `WaitingError` while it is not closed."""
    steps = await store.steps(business_date)
    if LAST_STEP not in steps:
        raise WaitingError("date_not_closed", date=business_date)
    references = await store.references(REFERENCE_KINDS)
    moved = await store.movements(business_date)
    return {
        "inputs.json": {
            "files": await _files(store, Tariffs(references), business_date),
            "journal": await _extract(store, "captures", business_date),
            "reference_data": [
                {
                    "kind": one.kind,
                    "key": one.key,
                    "version": one.version,
                    "effective_from": one.effective_from,
                    "sha256": hashlib.sha256(canonical(one.content)).hexdigest(),
                }
                for one in references
                if one.effective_from < _end_of(business_date)
            ],
        },
        "rules.json": {
            "posting_rules": [POSTING_RULES[name] for name in sorted(POSTING_RULES)],
            "passes": [*PASSES, *SUM_PASSES],
            "match_rules": dict(VERSIONS),
            "fee_plans": await _plans(store, Tariffs(references), business_date),
        },
        "settings.json": settings,
        "results.json": {
            "steps": [_step(steps[name]) for name in steps],
            "nets": await store.nets(business_date),
            "files": await store.outputs(business_date),
            "facts": {name: await _extract(store, name, business_date) for name in EXTRACTS},
        },
        "breaks.json": await store.breaks(business_date),
        "trial-balance.json": trial_balance(moved),
        "seals.json": [_hexed(seal) for seal in await store.seals(business_date)],
    }


def _end_of(business_date: date) -> datetime:
    return datetime.combine(business_date + timedelta(days=1), time(), ZONE)


async def _files(store: Store, tariffs: Tariffs, business_date: date) -> list[dict[str, Any]]:
    """Those that the date's close took in."""
    return [
        {
            "acquirer": file.acquirer,
            "name": file.name,
            "version": file.version,
            "type": file.type,
            "settlement_date": file.settlement_date,
            "rows": file.rows,
            "sha256": file.sha256.hex(),
        }
        for acquirer in tariffs.acquirers
        for file in await store.files(acquirer)
        if file.business_date == business_date
    ]


async def _plans(store: Store, tariffs: Tariffs, business_date: date) -> list[Plan]:
    """Every plan that a fee of the date was computed by, whole."""
    book = store.fee_book()
    used = {(one.plan, one.plan_version) for one in await book.discount_lines(business_date)}
    used |= {(one.plan, one.plan_version) for one in await book.cost_lines(business_date)}
    return [tariffs.plan(name, version) for name, version in sorted(used)]


async def _extract(store: Store, name: Extracted, business_date: date) -> dict[str, Any]:
    digest, rows = hashlib.sha256(), 0
    async for batch in store.extract(name, business_date, ordered=True):
        rows += batch.num_rows
        for part in _text(batch):
            digest.update(part)
    return {"rows": rows, "sha256": digest.hexdigest()}


def _text(batch: pa.RecordBatch) -> Iterator[bytes]:
    """The canonical text of some rows."""
    return Relation(pa.Table.from_batches([batch])).csv()


def _step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "content": step.content, "totals": step.totals}


def _hexed(value: msgspec.Struct) -> dict[str, Any]:
    return {
        name: item.hex() if isinstance(item, bytes) else item
        for name, item in msgspec.structs.asdict(value).items()
    }


# -- once more --------------------------------------------------------------------------------


async def compared(store: Store, bundle_documents: dict[str, Any], on: date) -> list[Finding]:
    """Where the store no longer says what was signed: the first difference of each document."""
    settings = msgspec.convert(bundle_documents["settings.json"], Settings)
    now = await documents(store, on, settings)
    findings = []
    for name in sorted(now.keys() | bundle_documents.keys()):
        if name not in now or name not in bundle_documents:
            findings.append(Finding(name, "is not a document of this release's evidence"))
            continue
        found = first_difference(
            name, bundle_documents[name], msgspec.json.decode(canonical(now[name]))
        )
        if found is not None:
            findings.append(found)
    return findings


class Decided(msgspec.Struct, frozen=True):
    """A step decided once more: the hash of its facts, and the first that differs."""

    step: str
    content: str
    finding: Finding | None


async def decided_again(run: Run, names: Collection[str] = AGAIN) -> AsyncIterator[Decided]:
    """The date's decisions made once more. `run.store` shows what later dates added as it was when
    the date was closed (`adapters/evidence_*`); each step rests on what was recorded before it."""
    for name in AGAIN:
        if name not in names:
            continue
        fresh = msgspec.structs.replace(run, at_hand={}, moved=None, found=None, earlier=None)
        try:
            facts, totals = await facts_of(fresh, name)
        except Exception as error:  # noqa: BLE001 - changed facts may break a step anyhow
            problem = f"can not be decided again: {type(error).__name__}: {error}"
            yield Decided(name, "", Finding(name, problem))
            continue
        finding = await _first_other(run, name, facts)
        if finding is None and facts.content != run.steps[name].content:
            finding = Finding(name, "its recorded hash is not that of its facts")
        if finding is None:
            finding = first_difference(f"{name}.totals", run.steps[name].totals, totals)
        yield Decided(name, facts.content, finding)


# what a step adds: in columns, and one by one
_RELATIONS: Final[dict[str, tuple[Extracted, ...]]] = {
    "reconcile": ("matches", "members"),
    "fees": ("merchant_fees", "network_costs", "agent_shares"),
    "post": ("entries",),
    "net": (),
}


async def _first_other(run: Run, name: str, facts: Facts) -> Finding | None:
    """The first fact of a step that is not what was recorded, by kind and order."""
    for kind in _RELATIONS[name]:
        found = await _other_row(run, name, kind, getattr(facts, kind))
        if found is not None:
            return found
    store, on = run.store, run.date
    reconciled = name == "reconcile"
    breaks = await store.breaks(on)
    # resolved on open dates by other acts
    theirs = {one.id for one in (*breaks, *await store.open_breaks(on)) if one.step != "reconcile"}
    stand: dict[str, Sequence[object]] = {
        "breaks": [one for one in breaks if one.step == name],
        "resolutions": [one for one in await store.resolutions(on) if one.break_id not in theirs]
        if reconciled
        else (),
        "batch_sums": await store.batch_sums(on) if reconciled else (),
        "batches_checked": await store.batches_checked(on) if reconciled else (),
        "settled_sums": await store.settled_sums(on) if reconciled else (),
        "nets": await store.nets(on) if name == "net" else (),
    }
    for what, recorded in stand.items():
        before, again = sorted(map(_line, recorded)), sorted(map(_line, getattr(facts, what)))
        if before != again:
            return _first_line(f"{name}.{what}", before, again)
    return None


async def _other_row(run: Run, name: str, kind: Extracted, again: Relation) -> Finding | None:
    """The first row of a relation that is not what stands in the store; both are in one order, and
    neither is held."""
    names = schema_of(SHAPES[kind]).names
    parts = (part for batch in again.batches() for part in _text(batch.select(names)))
    lines = (line for part in parts for line in part.splitlines())
    async for batch in run.store.extract(kind, run.date, ordered=True):
        if kind == "entries":  # of the date other steps have some, too
            batch = batch.filter(pc.equal(batch.column("step"), name))
        for line in (line for part in _text(batch) for line in part.splitlines()):
            other = next(lines, None)
            if line != other:
                return _row_finding(f"{name}.{kind}", line, other)
    other = next(lines, None)
    return None if other is None else _row_finding(f"{name}.{kind}", None, other)


def _row_finding(place: str, recorded: bytes | None, again: bytes | None) -> Finding:
    texts = [None if line is None else line.decode() for line in (recorded, again)]
    return Finding(
        place, f"recorded: {texts[0] or 'nothing'}; decided again: {texts[1] or 'nothing'}"
    )


def _line(fact: object) -> str:
    return msgspec.json.encode(fact).decode()


def _first_line(place: str, before: list[str], again: list[str]) -> Finding:
    gone = sorted(set(before) - set(again))
    new = sorted(set(again) - set(before))
    recorded = gone[0] if gone else "nothing"
    return Finding(place, f"recorded: {recorded}; decided again: {new[0] if new else 'nothing'}")
