"""How much one source or terminal may do: connections, messages a second. Pure; times are the loop's.

Theory of operation. A rate is a bucket that holds `burst` tokens and gains `per_s` a second. It is kept
as one number, the time at which it would be full again (the generic cell rate algorithm of ITU-T
I.371): one token moves it 1/`per_s` into the future, and it may lie `burst`/`per_s` ahead. A bucket
that is full says nothing, so what is forgotten first is what was used longest ago. Addresses of one
prefix share a bucket: who has an IPv6 network has all addresses of it.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from switch.config import Rates

DEBT_S: Final = 5.0  # nobody waits longer for what others of its source have sent


class Rate:
    """Buckets of one kind, by key. `per_s` 0: no bound, and nothing is remembered."""

    def __init__(self, per_s: float, burst: int, keys_max: int) -> None:
        self._step_s = 1.0 / per_s if per_s else 0.0
        self._ahead_s = burst * self._step_s
        self._keys_max = keys_max
        self._full_s: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_s)

    def takes(self, key: Hashable, now_s: float) -> bool:
        """One token, if there is one. What is refused costs none."""
        if not self._step_s:
            return True
        known = self._full_s
        full_s = known.get(key, 0.0)
        full_s = (full_s if full_s > now_s else now_s) + self._step_s
        if full_s - now_s > self._ahead_s:
            return False
        known[key] = full_s
        known.move_to_end(key)
        if len(known) > self._keys_max:
            known.popitem(last=False)
        return True

    def spend(self, key: Hashable, now_s: float, count: int) -> None:
        """`count` tokens, lent where there are too few, up to what `DEBT_S` pays back."""
        if self._step_s and count:
            full_s = max(self._full_s.get(key, 0.0), now_s) + count * self._step_s
            self._keep(key, min(full_s, now_s + self._ahead_s + DEBT_S))

    def owes_s(self, key: Hashable, now_s: float) -> float:
        """How long until nothing is lent any more."""
        return max(0.0, self._full_s.get(key, 0.0) - now_s - self._ahead_s)

    def _keep(self, key: Hashable, full_s: float) -> None:
        self._full_s[key] = full_s
        self._full_s.move_to_end(key)
        if len(self._full_s) > self._keys_max:
            self._full_s.popitem(last=False)


class Sources:
    """What the sources of one process's listeners do. Counts are exact; rates are remembered for
    `rates.remembered` sources and as many terminals."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self.shaping = rates.source_messages_per_s > 0  # else `sent` and `owes_s` need not be asked
        self._open: dict[str, int] = {}
        self._connections = Rate(
            rates.source_connections_per_s, rates.source_connections_burst, rates.remembered
        )
        self._messages = Rate(
            rates.source_messages_per_s, rates.source_messages_burst, rates.remembered
        )
        # By (address, terminal). Nobody knows yet that it is that terminal: so its address belongs to
        # the key, or anybody could use up what is another's.
        self.terminals = Rate(
            rates.terminal_messages_per_s, rates.terminal_messages_burst, rates.remembered
        )

    def prefix(self, source: str) -> str:
        """Whom an address counts for."""
        return prefix_of(source, self._rates.ipv4_bits, self._rates.ipv6_bits)

    def enter(self, prefix: str, now_s: float) -> str:
        """A connection of theirs; the rule by which it is closed, "" where it may stay. Then `leave`."""
        open_now = self._open.get(prefix, 0)
        bound = self._rates.source_connections
        if bound and open_now >= bound:
            return "rates.source_connections"
        if not self._connections.takes(prefix, now_s):
            return "rates.source_connections_per_s"
        self._open[prefix] = open_now + 1
        return ""

    def leave(self, prefix: str) -> None:
        left = self._open[prefix] - 1
        if left:
            self._open[prefix] = left
        else:
            del self._open[prefix]

    def sent(self, prefix: str, now_s: float, messages: int) -> None:
        """So many messages were read from one connection of theirs."""
        self._messages.spend(prefix, now_s, messages)

    def owes_s(self, prefix: str, now_s: float) -> float:
        """How long nothing more is read from them."""
        return self._messages.owes_s(prefix, now_s)


def prefix_of(source: str, ipv4_bits: int, ipv6_bits: int) -> str:
    """The network that an address counts for.

    >>> prefix_of("192.0.2.77", 24, 64), prefix_of("192.0.2.77", 32, 64)
    ('192.0.2.0/24', '192.0.2.77')
    >>> prefix_of("2001:db8:1:2:3::4", 32, 64), prefix_of("", 32, 64)
    ('2001:db8:1:2::/64', '')
    """
    bits, whole = (ipv6_bits, 128) if ":" in source else (ipv4_bits, 32)
    if bits == whole:
        return source
    try:
        return str(ipaddress.ip_network(f"{source}/{bits}", strict=False))
    except ValueError:
        return source
