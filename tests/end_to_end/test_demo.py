"""`tongbao demo` from outside: a small day, its exit code, its object, its files.

Goal: what `make demo` promises holds and is checked by the demonstration itself. Method: the real
command with fewer transactions; what it prints with `--json` must be consistent in itself. That its
judges see mistakes is shown in `tests/switch/demo/test_counting.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from switch.demo.node import remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("end_to_end")

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 900.0


def demo(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "switch", "demo", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "demo"
    remove_folder(tmp_path / "demo")


def test_a_small_day(data: Path) -> None:
    done = demo("--json", "--transactions", "400", "--seed", "7", "--data", str(data))
    said = done.stderr.decode(errors="replace")
    assert done.returncode in (0, 1), said
    day: dict[str, Any] = msgspec.json.decode(done.stdout)
    assert all(check["passed"] for check in day["checks"]), (day["checks"], said)
    assert done.returncode == 0

    assert day["transactions"] == 400
    found = {(one["class"], one["acquirer"]): one["count"] for one in day["breaks"]["found"]}
    expected: dict[tuple[str, str], int] = {}
    for one in (*day["breaks"]["planted"], *day["breaks"]["forgotten"]):
        key = one["class"], one["acquirer"]
        expected[key] = expected.get(key, 0) + one["count"]
    assert found == expected
    assert {name for name, _ in found} >= {"network_long", "network_short", "duplicate"}

    money = {view["party"]: view["amount_minor"] for view in day["money"]["views"]}
    assert money["cardholders"] == money["banks"]
    assert money["journal"] == money["ledger"]
    merchants = sum(net["gross_minor"] + net["taken_back_minor"] for net in day["nets"])
    assert merchants == money["ledger"]
    assert sum(day["counts"]["settle"].values()) >= 60
    assert day["batches"]["uploaded"] == 1
    assert day["faults"]["node"].count("event_worker") == 1
    assert day["faults"]["node"].count("event_link") == 2

    for path in day["files"]:
        assert Path(path).is_file(), path
    assert not list(Path(f"{data}-banks").glob("delivered/*/IND*"))  # taken in and removed
    assert not (data / "ready.json").exists()  # the switch has stopped


def test_a_folder_that_is_something_else_is_left_alone(data: Path) -> None:
    data.mkdir()
    (data / "precious").write_text("mine")
    done = demo("--data", str(data), "--lang", "en")
    assert done.returncode == 4
    assert b"no demo made it" in done.stderr
    assert (data / "precious").read_text() == "mine"
