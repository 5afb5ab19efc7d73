"""The day's end takes in what a link expects: every type, packed or not, whole or not at all."""

import asyncio
import gzip
import hashlib
from collections.abc import Callable
from datetime import date

import msgspec
import pytest

from settlement.adapters.memory import MemoryStore
from settlement.clearing import IncomingFile, Reference
from settlement.close import CloseResult
from settlement.expected_files import expected_from, members, missing
from settlement.fees import Tariffs
from settlement.files import erra
from settlement.files.layout import FileError
from settlement.files.registry import expected_of
from tests.settlement.files.samples import FILES, NAMES, erra_row
from tests.settlement.files.test_packed import tar
from tests.settlement.world import (
    ACQUIRER,
    DAY,
    DE32,
    FAST,
    NEXT,
    REFERENCES,
    Dates,
    Inbox,
    billed,
    com_file,
    inbox,
    reference,
    run_close,
    trade,
    world,
)

COM_NAME, COM = com_file([billed(trade(1))])
ERRA_NAME, ERRA = NAMES["ERRA"], FILES["ERRA"]
CASES = 1  # the samples' error rows meet no transaction of ours: each becomes a case
EXPECTED = {"COM": {}, "ERRA": {}, "ZPSUM": {"optional": True}}


def links(clearing: object) -> list[Reference]:
    link = {"acquirer": ACQUIRER, "de32": DE32, "clearing": clearing}
    return [reference("link", "bank-a-1", link), *REFERENCES[1:]]


def close_with(
    *runs: Inbox, approved: str = "", clearing: object = EXPECTED
) -> tuple[list[CloseResult], MemoryStore]:
    """One close after another on one store, each with an inbox of its own; `approved` in the last."""
    store = world([trade(1)], links(clearing))
    dates = Dates({DAY: "open"})

    async def scenario() -> list[CloseResult]:
        return [
            await run_close(store, one, dates=dates, approved=[approved] if one is runs[-1] else [])
            for one in runs
        ]

    return asyncio.run(scenario()), store


def adjustments(store: MemoryStore) -> list[int]:
    rows = asyncio.run(store.file_rows("adjustment", DAY, DAY))
    return [row.line for row in rows]


def test_a_required_type_is_waited_for_and_an_optional_one_is_not() -> None:
    without, complete = inbox((COM_NAME, COM)), inbox((ERRA_NAME, ERRA))
    (waits, done), store = close_with(without, complete)
    assert waits.exit_code == 3
    assert waits.message == f"no clearing file yet from {ACQUIRER} of {DAY} (ERRA)"
    assert done.exit_code == CASES, done.message
    assert adjustments(store) == [1, 2]
    assert not without.files
    assert not complete.files


def test_who_waits_is_told_of_files_that_nothing_expects() -> None:
    """The one that is waited for may lie there under another name, however odd."""
    odd = inbox((COM_NAME, COM), (f"{ERRA_NAME}X", ERRA), ("odd\udcff", b""))
    (waits,), _ = close_with(odd)
    assert waits.exit_code == 3
    assert waits.message.endswith(f" is called {ERRA_NAME}X, odd\\udcff")
    assert sorted(name for _, name in odd.files) == [f"{ERRA_NAME}X", "odd\udcff"]
    assert waits.to_json()


def test_an_empty_file_of_a_type_is_one() -> None:
    (done,), store = close_with(inbox((COM_NAME, COM), (ERRA_NAME, b"")))
    assert done.exit_code == 0
    assert adjustments(store) == []


def test_two_empty_files_are_two_files() -> None:
    store = world([], links(EXPECTED))
    result = asyncio.run(run_close(store, inbox((COM_NAME, b""), (ERRA_NAME, b""))))
    assert result.exit_code == 0
    assert [file.type for file in asyncio.run(store.files(ACQUIRER))] == ["COM", "ERRA"]


@pytest.mark.parametrize(
    "delivery",
    [
        ("day.tar.gz", tar({f"x/{COM_NAME}": COM, f"x/{ERRA_NAME}": ERRA})),
        ("day.tgz", tar({ERRA_NAME: ERRA, COM_NAME: COM})),
    ],
)
def test_an_archive_is_taken_in_file_by_file(delivery: tuple[str, bytes]) -> None:
    plain, packed = inbox((COM_NAME, COM), (ERRA_NAME, ERRA)), inbox(delivery)
    results, store = close_with(plain)
    assert (results[0].exit_code, adjustments(store)) == (CASES, [1, 2])
    (packed_result,), packed_store = close_with(packed)
    assert packed_result.to_json() == results[0].to_json()
    assert adjustments(packed_store) == [1, 2]
    assert not packed.files


