"""`tongbao keys ceremony`: an LMK by its custodians, its shares issued anew, the log of it all.

The order is the same in all of them: each step stands in the ceremony log before it is done; what a
custodian must keep is shown and read back before the file is written; the running node is told last.
Whatever is killed on the way leaves the LMK as it was, or as it was to become.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from hsm import ceremony, lmk as lmks
from hsm.errors import VaultError
from hsm.keys import Algorithm
from switch import lmk_socket
from switch.adapters.system import SystemClock, SystemEntropy, core_dumps_off
from switch.cli import ConfigFile, DataFolder, Json, Lang, PassphraseFd, end, group, node_of
from switch.commands.common import (
    CommandError,
    Exit,
    print_line,
    print_object,
    print_progress,
    print_table,
)
from switch.commands.custodians import Ceremony, check_count, sitting
from switch.commands.init import ask_twice
from switch.commands.login import ask
from switch.lmk_file import (
    CeremonyLog,
    LmkError,
    ceremony_alone,
    given_passphrase,
    read_file,
    replace_sealed,
    secret_text,
    write_sealed,
)
from switch.texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hsm.lmk import Lmk
    from switch.commands.common import Login, Node
    from switch.commands.custodians import Sitting

app = group()
FromFd = Annotated[int | None, typer.Option("--from-fd", help="help_opt_from_fd")]
Shares = Annotated[str | None, typer.Option("--shares", metavar="K/N", help="help_opt_shares")]
COLUMNS = ("seq", "at", "act", "who", "facts")
COMPONENTS = 3


def parse_shares(text: str | None) -> tuple[int, int] | None:
    """(threshold, count) of `K/N`."""
    if text is None:
        return None
    threshold, _, count = text.partition("/")
    if not (threshold.isdecimal() and count.isdecimal()):
        raise typer.BadParameter("K/N", param_hint="--shares")
    parts = int(threshold), int(count)
    if not 2 <= parts[0] <= parts[1] <= ceremony.SHARES_MAX:
        raise typer.BadParameter(f"2 <= K <= N <= {ceremony.SHARES_MAX}", param_hint="--shares")
    return parts


@contextmanager
def sat(node: Node, table: Sitting, begun: str) -> Iterator[Ceremony]:
    """A ceremony, with a line at its begin, and one where it ends before it is done."""
    core_dumps_off()
    if node.demo:
        raise CommandError(node.say("lmk_of_the_demo"), Exit.USAGE)
    path = Path(node.config.hsm.lmk_file)
    if path.is_relative_to(node.config.data_folder):
        data = node.config.data_folder
        raise CommandError(node.say("init_inside_data", path=path, data=data), Exit.USAGE)
    with ceremony_alone(path, node.language), found_store(node) as dsn:
        held = Ceremony(node, table, path, dsn)
        held.write("ceremony.begun", node.login.operator, purpose=begun)
        try:
            yield held
        except (CommandError, VaultError, LmkError, OSError, KeyboardInterrupt) as error:
            held.write("ceremony.broken_off", "", reason=str(error) or type(error).__name__)
            raise


@contextmanager
def found_store(node: Node) -> Iterator[str | None]:
    """The store's DSN, where there is a store: the first LMK is made before it."""
    embedded = node.config.data_folder / "postgres"
    if not node.config.database.dsn and not embedded.exists():
        yield None
        return
    with node.store() as store:
        yield store.dsn


def opened(node: Node, held: Ceremony, payload: bytes) -> Lmk:
    """The present LMK: with its passphrase, else with shares, each by another named custodian."""
    sealed = lmks.read_sealed(payload)
    if sealed.passphrase is not None and (node.passphrase_fd is not None or sealed.shares is None):
        passphrase = given_passphrase(node.passphrase_fd)
        if passphrase is None:
            passphrase = ask(node, "passphrase", "--passphrase-fd")
        lmk = lmks.open_with_passphrase(payload, passphrase)
    else:
        assert sealed.shares is not None
        threshold, label = sealed.shares.threshold, sealed.lmk_id
        texts: list[str] = []
        for number in range(1, threshold + 1):
            who = held.custodian("share", number, threshold)
            text = held.entered(who, "share", lambda typed: read_share(typed, label))
            held.write(
                "share.entered", who, lmk_id=label, check=ceremony.share_digits(text.decode())
            )
            texts.append(text.decode())
        lmk = lmks.open_with_shares(payload, texts)
    held.write("lmk.opened", "", lmk_id=lmk.lmk_id)
    return lmk


def read_share(typed: str, label: str) -> tuple[bytes, str]:
    ceremony.parse_share(typed, label)
    return typed.strip().encode(), ceremony.share_digits(typed)


def new_passphrase(node: Node, descriptor: int | None) -> str:
    if descriptor is None:
        return ask_twice(node, "--new-passphrase-fd")
    return secret_text(descriptor, "--new-passphrase-fd").partition("\n")[0].rstrip("\r")


