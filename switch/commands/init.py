"""`tongbao init`: a new LMK, sealed into its file, and a data folder."""

from __future__ import annotations

import getpass
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from hsm import lmk as lmks
from switch.adapters.system import SystemClock, SystemEntropy, core_dumps_off
from switch.commands.common import CommandError, Exit, print_line
from switch.commands.login import at_terminal
from switch.lmk_file import CeremonyLog, given_passphrase, write_sealed

if TYPE_CHECKING:
    from switch.commands.common import Node


def run(node: Node, shares: tuple[int, int] | None) -> Exit:
    """Seal with a passphrase, with (threshold, count) shares, or with both."""
    core_dumps_off()
    path, data = Path(node.config.hsm.lmk_file), node.config.data_folder
    if path.is_relative_to(data):
        raise CommandError(node.say("init_inside_data", path=path, data=data), Exit.USAGE)
    if path.exists():
        raise CommandError(node.say("init_exists", path=path))
    passphrase = given_passphrase(node.passphrase_fd)
    if passphrase is None and shares is None:
        passphrase = ask_twice(node)
    entropy = SystemEntropy()
    lmk = lmks.make(entropy.bytes)
    sealed = lmks.seal(lmk, entropy.bytes, passphrase=passphrase, shares=shares)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = CeremonyLog(path, SystemClock().now, node.language)
    user = pwd.getpwuid(os.geteuid()).pw_name
    log.append("lmk.sealed", f"user:{user}", {"lmk_ids": [lmk.lmk_id], "by": "init"})
    try:
        write_sealed(path, sealed.payload)
    except FileExistsError:
        raise CommandError(node.say("init_exists", path=path)) from None
    for number, share in enumerate(sealed.shares, 1):
        print_line(node.say("init_share", number=number, count=len(sealed.shares)))
        print_line(f"  {share}")
    print_line(node.say("init_done", lmk_id=lmk.lmk_id, path=path, data=data))
    return Exit.DONE


def ask_twice(node: Node, option: str = "") -> str:
    if not at_terminal():
        text = node.say("not_asked", option=option) if option else node.say("init_no_passphrase")
        raise CommandError(text, Exit.USAGE)
    prompt = node.say("passphrase") + ": "
    passphrase = getpass.getpass(prompt)
    if getpass.getpass(node.say("again") + ": ") != passphrase:
        raise CommandError(node.say("not_the_same"), Exit.USAGE)
    return passphrase
