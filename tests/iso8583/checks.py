"""What must hold of any bytes and of any message in any dialect; the fuzzer and its regressions ask it.

Each check raises AssertionError, or whatever the program raised that it should not have. A case is
stored as JSON: `check`, `dialect`, and `hex` or `message` (element -> text, or {"hex": …}).
"""

from __future__ import annotations

import json
import time
import tracemalloc
from functools import cache
from typing import TYPE_CHECKING, Any

from iso8583.codec import SHAPES_MAX, Codec
from iso8583.composites import parse_partial
from iso8583.dialects import registry
from iso8583.errors import DecodeError, EncodeError, FramingError
from iso8583.framing import Framer, FramingSpec
from iso8583.headers import HEADERS
from iso8583.inspect import inspect_message

if TYPE_CHECKING:
    from collections.abc import Callable

# Of one message of at most 65,537 bytes, on a machine that does other things, too.
SECONDS_MAX = 1.0
MEMORY_MAX = 8 * 1024 * 1024


@cache
def codec_of(name: str) -> Codec:
    """A codec for tests alone: its cache is filled and emptied by them."""
    return Codec(registry.get(name))


def outcome(act: Callable[[Any], Any], given: object) -> tuple[str, Any]:
    """What came of it, with everything that an error says."""
    try:
        return "result", act(given)
    except DecodeError as error:
        return "refused", (error.args, error.end)
    except EncodeError as error:
        return "refused", error.args


def decoded_alike(name: str, data: bytes) -> None:
    """Table and code made for the shape give the same; what is read is written and read again."""
    codec = codec_of(name)
    found = outcome(codec.generic.decode, data)
    assert outcome(codec.decode, data) == found
    message, error = codec.decode_partial(data)
    if found[0] == "result":
        assert (message, error) == (found[1], None)
        make_code(codec, message)
        assert outcome(codec.decode, data) == found
        again = codec.encode(message)
        assert again == codec.generic.encode(message)
        assert codec.decode(again) == message
    else:
        assert error is not None
        assert found[1][0] == error.args
        assert 0 <= error.offset <= len(data)
    for de, value in message.items():
        parts, wrong = parse_partial(de, value, codec.dialect, message)
        assert wrong is None or wrong.de == de
        assert all(part.offset >= 0 for part in parts)


def encoded_alike(name: str, message: dict[int, Any]) -> None:
    """Table and code made for the shape write the same or refuse alike; what is written is read."""
    codec = codec_of(name)
    found = outcome(codec.generic.encode, message)
    assert outcome(codec.encode, message) == found
    if found[0] == "result":
        assert codec.decode(found[1]) == codec.generic.decode(found[1]) == message


def explained(_name: str, data: bytes) -> None:
    """The inspector, the framers and the headers never raise but what is theirs."""
    json.dumps(inspect_message(data).to_json_dict())
    for spec in (FramingSpec(tpdu=True, header_bytes=6), FramingSpec("ascii4", inclusive=True)):
        whole = frames(spec, [data])
        assert frames(spec, [data[at : at + 1] for at in range(len(data))]) == whole
    for header in HEADERS.values():
        values = outcome(header.parse, data)
        if values[0] == "result":
            assert header.build(values[1]) == data[: header.width]


def frames(spec: FramingSpec, pieces: list[bytes]) -> list[Any]:
    """The frames of a stream, and whether it ended in an error."""
    framer, found = Framer(spec), []
    try:
        for piece in pieces:
            found += framer.receive_bytes(piece)
            if framer.error is not None:
                break
    except FramingError:
        pass
    return [*found, str(framer.error)]


def bounded(name: str, data: bytes) -> None:
    """Time and memory of one message are bounded, whatever it says of itself."""
    codec = codec_of(name)
    tracemalloc.start()
    began = time.thread_time()
    try:
        outcome(codec.decode, data)
        codec.explain(data)
        spent, peak = time.thread_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert spent < SECONDS_MAX, f"{spent:.1f} s for {len(data)} bytes"
    assert peak < MEMORY_MAX, f"{peak} bytes of memory for {len(data)}"
    info = codec.cache_info()
    assert max(info.decoders, info.encoders) <= SHAPES_MAX


def make_code(codec: Codec, message: dict[int, Any]) -> None:
    """Code for the shape of the message, making room for it where there is none."""
    info = codec.cache_info()
    if max(info.decoders, info.encoders) > SHAPES_MAX - 2:
        codec._decoders.clear()
        codec._encoders.clear()
    codec.warm([message])


CHECKS: dict[str, Callable[[str, Any], None]] = {
    check.__name__: check for check in (decoded_alike, encoded_alike, explained, bounded)
}


def as_case(check: str, dialect: str, given: bytes | dict[int, Any]) -> str:
    """The text of a regression file."""
    case: dict[str, Any] = {"check": check, "dialect": dialect}
    if isinstance(given, bytes):
        case["hex"] = given.hex()
    else:
        case["message"] = {
            str(de): {"hex": value.hex()} if isinstance(value, bytes) else value
            for de, value in given.items()
        }
    return json.dumps(case, indent=1, ensure_ascii=True) + "\n"


def replay(text: str) -> None:
    """Ask again what a regression file asks."""
    case = json.loads(text)
    given: Any
    if "hex" in case:
        given = bytes.fromhex(case["hex"])
    else:
        given = {
            int(de): bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
            for de, value in case["message"].items()
        }
        known = {de: value for de, value in given.items() if isinstance(value, str | bytes)}
        if outcome(codec_of(case["dialect"]).generic.encode, known)[0] == "result":
            make_code(codec_of(case["dialect"]), known)
    CHECKS[case["check"]](case["dialect"], given)
