"""Rows of the networks' files, as expressions: what `ClearingRow` says of one row, for a relation."""

from typing import TYPE_CHECKING

import ibis  # type: ignore[import-untyped]

from settlement.clearing import PAIRED_MTI, ClearingRow
from settlement.columns import schema_of
from settlement.records import table_named

if TYPE_CHECKING:
    import ibis.expr.types as ir  # type: ignore[import-untyped]


def rows_table(name: str) -> "ir.Table":
    return table_named(name, schema_of(ClearingRow))


def id_of(rows: "ir.Table") -> "ir.StringValue":
    """`ClearingRow.id`."""
    version, line = rows.version.cast("string"), rows.line.cast("string")
    return rows.acquirer + "/" + rows.file + "/" + version + ":" + line


def is_reversal(rows: "ir.Table") -> "ir.BooleanValue":
    return rows.mti.substr(0, 2) == PAIRED_MTI


def effect_of(rows: "ir.Table") -> "ir.IntegerValue":
    """`ClearingRow.effect_minor`."""
    takes_back = (rows.processing_code.substr(0, 2) == "20") != is_reversal(rows)
    return ibis.ifelse(takes_back, -rows.amount_minor, rows.amount_minor)


def issuer_fee_of(rows: "ir.Table") -> "ir.IntegerValue":
    """`ClearingRow.issuer_fee_minor`; NULL where the file does not state it."""
    payable, receivable = rows.fee_payable_minor, rows.fee_receivable_minor
    stated = payable.notnull() | receivable.notnull()
    fee = payable.fill_null(0) - receivable.fill_null(0)
    return ibis.ifelse(stated, fee, ibis.null("int64"))


def network_fee_of(rows: "ir.Table") -> "ir.IntegerValue":
    return -rows.switching_fee_minor


def fee_of(rows: "ir.Table") -> "ir.IntegerValue":
    """`ClearingRow.fee_minor`: what is not stated counts as nothing."""
    return issuer_fee_of(rows).fill_null(0) + network_fee_of(rows).fill_null(0)
