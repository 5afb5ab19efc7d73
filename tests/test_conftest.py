"""What `conftest.py` does for all tests: here that a failed test fails alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import asyncio, gc, socket

def test_leaves_sockets_open():
    async def scenario():
        kept = [socket.socket() for _ in range(3)]
        kept.append(kept)
        waiting = asyncio.create_task(asyncio.sleep(60))
        try:
            assert not kept
        finally:
            raise ExceptionGroup("more", [ValueError()])
    asyncio.run(scenario())

def test_collects():
    gc.collect()
"""


def test_what_a_failed_test_left_open_fails_no_other(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-W", "error"]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 1 passed" in done.stdout, (done.stdout, done.stderr)
