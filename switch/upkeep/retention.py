"""How long each table's rows are kept, and what is never dropped whatever its age (rules §12). Pure: SQL
as data.

A table either has a `Rule` or a reason why it is kept (`KEPT`); a test holds both against the schema.
What belongs to requests goes by the business date of the request, and a date goes whole or not at all:
it stays while anything of it is unposted, undecided, undelivered, in dispute or under a case.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

import msgspec

from settlement.disputes.table import ENDS

if TYPE_CHECKING:
    from switch.config import Retention

# One partition a business date, dropped whole. In this order: the published views begin at the request.
PARTITIONED: Final = ("request", "outcome")


class Rule(msgspec.Struct, frozen=True):
    """Rows of one table that go by age. `date` is the SQL of a row's date, the row being `t`."""

    table: str
    setting: str  # of [retention], days
    date: str
    where: str = ""  # what else must hold
    holds: bool = True  # a date that is held back keeps these rows too


_POSTED = """EXISTS (SELECT FROM switch.business_date AS b
    WHERE b.business_date = t.request_date AND b.state = 'posted')
  AND NOT EXISTS (SELECT FROM switch.queue_open AS q WHERE q.request_id = t.request_id)
  AND NOT EXISTS (SELECT FROM switch.batch AS b  -- its totals are counted by these keys
      WHERE (b.merchant, b.terminal, b.batch) = (t.merchant, t.terminal, t.batch)
        AND NOT EXISTS (SELECT FROM switch.batch_closed AS c
            WHERE (c.merchant, c.terminal, c.batch) = (b.merchant, b.terminal, b.batch)))"""
_CLOSED = """(SELECT (c.closed_at AT TIME ZONE 'UTC')::date FROM switch.batch_closed AS c
    WHERE (c.merchant, c.terminal, c.batch) = (t.merchant, t.terminal, t.batch))"""
# the last batch of a terminal says which number comes next
_NOT_LAST = """EXISTS (SELECT FROM switch.batch AS b
    JOIN switch.batch AS later USING (merchant, terminal)
    WHERE (b.merchant, b.terminal, b.batch) = (t.merchant, t.terminal, t.batch)
      AND later.position > b.position)"""
_ITEM = "(SELECT i.request_date FROM switch.queue_item AS i WHERE i.item_id = t.item_id)"
# a newer key set was confirmed: no message verifies under this one any more
_SUPERSEDED = """EXISTS (SELECT FROM switch.session AS s
    JOIN switch.session_confirmed AS c USING (session_id)
    WHERE (s.merchant, s.terminal) = (t.merchant, t.terminal) AND s.session_id > t.session_id)"""

# of each topic the newest end and the newest of what has none say what a terminal has
_OLDER = """EXISTS (SELECT FROM switch.download AS n
    WHERE (n.merchant, n.terminal, n.topic, n.shown) = (t.merchant, t.terminal, t.topic, t.shown)
      AND (n.act = 'ended') = (t.act = 'ended') AND n.download_id > t.download_id)"""

# In the order in which rows go: what a condition looks at goes last.
RULES: Final = (
    Rule("request_key", "duplicate_window_days", "t.request_date", _POSTED, holds=False),
    Rule("attempt", "journal_days", "t.request_date"),
    Rule("follow_up", "journal_days", "t.request_date"),
    Rule("capture", "journal_days", "t.request_date"),
    Rule("late_answer", "journal_days", "t.request_date"),
    Rule("reversal_request", "journal_days", "t.business_date"),
    Rule("case_fact", "journal_days", "t.business_date"),
    Rule("queue_sent", "journal_days", _ITEM),
    Rule("queue_end", "journal_days", _ITEM),
    Rule("queue_item", "journal_days", "t.request_date"),
    Rule("reversal", "journal_days", "t.original_date"),
    Rule("rerun", "sessions_days", "(t.at AT TIME ZONE 'UTC')::date", holds=False),
    Rule("source", "sessions_days", _CLOSED, holds=False),
    Rule(
        "session",
        "sessions_days",
        "(t.created_at AT TIME ZONE 'UTC')::date",
        _SUPERSEDED,
        holds=False,
    ),
    Rule(
        "session_confirmed",
        "sessions_days",
        "(t.confirmed_at AT TIME ZONE 'UTC')::date",
        "NOT EXISTS (SELECT FROM switch.session AS s WHERE s.session_id = t.session_id)",
        holds=False,
    ),
    *(  # past `kept_until` no window of a risk rule reads the row
        Rule(table, "sessions_days", "(t.kept_until AT TIME ZONE 'UTC')::date", holds=False)
        for table in ("risk_move", "risk_bucket")
    ),
    Rule("download", "sessions_days", "(t.at AT TIME ZONE 'UTC')::date", _OLDER, holds=False),
    Rule(
        "unmatched_answer",
        "sessions_days",
        "(t.received_at AT TIME ZONE 'UTC')::date",
        holds=False,
    ),
    *(
        Rule(table, "batches_days", _CLOSED, _NOT_LAST, holds=False)
        for table in ("batch_upload", "batch_settled", "batch_frozen")
    ),
    Rule(
        "batch_closed",
        "batches_days",
        "(t.closed_at AT TIME ZONE 'UTC')::date",
        _NOT_LAST,
        holds=False,
    ),
    Rule(
        "batch",
        "batches_days",
        "(t.opened_at AT TIME ZONE 'UTC')::date",
        # no batch but the last is without its end: that row has gone before
        f"{_NOT_LAST} AND {_CLOSED} IS NULL",
        holds=False,
    ),
)

