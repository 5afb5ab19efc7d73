"""Seeded chance: every draw of the simulators comes from here.

A simulation hands in one source of bits (`random.Random(seed)` will do). Each terminal and each
bank then gets a `Dice` of its own seed, so what one of them draws does not depend on the order in
which the others come to play, and a run over real sockets draws the same plans as one in virtual
time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_MASK_64 = (1 << 64) - 1


class Bits(Protocol):
    """Where seeds come from; `random.Random` is one."""

    def getrandbits(self, k: int, /) -> int:
        """`k` random bits as an integer."""
        ...


class Dice:
    """SplitMix64 (Steele, Lea, Flood 2014): small, fast, the same everywhere.

    >>> Dice(1234567).bits64()
    6457827717110365317
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK_64

    @classmethod
    def from_bits(cls, bits: Bits) -> Dice:
        """A new one, seeded with the next 64 bits of `bits`."""
        return cls(bits.getrandbits(64))

    def bits64(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK_64
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK_64
        return mixed ^ (mixed >> 31)

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return (self.bits64() >> 11) / (1 << 53)

    def below(self, bound: int) -> int:
        """Uniform in 0 … bound - 1."""
        assert bound > 0
        return self.bits64() * bound >> 64

    def between(self, low: int, high: int) -> int:
        """Uniform in low … high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, rate: float) -> bool:
        """True in `rate` of all cases. Always draws, so that one rate does not shift the rest."""
        return self.random() < rate

    def exponential_s(self, mean_s: float) -> float:
        """A pause of the given mean; the gaps of a Poisson stream."""
        return -mean_s * math.log(1.0 - self.random())

    def choice(self, things: Sequence[T]) -> T:
        """One of `things`."""
        return things[self.below(len(things))]

    def sample(self, things: Sequence[T], count: int) -> list[T]:
        """Up to `count` different ones of `things`, in their own order."""
        pool = list(range(len(things)))
        count = min(count, len(pool))
        for index in range(count):
            other = index + self.below(len(pool) - index)
            pool[index], pool[other] = pool[other], pool[index]
        return [things[index] for index in sorted(pool[:count])]

    def weighted(self, weights: Sequence[tuple[T, float]]) -> T:
        """One of the first halves, each as often as its weight says."""
        point = self.random() * sum(weight for _, weight in weights)
        for thing, weight in weights:
            point -= weight
            if point < 0:
                return thing
        return weights[-1][0]
