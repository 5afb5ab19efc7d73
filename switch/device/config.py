"""The settings of a device, from one TOML file. They are not a node's: a device stands by itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hsm.host.commands import COMMANDS
from switch.config import (
    FLAG,
    HOST,
    PORT,
    ConfigError,
    Section,
    choice,
    example_lines,
    read_text,
    reason_of,
    seconds,
    text,
    whole,
)

FILE = "file"
OFFICER_NAME = r"^[A-Za-z0-9._-]{1,32}$"


class Tls(Section, frozen=True):
    """TLS of the host port; without a certificate the port is plain."""

    certificate: Annotated[str, text("chain of the device, PEM; empty: no TLS", FILE)] = ""
    key: Annotated[str, text("its private key, PEM", FILE)] = ""
    clients: Annotated[
        str, text("authorities whose certificates clients must show, PEM; empty: none asked", FILE)
    ] = ""


class Officer(Section, frozen=True):
    """Somebody who may, together with a second one, put the device into the authorised state."""

    name: Annotated[str, text("as the log shows it", "name", OFFICER_NAME)]
    password: Annotated[
        str, text("as `tongbao hsm officer` prints it", "$scrypt$…", r"^\$scrypt\$")
    ]


class DeviceLog(Section, frozen=True):
    """JSON lines in the folder log/ of the device's folder."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], choice("least", "debug, info, warning, error")
    ] = "info"
    file_bytes: Annotated[
        int, whole(65_536, 10_737_418_240, "bytes", "then a new file is begun")
    ] = 67_108_864
    files: Annotated[int, whole(1, 1_000, "files", "kept; the oldest is dropped")] = 8


class Device(Section, frozen=True):
    """All settings of one device."""

    host: Annotated[str, text("0.0.0.0 for every interface", HOST, r"^\S+$")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="host port", extra={"unit": PORT})] = 1500
    lmk_file: Annotated[str, text("sealed by `tongbao init`", "file, mode 0600")] = "tongbao.lmk"
    folder: Annotated[str, text("log, control socket, counters of DUKPT", "folder")] = "var/hsm"
    header_bytes: Annotated[int, whole(0, 255, "bytes", "message header, repeated in answers")] = 4
    commands: Annotated[
        tuple[str, ...], choice("allow-list of host commands; empty: all", "command codes")
    ] = ()
    connections: Annotated[int, whole(1, 4_096, "connections", "more are closed at once")] = 64
    message_bytes: Annotated[int, whole(64, 65_535, "bytes", "longest command")] = 32_768
    idle_s: Annotated[float, seconds(1, 86_400, "a silent connection is closed")] = 600.0
    authorised_max_s: Annotated[
        float, seconds(1, 86_400, "longest authorised state; the officers may ask for less")
    ] = 43_200.0
    pin_failures: Annotated[
        int, whole(0, 1_000, "wrong PINs", "of one account in a row, then error 39; 0: not counted")
    ] = 10
    pin_digits_max: Annotated[
        int, whole(4, 12, "digits", "longest PIN under the LMK; its field has one character more")
    ] = 12
    tables: Annotated[
        Literal["lmk", "clear"], choice("how decimalisation tables come", "lmk or clear")
    ] = "lmk"
    dukpt_replay: Annotated[
        bool, choice("a DUKPT counter is accepted once; false where clients send PINs twice", FLAG)
    ] = True
    language: Annotated[Literal["", "en", "zh"], choice("empty: as LANG says", "en or zh")] = ""
    tls: Tls = Tls()
    officers: Annotated[tuple[Officer, ...], Meta(max_length=32)] = ()
    log: DeviceLog = DeviceLog()

    @property
    def control(self) -> Path:
        """The socket that `tongbao hsm status` and `authorise` speak to."""
        return Path(self.folder) / "control"


def load(path: Path | None) -> Device:
    """The settings in `path`, or the defaults; relative paths count from the file's folder."""
    if path is None:
        return absolute(Device(), Path.cwd())
    try:
        device = msgspec.toml.decode(read_text(path), type=Device)
    except msgspec.ValidationError as error:
        raise ConfigError(str(path), *reason_of(str(error))) from error
    except msgspec.DecodeError as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}") from error
    contradiction = contradiction_in(device)
    if contradiction is not None:
        raise ConfigError(str(path), *contradiction)
    return absolute(device, path.resolve().parent)


def contradiction_in(device: Device) -> tuple[str, str] | None:
    """The first setting that does not go with another."""
    for code in device.commands:
        if code not in COMMANDS:
            return "commands", f"no host command {code}; there are {' '.join(COMMANDS)}"
    if bool(device.tls.certificate) is not bool(device.tls.key):
        return "tls", "certificate and key come together"
    if device.tls.clients and not device.tls.certificate:
        return "tls.clients", "clients show certificates only where the device has one"
    names = [officer.name for officer in device.officers]
    if len(set(names)) != len(names):
        return "officers", "two officers have one name"
    return None


def absolute(device: Device, base: Path) -> Device:
    def path(name: str) -> str:
        return os.path.normpath((base / Path(name).expanduser()).absolute()) if name else ""

    tls = device.tls
    return msgspec.structs.replace(
        device,
        lmk_file=path(device.lmk_file),
        folder=path(device.folder),
        tls=msgspec.structs.replace(
            tls, certificate=path(tls.certificate), key=path(tls.key), clients=path(tls.clients)
        ),
    )


def example() -> str:
    """Every setting of a device, as `switch.config.example` prints those of a node."""
    heading = (
        "# Every setting of a device, with its default. Leave out what you do not change.",
        "# Printed by `python -m switch.device.config`; paths count from the folder of this file.",
        "# Two or more [[officers]], printed by `tongbao hsm officer NAME`, may authorise.",
    )
    return "\n".join([*heading, "", *example_lines(Device())]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(example())
