"""Sign-on, settlement and upload (rules §9, §10, §19), on the in-memory store.

Goal: each rule by its own message; what is refused and why stands in the answer's code and in the rule's
name. Method: real bytes through reception and `Management`, a real vault with a seed, the store of the
simulation; captured purchases are put into it as the engine would.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from hsm import mac, working_keys
from hsm.adapters.local import LocalHsm
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK, Lmk
from hsm.local import LocalVault
from iso8583.codec import codec_for
from switch import answers, data_keys, reception
from switch.access import AccessCache
from switch.adapters.memory import MemoryStore
from switch.config import Batch, Config, Engine, Rules
from switch.downloads import Downloads
from switch.intake import Refusal
from switch.journal import AttemptRow, Commit, Key, OutcomeRow, OutcomeState, RequestRow
from switch.load import WATCHERS, Load
from switch.management import Management
from switch.reception import RefusedError, UnreadableError, Verified
from switch.store_ports import UPLOAD_ITEMS_MAX, BatchItem, BatchTotals
from switch.virtual.loop import run_virtual
from terminals.registry import StoredKey
from tests.hsm.support import make_vault, odd, seeded, stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from iso8583.message import Message

NOW = dt.datetime(2026, 3, 4, 4, 0, tzinfo=dt.UTC)
LOCAL = "0304120000"
MERCHANT, TERMINAL = "M00000000000001", "T0000001"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
TMK = odd(5, 16)
NOTHING = "0" * 62


class Clock:
    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> dt.datetime:
        return self.instant

    def monotonic_ns(self) -> int:
        return int((self.instant - NOW).total_seconds() * 1e9)


class Silent:
    """`engine.Log`, as far as downloads use it."""

    def downloaded(self, topic: str, act: str) -> None: ...

    def failed(self, error: BaseException) -> None:
        raise error


class Desk:
    """A process's management with one merchant, one terminal and its profile."""

    def __init__(self, *, terminal: dict[str, Any] | None = None, **profile: Any) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock, business_date=dt.date(2026, 3, 4))
        self.vault = make_vault()
        self.terminal = {"merchant": MERCHANT, "terminal": TERMINAL, "profile": "make"}
        self.terminal |= terminal or {}
        self.profile = {"name": "make", **profile}
        self.sources: dict[str, str] = {}

    async def open(self, config: Config | None = None, *, tmk: bool = True) -> Desk:
        config = config or Config()
        reference = self.store.reference
        await data_keys.ensure(reference, self.vault)
        if tmk:
            await reference.add_key(
                StoredKey(
                    owner=f"terminal:{MERCHANT}/{TERMINAL}",
                    usage="TMK",
                    version=0,
                    block=stored(self.vault, KeyUsage.TMK, TMK),
                    check_value="",
                    lmk_id=self.vault.lmk_id,
                )
            )
        await reference.apply(
            [
                ("merchant", MERCHANT, {"merchant": MERCHANT, "name": "Shop"}),
                ("profile", "make", self.profile),
                ("terminal", f"{MERCHANT}/{TERMINAL}", self.terminal),
            ],
            maker="test",
        )
        self.snapshot = await reference.snapshot()
        self.pans = data_keys.open_pans(TEST_LMK, self.snapshot)
        self.cache = AccessCache(self.store.batches, 100, config.rules.old_keys_s)
        self.load = Load(config.engine.in_flight, config.engine.wait_s)
        log: Any = Silent()
        self.management = Management(
            config,
            self.store.batches,
            self.cache,
            LocalHsm(self.vault),
            self.pans,
            self.clock,
            lambda: 0.3,
            self.load,
            Downloads(config.downloads, self.store.downloads, self.pans, self.clock, log),
        )
        return self

    @property
    def dialect(self) -> str:
        return str(self.profile.get("dialect", "unionpay_pos"))

    async def ask(self, message: Message, source: str = HERE) -> tuple[Message, str]:
        body = codec_for(self.dialect).encode(message)
        received = reception.receive(body, "unionpay_pos", self.snapshot)
        answer, rule = await self.management.answer(received, self.snapshot, source, LOCAL)
        assert {0, 11, 12, 13, 37, 41, 42} <= set(answer)
        codec_for(self.dialect).encode(answer)
        return answer, rule

    async def verify(
        self, received: reception.Received, hsm: LocalHsm | None = None
    ) -> Verified | Refusal:
        hsm = hsm or LocalHsm(self.vault)
        verdict = reception.verify(received, self.cache, hsm, lambda: NOW)
        return verdict if isinstance(verdict, Verified) else await verdict

    async def code(self, message: Message, source: str = HERE) -> tuple[str, str]:
        answer, rule = await self.ask(message, source)
        return str(answer.get(39, "")), rule

    async def signed_on(self, layout: str = "003") -> tuple[int, working_keys.ClearWorkingKeys]:
        answer, rule = await self.ask(sign_on(layout))
        assert (answer[39], rule) == ("00", "sign_on")
        sealed = answer[62]
        assert isinstance(sealed, bytes)
        cmac = self.profile.get("mac_profile") == "cmac"
        length = 8 if layout == "001" else int(self.profile.get("mak_bytes", 16))
        algorithm = Algorithm.AES if cmac else None
        keys = working_keys.open_de62(TMK, layout, sealed, length, algorithm)
        return int(str(answer[60])[2:8]), keys

    async def shown(self, batch: int = 1, source: str = HERE) -> None:
        """A verified message came from there."""
        await self.store.batches.note_source(MERCHANT, TERMINAL, batch, source)

    async def captured(self, stan: int, amount_minor: int, batch: int = 1) -> None:
        """A purchase of the batch, approved."""
        request = self.request(stan, amount_minor, batch)
        attempt = AttemptRow(request.request_id, 1, "bank_a", f"{stan:06}", LOCAL, "1", "", "r@1")
        await self.store.journal.commit(Commit(request=request, attempt=attempt))
        outcome = OutcomeRow(
            request_id=request.request_id,
            state=OutcomeState.APPROVED,
            response_code="00",
            decided_at=NOW,
            rule="acquirer",
            request_date=dt.date(2026, 3, 4),
            attempt=1,
            approved_amount_minor=amount_minor,
            effect_minor=amount_minor,
        )
        await self.store.journal.commit(Commit(outcome=outcome))

    def request(self, stan: int, amount_minor: int, batch: int = 1) -> RequestRow:
        return RequestRow(
            request_id=stan,
            owner_id=1,
            generation=self.snapshot.generation,
            key=Key(MERCHANT, TERMINAL, batch, stan, "020.00"),
            content=b"content",
            type="purchase",
            mti="0200",
            processing_code="000000",
            amount_minor=amount_minor,
            currency="156",
            rrn=f"{stan:012}",
            received_at=NOW,
            local_time=LOCAL,
            session_id=1,
        )

    async def state(self, batch: int = 1) -> str:
        found = await self.store.batches.get(MERCHANT, TERMINAL, batch)
        assert found is not None
        return found.state