def test_the_same_file_again_changes_nothing_packed_or_not() -> None:
    again = inbox((f"{ERRA_NAME}.gz", gzip.compress(ERRA)))
    (first, second), store = close_with(inbox((COM_NAME, COM), (ERRA_NAME, ERRA)), again)
    assert second.to_json() == first.to_json()
    assert adjustments(store) == [1, 2]
    assert not again.files


def test_an_archive_that_holds_anything_else_stays() -> None:
    mixed = inbox(("day.tar.gz", tar({ERRA_NAME: ERRA, "readme.txt": b"x"})), (COM_NAME, COM))
    (waits,), store = close_with(mixed)
    assert waits.exit_code == 3
    assert list(mixed.files) == [(ACQUIRER, "day.tar.gz")]
    assert adjustments(store) == []


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (ERRA_NAME, ERRA.replace(b"000000010000", b"0000000100O0", 1), "line 1, column 67"),
        (ERRA_NAME, ERRA[:400], "the file ends within a line"),
        (f"{ERRA_NAME}.gz", gzip.compress(ERRA, mtime=0)[:50], "gzip that was cut off"),
    ],
)
def test_a_bad_file_is_refused_whole_and_stays(name: str, data: bytes, told: str) -> None:
    bad = inbox((COM_NAME, COM), (name, data))
    (refused,), store = close_with(bad)
    assert refused.exit_code == 2
    assert told in refused.message
    assert adjustments(store) == []
    assert all(file.type != "ERRA" for file in asyncio.run(store.files(ACQUIRER)))
    assert bad.files[ACQUIRER, name] == data


def test_a_file_too_large_to_be_sealed_stays_and_says_what_to_do() -> None:
    files = inbox((COM_NAME, COM))
    settings = msgspec.structs.replace(FAST, file_max_mib=0)
    waits = asyncio.run(run_close(world([trade(1)]), files, settings=settings))
    assert waits.exit_code == 3
    assert "more than settlement.file_max_mib" in waits.message
    assert files.files[ACQUIRER, COM_NAME] == COM


def test_other_content_is_held_until_it_is_approved() -> None:
    other = erra.render([erra_row(stan=77)])
    sha256 = hashlib.sha256(other).hexdigest()
    runs = [inbox((ERRA_NAME, ERRA)), inbox((ERRA_NAME, other))]
    (_, held), store = close_with(*runs)
    assert held.exit_code == 3
    assert adjustments(store) == [1, 2]
    assert [one.sha256.hex() for one in asyncio.run(store.held(ACQUIRER))] == [sha256]
    runs = [inbox((ERRA_NAME, ERRA)), inbox((ERRA_NAME, other)), inbox((COM_NAME, COM))]
    (_, _, done), store = close_with(*runs, approved=sha256)
    assert done.exit_code == CASES, done.message
    assert adjustments(store) == [1]


def test_none_waits_for_nothing_and_leaves_the_inbox_alone() -> None:
    files = inbox((COM_NAME, COM))
    (done,), _ = close_with(files, clearing="none")
    assert done.exit_code in (0, 1)
    assert list(files.files) == [(ACQUIRER, COM_NAME)]


# -- pure -----------------------------------------------------------------------------------------


def incoming(type_: str, day: date) -> IncomingFile:
    return IncomingFile(ACQUIRER, NAMES[type_], type_, day, 1, 1, b"h" * 32, 0, DAY)


@pytest.mark.parametrize(
    ("there", "absent"),
    [
        ([], [f"bank-a of {DAY}", f"bank-a of {DAY} (ERRA)"]),
        ([incoming("COM", DAY)], [f"bank-a of {DAY} (ERRA)"]),
        ([incoming("COM", DAY), incoming("ERRA", NEXT)], [f"bank-a of {DAY} (ERRA)"]),
        ([incoming("COM", DAY), incoming("ERRA", DAY)], []),
    ],
)
def test_what_is_missing(there: list[IncomingFile], absent: list[str]) -> None:
    assert missing(ACQUIRER, [DAY], expected_of(EXPECTED), there) == absent


def test_without_a_word_a_link_expects_one_com() -> None:
    silent = reference("link", "bank-a-1", {"acquirer": ACQUIRER, "de32": DE32})
    assert list(expected_from(Tariffs([silent]), ACQUIRER)) == ["COM"]
    assert list(expected_from(Tariffs([]), "unknown")) == ["COM"]


@pytest.mark.parametrize("wrong", [lambda data: data[:-9], lambda _: b"noise"])
def test_a_delivery_that_can_not_be_unpacked_is_refused(wrong: Callable[[bytes], bytes]) -> None:
    with pytest.raises(FileError):
        members(ACQUIRER, "a.gz", wrong(gzip.compress(COM)), expected_of("com"))