def hand_out(held: Ceremony, shares: tuple[str, ...], threshold: int) -> None:
    """Each share to another custodian, who reads its check back."""
    for number, share in enumerate(shares, 1):
        who = held.custodian("holder", number, len(shares))
        held.hand_out(who, share, ceremony.share_digits(share))
        held.write("share.handed", who, number=number, of=len(shares), threshold=threshold)


def make_lmk(
    node: Node,
    table: Sitting,
    *,
    components: int,
    generate: bool,
    shares: tuple[int, int] | None,
    passphrase: Callable[[], str] | None,
) -> Exit:
    """The first LMK of a node, or the next one, which takes over from the present."""
    if generate and shares is None:
        raise CommandError(node.say("generate_needs_shares"), Exit.USAGE)
    check_count(node, components)
    path = Path(node.config.hsm.lmk_file)
    entropy = SystemEntropy().bytes
    with sat(node, table, "lmk") as held:
        present = None
        if path.exists():
            payload = read_file(path, node.language)
            former = lmks.read_sealed(payload).former
            if former is not None:
                raise CommandError(node.say("former_not_retired", lmk_id=former.lmk_id))
            present = opened(node, held, payload)
        lmk = (
            lmks.make(entropy)
            if generate
            else lmks.from_components(held.components(components, (lmks.LMK_BYTES,), Algorithm.AES))
        )
        if lmks.is_test_lmk(lmk):
            raise CommandError(node.say("test_lmk_without_demo", path=path))
        if present is not None:
            lmk = lmks.following(lmk, present)
        held.write("lmk.made", "", lmk_ids=list(lmk.lmk_ids))
        print_line(node.say("lmk_made", lmk_id=lmk.lmk_id))
        sealed = lmks.seal(
            lmk, entropy, passphrase=passphrase() if passphrase else None, shares=shares
        )
        if shares is not None:
            hand_out(held, sealed.shares, shares[0])
        held.write("lmk.sealed", "", lmk_ids=list(lmk.lmk_ids), file=str(path))
        if present is None:
            write_sealed(path, sealed.payload)
        else:
            replace_sealed(path, sealed.payload)
        print_line(node.say("lmk_sealed", lmk_id=lmk.lmk_id, path=path))
        held.told("lmk.sealed", f"lmk:{lmk.lmk_id}", {"lmk_ids": list(lmk.lmk_ids)})
    code = hand_to_node(node, lmk_socket.Handed(lmks.hand_over(lmk)))
    if present is not None:
        print_line(node.say("lmk_next_step", lmk_id=lmk.lmk_id, former=present.lmk_id))
    print_line(node.say("log_anchor", anchor=last_anchor(held)))
    return code


def last_anchor(held: Ceremony) -> str:
    return held.last.anchor if held.last is not None else ""


def reissue(node: Node, table: Sitting, shares: tuple[int, int]) -> Exit:
    """Other shares in the place of those that stand; a passphrase stays."""
    path = Path(node.config.hsm.lmk_file)
    with sat(node, table, "shares") as held:
        payload = present_file(node, path)
        lmk = opened(node, held, payload)
        sealed = lmks.reissue_shares(payload, lmk, SystemEntropy().bytes, shares)
        hand_out(held, sealed.shares, shares[0])
        held.write("lmk.sealed", "", lmk_ids=list(lmk.lmk_ids), file=str(path))
        replace_sealed(path, sealed.payload)
        print_line(node.say("lmk_sealed", lmk_id=lmk.lmk_id, path=path))
        print_line(node.say("old_copies"))
        held.told("lmk.shares", f"lmk:{lmk.lmk_id}", {"shares": "{}/{}".format(*shares)})
    print_line(node.say("log_anchor", anchor=last_anchor(held)))
    return Exit.DONE


def admit(node: Node, table: Sitting) -> Exit:
    """Hand the LMK of the file to the node that runs with the one before."""
    path = Path(node.config.hsm.lmk_file)
    with sat(node, table, "admit") as held:
        lmk = opened(node, held, present_file(node, path))
        held.write("lmk.handed", "", lmk_ids=list(lmk.lmk_ids))
        if lmk_socket.running(node.config.data_folder) is None:
            raise CommandError(node.say("no_node_runs", data=node.config.data_folder))
        return hand_to_node(node, lmk_socket.Handed(lmks.hand_over(lmk)))


def present_file(node: Node, path: Path) -> bytes:
    try:
        return read_file(path, node.language)
    except FileNotFoundError:
        raise CommandError(node.say("no_lmk", path=path)) from None


def hand_to_node(node: Node, request: lmk_socket.Request) -> Exit:
    """Tell the node that serves this data folder, if one does; waits until every worker has followed."""
    folder = lmk_socket.running(node.config.data_folder)
    if folder is None:
        return Exit.DONE
    print_progress(node.say("node_is_told"))
    try:
        answer = asyncio.run(lmk_socket.ask(folder, request))
    except (OSError, TimeoutError) as error:
        raise CommandError(
            node.say("node_not_told", reason=str(error) or type(error).__name__)
        ) from error
    if answer.refused:
        raise CommandError(answer.refused)
    if answer.waiting:
        workers = ", ".join(map(str, answer.waiting))
        raise CommandError(node.say("workers_waiting", workers=workers), Exit.WAITING)
    print_line(node.say("node_follows", lmk_ids=", ".join(answer.lmk_ids)))
    return Exit.DONE