def asks(mti: str, private: str, **elements: Any) -> Message:
    message: Message = {0: mti, 11: "000001", 41: TERMINAL, 42: MERCHANT, 60: private}
    return message | {int(name[2:]): value for name, value in elements.items()}


def sign_on(layout: str = "003", serial: bytes = b"Sequence No0812345678") -> Message:
    return asks("0800", f"00000001{layout}", de62=serial)


def settle(batch: int = 1, de48: str = NOTHING, **elements: Any) -> Message:
    return asks("0500", f"00{batch:06}201", de48=de48, de49="156", **elements)


def upload(batch: int = 1, code: str = "201", **elements: Any) -> Message:
    return asks("0320", f"00{batch:06}{code}", **elements)


def totals(debit_minor: int, count: int) -> str:
    return f"{debit_minor:012}{count:03}{0:015}0".ljust(62, "0")


def item_of(stan: int, amount_minor: int) -> str:
    return f"00{stan:06}{'6220000000000001':0>20}{amount_minor:012}"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    run_virtual(main())


# -- sign-on ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "profile", "length"),
    [
        ("003", {}, 40),
        ("004", {}, 60),
        ("001", {"key_layouts": ["001", "003"]}, 24),
        ("001", {"key_layouts": ["001"], "mak_bytes": 8}, 24),
        ("003", {"mak_bytes": 8}, 40),
        ("003", {"mac_profile": "cmac"}, 40),
        ("003", {"mac_profile": "off"}, 40),
        ("003", {"batch_in_message": False}, 40),
        ("003", {"batch_in_message": False, "dialect": "unionpay_pos.de60_text"}, 40),
    ],
)
def test_sign_on_gives_keys_that_open_and_the_batch(
    layout: str, profile: dict[str, Any], length: int
) -> None:
    async def scenario() -> None:
        desk = await Desk(**profile).open()
        answer, _ = await desk.ask(sign_on(layout))
        assert (answer[0], answer[39], answer[60]) == ("0810", "00", f"00000001{layout}")
        assert len(answer[62]) == length
        assert 64 not in answer
        (session,) = await desk.store.batches.sessions(MERCHANT, TERMINAL)
        assert (session.layout, session.confirmed) == (layout, False)
        batch, keys = await desk.signed_on(layout)
        assert batch == 1  # the open one again
        if profile.get("mac_profile") != "off":
            name = profile.get("mac_profile", "unionpay-ecb")
            newest = (await desk.store.batches.sessions(MERCHANT, TERMINAL))[0]
            assert desk.vault.mac(newest.mak, name, b"covered") == mac.compute(
                name, keys.mak, b"covered"
            )

    run(scenario)


