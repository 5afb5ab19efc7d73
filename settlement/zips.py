"""Zip files that are the same bytes on every machine: fixed times and modes, members as given,
stored and not compressed, because compressors differ from release to release."""

import io
import zipfile
from collections.abc import Iterable, Iterator
from typing import Final

TIME: Final = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say


def packed(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip of (name, content), in this order."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name, TIME)
            member.create_system = 3  # Unix, on whatever machine
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
    return data.getvalue()


def members(data: bytes, *, packed_here: bool = True) -> Iterator[tuple[str, bytes]]:
    """The members of a zip, in its order. One that was `packed_here` has none compressed: what
    comes from elsewhere can not be small and open large. Raises ValueError, and what `zipfile` does."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if packed_here and member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            yield member.filename, archive.read(member)
