"""What was stored of one request, as it is read. Nothing here is decided, and nothing is in clear."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from settlement.story import Books


class Attempt(msgspec.Struct, frozen=True):
    """A message to an acquirer. The first stands in the request's own commit."""

    attempt: int
    acquirer: str
    link_stan: str
    transmission_time: str
    de32: str
    de33: str
    route_rule: str
    recorded_at: dt.datetime


class LinkKey(msgspec.Struct, frozen=True):
    """A key of an attempt's link, as it was in force when the attempt was written."""

    attempt: int
    usage: str  # ZPK, ZAK (where messages of the link are signed)
    version: int
    check_value: str


class LateAnswer(msgspec.Struct, frozen=True):
    attempt: int
    response_code: str
    auth_code: str
    amount_minor: int | None
    reason: str
    received_at: dt.datetime


class Unmatched(msgspec.Struct, frozen=True):
    """An answer that counted for no request, and looks most like one to this. `differences` as text."""

    acquirer: str
    reason: str
    detail: str
    mti: str
    response_code: str
    differences: str
    received_at: dt.datetime


class ReversalRequest(msgspec.Struct, frozen=True):
    """A 0400 of the terminal and what it was told."""

    reason: str
    response_code: str
    rule: str
    received_at: dt.datetime


class Queued(msgspec.Struct, frozen=True):
    """A message of the store-and-forward queue with each time that it was sent."""

    kind: str  # reversal, repeat
    seq: int
    acquirer: str
    link_stan: str
    transmission_time: str
    created_at: dt.datetime
    sends: tuple[dt.datetime, ...] = ()
    response_code: str | None = None  # "--": given up at its bound
    ended_at: dt.datetime | None = None


class Session(msgspec.Struct, frozen=True):
    """The key set that the request's MAC was verified under."""

    session_id: int
    created_at: dt.datetime


class Linked(msgspec.Struct, frozen=True):
    """Another transaction of the same chain."""

    request_id: int
    business_date: dt.date
    type: str
    state: str
    merchant: str
    terminal: str
    batch: int
    stan: int
    rrn: str
    amount_minor: int
    currency: str
    response_code: str | None
    received_at: dt.datetime


class Captured(msgspec.Struct, frozen=True):
    """A standing signed effect."""

    capture_id: int
    business_date: dt.date
    settlement_date: dt.date | None
    effect_minor: int
    currency: str


class Batch(msgspec.Struct, frozen=True):
    """The terminal's batch that the request is in; times are None while it is not so far."""

    frozen_at: dt.datetime | None = None
    settled_at: dt.datetime | None = None
    result: str | None = None  # digits of DE 48: each side RMB, then foreign
    uploaded_at: dt.datetime | None = None
    closed_at: dt.datetime | None = None
    rule: str | None = None


class SwitchCase(msgspec.Struct, frozen=True):
    case_id: str
    kind: str
    opened_at: dt.datetime


class Stages(msgspec.Struct, frozen=True):
    """Where the time went, µs, of the request's line in this node's log."""

    decode_us: int = 0
    check_us: int = 0
    commit1_us: int = 0
    send_us: int = 0
    acquirer_us: int = 0
    commit2_us: int = 0
    reply_us: int = 0
    total_us: int = 0


class Facts(msgspec.Struct, frozen=True):
    """`transaction` is the object of `journal show` without what stands here besides it."""

    transaction: dict[str, Any]
    card_sequence: str = ""
    chip_bytes: int | None = None  # what is kept of DE 55
    attempts: tuple[Attempt, ...] = ()
    link_keys: tuple[LinkKey, ...] = ()
    late_answers: tuple[LateAnswer, ...] = ()
    unmatched: tuple[Unmatched, ...] = ()
    reversal_requests: tuple[ReversalRequest, ...] = ()
    queue: tuple[Queued, ...] = ()
    session: Session | None = None
    originals: tuple[Linked, ...] = ()  # the one that it names, that one's, and on
    follow_ups: tuple[Linked, ...] = ()  # those that name it, and those that name them
    captures: tuple[Captured, ...] = ()
    batch: Batch = Batch()
    cases: tuple[SwitchCase, ...] = ()
    stages: Stages | None = None
    books: Books = Books()


class Wanted(msgspec.Struct, frozen=True):
    """What a transaction is looked for by: what is None does not narrow."""

    request_ids: tuple[int, ...] | None = None
    rrn: str | None = None  # ours or the acquirer's
    merchant: str | None = None
    terminal: str | None = None
    batch: int | None = None
    stan: int | None = None
    link_stan: str | None = None
    transmission_time: str | None = None
    acquirer: str | None = None  # whose those two are: links count each for itself
    auth_code: str | None = None
    first: dt.date | None = None  # business dates
    last: dt.date | None = None
