"""Source made for one shape of message: straight-line code instead of a loop over a table.

`specialise_reading` makes decoders and `specialise_writing` encoders. Neither explains anything: on
whatever the shape does not foresee the code returns None or raises, and the generic codec looks
again. So it must never say yes where the generic codec says no; `tests/iso8583` holds the two
against each other.

What is formatted into source are integers and the fixed words of these three files, never a name or
value of a table: those reach the code as constants bound by number. The only `exec` of the code base
is here. The source is registered with `linecache`, so that tracebacks and profiles show its lines.

Characters are looked at as bytes, by `bytes.isdigit`, `isalnum` and `translate`: 0.2 to 0.6 ns each,
where the same questions cost `str` 2 to 4 ns.
"""

from __future__ import annotations

import linecache
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from iso8583.contents import CONTENT, is_one_to_one, is_over_ascii

if TYPE_CHECKING:
    from collections.abc import Callable

    from iso8583.dialects.table import Element

_numbers: Final = count(1)


class Source:
    """Lines of one function, and the constants it is bound to."""

    def __init__(self, argument: str) -> None:
        self.argument: Final = argument
        self.lines: Final[list[str]] = []
        self.checks: Final[list[str]] = []
        # texts of digits that are looked at together, and whether there may be none
        self.digits: Final[dict[str, bool]] = {}
        self.results: Final[list[str]] = []
        self.constants: Final[dict[str, Any]] = {}

    def bind(self, value: object) -> str:
        """The name under which the code finds a constant; equal objects share one."""
        for name, known in self.constants.items():
            if known is value:
                return name
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def line(self, text: str) -> None:
        self.lines.append(text)

    def check(self, condition: str) -> None:
        """What must hold before the result counts."""
        self.checks.append(condition)

    def result(self, text: str) -> None:
        self.results.append(text)

    def condition(self, content: str, name: str, octets: str = "", *, empty: bool = False) -> str:
        """That bytes are a content's ASCII characters, as an expression that `and` can join.

        `octets` is what `name` is set to on the way, if it is not yet; `empty` where there may be none.
        """
        first = f"({name} := {octets})" if octets else name
        plain = {"n": "isdigit", "an": "isalnum", "any": "isascii"}.get(content)
        if plain:
            empty = empty and content != "any"
            return f"({first}.{plain}() or not {name})" if empty else f"{first}.{plain}()"
        if content == "xn":
            return f"{first}[:1] in {self.bind(_SIGNS)} and {name}[1:].isdigit()"
        allowed = self.bind(allowed_octets(content))
        if content in {"anp", "ans"}:  # letters and digits alone are mostly all there is
            return f"({first}.isalnum() or {name}.translate({allowed}) == {name})"
        return f"{first}.translate({allowed}) == {name}"

    def compile(self, purpose: str) -> Callable[[Any], Any]:
        names = list(self.constants)
        if self.digits:
            together = "0" * all(self.digits.values())
            together += "".join(f"{{{text}}}" for text in self.digits)
            self.check(f'f"{together}".encode().isdigit()')
        checks = [f"if not ({' and '.join(self.checks)}): return None"] if self.checks else []
        # constants are defaults of the function: locals are the fastest names there are
        arguments = ", ".join([self.argument, *(f"{name}={name}" for name in names)])
        lines = [
            f"def {purpose}({arguments}):",
            *(f"    {one}" for one in [*self.lines, *checks, *self.results]),
        ]
        source = "\n".join(lines) + "\n"
        place = f"<iso8583 {purpose} {next(_numbers)}>"
        linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
        namespace: dict[str, Any] = dict(self.constants)
        exec(compile(source, place, "exec"), namespace)  # noqa: S102 - closed words only, see above
        made: Callable[[Any], Any] = namespace[purpose]
        return made


_SIGNS: Final = frozenset({b"C", b"D"})


@cache  # bounded by the contents
def allowed_octets(content: str) -> bytes:
    """A table for `bytes.translate` that leaves exactly the content's ASCII characters as they are.

    >>> b"62=301".translate(allowed_octets("z")) == b"62=301"
    True
    >>> b"62D301".translate(allowed_octets("z")) == b"62D301"
    False
    """
    allows = CONTENT[content][0]
    return bytes(o if o < 128 and allows(chr(o)) else o ^ 0xFF for o in range(256))


@cache  # bounded by the encodings of tables
def to_ascii(encoding: str) -> bytes:
    """A table for `bytes.translate` from a one-to-one encoding; 0xFF where there is no ASCII."""
    text = bytes(range(256)).decode(encoding)
    return bytes(ord(one) if one.isascii() else 0xFF for one in text)


@cache  # bounded by the encodings of tables
def from_ascii(encoding: str) -> bytes:
    """A table for `bytes.translate` into a one-to-one encoding; for ASCII alone."""
    return bytes(range(128)).decode("ascii").encode(encoding).ljust(256, b"\xff")


def is_cut_from_text(row: Element) -> bool:
    """Whether the element's ASCII values can be read and written as bytes of ASCII, without its codec.

    Over ASCII other printable characters, and any, are left to the row's own closure.
    """
    if row.encoding in {"bcd", "raw", "hex"}:
        return False
    if row.encoding == "ascii":
        return True
    if is_over_ascii(row.encoding):
        return row.content not in {"ans", "any"}
    return row.content != "any" and is_one_to_one(row.encoding)
