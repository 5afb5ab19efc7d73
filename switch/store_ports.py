"""The store's ports beside the journal: numbers, owners of requests, the queue, batches and dates.

All facts of theirs are the store's; what a commit adds to them is in `switch.journal`.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Protocol

import msgspec

from switch.acquirers.unmatched import UnmatchedAnswer
from switch.journal import AlertRow, AttemptRow, Original, QueueRow, RequestRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from switch.journal import Commit, Verdict
    from terminals.registry import StoredKey

# Items kept of one batch's upload: as many as two counts of three digits in DE 48 can tell of. A 0320
# carries no MAC on most networks, and a trace has a million values.
UPLOAD_ITEMS_MAX = 2 * 999
# No lease and no delay of a queued item is longer (engine.lease_s is at most that). One that ends later
# by the store's clock was dated before that clock was set back, and would hold for as long again.
HOLDS_MAX_S = 300.0
SESSIONS_LOOKED_AT = 512  # of one terminal: more sign-ons than its rate lets through in ten minutes


# -- what they hand out -------------------------------------------------------------------------


class QueueItem(msgspec.Struct, frozen=True):
    """One item to deliver, with what is needed to build its message."""

    row: QueueRow
    original: Original
    reason: str
    tries: int
    age_s: float  # since it was queued, by the store's time: a node's clock may be set


class Lease(msgspec.Struct, frozen=True, gc=False):
    """`until_s` is on the holder's own monotonic clock, taken before the store was asked."""

    epoch: int
    until_s: float


class Held(msgspec.Struct, frozen=True, gc=False):
    """Slots of a link that an owner holds; `share`: how many it should, more have to be given back."""

    share: int
    slots: tuple[int, ...]


class SlotHeld(msgspec.Struct, frozen=True, gc=False):
    """A slot of a link that a living owner holds. `connected`: whether its process has a connection
    there; None: nobody has said, as a node of the former release."""

    slot: int
    node: str
    connected: bool | None


class Undecided(msgspec.Struct, frozen=True):
    request: RequestRow
    request_date: dt.date
    attempts: tuple[AttemptRow, ...]


class Session(msgspec.Struct, frozen=True):
    """A set of working keys, as opaque blocks under the LMK."""

    session_id: int
    merchant: str
    terminal: str
    layout: str
    pik: str
    mak: str
    tdk: str | None
    created_at: dt.datetime
    confirmed: bool  # a message has verified under it: the former set is void
    lmk_id: str | None = None  # that the blocks are under


class BatchTotals(msgspec.Struct, frozen=True):
    """DE 48 of 0500 for one card table side (RMB or foreign): amounts in minor units."""

    debit_minor: int = 0
    debit_count: int = 0
    credit_minor: int = 0
    credit_count: int = 0


class BatchItem(msgspec.Struct, frozen=True):
    """One item of an upload, or of ours: compared by (terminal, batch, trace)."""

    stan: int
    amount_minor: int
    pan_token: bytes | None = None
    foreign: bool = False


class Batch(msgspec.Struct, frozen=True):
    merchant: str
    terminal: str
    batch: int
    state: str  # "open", "frozen", "uploading", "closed"
    items: int  # captured items so far, on the fuller of debit and credit
    terminal_totals: tuple[BatchTotals, BatchTotals] | None  # RMB, foreign: as the 0500 said
    totals: tuple[BatchTotals, BatchTotals] | None  # ours at the freeze
    result: str  # the two result digits of the 0510, "" before
    uploaded: tuple[BatchItem, ...]  # read by `get` and the like; empty from `current`


# -- risk ----------------------------------------------------------------------------------------


class AlertAct(msgspec.Struct, frozen=True):
    """What somebody did about an alert: "taken" (it is his now) or "closed"."""

    act: str
    operator: str
    reason: str
    at: dt.datetime


