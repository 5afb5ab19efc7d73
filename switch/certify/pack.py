"""The pack as files: what each holds, and a manifest of hashes. Pure: names and bytes.

    pack.json           what ran, against what, when; each case with its result
    report.html         the same for people, in both languages
    traces/ID.json      every message of a case, its elements by name, masked
    cases/ID.json       the case as it was run: steps and what was expected
    manifest.json       SHA-256 and size of every other file

A run in virtual time gives the same bytes every time.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from iso8583 import elements
from iso8583.message import mask_text, masked
from switch.certify import report
from switch.certify.runner import shown_crossings
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from switch.certify.expect import Reason
    from switch.certify.runner import CaseResult
    from switch.certify.tap import Crossing
    from switch.reference import Link

FORMAT = "tongbao-certification"
VERSION = 1


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Against what was run, and when."""

    link: str
    simulated: bool
    dialect: str
    mac_algorithm: str
    begun_at: dt.datetime
    version: str


def head_of(link: Link, *, simulated: bool, begun_at: dt.datetime, version: str) -> Head:
    return Head(
        link=link.acquirer,
        simulated=simulated,
        dialect=link.dialect,
        mac_algorithm=link.mac_algorithm,
        begun_at=begun_at,
        version=version,
    )


def files(
    head: Head, results: Sequence[CaseResult], crossings: Sequence[Crossing], *, chinese: bool
) -> dict[str, bytes]:
    """Every file of the pack by its path, in order of the paths."""
    objects = [case_object(head, result, crossings) for result in results]
    counts: Counter[str] = Counter(result.result for result in results)
    made = {
        "pack.json": _json(
            {
                "format": FORMAT,
                "version": VERSION,
                "against": msgspec.to_builtins(head, str_keys=True),
                "counts": {name: counts[name] for name in ("passed", "failed", "not_run")},
                "cases": [
                    {name: of[name] for name in ("id", "title", "title_zh", "covers", "result")}
                    | {"trace": f"traces/{of['id']}.json"}
                    for of in objects
                ],
            }
        ),
        "report.html": report.render(head, objects, counts, chinese=chinese).encode(),
    }
    for result, of in zip(results, objects, strict=True):
        made[f"traces/{result.case.id}.json"] = _json(of)
        made[f"cases/{result.case.id}.json"] = _json(msgspec.to_builtins(result.case))
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "files": [
            {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for path, data in sorted(made.items())
        ],
    }
    return dict(sorted({**made, "manifest.json": _json(manifest)}.items()))


def case_object(head: Head, result: CaseResult, crossings: Sequence[Crossing]) -> dict[str, Any]:
    """A case with its result and its messages."""
    case = result.case
    return {
        "id": case.id,
        "title": case.title,
        "title_zh": case.title_zh,
        "purpose": case.purpose,
        "purpose_zh": case.purpose_zh,
        "covers": list(case.covers),
        "result": result.result,
        "why": [reason_object(one) for one in result.why],
        "at": result.at,
        "steps": [
            {
                "do": step.do,
                "at": step.at,
                "told": step.told,
                "wrong": [reason_object(one) for one in step.wrong],
                "messages": step.crossings[1] - step.crossings[0],
            }
            for step in result.steps
        ],
        "messages": [
            message_object(one, head.dialect) for one in shown_crossings(result, crossings)
        ],
    }


def reason_object(reason: Reason) -> dict[str, str]:
    return {
        "key": reason.key,
        "en": mask_text(say(reason.key, "en", **reason.values)),
        "zh": mask_text(say(reason.key, "zh", **reason.values)),
    }


def message_object(crossing: Crossing, dialect: str) -> dict[str, Any]:
    """A message with its elements by name; of a MAC whether it is right, of a secret its length."""
    wire = crossing.wire
    shown = masked({de: value for de, value in wire.items() if de not in (64, 128)})
    code = next((de for de in (64, 128) if de in wire), None)
    if code is not None:
        shown[code] = f"[MAC, {crossing.mac}]"
    return {
        "to": crossing.to,
        "at": crossing.at,
        "mti": shown.get(0, "????"),
        "fault": crossing.fault,
        "header": crossing.header,
        "elements": [
            {
                "de": de,
                "name": elements.name(de, "en", family=dialect),
                "name_zh": elements.name(de, "zh", family=dialect),
                "value": shown[de],
            }
            for de in sorted(shown)
            if de
        ],
    }


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str)) + b"\n"