@pytest.mark.parametrize(
    ("profile", "terminal", "message", "told"),
    [
        ({}, {}, sign_on("001"), ("40", "sign_on.layout_not_of_profile")),
        ({"key_layouts": ["004"]}, {}, sign_on(), ("40", "sign_on.layout_not_of_profile")),
        (
            {"key_layouts": ["001"], "mac_profile": "x9.19"},
            {},
            sign_on("001"),
            ("40", "sign_on.mak_not_of_mac_profile"),
        ),
        (
            {"mak_bytes": 8},
            {"mac_profile": "cmac"},
            sign_on(),
            ("40", "sign_on.mak_not_of_mac_profile"),
        ),
        ({}, {"serial": "SN-1"}, sign_on(), ("58", "sign_on.serial_differs")),
        ({}, {"serial": "SN-1"}, asks("0800", "00000001003"), ("58", "sign_on.serial_differs")),
        ({}, {"status": "suspended"}, sign_on(), ("58", "terminal.not_active")),
        ({}, {}, asks("0800", "00000001360"), ("77", "download.not_signed_on")),
        ({}, {}, asks("0820", "00000001370"), ("40", "type.082.370")),
        ({}, {}, asks("0500", "00000001202"), ("40", "type.050.202")),
        ({}, {}, asks("0300", "00000001201"), ("40", "type.030.201")),
        ({}, {}, asks("0820", "00000001002"), ("00", "management.002")),
        ({}, {}, asks("0820", "00000001301"), ("00", "management.301")),
    ],
)
def test_what_is_refused_and_what_needs_no_session(
    profile: dict[str, Any], terminal: dict[str, Any], message: Message, told: tuple[str, str]
) -> None:
    async def scenario() -> None:
        desk = await Desk(terminal=terminal, **profile).open()
        assert await desk.code(message) == told
        assert await desk.store.batches.sessions(MERCHANT, TERMINAL) == []

    run(scenario)


def test_a_registered_serial_signs_on() -> None:
    async def scenario() -> None:
        desk = await Desk(terminal={"serial": "12345678"}).open()
        assert await desk.code(sign_on()) == ("00", "sign_on")

    run(scenario)


def test_a_terminal_without_a_master_key_is_unknown() -> None:
    async def scenario() -> None:
        desk = await Desk().open(tmk=False)
        assert await desk.code(sign_on()) == ("97", "sign_on.no_master_key")

    run(scenario)


def test_sign_ons_are_limited_in_rate() -> None:
    async def scenario() -> None:
        desk = await Desk().open(Config(rules=Rules(sign_ons=3, sign_on_window_s=1)))
        codes = [(await desk.code(sign_on()))[0] for _ in range(5)]
        assert codes == ["00", "00", "00", "65", "65"]
        await asyncio.sleep(1.1)
        assert await desk.code(sign_on()) == ("00", "sign_on")

    run(scenario)


