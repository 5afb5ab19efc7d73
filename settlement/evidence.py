"""A signed bundle of what a date's close rested on and what it came to (promise P10).

A bundle is a zip, the same bytes whenever it is made again:

    manifest.json     format, date, recorded instant, public key; every member with SHA-256 and size
    manifest.sig      Ed25519 over the bytes of manifest.json, 64 bytes
    inputs.json       files taken in, the journal's captures, reference data: each with its hash
    rules.json        posting rules, passes, fee plans: by version, whole
    settings.json     tolerances and bounds
    results.json      steps and their hashes, totals, nets, what every kind of fact comes to
    breaks.json  trial-balance.json  seals.json

A signature says that whoever holds the key made the bundle. Whether to trust the key is for the
reader, who must have it from elsewhere: a bundle does not vouch for its own.
"""

import hashlib
import zipfile
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from typing import Any, Final, Protocol

import msgspec

from settlement.zips import members, packed

FORMAT: Final = "tongbao-evidence/1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
BYTES_MAX: Final = 1 << 30
MEMBERS_MAX: Final = 64

Verify = Callable[[bytes, bytes, bytes], bool]  # public key, data, signature


class Signer(Protocol):
    @property
    def public_key(self) -> bytes:
        """32 bytes."""

    def sign(self, data: bytes) -> bytes:
        """64 bytes."""


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    sha256: str
    size: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    business_date: date
    recorded_at: datetime
    public_key: str  # hex
    members: tuple[Member, ...]


class Finding(msgspec.Struct, frozen=True):
    """One thing that does not hold, and where."""

    place: str
    problem: str


class Bundle(msgspec.Struct, frozen=True):
    manifest: Manifest
    contents: dict[str, bytes]

    def document(self, name: str) -> Any:
        return msgspec.json.decode(self.contents[name])


def made(
    business_date: date, recorded_at: datetime, documents: Mapping[str, Any], signer: Signer
) -> bytes:
    """The bundle of these documents, each written as canonical JSON."""
    contents = {name: canonical(documents[name]) for name in sorted(documents)}
    manifest = msgspec.json.encode(
        Manifest(
            FORMAT,
            business_date,
            recorded_at,
            signer.public_key.hex(),
            tuple(Member(name, _sha256(data), len(data)) for name, data in contents.items()),
        )
    )
    return _packed(manifest, signer.sign(manifest), contents)


def canonical(document: Any) -> bytes:
    """JSON with sorted keys, indented for people."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def _packed(manifest: bytes, signature: bytes, contents: Mapping[str, bytes]) -> bytes:
    return packed([(MANIFEST, manifest), (SIGNATURE, signature), *contents.items()])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- checking ---------------------------------------------------------------------------------


def checked(
    data: bytes, verify: Verify, trusted: Collection[bytes]
) -> tuple[Bundle | None, list[Finding]]:
    """The bundle, and everything about it that does not hold; None where it can not be read.

    `trusted` are public keys that the reader has from elsewhere.
    """
    try:
        found = _unpacked(data)
        manifest = msgspec.json.decode(found[MANIFEST], type=Manifest)
        signature = found[SIGNATURE]
        key = bytes.fromhex(manifest.public_key)
    except (zipfile.BadZipFile, ValueError, KeyError, RuntimeError, EOFError) as error:
        return None, [Finding("archive", f"can not be read: {error}")]
    findings: list[Finding] = []
    if manifest.format != FORMAT:
        findings.append(Finding(MANIFEST, f"is of format {manifest.format}, not {FORMAT}"))
    if key not in trusted:
        findings.append(
            Finding(MANIFEST, f"is signed by {key.hex()}, which is not a key you trust")
        )
    if not verify(key, found[MANIFEST], signature):
        findings.append(Finding(MANIFEST, "its signature does not hold"))
    contents = {name: content for name, content in found.items() if name not in _OWN}
    findings += _differing(manifest, contents)
    if not findings and _packed(found[MANIFEST], signature, contents) != data:
        findings.append(Finding("archive", "has bytes that no member accounts for"))
    return Bundle(manifest, contents), findings


_OWN: Final = frozenset({MANIFEST, SIGNATURE})


def _unpacked(data: bytes) -> dict[str, bytes]:
    if len(data) > BYTES_MAX:
        raise ValueError(f"over {BYTES_MAX} bytes")
    found: dict[str, bytes] = {}
    for name, content in members(data):
        if name in found or len(found) == MEMBERS_MAX:
            raise ValueError(f"{name} stands twice, or there are over {MEMBERS_MAX} members")
        found[name] = content
    return found


def _differing(manifest: Manifest, contents: Mapping[str, bytes]) -> list[Finding]:
    findings = []
    listed = {member.name: member for member in manifest.members}
    for name in sorted(listed.keys() | contents.keys()):
        if name not in contents:
            findings.append(Finding(name, "is missing"))
        elif name not in listed:
            findings.append(Finding(name, "is not in the manifest"))
        elif _sha256(contents[name]) != listed[name].sha256:
            findings.append(Finding(name, "is not what was signed"))
        elif len(contents[name]) != listed[name].size:
            findings.append(Finding(name, "has another size than was signed"))
    return findings


def first_difference(path: str, signed: Any, now: Any) -> Finding | None:
    """The first place, in the order of sorted keys, where two documents differ.

    >>> first_difference("inputs.json", {"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})
    Finding(place='inputs.json.a[1].b', problem='was 2, is 3')
    """
    if isinstance(signed, dict) and isinstance(now, dict):
        for key in sorted(signed.keys() | now.keys()):
            if key not in signed or key not in now:
                return Finding(f"{path}.{key}", "is new" if key not in signed else "is gone")
            found = first_difference(f"{path}.{key}", signed[key], now[key])
            if found is not None:
                return found
        return None
    if isinstance(signed, list) and isinstance(now, list):
        for index, (one, other) in enumerate(zip(signed, now, strict=False)):
            found = first_difference(f"{path}[{index}]", one, other)
            if found is not None:
                return found
        if len(signed) != len(now):
            return Finding(path, f"had {len(signed)} items, has {len(now)}")
        return None
    if signed == now:
        return None
    return Finding(path, f"was {_short(signed)}, is {_short(now)}")


SHOWN_MAX: Final = 80


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
