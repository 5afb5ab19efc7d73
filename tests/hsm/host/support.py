"""A host vault of the public test LMK, and commands to it as a client would send them."""

from hsm.dukpt_replay import ReplayGuard
from hsm.host.commands import COMMANDS
from hsm.host.dispatch import Dispatcher
from hsm.host.vault import HostVault, PinSettings
from hsm.keys import Algorithm, KeyUsage
from hsm.lmk import TEST_LMK, Lmk
from hsm.variant import VariantLmk
from tests.hsm.support import seeded

HEADER = b"0001"


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1.0

    def __call__(self) -> float:
        return self.now_s


def host_vault(
    lmk: Lmk = TEST_LMK,
    *,
    clock: Clock | None = None,
    allow_weak: bool = True,
    replay: ReplayGuard | None = None,
    pins: PinSettings | None = None,
) -> HostVault:
    return HostVault(
        lmk,
        VariantLmk.of(lmk),
        seeded(7),
        clock or Clock(),
        allow_weak=allow_weak,
        replay=replay,
        pins=pins,
    )


class Host:
    """One port of a device."""

    def __init__(self, vault: HostVault | None = None) -> None:
        self.vault = vault or host_vault()
        self.faults: list[BaseException] = []
        self.dispatcher = Dispatcher(
            self.vault, COMMANDS, failed=lambda _code, error: self.faults.append(error)
        )

    def __call__(self, command: str | bytes) -> str:
        """Answer code, error and data of a command, without the header."""
        raw = command if isinstance(command, bytes) else command.encode("latin-1")
        answer = self.dispatcher.answer(HEADER + raw)
        assert not self.faults, self.faults
        assert answer is not None
        assert answer.startswith(HEADER)
        return answer[4:].decode("latin-1")

    def key(self, clear: bytes, key_type: str, scheme: str = "U") -> str:
        """A clear key under the variant LMK."""
        return self.vault.variant.encrypt_key(clear, key_type, scheme)

    def block(self, usage: KeyUsage, clear: bytes, algorithm: Algorithm = Algorithm.TDES) -> str:
        """A clear key as `S` and a block."""
        return "S" + self.vault.keys.wrap(usage, algorithm, clear).block