class RiskAlert(msgspec.Struct, frozen=True):
    """An alert with what was done about it. Its state and owner are a reading of the acts."""

    alert_id: int
    row: AlertRow
    business_date: dt.date
    acts: tuple[AlertAct, ...] = ()

    @property
    def state(self) -> str:
        return self.acts[-1].act if self.acts else "open"

    @property
    def owner(self) -> str:
        return self.acts[-1].operator if self.acts else ""


class CounterTold(msgspec.Struct, frozen=True):
    """A bucket of a counter, for who looks."""

    counter: str
    subject: str
    bucket: int
    count: int
    amount_minor: int


# -- downloads -----------------------------------------------------------------------------------


class DownloadFact(msgspec.Struct, frozen=True, kw_only=True):
    """What a terminal did about one topic. `act`: "begun"; "mixed": the data changed under it; "ended".

    `shown`: `address` has sent a verified MAC for this terminal, or none is asked of it (rules §10).
    """

    topic: str
    act: str
    version: str
    source: str  # set@version that was in force
    stan: int
    address: str
    shown: bool
    detail: str = ""  # of a status upload: what it said, as JSON


class KeptDownload(msgspec.Struct, frozen=True):
    download_id: int  # grows
    fact: DownloadFact
    at: dt.datetime


# -- ports ---------------------------------------------------------------------------------------


class Numbers(Protocol):
    """Blocks of numbers, leased durably before use; (first, last) inclusive."""

    async def request_ids(self, count: int) -> tuple[int, int]: ...

    async def link_stans(self, acquirer: str, count: int) -> tuple[int, int]:
        """A range of an endless counter; DE 11 is its value modulo 999,999 plus 1."""
        ...

    async def rrns(self, count: int) -> tuple[int, int]:
        """A range of an endless counter; 8 digits of DE 37 are its value modulo 10^8."""
        ...


class Owners(Protocol):
    """Who decides which request. Times are the store's own."""

    async def register(self, node: str, worker: int) -> int:
        """A new owner id for this boot of this worker."""
        ...

    async def renew(self, owner_id: int, undecided_from_id: int) -> bool:
        """Prolong the lease (5 s); False: it had expired and others may have taken over."""
        ...

    async def release(self, owner_id: int) -> None:
        """Drained: nothing undecided is left, and no request of this owner is stored any more."""
        ...

    async def take_over(
        self, owner_id: int, node: str, worker: int, *, at_start: bool = False
    ) -> list[Undecided]:
        """Requests without outcome of owners whose lease has expired.

        `at_start`: also of this worker's earlier boots, which need not run out first. Only a process
        that starts may say so: later, an owner of the same worker may be its successor, alive.
        """
        ...

    async def recovered(self, owner_id: int, request_ids: Sequence[int]) -> None:
        """Those requests are decided; owners with nothing left are closed."""
        ...

    async def hold_slots(
        self, owner_id: int, acquirer: str, granted: int, keep: Sequence[int]
    ) -> Held:
        """Of the `granted` connections of a link: give back what is not in `keep`, then take free
        ones up to this owner's share. What an owner holds is free when its lease has ended."""
        ...

    async def tell_connected(
        self, owner_id: int, acquirer: str, connected: Sequence[int]
    ) -> tuple[SlotHeld, ...]:
        """This owner has connections on these of its slots, and on no other; all slots of the link
        that the living hold, in order."""
        ...


class Queue(Protocol):
    """Store and forward, per acquirer."""

    async def lease(self, acquirer: str, owner_id: int) -> Lease | None:
        """Take or renew the acquirer's lease (5 s); None: another holds it."""
        ...

    async def due(self, acquirer: str, limit: int, exclude: Sequence[int]) -> list[QueueItem]:
        """Open items that may leave now, oldest first, at most one per root original."""
        ...

    async def sent(self, item_id: int, attempt: int) -> None:
        """Durable before the bytes leave."""
        ...

    async def finish(
        self, item: QueueItem, response_code: str, commit: Commit | None
    ) -> Verdict | None:
        """The final answer: ends the item and stores what follows from it, in one transaction."""
        ...

    async def open_items(self, acquirer: str) -> int: ...


