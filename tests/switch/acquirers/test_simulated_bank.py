"""The link against the simulated bank over real sockets: two sides written from one page.

With the reference bank they share the codec and nothing of the link; with the binary one, whose bytes
are written by hand, not even that. Every story is told of both. Keys go in by the vault on our side and
as clear test keys on the bank's. Faults of the bank are certain here, one at a time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import sys
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from hsm import pin_block as pin_blocks
from hsm.adapters.local import LocalHsm
from hsm.ciphers import tdes_ecb_decrypt, tdes_ecb_encrypt
from hsm.des_keys import with_odd_parity
from hsm.keys import KeyUsage
from hsm.lmk import TEST_LMK
from hsm.local import LocalVault
from switch.acquirers.iso8583_link import IsoLink
from switch.acquirers.link_messages import build_request, build_reversal
from switch.acquirers.ports import AnswerKind, NoAnswerError
from switch.adapters.system import SystemClock, SystemTransport
from switch.journal import AttemptRow, OutcomeState, QueueRow, RequestRow
from switch.reference import Link, Snapshot
from switch.store_ports import QueueItem
from terminals.registry import Merchant, StoredKey
from terminals.simulator.bank import Bank, BankFaults, BankOptions, BankServer
from terminals.simulator.binary_bank import bank_of
from terminals.simulator.card import Card, CardRange
from tests.switch.acquirers.wire import FAR_NS, FixedSlots, MemoryNumbers, answer_to, make_link
from tests.switch.rows import REQUEST, TODAY, original, outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iso8583.message import Message

random_bytes = random.Random(11).randbytes
ZPK, ZAK, ZMK = (with_odd_parity(random_bytes(16)) for _ in range(3))
CARDS = CardRange(bin="622202", issuer="01020000", count=5, expired_every=0, poor_every=0)
MERCHANT = Merchant(merchant="M00000000000001", name="Tea House")
KINDS: dict[str, dict[str, Any]] = {  # of the bank → settings of the link to it
    "reference": {},
    "binary_host": {
        "dialect": "iso1987_binary.key_16",
        "form": {"base": "binary_host", "addresses": {"network": "0601"}},
        "mac_algorithm": "tdes-cbc-binary",
        "key_form": "hex",
    },
}
KIND = "reference"


@pytest.fixture(autouse=True, params=sorted(KINDS))
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "KIND", request.param)


class Branch:
    """The link, the bank behind a listening socket, and requests from rows."""

    def __init__(self, bank: Bank, server: BankServer, link: Link) -> None:
        self.bank = bank
        self.server = server
        self.link = link
        self.vault = LocalVault(TEST_LMK, random_bytes)
        self.stored = [
            self._key(KeyUsage.ZMK, ZMK),
            self._key(KeyUsage.ZPK, ZPK),
            self._key(KeyUsage.ZAK, ZAK),
        ]
        self.late: list[tuple[AttemptRow | None, Message, str]] = []
        self.count = 0
        self.iso = IsoLink(
            link,
            slots=FixedSlots(2),
            transport=SystemTransport(),
            clock=SystemClock(),
            hsm=LocalHsm(self.vault),
            numbers=MemoryNumbers(),
            reference=lambda: Snapshot(1, [], self.stored),
            on_late=lambda *told: self.late.append(told),
            store_key=self.store_key,
        )

    def _key(self, usage: KeyUsage, key: bytes) -> StoredKey:
        block = self.vault.import_components(usage, [key], allow_weak=True)
        return StoredKey(
            owner=f"link:{self.link.acquirer}",
            usage=usage.value,
            version=1,
            block=block.block,
            check_value=block.check_value,
            lmk_id=block.lmk_id,
        )

    async def store_key(self, key: StoredKey) -> StoredKey:
        version = 1 + sum(other.usage == key.usage for other in self.stored)
        self.stored.append(msgspec.structs.replace(key, version=version))
        return self.stored[-1]

    def rows(self) -> tuple[RequestRow, AttemptRow]:
        self.count += 1
        numbers = self.iso.numbers()
        assert numbers is not None
        row = msgspec.structs.replace(
            REQUEST,
            request_id=self.count,
            rrn=f"6063{self.count:08d}",
            entry_mode="021",
            condition_code="00",
        )
        attempt = AttemptRow(
            self.count, 1, self.link.acquirer, *numbers, self.link.de32, "", "test"
        )
        return row, attempt

    def purchase(
        self, card: Card, row: RequestRow, attempt: AttemptRow, pin: str | None = None
    ) -> Message:
        block = None
        if pin is not None:
            clear = pin_blocks.encode_format0(pin, card.pan)
            block = tdes_ecb_encrypt(ZPK, clear)
        return build_request(
            row, attempt, {}, card.pan, card.expiry, MERCHANT, self.link, block, None
        )

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 - what a link does, it tells nobody
                await asyncio.sleep(0.01)


def tell(
    story: Callable[[Branch], Awaitable[None]], faults: BankFaults | None = None, **settings: Any
) -> None:
    async def main() -> None:
        options = BankOptions(
            kind=KIND,  # type: ignore[arg-type]
            network="0601" if KIND == "binary_host" else "0001",
            zpk=ZPK.hex(),
            zak=ZAK.hex(),
            zmk=ZMK.hex(),
            cards=(CARDS,),
            faults=faults or BankFaults(),
        )
        bank = bank_of(options, TODAY, random.Random(3))
        server = BankServer(bank)
        listening = await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        branch = Branch(
            bank, server, make_link(host="127.0.0.1", port=port, **(KINDS[KIND] | settings))
        )
        await branch.iso.start()
        try:
            await branch.until(lambda: len(branch.iso._pool.ready) == 2)
            await story(branch)
        finally:
            await branch.iso.stop()
            server.close()
            listening.close()

    with capture_logs():
        asyncio.run(main())


def one_fault(name: str) -> BankFaults:
    return msgspec.convert({name: 1.0, "late_s": 0.5}, BankFaults)


def item_for(branch: Branch, row: RequestRow, attempt: AttemptRow, tries: int = 0) -> QueueItem:
    numbers = branch.iso.numbers()
    assert numbers is not None
    queued = QueueRow(
        900, branch.link.acquirer, "reversal", row.request_id, TODAY, row.request_id, 1, *numbers
    )
    unknown = original(
        request=row, attempts=(attempt,), outcome=outcome(OutcomeState.UNKNOWN), captured_minor=0
    )
    return QueueItem(queued, unknown, "68", tries, 0.0)


def test_purchase_reversal_and_its_repeat() -> None:
    async def story(branch: Branch) -> None:
        card = CARDS.card(1)
        row, attempt = branch.rows()
        answer = await answer_to(branch.iso, branch.purchase(card, row, attempt), attempt, FAR_NS)
        assert (answer.kind, answer.amount_minor) == (AnswerKind.APPROVED, row.amount_minor)
        assert answer.auth_code
        assert branch.bank.accounts.taken_minor == row.amount_minor

        item = item_for(branch, row, attempt)
        for repeat in (False, True):
            message = build_reversal(
                item, card.pan, card.expiry, MERCHANT, branch.link, repeat=repeat
            )
            delivery = await branch.iso.deliver(message, item.original, 0.0, FAR_NS)
            assert delivery.answer.response_code == "00"
        assert branch.bank.accounts.taken_minor == 0

    tell(story)


def test_pin_under_the_zone_key() -> None:
    async def story(branch: Branch) -> None:
        card = CARDS.card(2)
        wrong = "0000" if card.pin != "0000" else "1111"
        for pin, code in ((card.pin, "00"), (wrong, "55")):
            row, attempt = branch.rows()
            message = branch.purchase(card, row, attempt, pin)
            answer = await answer_to(branch.iso, message, attempt, FAR_NS)
            assert answer.response_code == code

    tell(story)


@pytest.mark.parametrize("fault", ["silent", "lost", "wrong_mac", "drop"])
def test_no_answer_that_counts_is_unknown(fault: str) -> None:
    async def story(branch: Branch) -> None:
        row, attempt = branch.rows()
        with pytest.raises(NoAnswerError):
            await answer_to(
                branch.iso, branch.purchase(CARDS.card(1), row, attempt), attempt, FAR_NS
            )
        assert [reason for _, _, reason in branch.late] == (["mac"] if fault == "wrong_mac" else [])
        processed = 0 if fault == "lost" else row.amount_minor
        assert branch.bank.accounts.taken_minor == processed

    # a wrong answer has to come within it
    tell(story, one_fault(fault), timeout_s=3.0 if fault == "wrong_mac" else 0.3)


def test_an_answer_on_another_connection_is_matched() -> None:
    async def story(branch: Branch) -> None:
        for _ in range(4):
            row, attempt = branch.rows()
            answer = await answer_to(
                branch.iso, branch.purchase(CARDS.card(1), row, attempt), attempt, FAR_NS
            )
            assert answer.response_code == "00"

    tell(story, BankFaults(elsewhere=1.0))


@pytest.mark.parametrize(("fault", "reason"), [("late", "late"), ("twice", "late")])
def test_late_and_double_answers_are_handed_over(fault: str, reason: str) -> None:
    async def story(branch: Branch) -> None:
        row, attempt = branch.rows()
        message = branch.purchase(CARDS.card(1), row, attempt)
        if fault == "late":
            with pytest.raises(NoAnswerError):
                await answer_to(branch.iso, message, attempt, FAR_NS)
        else:
            await answer_to(branch.iso, message, attempt, FAR_NS)
        await branch.until(lambda: bool(branch.late))
        assert [told[2] for told in branch.late] == [reason]
        assert (branch.late[0][0] is None) is (fault == "twice")

    tell(story, one_fault(fault), timeout_s=0.3 if fault == "late" else 60.0)


def test_the_bank_changes_its_keys_and_its_day() -> None:
    async def story(branch: Branch) -> None:
        new = with_odd_parity(random_bytes(16))
        branch.server.broadcast(branch.bank.new_key("ZAK", new))
        await branch.until(lambda: branch.iso.counters.key_changes == 1)
        branch.server.cut_over(TODAY + dt.timedelta(days=1))
        await branch.until(lambda: branch.iso.counters.cutovers == 2)
        row, attempt = branch.rows()
        answer = await answer_to(
            branch.iso, branch.purchase(CARDS.card(1), row, attempt), attempt, FAR_NS
        )
        assert answer.response_code == "00"
        # the bank was told the date as MMDD; the year is the one nearest to our clock
        assert answer.settlement_date is not None
        assert f"{answer.settlement_date:%m%d}" == "0305"

    tell(story)


def test_many_at_once_each_gets_its_own() -> None:
    async def story(branch: Branch) -> None:
        async def one(amount_minor: int) -> tuple[int, int | None]:
            row, attempt = branch.rows()
            row = msgspec.structs.replace(row, amount_minor=amount_minor)
            message = branch.purchase(CARDS.card(1 + amount_minor % 5), row, attempt)
            answer = await answer_to(branch.iso, message, attempt, FAR_NS)
            return amount_minor, answer.amount_minor

        pairs = await asyncio.gather(*(one(1 + number) for number in range(300)))
        assert all(asked == told for asked, told in pairs)
        assert branch.bank.accounts.taken_minor == sum(range(1, 301))

    tell(story)


@pytest.mark.parametrize("form", ["tr31", "hex"])
@pytest.mark.parametrize("usage", [KeyUsage.ZPK, KeyUsage.ZAK])
def test_we_send_the_bank_a_key(usage: KeyUsage, form: str) -> None:
    """Twice, as after a lost 0810; then both sides use it, and the former one is good as well."""
    if (KIND, form) == ("binary_host", "tr31"):
        pytest.skip("its DE 96 has room for sixteen bytes")

    async def story(branch: Branch) -> None:
        made = branch.vault.generate_key(usage, 16)
        zmk = next(key for key in branch.stored if key.usage == "ZMK")
        exported = branch.vault.export_key(made.block, zmk.block)
        hexed = exported.ecb_hex + exported.check_value
        assert branch.iso.key_form == ("hex" if KIND == "binary_host" else "tr31")
        hex_only = KIND == "binary_host" or form == "hex"
        content = usage.value + (hexed if hex_only else exported.key_block)
        waits = StoredKey(
            owner=f"link:{branch.link.acquirer}", usage=usage.value, version=2, block=made.block,
            check_value=made.check_value, lmk_id=made.lmk_id, status="pending",
        )  # fmt: skip
        branch.stored.append(waits)
        for _ in range(2):
            assert await branch.iso.change_key(content) == "00"
        card = CARDS.card(1)
        for in_force in (False, True):
            if in_force:
                branch.stored[-1] = msgspec.structs.replace(waits, status="active")
            row, attempt = branch.rows()
            message = branch.purchase(card, row, attempt, card.pin)
            if in_force and usage is KeyUsage.ZPK:
                clear = tdes_ecb_decrypt(ZPK, cast("bytes", message[52]))
                message[52] = tdes_ecb_encrypt(branch.bank._keys["ZPK"][0], clear)
            answer = await answer_to(branch.iso, message, attempt, FAR_NS)
            assert answer.response_code == "00"

    tell(story)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("ZPK" + "00" * 19, "96"),
        ("ZAK" + "B0096M3TC00S0000" + "0" * 80, "96"),
        ("ZXX" + "00" * 19, "40"),
    ],
)
def test_a_key_that_is_not_good_is_refused(content: str, code: str) -> None:
    if KIND == "binary_host" and content != "ZPK" + "00" * 19:
        pytest.skip("it has no place for such a thing: `test_form_codec` shows that nothing leaves")

    async def story(branch: Branch) -> None:
        if KIND == "reference":
            assert await branch.iso.change_key(content) == code
        else:
            assert await branch.iso.change_key("ZPK" + "00" * 19) == "96"
        row, attempt = branch.rows()
        message = branch.purchase(CARDS.card(1), row, attempt)
        assert (await answer_to(branch.iso, message, attempt, FAR_NS)).response_code == "00"

    tell(story)
