"""What goes into a date's evidence, gathered from the store; and the decisions made once more.

The documents are a function of recorded facts, of the rules in this release and of the settings
given in: gathered again from an untouched store they are the same. `decided_again` goes further:
it runs reconciliation, fees, postings and nets of the date once more on the store as it stood when
the date was closed, and compares what comes out with what was recorded.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from datetime import date, datetime, time, timedelta
from typing import Any, Final, Protocol

import msgspec

from settlement.close import REFERENCE_KINDS, facts_of
from settlement.evidence import Finding, canonical, first_difference
from settlement.fees import ZONE, Plan, Tariffs
from settlement.ledger import trial_balance
from settlement.ports import Facts, Step, Store
from settlement.posting_rules import POSTING_RULES
from settlement.reconcile import PASSES, VERSIONS
from settlement.run import Run, WaitingError
from settlement.settings import Settings

# Facts of a date that are hashed line by line, never held.
EXTRACTS: Final = (
    "captures",
    "records",
    "matches",
    "merchant_fees",
    "network_costs",
    "agent_shares",
    "entries",
)
AGAIN: Final = ("reconcile", "fees", "post", "net")  # steps whose facts rest on the store alone
LAST_STEP: Final = "reports"


class EvidenceStore(Store, Protocol):
    """A store as it stood when a date was closed: what later dates added is not seen by the steps
    of that date. Nothing is written through it."""

    async def extract(self, name: str, business_date: date, write: Callable[[bytes], None]) -> None:
        """One of `EXTRACTS` of a date as lines of text in a total order, piece by piece."""


async def documents(
    store: EvidenceStore, business_date: date, settings: Settings
) -> dict[str, Any]:
    """The documents of a date's evidence by name. Raises `WaitingError` while it is not closed."""
    steps = await store.steps(business_date)
    if LAST_STEP not in steps:
        raise WaitingError(f"{business_date} is not closed yet")
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
            "passes": list(PASSES),
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


async def _extract(store: EvidenceStore, name: str, business_date: date) -> dict[str, Any]:
    digest = hashlib.sha256()
    lines = 0

    def take(piece: bytes) -> None:
        nonlocal lines
        digest.update(piece)
        lines += piece.count(b"\n")

    await store.extract(name, business_date, take)
    return {"lines": lines, "sha256": digest.hexdigest()}


def _step(step: Step) -> dict[str, Any]:
    return {"name": step.name, "content": step.content, "totals": step.totals}


def _hexed(value: msgspec.Struct) -> dict[str, Any]:
    return {
        name: item.hex() if isinstance(item, bytes) else item
        for name, item in msgspec.structs.asdict(value).items()
    }


# -- once more --------------------------------------------------------------------------------


async def compared(
    store: EvidenceStore, bundle_documents: dict[str, Any], on: date
) -> list[Finding]:
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
    """The date's decisions made once more, on `run.store`, an `EvidenceStore` of the date."""
    for name in AGAIN:
        if name not in names:
            continue
        try:
            facts, totals = await facts_of(run, name)
        except Exception as error:  # noqa: BLE001 - changed facts may break a step anyhow
            problem = f"can not be decided again: {type(error).__name__}: {error}"
            yield Decided(name, "", Finding(name, problem))
            continue
        recorded = run.steps[name]
        finding = await _first_other(run, name, facts)
        if finding is None and facts.content != recorded.content:
            finding = Finding(name, "its recorded hash is not that of its facts")
        if finding is None:
            finding = first_difference(f"{name}.totals", recorded.totals, totals)
        yield Decided(name, facts.content, finding)


async def _first_other(run: Run, name: str, facts: Facts) -> Finding | None:
    """The first fact of a step that is not what was recorded, by kind and order."""
    store, on = run.store, run.date
    step = [one for one in await store.breaks(on) if one.step == name]
    recorded: dict[str, dict[str, Any]] = {
        "reconcile": {
            "matches": await store.matches(on),
            "breaks": step,
            "resolutions": await store.resolutions(on),
        },
        "fees": {
            "merchant_fees": await store.merchant_fees(on),
            "network_costs": await store.network_costs(on),
            "agent_shares": await store.fee_book().shares(on),
            "breaks": step,
        },
        "post": {
            "entries": [one for one in await store.entries(on) if one.step == name],
            "seals": [one for one in await store.seals(on) if one.step == name],
        },
        "net": {"nets": await store.nets(on)},
    }
    for kind, stands in recorded[name].items():
        again = sorted(map(_line, getattr(facts, kind)))
        before = sorted(map(_line, stands))
        found = _first_line(f"{name}.{kind}", before, again)
        if found is not None:
            return found
    return None


def _line(fact: msgspec.Struct) -> str:
    return msgspec.json.encode(fact).decode()


def _first_line(place: str, before: list[str], again: list[str]) -> Finding | None:
    gone = sorted(set(before) - set(again))
    new = sorted(set(again) - set(before))
    if gone and new:
        return Finding(place, f"recorded: {gone[0]}; decided again: {new[0]}")
    if gone:
        return Finding(place, f"recorded, but not decided again: {gone[0]}")
    if new:
        return Finding(place, f"decided again, but not recorded: {new[0]}")
    return None
