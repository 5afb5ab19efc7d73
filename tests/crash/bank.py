"""A bank as a process that can be killed: it writes down what it did before it answers.

`python -m tests.crash.bank OPTIONS BOOK PORT`. Each line of the book is one money message with its
answer, appended in one write before the answer leaves; at its start the bank goes through the book
again, so a killed bank forgets nothing that it said. Whoever reads the book (`history_of`) goes
through it in the same way: a bank's decisions follow from the order of its messages alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from iso8583.codec import codec_for
from iso8583.message import Message, mask_pan
from terminals.simulator.bank import Bank, BankOptions, BankServer, FaultName
from tests.crash.history import Banked, Entry
from tests.end_to_end.node import ROOT, SETTLEMENT_DATE

UP_S = 60.0  # for a bank to listen


class Line(msgspec.Struct, frozen=True):
    """One message taken in. It holds a test card's number: the book stays with the run."""

    at_s: float
    request: str  # hex
    code: str


class BookedBank(Bank):
    """A bank that appends to its book before it answers."""

    def __init__(self, options: BankOptions) -> None:
        super().__init__(options, SETTLEMENT_DATE, random.Random(1))
        self.book: BinaryIO | None = None

    def handle(self, request: Message, fault: FaultName) -> Message:
        answer = super().handle(request, fault)
        if self.book is not None:
            body = self.codec.encode(request).hex()
            line = Line(time.monotonic(), body, str(answer[39]))
            self.book.write(msgspec.json.encode(line) + b"\n")
        return answer


def read_book(book: Path) -> list[Line]:
    """The whole lines; a torn last one was answered to nobody."""
    if not book.exists():
        return []
    whole, _, _ = book.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]


def open_book(book: Path) -> BinaryIO:
    """To append to, unbuffered; a torn last line is cut off first."""
    out = book.open("ab", buffering=0)
    whole, end, _ = book.read_bytes().rpartition(b"\n")
    out.truncate(len(whole + end))
    return out


def go_through(options: BankOptions, lines: list[Line]) -> BookedBank:
    """The bank as it stands after these lines."""
    bank = BookedBank(options)
    for line in lines:
        answer = bank.handle(bank.codec.decode(bytes.fromhex(line.request)), "none")
        assert answer[39] == line.code, (
            f"{options.name} answers otherwise on going through its book"
        )
    return bank


def history_of(options: BankOptions, book: Path) -> list[Banked | Entry]:
    """What a bank saw and did, and its statement."""
    lines = read_book(book)
    events: list[Banked | Entry] = []
    codec = codec_for(options.dialect)
    for line in lines:
        message = codec.decode(bytes.fromhex(line.request))
        events.append(
            Banked(
                at_s=line.at_s,
                bank=options.name,
                mti=str(message[0]),
                function=str(message.get(3, ""))[:2],
                link_key="/".join(str(message[de]) for de in (7, 11)),
                terminal="/".join(str(message[de]) for de in (42, 41)),
                rrn=str(message.get(37, "")),
                amount_minor=int(str(message.get(4, "0"))),
                pan_masked=mask_pan(str(message.get(2, ""))),
                code=line.code,
            )
        )
    for entry in go_through(options, lines).accounts.entries:
        asked = entry.asked
        events.append(
            Entry(
                bank=options.name,
                kind=asked.kind,
                terminal=f"{asked.merchant}/{asked.terminal}",
                rrn=asked.rrn,
                link_key=f"{asked.key.transmission_time}/{asked.key.stan}",
                amount_minor=entry.approved_minor,
                standing=entry.standing,
            )
        )
    return events


class BankProcess:
    """One bank, started, killed and started again on its book and its port."""

    def __init__(self, options: BankOptions, folder: Path) -> None:
        self.options = options
        self.book = folder / f"{options.name}.book"
        self._options_file = folder / f"{options.name}.json"
        self._options_file.write_bytes(msgspec.json.encode(options))
        self._log = folder / f"{options.name}.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [str(self._options_file), str(self.book), str(self.port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.bank", *words], cwd=ROOT, stdout=log, stderr=log
            )
        until = time.monotonic() + UP_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, "the bank does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


async def serve(options: BankOptions, book: Path, port: int) -> None:
    bank = go_through(options, read_book(book))
    with open_book(book) as out:
        bank.book = out
        server = BankServer(bank)
        await asyncio.get_running_loop().create_server(server.protocol, "127.0.0.1", port)
        await asyncio.Event().wait()


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=BankOptions)
    asyncio.run(serve(given, Path(sys.argv[2]), int(sys.argv[3])))
