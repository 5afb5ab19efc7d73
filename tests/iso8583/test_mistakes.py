"""The likely mistake is named first.

Goal: whoever asks why a message does not parse is told what its sender does wrong. Method: every
mistake of `planted.py` goes into good messages of the corpus; the rule of its name must come first.
A damaged message can be explained in more than one way (a bit of the bitmap that is set for nothing
against a length that is off), so that the rates are stated and not all are 1; what is another good
message can not be seen at all and does not count.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings, strategies as st

from iso8583 import elements, inspect
from iso8583.codec import codec_for
from iso8583.dialects import registry
from iso8583.inspect import inspect_message
from iso8583.inspector import candidates as ranking, inputs, mistakes as wrong, pcap
from iso8583.inspector.case import Mistake
from iso8583.inspector.mistakes import mistakes
from iso8583.texts import TEXTS
from tests.iso8583 import planted
from tests.iso8583.corpus import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.iso8583.planted import Good, Plant

TERMINAL = planted.good_terminal_messages()
ASCII = planted.good_ascii_messages()
CODECS = [codec_for(name) for name in registry.names()]
# Seen in a message that decodes, too.
NOTES = {
    "tpdu_not_stripped",
    "header_not_stripped",
    "length_inclusive",
    "length_bcd",
    "hex_for_binary",
}
# What a sender does to one element is looked for in the dialect that he is meant to speak; another
# dialect may well be the very one that writes it so.
IN_ITS_DIALECT = {
    "ebcdic",
    "bitmap_binary", "bitmap_means", "filler_side", "ascii_for_bcd", "bcd_for_ascii", "ebcdic_for_ascii",
    "hex_for_binary", "prefix_counts_bytes", "prefix_counts_digits", "prefix_ascii", "prefix_bin", "prefix_wrong",
}  # fmt: skip
# Share of messages where the mistake is named first; all others: in nineteen of twenty.
FIRST = {"prefix_wrong": 0.6, "trailing": 0.8, "filler_side": 0.6}
OVERALL_FIRST = 0.95
OVERALL_SHOWN = 0.97


def named(plant: Plant, good: Good, chance: Random) -> list[str] | None:
    """The rules that are named; None where there is nothing to see."""
    data = plant(good, chance)
    if data is None or data == good.frame:
        return None
    codecs = [good.codec] if plant.__name__ in IN_ITS_DIALECT else CODECS
    ranked = ranking.candidates(data, codecs)
    found = [mistake.rule for mistake in mistakes(data, ranked, codecs)]
    if not found and ranked[0].ok and plant.__name__ not in NOTES:
        return None
    return found


def rate(plant: Plant, goods: Sequence[Good], seed: int) -> tuple[int, int, int]:
    """How many messages, named first in how many, shown in how many."""
    answers = [named(plant, good, Random(f"{seed} {good.name}")) for good in goods]
    seen = [answer for answer in answers if answer is not None]
    first = sum(answer[:1] == [plant.__name__] for answer in seen)
    return len(seen), first, sum(plant.__name__ in answer for answer in seen)


@pytest.mark.parametrize("plant", planted.ON_TERMINALS, ids=lambda plant: plant.__name__)
def test_a_mistake_in_terminals_messages_is_named_first(plant: Plant) -> None:
    seen, first, _ = rate(plant, TERMINAL[::4], 1)
    assert seen >= 2
    assert first >= FIRST.get(plant.__name__, 0.9) * seen, f"{first} of {seen}"


@pytest.mark.parametrize("plant", planted.ON_ASCII, ids=lambda plant: plant.__name__)
def test_a_mistake_in_classic_messages_is_named_first(plant: Plant) -> None:
    seen, first, _ = rate(plant, ASCII, 1)
    assert first == seen > 0


def test_the_hit_rate_over_all_mistakes() -> None:
    counts = [rate(plant, TERMINAL[1::12], 2) for plant in planted.ON_TERMINALS]
    seen, first, shown = map(sum, zip(*counts, strict=True))
    assert first >= OVERALL_FIRST * seen, f"{first} of {seen}"
    assert shown >= OVERALL_SHOWN * seen, f"{shown} of {seen}"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(planted.ON_TERMINALS),
    st.sampled_from(TERMINAL),
    st.integers(0, 2**32),
    st.sampled_from(["en", "zh"]),
)
def test_a_planted_mistake_is_told_in_words_and_shows_no_content(
    plant: Plant, good: Good, seed: int, lang: str
) -> None:
    data = plant(good, Random(seed))
    if data is None:
        return
    for mistake in inspect_message(data).mistakes:
        said = mistake.text(lang)
        assert "{" not in said
        assert 0 <= mistake.offset <= len(data)
        assert all(
            not isinstance(value, str) or len(value) <= 4 for value in mistake.values.values()
        )
        pan = good.message.get(2)
        assert not isinstance(pan, str) or pan[:12] not in said


def test_a_good_message_in_its_frame_has_no_mistakes() -> None:
    """None but hex text in a binary element (keys and chip data of one provider are sent so), and
    entry modes or sequence numbers whose filler really stands on the other side."""
    for good in TERMINAL:
        found = {mistake.rule for mistake in inspect_message(good.frame).mistakes}
        assert found <= {"hex_for_binary", "filler_side"}, good.name
    assert inspect_message(record("cup-lzy-sale-chip")["hex"]).mistakes == []


def test_every_rule_has_a_text_and_a_plant_or_a_reason() -> None:
    told = {key.removeprefix("mistake_") for key in TEXTS if key.startswith("mistake_")}
    plants = {plant.__name__ for plant in (*planted.ON_TERMINALS, *planted.ON_ASCII)}
    not_planted = {
        "mti_bcd": "needs an ASCII dialect whose MTI is packed",
        "binary_for_hex": "no dialect has hex elements alone",
        "prefix_bcd": "the terminals' prefixes are BCD already",
        "prefix_width": "below",
        "no_message": "of what is none: test_inspector_inputs",
    }
    assert told == plants | set(not_planted)


def test_a_length_of_two_digits_where_three_are_meant() -> None:
    good = next(good for good in TERMINAL if 60 in good.message and 62 in good.message)
    at = good.codec.spans(good.body)[60][0]
    data = planted.framed(good, good.body[:at] + good.body[at + 1 :])
    assert "prefix_width" in [mistake.rule for mistake in inspect_message(data).mistakes]


def test_the_words_of_issue_trackers() -> None:
    """The tickets that `inspect` should have answered, with what it says."""
    tpdu = inspect_message(record("cup-lzy-sale-chip")["hex"][4:])
    assert tpdu.mistakes[0].text() == (
        "TPDU not stripped: the input begins with 60, the MTI stands behind 11 bytes"
    )
    mac = inspect_message(record("cup-hms-purchase-macin")["hex"])
    assert mac.mistakes[0].text().startswith("MAC missing: bit 64 is set")
    assert mac.mistakes[0].text("zh").startswith("缺少MAC")


def test_mti_and_bitmap_are_words() -> None:
    said = Mistake("cut", 0, {"de": 1, "size": 8}, 70).text()
    assert said == "cut: the message ends within bitmap, after 8 bytes; all before it is in order"
    assert elements.name(1, "zh") in Mistake("cut", 0, {"de": 1, "size": 8}, 70).text("zh")
    assert "DE 11" in Mistake("cut", 0, {"de": 11, "size": 8}, 70).text()
    assert (
        len({rule.__name__ for rule in (*wrong.RULES, *wrong.NOTES, *wrong.FRAME, *wrong.BYTES)})
        >= 15
    )


def test_the_page_lists_every_rule_and_bound() -> None:
    """`docs/inspect.md` against the tables that it speaks of."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "inspect.md").read_text("utf-8")
    listed = {
        name
        for line in page.split("## Mistakes")[1].split("How often")[0].splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert listed == {key.removeprefix("mistake_") for key in TEXTS if key.startswith("mistake_")}
    for bound in (
        inspect.MESSAGE_BYTES_MAX,
        inputs.MESSAGES_MAX,
        pcap.STREAMS_MAX,
        wrong.REPAIRED_BYTES_MAX,
    ):
        assert f"{bound:,}" in page
    assert f"{OVERALL_FIRST * 100:.0f} of 100" in page
    assert f"shown in {OVERALL_SHOWN * 100:.0f}" in page
    kinds = page.split("## What it takes")[1].split("An argument")[0]
    assert all(f"`{kind}`" in kinds for kind in inputs.KINDS)
