"""What the day's end needs of the outside, as Protocols; `settlement/adapters/` implements them."""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, Literal, Protocol

import msgspec

from settlement.cases import Break, Resolution
from settlement.chain import Anchor, Seal
from settlement.clearing import (
    Capture,
    ClearingRecord,
    ClearingRow,
    HeldFile,
    IncomingFile,
    Reference,
    Transaction,
)
from settlement.columns import Relation, relation
from settlement.entry_columns import entry_relation
from settlement.fees import MerchantFee, NetworkCost
from settlement.files.rows import FileRow
from settlement.files.store import FileRows
from settlement.kept_sums import BatchKey, BatchTotal, BatchTotals, SettledSum, SettledSums
from settlement.ledger import Entry, Movement
from settlement.matches import Match, Member
from settlement.netting import Net
from settlement.shares import RecordShare

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]
    import pyarrow as pa  # type: ignore[import-untyped]

    from settlement.fee_book import FeeBook


# of the day's end, in order
STEPS: Final = ("cut", "freeze", "intake", "reconcile", "fees", "post", "net", "reports")
# begin while the facts of the step before are being written: of these they read only what the run has
# at hand
BESIDE_WRITING: Final = frozenset({"intake", "fees"})
BULK_FROM: Final = 20_000  # rows
# reference data that it reads
REFERENCE_KINDS: Final = ("merchant", "agent", "fee_plan", "link", "route")


class Step(msgspec.Struct, frozen=True):
    """A finished step: recorded once by (business date, name), with the hash of its facts."""

    business_date: date
    name: str
    content: str  # SHA-256 over the canonical facts, hex
    totals: dict[str, int]


class Output(msgspec.Struct, frozen=True):
    """A file that the day's end wrote."""

    name: str
    sha256: str
    size: int


# the relations that later steps read: name -> what one of its rows is
EXTRACTS: Final[dict[str, type[msgspec.Struct]]] = {
    "records": ClearingRecord,
    "matches": Match,
    "members": Member,
    "merchant_fees": MerchantFee,
    "network_costs": NetworkCost,
}
# every read that is to be had in columns, too
SHAPES: Final[dict[str, type[msgspec.Struct]]] = EXTRACTS | {
    "captures": Capture,
    "transactions": Transaction,
    "transactions_ahead": Transaction,
    "open_records": ClearingRecord,
    "rows": ClearingRow,
    "matched_rows": ClearingRow,
    "agent_shares": RecordShare,
    "entries": Entry,
}
Extracted = Literal[
    "captures",
    "transactions",
    "transactions_ahead",
    "records",
    "open_records",
    "rows",
    "matched_rows",
    "matches",
    "members",
    "merchant_fees",
    "network_costs",
    "agent_shares",
    "entries",
]


class Facts(msgspec.Struct, frozen=True):
    """Everything that one step adds; stored with the step's record or not at all.

    What there is of each transaction comes as a relation (`settlement.columns`); `entries` have
    their hash as a last column.
    """

    records: Relation = relation(ClearingRecord)
    matches: Relation = relation(Match)
    members: Relation = relation(Member)
    merchant_fees: Relation = relation(MerchantFee)
    network_costs: Relation = relation(NetworkCost)
    agent_shares: Relation = relation(RecordShare)
    entries: Relation = entry_relation(())
    breaks: Sequence[Break] = ()
    resolutions: Sequence[Resolution] = ()
    nets: Sequence[Net] = ()
    outputs: Sequence[Output] = ()
    held: Sequence[HeldFile] = ()
    batch_sums: Sequence[BatchTotal] = ()  # of the step's business date
    batches_checked: Sequence[BatchKey] = ()
    settled_sums: Sequence[SettledSum] = ()
    inputs: Sequence[str] = ()  # what of the outside the step rests on; part of its hash only

    @property
    def content(self) -> str:
        """SHA-256 over every fact, hex."""
        digest = hashlib.sha256()
        for name in self.__struct_fields__:
            digest.update(name.encode())
            items = getattr(self, name)
            if isinstance(items, Relation):
                digest.update(items.sha256.encode())
            else:
                for item in items:
                    digest.update(msgspec.json.encode(item) + b"\n")
        return digest.hexdigest()

    @property
    def is_bulk(self) -> bool:
        """Whether it is worth a thread of its own to hash and to store them."""
        relations = (getattr(self, name) for name in self.__struct_fields__)
        return any(isinstance(one, Relation) and len(one) >= BULK_FROM for one in relations)

    @property
    def extracts(self) -> dict[str, str]:
        """The SHA-256 of each relation that holds something, by its name."""
        relations = {name: getattr(self, name) for name in EXTRACTS}
        return {name: one.sha256 for name, one in relations.items() if len(one)}


