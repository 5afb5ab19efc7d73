"""A broken round keeps what a person needs, and its history gives the same verdict again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.crash.history import History
from tests.crash.plan import plan_of
from tests.crash.run import keep, recheck
from tests.crash.test_checker import entry, sound, without

if TYPE_CHECKING:
    import pytest


def test_a_kept_history_is_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world: Any = SimpleNamespace(folder=tmp_path / "world")
    world.folder.mkdir()
    (world.folder / "bank-a.book").write_text("{}\n")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = Path(keep(world, History(without(sound(), entry("k1", "r1"))), plan_of(1, 2, 10)))
    assert {path.name for path in folder.iterdir()} == {
        *("bank-a.book", "history.jsonl", "plan.json")
    }
    assert recheck(folder / "history.jsonl") == 1
    assert "lost: " in capsys.readouterr().out
