"""A day of any length for the books: what the switch's journal would hold, and the banks' files of it.

Made by DuckDB from the number of a request alone, so a day of one length is always the same day:
two banks, debit and credit cards, amounts as shops have them, voids, part refunds, declines,
reversals; and in the files a few breaks of every class.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import duckdb
import msgspec
import pyarrow as pa  # type: ignore[import-untyped]

from settlement.files import com

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BANKS: Final = ("bank-a", "bank-b")
DE32: Final = {"bank-a": "48021000", "bank-b": "48031000"}
MERCHANTS: Final = 5_000
TERMINALS: Final = 4  # of a merchant
CARD_EVERY: Final = 3  # a card pays so often a day
BREAK_EVERY: Final = 10_007  # of each class
FIRST_ID: Final = 1_000_000_001  # as many digits as those of a store in use: keys are texts

# n numbers a request; of a hundred, two are voids, one is a part refund, three are declined, one is
# reversed and one is unknown
_DAY: Final = """
CREATE TABLE day AS
WITH numbered AS (
    SELECT n,
           CASE WHEN n % 100 IN (92, 93) THEN n - 40 WHEN n % 100 = 94 THEN n - 50 ELSE n END AS sale,
           CASE WHEN n % 100 IN (92, 93) THEN 'void' WHEN n % 100 = 94 THEN 'refund'
                ELSE 'purchase' END AS type,
           CASE WHEN n % 100 IN (95, 96, 97) THEN 'declined' WHEN n % 100 = 98 THEN 'reversed'
                WHEN n % 100 = 99 THEN 'unknown' ELSE 'approved' END AS state
    FROM range($first, $first + $rows) AS r (n)
), drawn AS (
    SELECT *, sale * 2654435761 % 4294967296 AS a, sale * 40503 % 65536 AS b,
           ((n - $first + 1) * 86400 // ($rows + 1)) AS second
    FROM numbered
), sold AS (
    SELECT *,
           a % $merchants AS merchant_number,
           a // 7 % $cards AS card,
           CASE b % 8 WHEN 0 THEN 100 * (5 + b % 300) WHEN 1 THEN 100 * (10 + b % 90) - 10
                WHEN 2 THEN 100 * (20 + b % 500) - 20 WHEN 3 THEN 10000 * (1 + b % 90)
                WHEN 4 THEN 50 * (3 + b % 200) WHEN 5 THEN 100 + a % 50000
                ELSE 100 * (3 + a % 90) END AS sold_minor
    FROM drawn
)
SELECT *,
       CASE WHEN type = 'refund' THEN 1 + sold_minor // 3 ELSE sold_minor END AS amount_minor,
       type <> 'purchase' AS minus,
       100000000000000 + merchant_number AS merchant,
       lpad(CAST(merchant_number * $terminals + b % $terminals AS VARCHAR), 8, '0') AS terminal,
       CAST(merchant_number % 2 AS INTEGER) AS bank,
       1 + n // 800000 AS batch,
       1 + n % 900000 AS stan,
       lpad(CAST(1 + n % 999999 AS VARCHAR), 6, '0') AS link_stan,
       strftime(DATE '$date' + to_seconds(CAST(second AS BIGINT)), '%m%d%H%M%S') AS moment,
       '6' || lpad(CAST(n AS VARCHAR), 11, '0') AS rrn,
       lpad(CAST(a % 1000000 AS VARCHAR), 6, '0') AS auth_code,
       [5411, 5812, 5541, 5311, 8062, 4900, 5999][1 + merchant_number % 7] AS mcc,
       CASE WHEN card % 2 = 0 THEN 'debit' ELSE 'credit' END AS card_type
FROM sold
"""
_ROUTE: Final = {"debit": "622202", "credit": "622888"}


class BooksDay:
    """The day in DuckDB, until it is written out; `token` and `mask` are the store's own."""

    def __init__(
        self,
        rows: int,
        date: dt.date,
        token: Callable[[str], bytes],
        mask: Callable[[str], str],
        first: int = FIRST_ID,
    ) -> None:
        """Numbered from `first` on, which is one above a multiple of a hundred."""
        self.date, self.rows, self.first = date, rows, first
        self._db = duckdb.connect(config={"threads": 2, "memory_limit": "4GiB"})
        cards = max(rows // CARD_EVERY, 1)
        given = {
            "rows": rows,
            "first": first,
            "merchants": MERCHANTS,
            "cards": cards,
            "terminals": TERMINALS,
            "date": date.isoformat(),
        }
        statement = _DAY
        for name, value in given.items():
            statement = statement.replace(f"${name}", str(value))
        self._db.execute(statement)
        pans = [f"{_ROUTE['credit' if n % 2 else 'debit']}{n:010d}" for n in range(cards)]
        shown = pa.table(
            {
                "card": range(cards),
                "pan": pans,
                "token": ["\\x" + token(pan).hex() for pan in pans],
                "mask": [mask(pan) for pan in pans],
            }
        )
        self._db.register("shown", shown)
        self._db.execute("CREATE TABLE card AS SELECT * FROM shown")
        self._db.unregister("shown")

    def close(self) -> None:
        self._db.close()

    def write_journal(self, folder: Path) -> dict[str, Path]:
        """The switch's tables as CSV: name -> file."""
        date = f"DATE '{self.date.isoformat()}'"
        bank = " ".join(f"WHEN {n} THEN '{name}'" for n, name in enumerate(BANKS))
        de32 = " ".join(f"WHEN {n} THEN '{DE32[name]}'" for n, name in enumerate(BANKS))
        route = " ".join(f"WHEN '{kind}' THEN '{prefix}'" for kind, prefix in _ROUTE.items())
        when = f"{date} + to_seconds(CAST(second AS BIGINT))"
        parts = {
            "request": f"""
                SELECT n AS request_id, {date} AS request_date, 1 AS owner_id, 1 AS generation,
                    merchant, terminal, batch, stan, 'purchase' AS kind,
                    '\\x' || sha256(CAST(n AS VARCHAR)) AS content, type,
                    CASE WHEN type = 'refund' THEN '0220' ELSE '0200' END AS mti,
                    CASE WHEN minus THEN '200000' ELSE '000000' END AS processing_code,
                    amount_minor, '156' AS currency, rrn, {when} AS received_at, '' AS local_time,
                    '051' AS entry_mode, '00' AS condition_code, '001' AS card_sequence, mcc,
                    c.token AS pan_token, c.mask AS pan_masked,
                    '\\x' || repeat('5a', 44) AS pan_cipher,
                    CASE WHEN sale <> n THEN sale END AS original_request_id,
                    '{{"generation":1,"merchant":1,"terminal":1,"route":"'
                        || CASE card_type {route} END || '@1"}}' AS decision,
                    false AS foreign_card, false AS any_batch, 1 AS attempt,
                    CASE bank {bank} END AS acquirer, link_stan, moment AS transmission_time,
                    CASE bank {de32} END AS de32, CASE bank {de32} END AS de33,
                    'prefix' AS route_rule
                FROM day JOIN card AS c USING (card) ORDER BY n""",
            "outcome": f"""
                SELECT n AS request_id, {date} AS request_date, n AS commit_id,
                    {date} AS business_date,
                    CASE WHEN state = 'reversed' THEN 'approved' ELSE state END AS state,
                    CASE WHEN state IN ('approved', 'reversed') THEN '00' WHEN state = 'unknown'
                         THEN '98' ELSE '51' END AS response_code,
                    {when} AS decided_at, 'acquirer' AS rule, 1 AS attempt,
                    CASE WHEN state IN ('approved', 'reversed') THEN amount_minor END
                        AS approved_amount_minor,
                    CASE WHEN state IN ('approved', 'reversed')
                         THEN CASE WHEN minus THEN -amount_minor ELSE amount_minor END END
                        AS effect_minor,
                    CASE WHEN state IN ('approved', 'reversed') THEN auth_code ELSE '' END
                        AS auth_code,
                    {date} AS settlement_date, rrn AS acquirer_rrn, '' AS acquirer_response_code,
                    '\\x' || repeat('30', 120) AS answer, false AS on_current_date
                FROM day ORDER BY n""",
            "reversal": f"""
                SELECT n AS original_request_id, 1 AS seq, {date} AS original_date,
                    'terminal' AS origin, '98' AS reason, {when} AS queued_at, 'cancel' AS capture,
                    n AS commit_id, {date} AS business_date
                FROM day WHERE state = 'reversed' ORDER BY n""",
        }
        written = {}
        for name, query in parts.items():
            written[name] = folder / f"{name}.csv"
            self._db.execute(f"COPY ({query}) TO '{written[name]}' (FORMAT csv, HEADER true)")
        return written

    def write_files(
        self, inbox: Path, date: dt.date | None = None, first: int = 0, count: int | None = None
    ) -> None:
        """The banks' COM files, in order of the network's trace and time, with their breaks. `count`
        requests from the day's `first` on, appended to the files of another `date` where one is given."""
        self._db.execute(_BILLED.replace("$every", str(BREAK_EVERY)))
        since = self.first + first
        until = self.first + self.rows if count is None else since + count
        for number, name in enumerate(BANKS):
            folder = inbox / name
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / com.render_name(date or self.date)
            query = self._db.execute(
                f"SELECT {_line(DE32[name])} FROM billed JOIN card AS c USING (card) "
                f"WHERE bank = {number} AND n >= {since} AND n < {until} "
                "ORDER BY moment, link_stan, copy"
            )
            with path.open("ab") as file:
                while lines := query.fetchmany(50_000):
                    file.write("".join(line for (line,) in lines).encode())


# what the banks bill: of every class of break a few
_BILLED: Final = """
CREATE OR REPLACE TABLE billed AS
WITH chosen AS (
    SELECT *, n % $every AS fault FROM day
    WHERE state = 'approved' OR (state = 'declined' AND n % $every < 30)
       OR (state = 'reversed' AND n % $every < 300)
), once AS (
    SELECT *, 1 AS copy FROM chosen WHERE fault <> 101
    UNION ALL SELECT *, 2 AS copy FROM chosen WHERE fault = 202
)
SELECT *, amount_minor + CASE WHEN fault = 303 THEN 100 ELSE 0 END AS billed_minor,
       sold_minor - amount_minor AS kept_minor,
       CASE WHEN fault = 404 THEN 50 ELSE 0 END AS fee_too_much
FROM once
"""


def _fee(amount: str) -> tuple[str, str]:
    """The 96 reform on an amount: issuer's and network's fee."""
    issuer = (
        f"CASE WHEN mcc = 8062 THEN 0 WHEN card_type = 'debit' "
        f"THEN least(({amount} * 35 + 5000) // 10000, 1300) ELSE ({amount} * 45 + 5000) // 10000 END"
    )
    network = (
        f"CASE WHEN mcc = 8062 THEN 0 ELSE least(({amount} * 325 + 500000) // 1000000, 325) END"
    )
    return issuer, network


def _line(de32: str) -> str:
    """A COM line as SQL, out of the layout's own table."""
    (sold_issuer, sold_network) = _fee("sold_minor")
    (kept_issuer, kept_network) = _fee("kept_minor")
    back_issuer = f"(({sold_issuer}) - ({kept_issuer}))"
    back_network = f"(({sold_network}) - ({kept_network}))"
    (paid_issuer, paid_network) = _fee("billed_minor")
    values = {
        "acquirer_id": f"'{de32}'",
        "forwarder_id": f"'{de32}'",
        "stan": "link_stan",
        "transmission_time": "moment",
        "pan": "c.pan",
        "amount": "billed_minor",
        "mti": "CASE WHEN type = 'refund' THEN '0220' ELSE '0200' END",
        "processing_code": "CASE WHEN minus THEN '200000' ELSE '000000' END",
        "mcc": "mcc",
        "terminal": "terminal",
        "merchant": "merchant",
        "rrn": "rrn",
        "condition_code": "'00'",
        "auth_code": "auth_code",
        "receiver_id": f"'{de32}'",
        "response_code": "'00'",
        "entry_mode": "'051'",
        "fee_receivable": f"CASE WHEN minus THEN {back_issuer} ELSE 0 END",
        "fee_payable": f"CASE WHEN minus THEN 0 ELSE {paid_issuer} END + fee_too_much",
        "switching_fee": f"CASE WHEN minus THEN {back_network} ELSE -({paid_network}) END",
        "issuer_id": "'01020000'",
    }
    parts = []
    for field in com.COM.fields:
        value, width = values.get(field.name), field.length
        if value is None:
            parts.append(f"repeat(' ', {width})")
        elif field.format == "x+n":
            sign = f"CASE WHEN {value} > 0 THEN 'C' WHEN {value} < 0 THEN 'D' ELSE ' ' END"
            parts.append(f"{sign} || lpad(CAST(abs({value}) AS VARCHAR), {width - 1}, '0')")
        elif field.format == "n":
            parts.append(f"lpad(CAST({value} AS VARCHAR), {width}, '0')")
        else:
            parts.append(f"rpad(CAST({value} AS VARCHAR), {width}, ' ')")
    return " || ' ' || ".join(parts) + " || ' ' || chr(10)"


async def load_journal(dsn: str, files: dict[str, Path], date: dt.date) -> None:
    """A day's journal as its evening finds it: rows that came in all day long have been vacuumed."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT switch.open_date($1)", date)
        await connection.execute("SET synchronous_commit = off")
        for table, path in files.items():
            with path.open("rb") as file:
                names = file.readline().decode().strip().split(",")
            await connection.copy_to_table(
                table,
                schema_name="switch",
                columns=names,
                source=str(path),
                format="csv",
                header=True,
            )
            await connection.execute(f"VACUUM (ANALYZE) switch.{table}")
    finally:
        await connection.close()


async def load_reference(dsn: str, date: dt.date) -> None:
    """Banks, routes and merchants, as the owner of the store."""
    connection = await asyncpg.connect(dsn)
    try:
        items: list[tuple[str, str, dict[str, Any]]] = [
            *(
                ("link", name, {"acquirer": name, "host": "h", "port": 1, "de32": DE32[name]})
                for name in BANKS
            ),
            *(
                ("route", prefix, {"prefix": prefix, "acquirer": BANKS[0], "card_type": kind})
                for kind, prefix in _ROUTE.items()
            ),
            *(
                ("merchant", str(one), {"merchant": str(one), "name": f"Shop {one}", "mcc": "5411"})
                for one in range(100000000000000, 100000000000000 + MERCHANTS)
            ),
        ]
        await connection.copy_records_to_table(
            "reference_item",
            schema_name="switch",
            columns=("kind", "key", "version", "effective_from", "content", "sha256", "maker"),
            records=[_item(*item, date) for item in items],
        )
        await connection.execute("SELECT switch.bump_generation()")
    finally:
        await connection.close()


def _item(kind: str, key: str, content: dict[str, Any], date: dt.date) -> tuple[Any, ...]:
    text = msgspec.json.encode(content)
    since = dt.datetime(date.year - 1, 1, 1, tzinfo=dt.UTC)
    return kind, key, 1, since, text.decode(), hashlib.sha256(text).digest(), "benchmark"
