"""The command's body on real folders, and the bank simulator's file through our parser."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from settlement import ports
from settlement.adapters.files import DirectorySink
from settlement.casework.ports import Casework
from settlement.clearing import FileName
from settlement.cli import close_command
from settlement.files import com
from settlement.payouts.ports import Payouts
from settlement.ports import Store
from terminals.simulator.com_file import Row, render_row
from tests.settlement.test_close import a_day
from tests.settlement.world import (
    ACQUIRER,
    AT,
    DAY,
    FAST,
    PAN,
    PANS,
    Dates,
    casework_of,
    com_file,
    payouts_of,
    world,
)


def run(folder: Path, *, as_json: bool, chinese: bool = False) -> int:
    trades, rows = a_day()
    name, data = com_file(rows)
    (folder / "in" / ACQUIRER).mkdir(parents=True, exist_ok=True)
    (folder / "in" / ACQUIRER / name).write_bytes(data)

    @asynccontextmanager
    async def books() -> AsyncIterator[tuple[Store, Casework, Payouts, ports.Dates, ports.Pans]]:
        store, dates = world(trades), Dates({DAY: "open"})
        yield store, casework_of(store, dates), payouts_of(store), dates, PANS

    return close_command(
        DAY,
        folder / "in",
        folder / "out",
        folder / "books",
        books,
        at=AT,
        as_json=as_json,
        chinese=chinese,
        settings=FAST,
    )


def test_json_on_stdout_and_reports_in_their_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["exit_code"] == 1
    for output in told["files"]:
        written = (tmp_path / "out" / output["name"]).read_bytes()
        assert len(written) == output["size"]
        assert PAN.encode() not in written
    page = (tmp_path / "out" / DAY.isoformat() / "report.html").read_text()
    assert "<svg" in page
    assert "老茶馆" in page
    assert "<script" not in page
    assert list((tmp_path / "in" / ACQUIRER).iterdir()) == [], "a plaintext was left behind"
    assert not list((tmp_path / "out").rglob("*.part"))


def test_tables_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, as_json=False) == 1
    told = capsys.readouterr().out
    for words in ("Breaks", "Network long", "Trial balance", "Merchant nets"):
        assert words in told


def test_states_are_in_the_readers_language(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, as_json=False, chinese=True) == 1
    told = capsys.readouterr().out
    assert told.count("完成") == len(ports.STEPS)
    assert "done" not in told


def test_who_interrupts_is_told_what_it_leaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Dates, "freeze", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, as_json=False)
    assert "the same command goes on" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(tmp_path, as_json=False) == 1


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    folder = tmp_path / "2026-08-03"
    folder.mkdir()
    killed = subprocess.Popen(["true"])
    killed.wait()
    (folder / f".breaks.csv.{killed.pid}.part").write_bytes(b"half")
    (folder / ".breaks.csv.part").write_bytes(b"half")
    sink = DirectorySink(tmp_path)
    sink.write("2026-08-03/breaks.csv", b"whole")
    assert not (folder / "breaks.csv").exists()
    sink.sync()
    assert [path.name for path in folder.iterdir()] == ["breaks.csv"]
    with pytest.raises(AssertionError):
        DirectorySink(tmp_path).write("../breaks.csv", b"")


def test_what_another_process_is_writing_beside_stays(tmp_path: Path) -> None:
    """A reserve check while the same date's reports are written; two payout files at once."""
    ours = DirectorySink(tmp_path)
    ours.write("2026-08-03/breaks.csv", b"ours")
    theirs = tmp_path / "2026-08-03" / f".nets.csv.{os.getppid()}.part"
    theirs.write_bytes(b"theirs")
    other = DirectorySink(tmp_path)
    other.write("2026-08-03/reserve.csv", b"other")
    other.sync()
    ours.sync()
    names = {path.name for path in theirs.parent.iterdir()}
    assert names == {"breaks.csv", "reserve.csv", theirs.name}


def test_an_inbox_never_leaves_its_folder(tmp_path: Path) -> None:
    from settlement.adapters.files import DirectoryInbox, DirectorySink

    inbox = DirectoryInbox(tmp_path)
    assert inbox.names("nobody") == []
    inbox.remove("nobody", "gone")
    with pytest.raises(AssertionError):
        inbox.take("..", "passwd")
    with pytest.raises(AssertionError):
        DirectorySink(tmp_path / "out").write("../x", b"")


def test_what_comes_under_a_name_that_was_taken_is_another_file(tmp_path: Path) -> None:
    from settlement.adapters.files import DirectoryInbox

    inbox, folder = DirectoryInbox(tmp_path), tmp_path / "bank"
    folder.mkdir()
    (folder / "f").write_bytes(b"1")
    assert inbox.take("bank", "f") == b"1"
    (folder / "f").write_bytes(b"2")
    assert inbox.names("bank") == ["f"]
    assert inbox.take("bank", "f") == b"1", "a killed run's file comes first"
    inbox.remove("bank", "f")
    assert inbox.take("bank", "f") == b"2"
    inbox.put_back("bank", "f")
    assert [path.name for path in folder.iterdir()] == ["f"]
    inbox.take("bank", "f")
    (folder / "f").write_bytes(b"3")
    kept = inbox.put_back("bank", "f")
    assert kept is not None
    assert (folder / kept).read_bytes() == b"2", "what was refused is not lost"
    assert inbox.names("bank") == ["f"]
    assert inbox.take("bank", "f") == b"3", "a bad file makes way for what replaces it"
    (folder / "f").write_bytes(b"3")
    assert inbox.put_back("bank", "f") is None, "the same again is one file"
    assert sorted(path.name for path in folder.iterdir()) == ["f", kept]


def test_the_line_of_the_bank_simulator_is_read_as_it_was_meant() -> None:
    # written by others from the same page of the reference
    line = render_row(
        Row(
            acquirer_id="48021000",
            forwarder_id="48029999",
            stan="000042",
            transmission_time="0803101500",
            pan=PAN,
            amount_minor=12_345,
            mti="0220",
            processing_code="200000",
            mcc="5812",
            terminal="12345678",
            merchant="104110058120001",
            rrn="621500000042",
            condition="00",
            auth_code="A1",
            receiver_id="01020000",
            original_stan="000007",
            response_code="00",
            entry_mode="051",
            fee_receivable_minor=43,
            fee_payable_minor=0,
            switching_fee_minor=4,
            card_sequence="001",
            original_time="0803090000",
            issuer_id="01020000",
        )
    )
    name = FileName(ACQUIRER, "IND26080301ACOM", "COM", DAY, 1)
    (row,) = com.parse(line, name, token=PANS.token, mask=PANS.mask)
    assert (row.de32, row.de33, row.stan, row.effect_minor) == (
        "48021000",
        "48029999",
        "000042",
        -12_345,
    )
    assert (row.issuer_fee_minor, row.network_fee_minor) == (-43, -4)
    assert (row.original_stan, row.original_time) == ("000007", "0803090000")
    assert (row.terminal, row.merchant, row.auth_code) == ("12345678", "104110058120001", "A1")


def test_the_engine_keeps_its_bounds(tmp_path: Path) -> None:
    from settlement.adapters.duckdb_engine import DuckDbEngine

    engine = DuckDbEngine(threads=1, memory_mib=64, spill=tmp_path / "spill")
    try:
        kept = engine._database.execute(
            "SELECT current_setting('threads'), current_setting('memory_limit'), "
            "current_setting('temp_directory')"
        ).fetchone()
    finally:
        engine.close()
    assert kept == (1, "64.0 MiB", str(tmp_path / "spill"))