def show_log(node: Node, anchor: str, *, as_json: bool) -> Exit:
    """The lines of the log, and whether they are what was written."""
    log = CeremonyLog(Path(node.config.hsm.lmk_file), SystemClock().now, node.language)
    number, _, digits = anchor.partition(":")
    if anchor and not (number.isdecimal() and int(number) and len(digits) == 64):
        raise CommandError(node.say("anchor_form"), Exit.USAGE)
    found = log.read(f"{int(number)}:{digits.lower()}" if anchor else "")
    if as_json:
        print_object(
            {
                "file": str(log.path),
                "records": [msgspec.to_builtins(record) for record in found.records],
                "intact": found.broken is None,
                "broken": None if found.broken is None else msgspec.to_builtins(found.broken),
                "torn_bytes": len(found.torn),
                "anchor": found.last.anchor if found.last else "",
            }
        )
    else:
        print_table(
            COLUMNS,
            (
                [of.seq, of.at, of.act, of.who, " ".join(f"{k}={v}" for k, v in of.facts.items())]
                for of in found.records
            ),
        )
        if found.torn:
            print_line(node.say("log_torn", line=len(found.records) + 1))
        if found.broken is None:
            lines = len(found.records)
            last = found.last.anchor if found.last else "0"
            print_line(node.say("log_intact", lines=lines, anchor=last))
    if found.broken is not None:
        line, reason = found.broken.line, found.broken.reason
        if not as_json:
            print_line(node.say("log_broken", path=log.path, line=line, reason=reason))
        return Exit.DIFFERENCES
    return Exit.DONE


# -- the commands --------------------------------------------------------------------------------


@app.command("lmk", help="help_ceremony_lmk")
def ceremony_lmk(
    components: Annotated[
        int, typer.Option("--components", help="help_opt_components")
    ] = COMPONENTS,
    generate: Annotated[bool, typer.Option("--generate", help="help_opt_generate_lmk")] = False,  # noqa: FBT002
    shares: Shares = None,
    new_passphrase_fd: Annotated[
        int | None, typer.Option("--new-passphrase-fd", help="help_opt_new_passphrase")
    ] = None,
    passphrase_fd: PassphraseFd = None,
    from_fd: FromFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, passphrase_fd=passphrase_fd)
    parts = parse_shares(shares)
    asked = new_passphrase_fd is not None or parts is None
    code = make_lmk(
        node,
        sitting(node, from_fd),
        components=components,
        generate=generate,
        shares=parts,
        passphrase=(lambda: new_passphrase(node, new_passphrase_fd)) if asked else None,
    )
    end(code)


@app.command("shares", help="help_ceremony_shares")
def ceremony_shares(
    shares: Annotated[str, typer.Option("--shares", metavar="K/N", help="help_opt_shares")],
    passphrase_fd: PassphraseFd = None,
    from_fd: FromFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    parts = parse_shares(shares)
    assert parts is not None
    node = node_of(config, data, lang, passphrase_fd=passphrase_fd)
    end(reissue(node, sitting(node, from_fd), parts))


@app.command("admit", help="help_ceremony_admit")
def ceremony_admit(
    passphrase_fd: PassphraseFd = None,
    from_fd: FromFd = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    node = node_of(config, data, lang, passphrase_fd=passphrase_fd)
    table = NoTable(node) if passphrase_fd is not None else sitting(node, from_fd)
    end(admit(node, table))


@app.command("log", help="help_ceremony_log")
def ceremony_log(
    anchor: Annotated[str, typer.Option("--anchor", help="help_opt_anchor_log")] = "",
    json: Json = False,  # noqa: FBT002
    config: ConfigFile = None,
    data: DataFolder = None,
    lang: Lang = "",
) -> None:
    end(show_log(node_of(config, data, lang), anchor, as_json=json))


class NoTable:
    """Nobody sits there: the passphrase came from a descriptor, and nothing is asked."""

    tries = 1

    def __init__(self, node: Node) -> None:
        self._language = node.language

    def _nobody(self, *_: str) -> str:
        raise CommandError(say("not_asked", self._language, option="--from-fd"), Exit.USAGE)

    def custodian(self, prompt: str) -> str:
        return self._nobody(prompt)

    def login(self, name: str) -> AbstractContextManager[Login]:
        raise AssertionError(name)

    def secret(self, field: str, prompt: str) -> str:
        return self._nobody(field, prompt)

    def check_value(self, prompt: str) -> str:
        return self._nobody(prompt)

    def shown(self, prompt: str) -> None:
        del prompt
