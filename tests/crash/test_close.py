"""The day's end struck as a process: a few blows of `make crash-close`, which has them all; some more in
`make test-deep`."""

from collections.abc import Iterator

import pytest

from tests.crash.close import Blow, Day, Outcome, differences, struck, undisturbed
from tests.database import DatabaseServer, temporary_folder
from tests.depth import sampled

pytestmark = pytest.mark.xdist_group("crash-close")


@pytest.fixture(scope="module")
def day() -> Iterator[tuple[Day, Outcome, float]]:
    with temporary_folder(in_memory=True) as folder:
        server = DatabaseServer(folder)
        try:
            made = Day(folder, server, 300)
            yield made, *undisturbed(made)
        finally:
            server.postgres.stop()


@pytest.mark.parametrize(
    "at",
    sampled(
        ["before take_in", "after reconcile", "before post"], lambda at: at != "after reconcile"
    ),
)
def test_a_killed_close_comes_to_the_same(day: tuple[Day, Outcome, float], at: str | float) -> None:
    """A number is the part of an undisturbed run after which it is killed."""
    made, expected, run_s = day
    assert differences(struck(made, Blow(at), run_s), expected) == []


@pytest.mark.parametrize("at", sampled(["copy_to_table", 0.6], lambda at: isinstance(at, str)))
def test_an_interrupted_close_says_how_to_go_on_and_comes_to_the_same(
    day: tuple[Day, Outcome, float], at: str | float
) -> None:
    """A number is the part of an undisturbed run after which Ctrl-C comes."""
    made, expected, run_s = day
    assert differences(struck(made, Blow(at, interrupt=True), run_s), expected) == []


@pytest.mark.parametrize(
    "blow",
    sampled(
        [
            Blow("in the thread of freeze", threaded=True),
            Blow("after the thread of reconcile", threaded=True),
            Blow("in the thread of reconcile", interrupt=True, threaded=True),
            Blow(0.7, threaded=True),
        ],
        lambda blow: str(blow.at).startswith("in "),
    ),
    ids=str,
)
def test_a_close_whose_steps_are_stored_on_threads_comes_to_the_same(
    day: tuple[Day, Outcome, float], blow: Blow
) -> None:
    """Bulk days do so, while the next step is under way; expected is what no thread has stored."""
    made, expected, run_s = day
    assert differences(struck(made, blow, run_s), expected) == []