# -- settlement ---------------------------------------------------------------------------------


def test_a_balanced_settlement_closes_the_batch_and_its_repeat_gets_the_same() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        await desk.captured(7, 10_00)
        await desk.shown()
        message = settle(de48=totals(10_00, 1), de63="01 ")
        answer, rule = await desk.ask(message)
        assert (answer[0], answer[39], answer[63], rule) == ("0510", "00", "01 ", "settle.11")
        assert str(answer[48])[30] + str(answer[48])[61] == "11"
        assert str(answer[48])[:30] == totals(10_00, 1)[:30]
        assert await desk.state() == "closed"
        assert (await desk.ask(message))[0] == answer
        other = await desk.ask(settle(de48=totals(5, 1), de63="01 "))
        assert other[0][48] == answer[48]  # what was said first stands
        batch, _ = await desk.signed_on()
        assert batch == 2

    run(scenario)


def test_a_settlement_that_does_not_balance_is_uploaded_and_compared() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        for stan in (7, 8):
            await desk.captured(stan, 10_00)
        await desk.shown()
        answer, rule = await desk.ask(settle(de48=totals(20_00, 2)[:30] + "0" + totals(5, 1)[:31]))
        assert rule == "settle.12"
        assert str(answer[48])[30] + str(answer[48])[61] == "12"
        assert await desk.state() == "uploading"
        assert (await desk.signed_on())[0] == 1  # still the same batch
        items = upload(de48="02" + item_of(7, 10_00) + item_of(9, 3_00))
        answer, rule = await desk.ask(items)
        assert (answer[39], answer[48], rule) == ("00", items[48], "upload.201")
        assert await desk.code(items) == ("00", "upload.201")  # again: nothing new
        single = upload(de2="6220000000000001", de4="000000001000", de11="000008", de49="156")
        assert await desk.code(single) == ("00", "upload.201")
        batch = await desk.store.batches.get(MERCHANT, TERMINAL, 1)
        assert batch is not None
        assert [(one.stan, one.amount_minor) for one in batch.uploaded] == [
            (7, 10_00), (8, 10_00), (9, 3_00),
        ]  # fmt: skip
        assert await desk.code(upload(code="202", de48="0003")) == ("00", "upload.202")
        assert await desk.code(upload(code="202", de48="0003")) == ("00", "upload.202")
        assert await desk.state() == "closed"
        assert [case.kind for case in desk.store.cases.values()] == ["batch_long"]
        late = upload(de48="01" + item_of(10, 1_00))
        assert await desk.code(late) == ("00", "upload.201")  # evidence, and changes nothing
        assert (await desk.signed_on())[0] == 2

    run(scenario)


def test_a_settlement_waits_for_what_is_in_flight_within_the_longest_timer() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        await desk.shown()
        request = desk.request(7, 10_00)
        attempt = AttemptRow(7, 1, "bank_a", "000007", LOCAL, "1", "", "r@1")
        await desk.store.journal.commit(Commit(request=request, attempt=attempt))
        waiting = asyncio.ensure_future(desk.code(settle()))
        await asyncio.sleep(0.05)
        assert (desk.load.inside, desk.load.watchers) == (-1, 1)  # this one never came, and is away
        assert await waiting == ("96", "settle.requests_in_flight")
        assert (desk.load.inside, desk.load.watchers) == (0, 0)
        assert await desk.state() == "frozen"
        with ExitStack() as others:  # at the bound it does not wait at all
            for _ in range(Engine().in_flight // WATCHERS):
                others.enter_context(desk.load.watching())
            before_s = asyncio.get_running_loop().time()
            assert await desk.code(settle()) == ("96", "settle.requests_in_flight")
            assert asyncio.get_running_loop().time() - before_s < 0.1
        assert await desk.code(upload(code="202")) == ("12", "upload.not_settled")
        outcome = OutcomeRow(7, OutcomeState.DECLINED, "51", NOW, "acquirer", dt.date(2026, 3, 4))
        waiting = asyncio.create_task(desk.code(settle()))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await desk.store.journal.commit(Commit(outcome=outcome))
        assert await waiting == ("00", "settle.11")

    run(scenario)


def test_0510_without_de_39_where_the_profile_says_so() -> None:
    async def scenario() -> None:
        desk = await Desk(settlement_response_code=False).open()
        await desk.signed_on()
        await desk.shown()
        answer, _ = await desk.ask(settle())
        assert 39 not in answer
        assert str(answer[48])[30] == "1"

    run(scenario)


def test_a_profile_without_batch_settles_the_newest() -> None:
    async def scenario() -> None:
        desk = await Desk(batch_in_message=False).open()
        await desk.signed_on()
        await desk.shown()
        assert await desk.code(settle(batch=999_999)) == ("00", "settle.11")
        await desk.signed_on()
        await desk.shown(2)
        assert await desk.code(settle(batch=0)) == ("00", "settle.11")
        assert await desk.state(2) == "closed"

    run(scenario)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (settle(de48="123"), ("30", "settle.de48")),
        (settle(batch=2), ("77", "settle.batch")),
        (upload(batch=2), ("77", "upload.batch")),
        (upload(de48="0" * 10), ("12", "upload.not_settled")),
    ],
)
def test_settlements_and_uploads_that_are_refused(message: Message, told: tuple[str, str]) -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        await desk.shown()
        assert await desk.code(message) == told
        assert await desk.state() == "open"

    run(scenario)