class Total(msgspec.Struct, frozen=True, order=True):
    """A sum by P5's dimensions."""

    business_date: date
    currency: str
    merchant: str
    acquirer: str
    terminal: str
    batch: int
    amount_minor: int


class SwitchFacts(Protocol):
    """What the switch publishes."""

    async def captures(self, business_date: date) -> list[Capture]: ...

    async def captured_totals(self, business_date: date) -> list[Total]:
        """Sums of the captured effects, zero sums left out, sorted."""

    async def transactions(self, business_date: date) -> list[Transaction]:
        """Requests of the date, and those that the date's captures belong to."""

    async def transactions_ahead(self, business_date: date, last: date) -> list[Transaction]:
        """Approved requests of later business dates with a settlement date up to `last`."""

    async def references(self, kinds: Collection[str]) -> list[Reference]: ...


class Store(SwitchFacts, FileRows, BatchTotals, SettledSums, Protocol):
    """The settlement's own append-only facts. Every read is totally ordered."""

    def fee_book(self) -> "FeeBook":
        """What fees, shares and reports read."""

    def extract(
        self, name: Extracted, *dates: date, ordered: bool = False
    ) -> AsyncIterator["pa.RecordBatch"]:
        """The rows that the read of this name gives, as columns; in its order only where asked."""

    def alone(self, business_date: date) -> AbstractAsyncContextManager[bool]:
        """Keeps other runs of the date out while it is held; False where one is under way."""

    async def begin(self, business_date: date, at: datetime) -> datetime:
        """Record the instant of a date's first run, or return the one recorded."""

    async def steps(self, business_date: date) -> dict[str, Step]: ...

    async def extracts(self, business_date: date) -> dict[str, str]:
        """SHA-256 (hex) of the relations that the date's steps have added, by name."""

    async def finish(self, step: Step, facts: Facts) -> bool:
        """Store the facts and the step in one commit. False, and nothing, if it stands already. What is
        bulk is stored beside a caller that computes.

        Raises `LedgerConflictError` where an entry's (source, key) stands with other content.
        """

    async def files(self, acquirer: str) -> list[IncomingFile]:
        """Files taken in, by (settlement date, name, version), without their sealed bytes."""

    async def take_in(
        self, file: IncomingFile, rows: Relation, others: Sequence[FileRow] = ()
    ) -> None:
        """Store the sealed file, its transactions and its other rows in one commit; nothing where
        the version stands."""

    async def held(self, acquirer: str) -> list[HeldFile]:
        """Files whose name is taken, approved since or not, by (name, SHA-256)."""

    async def in_use(self, acquirer: str, name: str) -> bool:
        """Whether a match, a break, a dispute or its case rests on a row of the file."""

    async def rows(self, first: date, last: date) -> list[ClearingRow]:
        """Rows of these settlement dates that no match has used, of each name's last version."""

    async def matched_rows(self, business_date: date) -> list[ClearingRow]:
        """Rows that the date's matches used."""

    async def records(self, business_date: date) -> list[ClearingRecord]: ...

    async def open_records(self, before: date, settles_from: date) -> list[ClearingRecord]:
        """Records of earlier business dates, settling from then on, that no match has used."""

    async def records_by_key(self, keys: Collection[str]) -> dict[str, ClearingRecord]: ...

    async def rows_by_id(self, ids: Collection[str]) -> dict[str, ClearingRow]: ...

    async def records_by_root(self, roots: Collection[int]) -> list[ClearingRecord]:
        """Every captured record of these chains, by (business date, key)."""

    async def roots(self, request_ids: Collection[int]) -> dict[int, int]:
        """The root of those whose captured records have another one than themselves."""

    async def matches(self, business_date: date) -> list[Match]: ...

    async def members(self, business_date: date) -> list[Member]:
        """By (match, side, member)."""

    async def matched_with(self, lines: Collection[str]) -> list[Member]:
        """All members of the matches that any of these records and rows is in, in the same order."""

    async def breaks(self, business_date: date) -> list[Break]: ...

    async def open_breaks(self, before: date) -> list[Break]:
        """Breaks of earlier dates without a resolution."""

    async def resolutions(self, business_date: date) -> list[Resolution]: ...

    async def resolved(self, break_ids: Collection[str]) -> set[str]:
        """Those of the breaks that are resolved, on whatever date."""

    async def discounts(self, keys: Collection[str]) -> dict[str, int]:
        """Our discount on these records."""

    async def freed(self, break_ids: Collection[str]) -> dict[str, int]:
        """What casework has released already of the holds of these breaks, plus."""

    async def merchant_fees(self, business_date: date) -> list[MerchantFee]: ...

    async def network_costs(self, business_date: date) -> list[NetworkCost]: ...

    async def entries(self, business_date: date) -> list[Entry]:
        """In canonical order (step, source, key)."""

    async def entries_by_key(self, source: str, keys: Collection[str]) -> dict[str, Entry]:
        """Those of the source's entries that stand, of whatever date."""

    async def posted_totals(self, business_date: date) -> list[Total]:
        """Sums of the receivable's legs of capture entries, by P5's dimensions."""

    async def movements(self, business_date: date) -> list[Movement]:
        """What the date's entries of the day's end moved, by account, owner, rule and currency."""

    async def seal(self, business_date: date) -> Anchor:
        """`posting_port.Ledger.seal`: the date takes no more entries, and its chain stands."""

    async def seals(self, business_date: date) -> list[Seal]: ...

    async def nets(self, business_date: date) -> list[Net]: ...

    async def outputs(self, business_date: date) -> list[Output]: ...


