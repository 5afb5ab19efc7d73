"""The file of a released batch, for the bank."""

import hashlib
from typing import Final

from settlement.four_eyes import require
from settlement.iso20022 import pain001
from settlement.payouts.desk import Desk, PayoutError, tried
from settlement.payouts.orders import batch_of
from settlement.payouts.ports import Facts, PayoutFile
from settlement.ports import FileSink

EXPORT: Final = "payout.export"


async def export(desk: Desk, batch_id: str, sink: FileSink) -> PayoutFile:
    """Write the file of a released batch, or write it again: the same bytes, or not at all."""
    require(desk.actor, f"do:{EXPORT}")
    made, data = await tried(lambda: _record_once(desk, batch_id))
    if sink.sha256(made.name) != made.sha256:
        sink.write(made.name, data)
        sink.sync()
    return made


async def _record_once(desk: Desk, batch_id: str) -> tuple[PayoutFile, bytes]:
    """The file's name and hash, in the store before the file is anywhere."""
    generation = await desk.payouts.generation()
    batch, orders = await batch_of(desk.payouts, batch_id)
    decided = await desk.payouts.decisions([batch_id])
    if not decided or decided[0].decision != "released":
        raise PayoutError("not_released", what=batch_id)
    data = pain001.render(batch, orders)
    made = PayoutFile(
        batch.id,
        f"{batch.payout_date.isoformat()}/{pain001.message_id(batch.id)}.xml",
        hashlib.sha256(data).hexdigest(),
        len(data),
    )
    known = await desk.payouts.files([batch_id])
    if known and known[0] != made:
        raise PayoutError("payout_other_file", batch=batch_id, sha256=known[0].sha256)
    if not known:
        await desk.commit(Facts(generation, EXPORT, subject=batch_id, files=[made]))
    return made, data
