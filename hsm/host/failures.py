"""Wrong PINs in a row: too many for one account, and no PIN of it is looked at any more (code 39).

A PIN of four digits is found in 5,000 tries on average, and a stolen client key or a faulty host can try as
fast as the line takes it. So an account that had its number of wrong PINs is refused unseen, a right PIN too,
until a day has passed without a wrong one. The issuer's own counter of tries, in its books, is smaller
and comes first; this one is there for when it is gone round.

Counted in this process alone: a start forgets. At the bound the account that has been quiet longest is
forgotten; who wants that must first try a hundred thousand others.
"""

from collections.abc import Callable
from typing import Final

from hsm.host.codes import HostError
from hsm.vault import OpenKey

ACCOUNTS_MAX: Final = 100_000  # remembered, 200 bytes each
QUIET_S: Final = 86_400.0  # after which wrong PINs are forgotten

Name = tuple[str, str]  # digits of the account, check value of the key that verifies


class PinFailures:
    """`failures_max` 0 counts nothing. `monotonic_s` is a clock that does not go back."""

    def __init__(
        self,
        failures_max: int,
        monotonic_s: Callable[[], float],
        accounts_max: int = ACCOUNTS_MAX,
    ) -> None:
        self._failures_max = failures_max
        self._monotonic_s = monotonic_s
        self._accounts_max = accounts_max
        self._wrong: dict[Name, tuple[int, float]] = {}  # the longest quiet first

    def __len__(self) -> int:
        return len(self._wrong)

    def judge(self, account: str, key: OpenKey, verify: Callable[[], bool]) -> None:
        """Let `verify` decide: `HostError` 01 for a wrong PIN, 39 without asking where there were too many.

        `account` is no more of it than the verification depends on: who may choose the rest would have the
        count anew for each.
        What `verify` raises, a PIN block that does not open say, counts for nothing.
        """
        if not self._failures_max:
            if not verify():
                raise HostError("01")
            return
        name = account, key.check_value()
        count, last_s = self._wrong.get(name, (0, 0.0))
        now_s = self._monotonic_s()
        if now_s - last_s >= QUIET_S:
            count = 0
        if count >= self._failures_max:
            raise HostError("39")
        if verify():
            self._wrong.pop(name, None)
            return
        self._wrong.pop(name, None)
        if len(self._wrong) >= self._accounts_max:
            del self._wrong[next(iter(self._wrong))]
        self._wrong[name] = count + 1, now_s
        raise HostError("01")
