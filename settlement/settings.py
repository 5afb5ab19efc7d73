"""The bounds and tolerances of the day's end, each with its unit. Defaults are the rules'."""

from typing import Final

import msgspec

from settlement.disputes.deadlines import DEADLINES_DAYS


class Settings(msgspec.Struct, frozen=True):
    currency: str = "156"  # ISO 4217 numeric of files that name none
    window_days: int = 1  # settlement days a record and a row may be apart
    freeze_wait_s: float = 90.0  # the longest timer of a request, with room
    freeze_poll_s: float = 1.0
    fee_tolerance_row_minor: int = 2  # one fen a component: another rounding, not another price
    fee_tolerance_file_minor: int = 100_000  # sum of absolute differences of one file
    file_fee_bound_ppm: int = 50_000  # fees above 5 % of a file's turnover wait for a person
    overdue_days: int = 1  # working days after a network's money is due, until it is a break
    file_max_mib: int = 1_000  # it is sealed as one value, and PostgreSQL takes 1 GiB at most
    engine: str = "duckdb"  # or a Spark master: spark://host:port, local[2]
    engine_threads: int = 2
    engine_memory_mib: int = 1_024  # then it spills to disk
    offset_days: int = 1  # the business date after D is D + 1
    dispute_calendar: str = ""  # of the reference data; empty: Monday to Friday
    # working days, by deadline; pairs, for settings are keys of caches
    dispute_deadlines_days: tuple[tuple[str, int], ...] = tuple(DEADLINES_DAYS.items())


DEFAULTS: Final = Settings()