class Risk(Protocol):
    """Alerts of risk rules for who works them, and counters for who looks."""

    async def alerts(self) -> list[RiskAlert]:
        """All that are kept, the oldest first."""
        ...

    async def alert(self, alert_id: int) -> RiskAlert | None: ...

    async def act(self, alert_id: int, after: int, act: str, operator: str, reason: str) -> bool:
        """Note an act, if nobody has acted since: it had `after` acts. False: somebody has."""
        ...

    async def counters(self, rule: str, limit: int) -> list[CounterTold]:
        """Of a rule, "": of all; in order of counter, subject and bucket."""
        ...


class Downloads(Protocol):
    """What terminals have downloaded. Facts are only added; the newest of a topic counts."""

    async def of(self, merchant: str, terminal: str) -> list[KeptDownload]:
        """Of each topic the newest facts that ended a download and that did not, each from addresses
        that had shown themselves and from others; in the order in which they came. `shown` is so, too,
        of an address that has sent a verified MAC since, in whatever batch."""
        ...

    async def every(self) -> dict[tuple[str, str], list[KeptDownload]]:
        """The same of every terminal that has any, by merchant and terminal, in their order."""
        ...

    async def step(
        self,
        merchant: str,
        terminal: str,
        topic: str,
        judge: Callable[[DownloadFact | None], DownloadFact | None],
    ) -> DownloadFact | None:
        """Let `judge` look at the topic's newest fact and say what comes to it, nobody else meanwhile.

        The judge may run several times and must be pure.
        """
        ...


class Batches(Protocol):
    async def sign_on(self, session: Session) -> int:
        """Store new keys; return the open batch's number, opening one where none is.

        While a batch is frozen or uploading its own number is returned. Numbers grow and are never
        given again. `session.session_id` 0 lets the store number it.
        """
        ...

    async def sessions(self, merchant: str, terminal: str) -> list[Session]:
        """The newest, then the former: the last one before it that its terminal has used, else the next.

        Of sign-ons that were never used at most `SESSIONS_LOOKED_AT` are looked behind.
        """
        ...

    async def standing(self, merchant: str, terminal: str) -> tuple[list[Session], Batch | None]:
        """What `sessions` and then `current` say, for a terminal that is not remembered."""
        ...

    async def confirm_session(self, session_id: int) -> None:
        """A message verified under these keys: the former set is void from now on."""
        ...

    async def note_source(self, merchant: str, terminal: str, batch: int, address: str) -> None:
        """A verified MAC came from this address for this batch (rules §10). Idempotent."""
        ...

    async def source_known(
        self, merchant: str, terminal: str, batch: int, address: str
    ) -> bool: ...

    async def current(self, merchant: str, terminal: str) -> Batch | None:
        """The newest batch of a terminal; None before its first sign-on."""
        ...

    async def get(self, merchant: str, terminal: str, batch: int) -> Batch | None: ...

    async def freeze(self, merchant: str, terminal: str, batch: int) -> int:
        """Nothing new enters the batch from now on; how many of its requests are undecided."""
        ...

    async def settle(
        self,
        merchant: str,
        terminal: str,
        batch: int,
        terminal_totals: tuple[BatchTotals, BatchTotals],
    ) -> Batch:
        """With all decided: store the terminal's totals and ours, closed or uploading. Idempotent."""
        ...

    async def upload(
        self, merchant: str, terminal: str, batch: int, items: Sequence[BatchItem]
    ) -> Batch | None:
        """Keep what the terminal says of its batch, each trace once, after the close as evidence only.

        What is beyond `UPLOAD_ITEMS_MAX` is not kept: an item that is missing in the answer was not.
        """
        ...

    async def finish_upload(self, merchant: str, terminal: str, batch: int) -> Batch | None:
        """Compare item by item, open cases for what one side lacks, close. Idempotent."""
        ...

    async def overdue_uploads(self, older_than_s: float) -> list[Batch]: ...


