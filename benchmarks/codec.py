"""What decoding and encoding cost, beside pyiso8583.

    python -m benchmarks.codec [--json] [--rounds N]

Purchase and answer, in the UnionPay dialect of terminals and the ASCII dialect of links. Contenders:
the codec as the switch calls it (code made for the shape, warmed), the table codec alone, and
pyiso8583 with the same specification. All must give the same before anything is timed. Then what
traffic that is not usual costs: messages with a byte changed or missing, and messages each of
another bitmap, which no shape's code serves. Rounds take turns, each begun with some calls that do
not count; the figure is the median round in microseconds of processor time a call. At the end what
the caches hold after all that.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from benchmarks import report
from iso8583.codec import SHAPES_MAX, SIGHTINGS, Codec
from iso8583.dialects import registry
from iso8583.errors import DecodeError
from tests.iso8583.corpus import body, record
from tests.iso8583.test_against_pyiso8583 import for_oracle, specification
from tests.oracle import load_pyiso8583

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iso8583.message import Message

pyiso8583 = load_pyiso8583()

CALLS = 300  # a round and contender
VARIANTS = 300  # malformed messages, and messages of other bitmaps
PURCHASE = "cup-lzy-sale-chip"
ANSWER = "cup-topwise-sale-chip-resp"
# what a link adds to the elements of a terminal
LINK_ONLY: Message = {
    7: "1126221500",
    12: "221500",
    13: "1126",
    18: "5411",
    32: "00010000000",
    37: "112622000123",
    43: "CITY SUPERMARKET, ZHONGSHAN ROAD 12     ",
}
# the dialect's coding of these differs from a terminal's
NOT_ON_LINK = {23, 44, 60, 63, 64}
Contenders = dict[str, "Callable[[], object]"]


def cases() -> list[tuple[str, Codec, Message]]:
    pos, link = (Codec(registry.get(name)) for name in ("unionpay_pos", "iso1987_ascii"))
    found = []
    for kind, name in (("purchase", PURCHASE), ("answer", ANSWER)):
        message = pos.generic.decode(body(record(name)))
        found.append((f"{kind}, unionpay_pos", pos, message))
        shared = {de: value for de, value in message.items() if de not in NOT_ON_LINK}
        on_link = dict(sorted((shared | LINK_ONLY | {128: b"\x12\x34\x56\x78" * 2}).items()))
        found.append((f"{kind}, iso1987_ascii", link, on_link))
    return found


def theirs(codec: Codec, message: Message) -> dict[str, str]:
    """The message as pyiso8583 has it; the separator of a BCD track is D there."""
    values = for_oracle(message)
    if codec.dialect.mti == "bcd":
        values |= {de: values[de].replace("=", "D") for de in ("35", "36") if de in values}
    return values


def measure(contenders: Contenders, rounds: int, calls: int = CALLS) -> dict[str, float]:
    """Median microseconds of processor time a call, contenders taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    gc.disable()
    for _ in range(rounds):
        for name, call in contenders.items():
            # whoever comes first in a round finds the processor's caches as the collection left them
            for _ in range(calls // 10):
                call()
            start = time.process_time_ns()
            for _ in range(calls):
                call()
            times[name].append((time.process_time_ns() - start) / calls / 1000)
        gc.collect()
    gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def usual(rounds: int) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    for name, codec, message in cases():
        codec.warm([message])
        data = codec.generic.encode(message)
        spec = specification(codec.dialect)
        values = theirs(codec, message)
        decoded, _ = pyiso8583.decode(data, spec)
        if not (
            codec.decode(data) == codec.generic.decode(data) == message
            and codec.encode(message) == data == bytes(pyiso8583.encode(dict(values), spec)[0])
            and {de: decoded[de] for de in values} == values
        ):
            raise AssertionError(f"{name}: the contenders do not agree")
        figures[f"decode {name}"] = measure(
            {
                "specialised": lambda codec=codec, data=data: codec.decode(data),  # type: ignore[misc]
                "table": lambda codec=codec, data=data: codec.generic.decode(data),  # type: ignore[misc]
                "pyiso8583": lambda data=data, spec=spec: pyiso8583.decode(data, spec),  # type: ignore[misc]
            },
            rounds,
        )
        figures[f"encode {name}"] = measure(
            {
                "specialised": lambda codec=codec, m=message: codec.encode(m),  # type: ignore[misc]
                "table": lambda codec=codec, m=message: codec.generic.encode(m),  # type: ignore[misc]
                # it writes into the dictionary that it is given, so callers keep a copy
                "pyiso8583": lambda v=values, spec=spec: pyiso8583.encode(dict(v), spec),  # type: ignore[misc]
            },
            rounds,
        )
    return figures


def each(decode: Callable[[bytes], object], messages: Sequence[bytes]) -> Callable[[], None]:
    def call() -> None:
        for data in messages:
            with suppress(DecodeError, pyiso8583.DecodeError):
                decode(data)

    return call


def unusual(rounds: int) -> dict[str, dict[str, float]]:
    """Malformed messages, and ever other bitmaps; microseconds a message."""
    draw = random.Random(8583)
    figures: dict[str, dict[str, float]] = {}
    for name, codec, message in cases():
        if not name.startswith("purchase"):
            continue
        codec.warm([message])
        spec = specification(codec.dialect)
        data = codec.generic.encode(message)
        for kind, some in (
            ("a byte changed", [changed(data, draw) for _ in range(VARIANTS)]),
            ("cut", [data[: draw.randrange(len(data))] for _ in range(VARIANTS)]),
            ("another bitmap each", [other_shape(codec, message, draw) for _ in range(VARIANTS)]),
        ):
            cold = Codec(codec.dialect) if kind == "another bitmap each" else codec
            figure = measure(
                {
                    "specialised": each(cold.decode, some),
                    "table": each(codec.generic.decode, some),
                    "pyiso8583": each(lambda d, spec=spec: pyiso8583.decode(d, spec), some),  # type: ignore[misc]
                },
                min(rounds, SIGHTINGS - 1),  # later the shapes would not be cold any more
                calls=1,
            )
            label = f"decode {name.replace('purchase', kind)}"
            figures[label] = {who: value / VARIANTS for who, value in figure.items()}
    return figures


def changed(data: bytes, draw: random.Random) -> bytes:
    octets = bytearray(data)
    octets[draw.randrange(len(octets))] ^= draw.randrange(1, 256)
    return bytes(octets)


def other_shape(codec: Codec, message: Message, draw: random.Random) -> bytes:
    kept = {de: value for de, value in message.items() if de == 0 or draw.random() < 0.7}
    return codec.generic.encode(kept)


def caches() -> dict[str, Any]:
    """What a codec holds that has met more shapes than it keeps code for."""
    draw = random.Random(1)
    name, _, message = cases()[0]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    codec = Codec(registry.get("unionpay_pos"))
    empty = tracemalloc.get_traced_memory()[0] - before
    for _ in range(3 * SHAPES_MAX):
        data = other_shape(codec, message, draw)
        for _ in range(SIGHTINGS):
            codec.encode(codec.decode(data))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    info = codec.cache_info()
    return {
        "dialect": name.rpartition(" ")[2],
        "decoders": info.decoders,
        "encoders": info.encoders,
        "shapes_max": info.shapes_max,
        "codec_bytes": empty,
        "with_full_caches_bytes": grown,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what decoding and encoding cost")
    parser.add_argument("--json", action="store_true", help="figures as one JSON object")
    parser.add_argument("--rounds", type=int, default=25)
    arguments = parser.parse_args()
    figures = usual(arguments.rounds) | unusual(arguments.rounds)
    held = caches()
    if arguments.json:
        found = {
            "command": report.command("benchmarks.codec"),
            "machine": report.machine(),
            "median_us": figures,
            "caches": held,
        }
        print(json.dumps(found))
        return
    rows = [
        (
            name,
            *(f"{row[who]:.2f}" for who in ("specialised", "table", "pyiso8583")),
            f"{row['pyiso8583'] / row['specialised']:.1f}",
            f"{row['pyiso8583'] / row['table']:.1f}",
        )
        for name, row in figures.items()
    ]
    report.show(
        "benchmarks.codec",
        "µs of processor time a message, median round; x is pyiso8583 over ours",
        ("", "specialised", "table", "pyiso8583", "x specialised", "x table"),
        rows,
        f"Caches of {held['dialect']} after {3 * SHAPES_MAX} shapes: {held['decoders']} decoders and "
        f"{held['encoders']} encoders of at most {held['shapes_max']} each; "
        f"{held['codec_bytes'] / 1024:,.0f} KiB empty, "
        f"{held['with_full_caches_bytes'] / 1024:,.0f} KiB full.",
    )


if __name__ == "__main__":
    main()
