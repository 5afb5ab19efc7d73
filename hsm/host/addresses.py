"""How a configuration names devices."""

from typing import Final

DEVICES_MAX: Final = 2


def addresses_of(device: str) -> tuple[tuple[str, int], ...]:
    """Hosts and ports of `tcp://host:port[,host:port]`, one device or two. `ValueError` says what is wrong.

    >>> addresses_of("tcp://10.0.0.7:1500,hsm-b:1500")
    (('10.0.0.7', 1500), ('hsm-b', 1500))
    """
    if not device.startswith("tcp://"):
        raise ValueError("must begin with tcp://")
    found = []
    for each in device.removeprefix("tcp://").split(","):
        host, colon, port = each.strip().rpartition(":")
        if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError(f"{each.strip()!r} is not host:port")
        found.append((host.strip("[]"), int(port)))
    if len(found) > DEVICES_MAX or len(set(found)) < len(found):
        raise ValueError(f"names at most {DEVICES_MAX} devices, each once")
    return tuple(found)
