"""What is said to an operator, in whichever language he reads: a key of `ERRORS` and its values.

An error of the core carries no text of its own. A command says it in the operator's language; `str`,
and so logs, JSON and the audit log, is English.
"""

from collections.abc import Mapping

import msgspec

from settlement.error_texts import ERRORS


class Said(msgspec.Struct, frozen=True):
    """A sentence. A value may be a sentence itself, or an error that has one."""

    key: str
    values: Mapping[str, object] = {}

    def told(self, *, chinese: bool) -> str:
        values = {
            name: value.told(chinese=chinese) if isinstance(value, Said | SaidError) else value
            for name, value in self.values.items()
        }
        return ERRORS[self.key][int(chinese)].format(**values)

    def __str__(self) -> str:
        return self.told(chinese=False)


def said(key: str, /, **values: object) -> Said:
    return Said(key, values)


class SaidError(Exception):
    """An error that an operator can be told: a sentence, or its key and values."""

    def __init__(self, key: str | Said, /, **values: object) -> None:
        self.said = key if isinstance(key, Said) else Said(key, values)
        super().__init__(self.said.key)

    def told(self, *, chinese: bool) -> str:
        return self.said.told(chinese=chinese)

    def __str__(self) -> str:
        return self.told(chinese=False)
