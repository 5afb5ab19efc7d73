"""The day's end killed as a process: a few kills of `make crash-close`, which has them all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.close import Day, Outcome, differences, killed, undisturbed
from tests.database import DatabaseServer, temporary_folder

pytestmark = pytest.mark.xdist_group("crash-close")
ROWS = 300


@pytest.fixture(scope="module")
def day() -> Iterator[tuple[Day, Outcome, float]]:
    with temporary_folder(in_memory=True) as folder:
        server = DatabaseServer(Path(folder))
        try:
            made = Day(Path(folder), server, ROWS)
            yield made, *undisturbed(made)
        finally:
            server.postgres.stop()


@pytest.mark.parametrize("kill", ["before take_in", "after reconcile", "before post", 0.6, 0.9])
def test_a_killed_close_comes_to_the_same(
    day: tuple[Day, Outcome, float], kill: str | float
) -> None:
    """A number is the part of an undisturbed run after which it is killed."""
    made, expected, took_s = day
    found = killed(made, kill if isinstance(kill, str) else kill * took_s)
    assert differences(found, expected) == []