class Days(Protocol):
    """The life of business dates (rules §16). All idempotent; `ValueError` out of turn."""

    async def business_date(self) -> dt.date: ...

    async def state(self, business_date: dt.date) -> str | None:
        """ "open", "cut", "frozen", "posted"; None for a date that never was."""
        ...

    async def cut_over(self, new_date: dt.date) -> None:
        """Every later commit is of `new_date`; the former date is cut."""
        ...

    async def freeze(self, business_date: dt.date) -> int:
        """Its captures change no more, if nothing of it is undecided; how many requests still are."""
        ...

    async def mark_posted(self, business_date: dt.date) -> None: ...


# -- links ---------------------------------------------------------------------------------------


class UnmatchedRow(msgspec.Struct, frozen=True, gc=False):
    """An answer that counts for no request, as it is kept. (owner_id, seq) says which it is."""

    owner_id: int
    seq: int
    received_at: dt.datetime
    answer: UnmatchedAnswer


class UnmatchedWanted(msgspec.Struct, frozen=True):
    """Which of them: what is "" or None does not narrow."""

    acquirer: str = ""
    reason: str = ""
    request_id: int | None = None
    since: dt.datetime | None = None


class LinkFacts(Protocol):
    """What happened on links and belongs to no request."""

    async def keep_unmatched(self, rows: Sequence[UnmatchedRow]) -> None:
        """Idempotent."""
        ...

    async def unmatched(self, wanted: UnmatchedWanted, limit: int) -> list[UnmatchedRow]:
        """The newest first."""
        ...


class KeyFact(msgspec.Struct, frozen=True, gc=False):
    """A step of a change of key: made, sent, accepted, refused, given_up."""

    fact: str
    version: int  # of the key
    response_code: str
    at: dt.datetime


class KeyExchange(msgspec.Struct, frozen=True):
    """A new key of a link, asked for by us, on its way to the host. Its state is its last fact."""

    exchange_id: int
    acquirer: str
    usage: str  # ZPK, ZAK
    asked_by: str
    asked_at: dt.datetime
    facts: tuple[KeyFact, ...] = ()
    age_s: float = 0.0  # since the last fact, by the store's time

    @property
    def state(self) -> str:
        return self.facts[-1].fact if self.facts else "asked"

    @property
    def version(self) -> int:
        return self.facts[-1].version if self.facts else 0

    @property
    def sends(self) -> int:
        return sum(fact.fact == "sent" for fact in self.facts)

    @property
    def open(self) -> bool:
        return self.state in ("asked", "made", "sent")


class KeyExchanges(Protocol):
    """Changes of links' keys, in both directions. Whoever writes a fact has read all before it, or
    writes nothing: several processes may work on one change."""

    async def ask(
        self, acquirer: str, usage: str, asked_by: str, *, every_s: float = 0.0
    ) -> KeyExchange | None:
        """A new change; None where one of that link and usage is open, or was asked for less than
        `every_s` ago."""
        ...

    async def exchanges(self, acquirer: str, *, only_open: bool, limit: int) -> list[KeyExchange]:
        """The oldest first where only those that are open, else the newest first; "": of all links."""
        ...

    async def made(self, exchange: KeyExchange, key: StoredKey) -> KeyExchange | None:
        """Store the key, which waits, and the fact; None: another has gone on with it."""
        ...

    async def sent(self, exchange: KeyExchange) -> KeyExchange | None:
        """Durable before the bytes leave; None: another has."""
        ...

    async def end(self, exchange: KeyExchange, fact: str, response_code: str) -> bool:
        """accepted: the key is in force from now on; refused: it ends; given_up: it goes on waiting."""
        ...

    async def take(self, key: StoredKey) -> StoredKey | None:
        """A key that the host sent, in force from now on. The newest one itself if it has that check
        value: the host repeats what it had no answer to. None: a change of ours is under way."""
        ...