@pytest.mark.parametrize("de48", ["05" + item_of(1, 1), "99" + "1" * 40, "01" + "1" * 39])
def test_items_that_do_not_fit_are_30(de48: str) -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        await desk.shown()
        await desk.ask(settle(de48=totals(1, 1)))
        code, rule = await desk.code(upload(de48=de48))
        assert (code, rule[:11]) == ("30", "upload.form")

    run(scenario)


def test_items_as_text_that_are_no_digits_are_30() -> None:
    async def scenario() -> None:
        desk = await Desk(dialect="unionpay_pos.de48_text").open()
        await desk.signed_on()
        await desk.shown()
        await desk.ask(settle(de48=totals(1, 1)))
        code, rule = await desk.code(upload(de48="X1" + item_of(1, 1)))
        assert (code, rule[:11]) == ("30", "upload.form")

    run(scenario)


def test_an_upload_has_a_bound() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        await desk.shown()
        await desk.ask(settle(de48=totals(20_00, 2)))
        items = [BatchItem(stan, 1) for stan in range(UPLOAD_ITEMS_MAX)]
        await desk.store.batches.upload(MERCHANT, TERMINAL, 1, items)
        again = upload(de48="01" + item_of(7, 1))
        assert await desk.code(again) == ("00", "upload.201")
        more = upload(de48="01" + item_of(999_999, 1))
        assert await desk.code(more) == ("30", "upload.too_many")

    run(scenario)


def test_an_upload_that_never_ends_is_compared_as_it_is() -> None:
    async def scenario() -> None:
        desk = await Desk().open(Config(batch=Batch(upload_s=60)))
        await desk.signed_on()
        await desk.captured(7, 10_00)
        await desk.shown()
        await desk.ask(settle())
        await desk.management.expire_uploads()
        assert await desk.state() == "uploading"
        desk.clock.instant += dt.timedelta(seconds=61)
        await desk.management.expire_uploads()
        assert await desk.state() == "closed"
        assert [case.kind for case in desk.store.cases.values()] == ["batch_short"]

    run(scenario)


# -- who may send what carries no MAC -----------------------------------------------------------


def test_session_asks_for_a_verified_message_from_the_same_address_in_this_batch() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        await desk.signed_on()
        assert await desk.code(settle()) == ("77", "management.source_not_verified")
        await desk.shown(source=ELSEWHERE)
        assert await desk.code(settle()) == ("77", "management.source_not_verified")
        assert await desk.code(upload()) == ("77", "management.source_not_verified")
        await desk.shown()
        assert await desk.code(settle()) == ("00", "settle.11")
        await desk.signed_on()
        assert await desk.code(settle(2)) == ("77", "management.source_not_verified")

    run(scenario)


def test_open_asks_for_nothing() -> None:
    async def scenario() -> None:
        desk = await Desk(management_check="open").open()
        await desk.signed_on()
        assert await desk.code(settle()) == ("00", "settle.11")

    run(scenario)


