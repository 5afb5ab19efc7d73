"""This build as a player: `python -m switch.replay JOURNAL`, what `tongbao replay` runs of each build.

The protocol, version 1. In: a journal file's path. Out, on stdout, one JSON object a line:

    {"hello": {"protocol": 1, "version": "0.1.0", "code": "/…/switch", "journal": 1}}
    {"played": {…}}      what came of a line (`happened.Played`), in the order of the lines
    {"at": {…}}          progress, every thousand lines
    {"end": {…}}         `player.End`, the last
    {"failed": "…"}      instead of it, where the journal can not be played

Fields may be added; another meaning is another version. What is on stderr is for people. With
`--hello` it says the first line alone.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROTOCOL = 1
PROGRESS_LINES = 1_000


def main(arguments: list[str]) -> int:
    sys.path.insert(0, str(HERE.parent.parent))
    import logging

    import msgspec
    import structlog

    from switch.replay.journal_file import VERSION, Head, JournalFileError, read
    from switch.replay.player import play
    from switch.version import version

    encode = msgspec.json.Encoder().encode
    out = sys.stdout.buffer

    def say(**line: object) -> None:
        out.write(encode(line) + b"\n")

    # the switch's own log is not the answer
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    code = str(HERE.parent)
    say(hello={"protocol": PROTOCOL, "version": version(), "code": code, "journal": VERSION})
    out.flush()
    if arguments == ["--hello"]:
        return 0
    told = 0

    def tell(played: object) -> None:
        nonlocal told
        say(played=played)
        told += 1
        if told % PROGRESS_LINES == 0:
            say(at={"lines": told})

    try:
        lines = read(Path(arguments[0]))
        _, head = next(lines)
        assert isinstance(head, Head), "a journal begins with its head"
        end = play(head, lines, tell)
    except JournalFileError as error:
        say(failed=str(error))
        return 4
    say(end=end)
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