# Every other table of the schema `switch`, and why nothing of it goes.
KEPT: Final = {
    "acquirer_lease": "a row an acquirer",
    "approval": "the audit log rests on it",
    "audit_record": "a chain: a record that is missing breaks it",
    "business_date": "a row a date",
    "business_day": "one row",
    "credential": "of people",
    "key_exchange": "a row a change of a link's key",
    "key_exchange_fact": "a row a step of one",
    "link_slot": "a row a connection",
    "lmk_holder": "a row a worker",
    "login": "of people; lock-out and codes used",
    "number_block": "a row a sequence",
    "operator": "of people",
    "owner": "a row a start of a process: who lost its lease may never commit again",
    "proposal": "the audit log rests on it",
    "queue_open": "what is not delivered",
    "reference_item": "every decision names the version that it used",
    "risk_alert": "what people work on, and what they said",
    "risk_alert_act": "what people work on, and what they said",
    "stored_key": "what is under an old key could not be read again",
    "upkeep": "the evidence of what went",
    "upload_open": "what is not closed",
    "withdrawal": "the audit log rests on it",
}

_ENDS = ", ".join(f"'{state}'" for state in sorted(ENDS))

# Why a business date `$1` stays, in this order. Each asks for one true value.
HOLDS: Final = {
    "unposted": """
SELECT EXISTS (SELECT FROM switch.business_date AS b
               WHERE b.business_date = $1 AND b.state <> 'posted')
    OR EXISTS (SELECT FROM switch.capture AS c JOIN switch.business_date AS b USING (business_date)
               WHERE c.request_date = $1 AND b.state <> 'posted')""",
    "undelivered": """
SELECT EXISTS (SELECT FROM switch.queue_open AS o JOIN switch.queue_item AS i USING (item_id)
               WHERE i.request_date = $1)""",
    "undecided": "SELECT switch.undecided($1) > 0",
    "dispute": f"""
SELECT EXISTS (SELECT FROM settlement.dispute AS d
               LEFT JOIN settlement.clearing_record AS r ON r.key = d.record
               WHERE coalesce(r.business_date, d.business_date) = $1
                 AND coalesce((SELECT e.state FROM settlement.dispute_event AS e
                               WHERE e.dispute_id = d.id ORDER BY e.sequence DESC LIMIT 1), 'new')
                     NOT IN ({_ENDS}))""",  # noqa: S608 - constants
    "case": """
SELECT EXISTS (
    SELECT FROM (
        SELECT f.id FROM settlement.case_found AS f
        LEFT JOIN settlement.clearing_record AS r ON r.key = f.record AND f.record <> ''
        LEFT JOIN settlement.resolution AS e ON e.break_id = f.id
        WHERE (f.business_date = $1 OR r.business_date = $1) AND e.break_id IS NULL
        UNION ALL
        SELECT to_char(c.business_date, 'YYYYMMDD') || '-W' || c.commit_id || '-' || c.seq
        FROM switch.case_fact AS c
        LEFT JOIN switch.request AS r ON r.request_id = c.request_id AND r.request_date = $1
        WHERE c.business_date = $1 OR r.request_id IS NOT NULL
    ) AS found
    WHERE coalesce((SELECT e.state FROM settlement.case_event AS e
                    WHERE e.case_id = found.id ORDER BY e.sequence DESC LIMIT 1), 'open') <> 'ended')""",
}


def cutoff(settings: Retention, setting: str, business_date: dt.date) -> dt.date:
    """The last date whose rows go.

    >>> from switch.config import Retention
    >>> cutoff(Retention(), "duplicate_window_days", dt.date(2026, 8, 20))
    datetime.date(2026, 8, 5)
    """
    days: int = getattr(settings, setting)
    return business_date - dt.timedelta(days=days + 1)


def condition(rule: Rule) -> str:
    """SQL of the rows of `rule.table AS t` that go: up to `$1`, dates in `$2` held back."""
    # `$2` is named in any case, so that every statement takes it
    held = f"NOT ({rule.date} = ANY ($2::date[]))" if rule.holds else "$2::date[] IS NOT NULL"
    return "\n  AND ".join(filter(None, (f"{rule.date} <= $1::date", held, rule.where)))