def test_mac_asks_for_de_64() -> None:
    async def scenario() -> None:
        desk = await Desk(management_check="mac").open()
        _, keys = await desk.signed_on()
        assert await desk.code(settle()) == ("77", "management.mac")
        message = settle() | {64: bytes(8)}
        covered = codec_for("unionpay_pos").encode(message)[:-8]
        message[64] = mac.compute("unionpay-ecb", keys.mak, covered)
        assert await desk.code(message) == ("00", "settle.11")

    run(scenario)


# -- reception: who sent it, under which keys ---------------------------------------------------


def test_without_macs_a_session_is_read_again_for_every_message() -> None:
    """Another worker may have signed the terminal on, or closed its batch."""

    async def scenario() -> None:
        desk = await Desk(mac_profile="off").open()
        await desk.signed_on()
        body = codec_for("unionpay_pos").encode(asks("0200", "22000001", de3="000000"))
        received = reception.receive(body, "unionpay_pos", desk.snapshot)
        seen = []
        for _ in range(2):
            verified = await desk.verify(received)
            assert isinstance(verified, Verified)
            assert verified.access.batch is not None
            seen.append(verified.access.batch.batch)
            await desk.store.batches.freeze(MERCHANT, TERMINAL, 1)
            await desk.store.batches.settle(MERCHANT, TERMINAL, 1, (BatchTotals(), BatchTotals()))
            again = msgspec.structs.replace(verified.session, session_id=0)
            await desk.store.batches.sign_on(again)
        assert seen == [1, 2]

    run(scenario)


def test_a_session_of_another_vault_is_a_wrong_mac_so_that_the_terminal_signs_on_again() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        _, keys = await desk.signed_on()
        message = asks("0200", "22000001", de3="000000", de64=bytes(8))
        covered = codec_for("unionpay_pos").encode(message)[:-8]
        body = covered + mac.compute("unionpay-ecb", keys.mak, covered)
        received = reception.receive(body, "unionpay_pos", desk.snapshot)
        other = LocalHsm(LocalVault(Lmk(bytes(range(32))), seeded(3)))
        with capture_logs() as told:
            verdict = await desk.verify(received, other)
        assert isinstance(verdict, Refusal)
        assert verdict.response_code == "A0"
        assert told[0]["event"] == "session_of_another_vault"

    run(scenario)


class SlowHsm:
    """The vault as a device on a network answers: what is asked of it has to be awaited."""

    def __init__(self, vault: LocalVault) -> None:
        self._vault = vault
        self.meanwhile: Callable[[], None] = lambda: None

    async def verify_mac(self, key: str, profile: str, data: bytes, code: bytes) -> bool:
        await asyncio.sleep(0)
        self.meanwhile()
        return self._vault.verify_mac(key, profile, data, code)


def test_a_vault_that_takes_its_time_verifies_the_same() -> None:
    """Right, wrong, of another vault, and right under keys that were replaced meanwhile."""

    async def scenario() -> None:
        desk = await Desk().open()
        _, keys = await desk.signed_on()
        message = asks("0200", "22000001", de3="000000", de64=bytes(8))
        covered = codec_for("unionpay_pos").encode(message)[:-8]
        right = covered + mac.compute("unionpay-ecb", keys.mak, covered)
        slow, other = SlowHsm(desk.vault), SlowHsm(LocalVault(Lmk(bytes(range(32))), seeded(3)))

        async def judged(body: bytes, hsm: SlowHsm) -> Verified | Refusal:
            received = reception.receive(body, "unionpay_pos", desk.snapshot)
            return await desk.verify(received, cast("Any", hsm))

        for remembered in (False, True):
            assert (desk.cache.get(MERCHANT, TERMINAL) is not None) is remembered
            assert isinstance(await judged(right, slow), Verified)
        assert await judged(covered + bytes(8), slow) == Refusal("A0", "session.mac")
        with capture_logs() as told:
            assert await judged(right, other) == Refusal("A0", "session.mac")
        assert {each["event"] for each in told} == {"session_of_another_vault"}

        known = desk.cache.get(MERCHANT, TERMINAL)
        assert known is not None
        newer = msgspec.structs.replace(known.sessions[0])
        slow.meanwhile = lambda: known.sessions.insert(0, newer)
        verified = await judged(right, slow)
        assert isinstance(verified, Verified)
        assert verified.access is not known

    run(scenario)