class Dates(Protocol):
    """The business dates, which the switch owns. All calls may be repeated."""

    async def state(self, business_date: date) -> str | None:
        """open, cut, frozen or posted; None for a date the switch does not know."""

    async def unposted_before(self, business_date: date) -> date | None: ...

    async def cut_over(self, new_date: date) -> None: ...

    async def freeze(self, business_date: date) -> int:
        """Requests still undecided; 0 when the date's captures are frozen."""

    async def mark_posted(self, business_date: date) -> None: ...


class Pans(Protocol):
    """PAN work and sealing, done where the keys are."""

    def token(self, pan: str) -> bytes: ...

    def mask(self, pan: str) -> str: ...

    def seal(self, data: bytes, name: str) -> bytes: ...

    def open(self, sealed: bytes, name: str) -> bytes: ...


class Inbox(Protocol):
    """Incoming files: DIR/<acquirer>/<file>."""

    def names(self, acquirer: str) -> list[str]: ...

    def take(self, acquirer: str, name: str) -> bytes:
        """The file, put aside: what comes under its name from now on is another file."""

    def remove(self, acquirer: str, name: str) -> None:
        """Remove the plaintext that was put aside."""

    def put_back(self, acquirer: str, name: str) -> str | None:
        """Under its name again. Where another file has come under it, that one counts from now on, and
        this one is kept beside it, under the name that is returned and is not listed."""


class FileSink(Protocol):
    """Outgoing files, each there whole or not at all."""

    def write(self, name: str, data: bytes) -> None:
        """It has its name after `sync` at the latest."""

    def sync(self) -> None:
        """What was written stands from here on, whatever happens to the machine."""

    def sha256(self, name: str) -> str | None:
        """Hash of the file that stands there, hex; None where there is none."""


class Engine(Protocol):
    """Where ibis expressions run: DuckDB embedded, or a cluster. Expressions name their tables."""

    def load(self, name: str, rows: "pa.Table") -> None:
        """Make or replace a table."""

    def keep(self, name: str, expression: "ir.Table") -> None:
        """Make or replace a table of the expression's rows; it may read what it replaces."""

    def read_parquet(self, name: str, paths: Sequence[str]) -> None:
        """Make or replace a table of the files' rows; the files stay as long as it is used."""

    def write_parquet(self, expression: "ir.Table", path: str) -> None:
        """Write the expression's rows, in its order, as one file."""

    def rows(self, expression: "ir.Table") -> list[tuple[object, ...]]:
        """The rows of an expression with a total order."""

    def table(self, expression: "ir.Table") -> "pa.Table":
        """The same in columns."""

    def close(self) -> None: ...


class Extracts(Protocol):
    """The relations of one run, each under a name where the engine finds it."""

    def keep(self, name: str, expression: "ir.Table", schema: "pa.Schema") -> Relation:
        """Make or replace a relation of an expression with a total order."""

    async def load(
        self, name: str, schema: "pa.Schema", batches: AsyncIterable["pa.RecordBatch"]
    ) -> Relation:
        """Make or replace a relation of rows from elsewhere."""

    def find(self, name: str, sha256: str) -> Relation | None:
        """The relation as an earlier run of the date left it, if its content is still that."""


class Progress(Protocol):
    def started(self, step: str) -> None: ...

    def advanced(self, step: str, note: str) -> None: ...

    def finished(self, step: str, totals: dict[str, int]) -> None: ...


class NoProgress:
    """Says nothing."""

    def started(self, step: str) -> None: ...

    def advanced(self, step: str, note: str) -> None: ...

    def finished(self, step: str, totals: dict[str, int]) -> None: ...
