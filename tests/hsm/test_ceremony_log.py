"""Goal: what custodians did can not be changed unseen, and a crash is told from a forger.

Method: a chain of five acts; every byte of every line changed, every line left out, doubled and moved;
the file cut at every byte, and gone on with; the hash computed a second time, by hand.
"""

import hashlib
import json

import pytest

from hsm import ceremony_log
from hsm.ceremony_log import Record, following, mended, verify

AT = "2026-03-05T10:00:00.000000Z"
ACTS = ("ceremony.begun", "component.entered", "component.entered", "lmk.made", "lmk.sealed")


def chain() -> list[Record]:
    records: list[Record] = []
    for number, act in enumerate(ACTS):
        last = records[-1] if records else None
        facts: ceremony_log.Facts = {"check_value": f"{number:010X}", "custodians": ["wang", "李"]}
        records.append(following(last, AT, act, "wang", facts))
    return records


def written(records: list[Record]) -> bytes:
    return b"".join(ceremony_log.encode(record) for record in records)


def test_a_whole_log_stands() -> None:
    found = verify(written(chain()))
    assert (found.broken, found.torn) == (None, b"")
    assert list(found.records) == chain()
    assert verify(b"") == ceremony_log.Verified((), None, b"")


def test_the_hash_by_hand() -> None:
    previous = bytes(32)
    for line in written(chain()).splitlines():
        of = json.loads(line)
        content = [of["seq"], of["at"], of["act"], of["who"], dict(sorted(of["facts"].items()))]
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        assert of["hash"] == hashlib.sha256(previous + text.encode()).hexdigest()
        assert of["previous"] == previous.hex()
        previous = bytes.fromhex(of["hash"])


def test_every_changed_byte_is_named_by_its_line() -> None:
    whole = written(chain())
    for at, byte in enumerate(whole):
        if byte == 0x0A or (byte ^ 1) == 0x0A:
            continue  # a line feed more or less moves lines: below
        changed = whole[:at] + bytes([byte ^ 1]) + whole[at + 1 :]
        found = verify(changed).broken
        assert found is not None, at
        assert found.line == whole[:at].count(b"\n") + 1, at
        assert found.reason == "changed"


def test_lines_left_out_doubled_and_moved() -> None:
    records = chain()
    for at in range(len(records)):
        left_out = records[:at] + records[at + 1 :]
        doubled = records[: at + 1] + records[at:]
        found = verify(written(left_out)).broken
        if at < len(records) - 1:
            assert (found and (found.line, found.reason)) == (at + 1, "not_chained")
        else:  # the end: only the anchor shows it
            assert found is None
            found = verify(written(left_out), anchor=records[-1].anchor).broken
            assert (found and (found.line, found.reason)) == (5, "missing")
        found = verify(written(doubled)).broken
        assert (found and (found.line, found.reason)) == (at + 2, "not_chained")


def test_a_chain_made_anew_is_not_the_one_that_was_noted() -> None:
    anchor = chain()[2].anchor
    other = [following(None, AT, ACTS[0], "mallory", {})]
    for act in ACTS[1:]:
        other.append(following(other[-1], AT, act, "mallory", {}))
    assert verify(written(other)).broken is None
    found = verify(written(other), anchor=anchor).broken
    assert (found and (found.line, found.reason)) == (3, "not_the_anchor")
    assert verify(written(chain()), anchor=anchor).broken is None


def test_a_crash_at_any_byte_is_torn_and_no_break() -> None:
    whole = written(chain())
    for end in range(len(whole)):
        found = verify(whole[:end])
        assert found.broken is None
        assert len(found.records) == whole[:end].count(b"\n")
        assert found.torn == whole[:end].rpartition(b"\n")[2]


def test_a_log_goes_on_after_a_torn_line() -> None:
    for end in (1, 40, len(written(chain())) - 1):
        cut = written(chain())[:end]
        before = verify(cut)
        ended, vouching = mended(before.last, AT, before.torn)
        more = following(vouching, AT, "lmk.opened", "wang", {})
        later = cut + ended + written([vouching, more])
        found = verify(later)
        assert found.broken is None
        assert found.records == (*before.records, vouching, more)
        # what is torn is vouched for to the byte, and by nothing else
        spoilt = cut[:-1] + bytes([cut[-1] ^ 1]) + ended + written([vouching, more])
        named = verify(spoilt).broken
        assert named is not None
        assert named.line == cut.count(b"\n") + 1


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"\xff", b'{"seq":1}', b"null"])
def test_what_is_no_record(line: bytes) -> None:
    found = verify(written(chain()[:2]) + line + b"\n").broken
    assert found == ceremony_log.Broken(3, "changed")