def test_the_keys_in_use_outlive_sign_ons_of_others_but_not_their_own_successor() -> None:
    async def scenario() -> None:
        desk = await Desk().open()
        _, keys = await desk.signed_on()
        (first,) = await desk.store.batches.sessions(MERCHANT, TERMINAL)
        await desk.store.batches.confirm_session(first.session_id)
        sets = [await desk.signed_on() for _ in range(5)]
        newest = sets[-1][1]

        async def judged(mak: bytes) -> str:
            message = asks("0200", "22000001", de3="000000", de64=bytes(8))
            covered = codec_for("unionpay_pos").encode(message)[:-8]
            body = covered + mac.compute("unionpay-ecb", mak, covered)
            received = reception.receive(body, "unionpay_pos", desk.snapshot)
            verdict = await desk.verify(received)
            return verdict.response_code if isinstance(verdict, Refusal) else "00"

        assert await judged(keys.mak) == "00"
        assert await judged(newest.mak) == "00"
        current, _ = await desk.store.batches.sessions(MERCHANT, TERMINAL)
        await desk.store.batches.confirm_session(current.session_id)
        assert await judged(newest.mak) == "00"
        assert await judged(keys.mak) == "A0"

    run(scenario)


def test_a_terminal_is_found_though_its_dialect_differs_before_de_41() -> None:
    async def scenario() -> None:
        desk = await Desk(dialect="unionpay_pos.de22_right").open()
        body = codec_for("unionpay_pos.de22_right").encode(
            asks("0200", "22000001", de3="000000", de22="012", de25="00")
        )
        received = reception.receive(body, "unionpay_pos", desk.snapshot)
        assert (received.terminal_id, received.message[22]) == (TERMINAL, "012")
        with pytest.raises((UnreadableError, RefusedError)):
            reception.receive(body.replace(b"T0000001", b"T9999999"), "unionpay_pos", desk.snapshot)

    run(scenario)


def test_a_message_that_its_terminals_own_dialect_does_not_read_can_be_answered() -> None:
    """It speaks the listener's, which its registration does not say: its own stops before DE 42."""

    async def scenario() -> None:
        desk = await Desk(dialect="unionpay_pos.de35_cipher_de60_long").open()
        body = codec_for("unionpay_pos").encode(
            asks("0200", "22000001", de3="000000", de35="6222021234567890128=30121010000000000")
        )
        with pytest.raises(RefusedError) as refused:
            reception.receive(body, "unionpay_pos", desk.snapshot)
        assert refused.value.response_code == "30"
        answer = answers.echo(refused.value.message, "30", "000000000000", "1127153000")
        assert (answer[0], answer[41], answer[42]) == ("0210", TERMINAL, MERCHANT)

    run(scenario)


def test_a_dialect_that_this_node_does_not_have_stops_nobody_else() -> None:
    """Its file is missing here: its terminals are refused, others are looked for as ever."""

    async def scenario() -> None:
        desk = await Desk(dialect="acme_pos").open()
        assert "acme_pos" in desk.snapshot.dialects
        body = codec_for("unionpay_pos.de22_right").encode(
            asks("0200", "22000001", de3="000000", de22="012", de25="00")
        )
        with pytest.raises(RefusedError) as refused:
            reception.receive(body, "unionpay_pos", desk.snapshot)
        assert (refused.value.response_code, refused.value.rule) == (
            "96",
            "dialect.unknown: acme_pos",
        )
        with pytest.raises((UnreadableError, RefusedError), match=r"DE 22|form"):
            reception.receive(body.replace(b"T0000001", b"T9999999"), "unionpay_pos", desk.snapshot)

    run(scenario)


def test_a_terminal_in_test_state_is_told_by_its_header() -> None:
    reception.check_header(bytes.fromhex("603101310000"))
    with pytest.raises(UnreadableError):
        reception.check_header(bytes.fromhex("603110310000"))  # the fifth digit
