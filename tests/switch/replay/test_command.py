"""`tongbao replay`: each build by its own code in its own process, what they differ in, exit codes.

Method: this tree is one build. The other is a wheel of the same files in which one answer was altered;
exactly that must be named. Builds that have no player, or are none, are refused by name.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from switch.cli import app
from switch.replay.builds import BuildError, opened
from tests.schemas import assert_valid
from tests.switch.replay.traffic import write

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("switch", "iso8583", "hsm", "settlement", "terminals")
OURS, ALTERED = '"98", "acquirer.no_answer"', '"91", "acquirer.no_answer"'


def tongbao(*words: str, code: int) -> str:
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


@pytest.fixture(scope="module")
def altered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, but a request without answer is told 91."""
    path = tmp_path_factory.mktemp("wheel") / "tongbao-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for package in PACKAGES:
            for file in sorted((ROOT / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    name = file.relative_to(ROOT)
                    data = file.read_bytes()
                    if name == Path("switch/authorization.py"):
                        assert OURS.encode() in data
                        data = data.replace(OURS.encode(), ALTERED.encode())
                    wheel.writestr(f"tongbao/_app/{name}", data)
    return path


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("journal") / "j.jsonl")


def test_one_build_twice_is_no_difference(journal: Path) -> None:
    builds = ("--build", str(ROOT), "--build", str(ROOT))
    out = tongbao("replay", str(journal), *builds, "--lang", "zh", code=0)
    assert "没有差异" in out
    assert out.count("8 笔中 8 笔与记录一致") == 2


def test_a_planted_change_is_named_and_nothing_else(
    journal: Path, altered: Path, tmp_path: Path
) -> None:
    page = tmp_path / "differences.html"
    words = ("replay", str(journal), "--build", str(ROOT), "--build", str(altered), "--json")
    out = tongbao(*words, "--html", str(page), code=1)
    found = [json.loads(text) for text in out.splitlines()]
    assert "98 → 91" in page.read_text(encoding="utf-8")
    for each in found:
        assert_valid("replay", each)
    (differing, summary) = found
    assert (differing["line"], differing["type"]) == (8, "purchase")
    assert [
        (each["where"], each["kind"], each["name"], each["a"], each["b"])
        for each in differing["differences"]
    ] == [
        ("", "fact", "response_code", "98", "91"),
        ("0210 switch→terminal", "element", "39", "98", "91"),
    ]
    assert (summary["lines"], summary["differing"]) == (8, 1)
    assert summary["outcomes"] == {"98 → 91": 1}
    assert [build["as_recorded"] for build in summary["builds"]] == [8, 7]


def old(folder: Path) -> Path:
    """A checkout from before there was a player."""
    (folder / "switch").mkdir(parents=True)
    for name in ("wiring.py", "__init__.py"):
        (folder / "switch" / name).write_text("")
    return folder


def player_of(folder: Path) -> Path:
    player = folder / "switch" / "replay" / "__main__.py"
    player.parent.mkdir()
    (player.parent / "__init__.py").write_text("")
    return player


def chatty(folder: Path) -> Path:
    """A player that speaks another protocol."""
    player = player_of(old(folder))
    said = {"hello": {"protocol": 2, "version": "9", "code": "", "journal": 1}}
    player.write_text(f"print({json.dumps(json.dumps(said))})")
    return folder


def broken(folder: Path) -> Path:
    player = player_of(old(folder))
    player.write_text("raise SystemExit('no such module: 6212345678901265')")
    return folder


REFUSED = [
    (old, "has no player"),
    (chatty, "another version"),
    (broken, "failed: no such module: 621234******1265"),
    (lambda folder: folder / "absent", "neither a checkout"),
]


@pytest.mark.parametrize(("make", "reason"), REFUSED)
def test_a_build_that_can_not_be_played_is_refused_by_name(
    journal: Path, tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    name = str(make(tmp_path / "build"))
    out = tongbao("replay", str(journal), "--build", name, "--build", str(ROOT), code=4)
    assert f"build {name}" in out
    assert reason in out


def test_usage(journal: Path) -> None:
    assert "two builds" in tongbao("replay", str(journal), "--build", ".", code=2)
    two = ("--build", str(ROOT), "--build", str(ROOT))
    assert "no rule guess" in tongbao("replay", str(journal), *two, "--compare", "guess", code=2)


def test_a_damaged_journal_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl")
    path.write_text(path.read_text().replace('"amount_minor":2000', '"amount_minor":2001'))
    out = tongbao("replay", str(path), "--build", "no", "--build", "such", code=4)
    assert f"{path}:14" in out


def test_a_build_by_its_folder_environment_wheel_and_revision(
    tmp_path: Path, altered: Path
) -> None:
    with opened(str(ROOT), tmp_path) as build:
        assert build.root == ROOT
    with opened(sys.prefix, tmp_path) as build:  # what runs these tests has it installed
        assert (build.root / "switch" / "wiring.py").exists()
    with opened(str(altered), tmp_path) as build:
        unpacked = build.root
        assert unpacked.parts[-2:] == ("tongbao", "_app")
        with opened(str(unpacked.parent.parent), tmp_path) as again:
            assert again.root == unpacked
    assert not unpacked.exists()
    git = ["git", "-C", str(tmp_path)]
    player_of(old(tmp_path)).write_text("print('{}')")
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"],
    ):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "switch" / "replay" / "__main__.py").unlink()
    with opened("HEAD", tmp_path) as build:
        assert (build.root / "switch" / "replay" / "__main__.py").exists()
        assert build.root != tmp_path
    for name in ("no-such-revision", "--help", "HEAD:switch"):
        with pytest.raises(BuildError), opened(name, tmp_path):
            pass
