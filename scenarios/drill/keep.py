"""A terminal's memory as a file, so that it survives the end of its process: written before each message leaves, and
that of a machine that holds cash, with its notes and its cash book, before anything moves.

Items hold card numbers (a void by voucher number needs them), so what is written is sealed under a key file's storage
key; keys of the PIN pad are not in it, the terminal signs in again.
"""

import pickle
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from switch.crypto.hsm import Hsm
from terminals.device.atm import AtmMemory
from terminals.device.memory import Memory
from terminals.flow import Call, Flow, FlowEffect, through

T = TypeVar("T")

STORE: Final = "store/memory"
_KEPT: Final = ("batch", "clock", "closed", "items", "last", "parameters", "pending", "settling", "stan")
_KEPT_CASH: Final = ("card_in", "dispensing", "errors", "retained", "unconfirmed", "undispensed", "vault")


class Keeper:
    """The memories of a fleet in one directory, sealed."""

    def __init__(self, directory: Path) -> None:
        self._files = directory / "memory"
        self._files.mkdir(exist_ok=True, mode=0o700)
        lmk, keys = directory / "fleet.lmk", directory / "fleet.keys"
        if keys.exists():
            self._hsm = Hsm.load(keys, bytes.fromhex(lmk.read_text().strip()), secrets.token_bytes)
            return
        lmk.touch(mode=0o600)
        lmk.write_text(secrets.token_bytes(32).hex() + "\n")
        self._hsm = Hsm(bytes.fromhex(lmk.read_text().strip()), secrets.token_bytes)
        self._hsm.generate(STORE, "store", "aes", 32)
        self._hsm.save(keys)

    def save(self, memory: Memory) -> None:
        """Write one memory; a reader sees the old or the new one, whole."""
        names = (*_KEPT, *_KEPT_CASH) if isinstance(memory, AtmMemory) else _KEPT
        clear = pickle.dumps({name: getattr(memory, name) for name in names}, protocol=5)
        new = self._files / f"{memory.tid}.new"
        new.write_bytes(self._hsm.seal(STORE, clear, memory.tid.encode()))
        new.rename(self._files / memory.tid)

    def load(self, memory: Memory) -> bool:
        """Give a memory what was written of it; False where nothing was. It has to sign in again."""
        file = self._files / memory.tid
        if not file.exists():
            return False
        state: dict[str, Any] = pickle.loads(self._hsm.open(STORE, file.read_bytes(), memory.tid.encode()))
        for name, value in state.items():
            setattr(memory, name, value)
        memory.signed_in = False
        return True


def kept(flow: Flow[T], save: Callable[[], None], *, always: bool = False) -> Flow[T]:
    """A dialogue whose terminal's memory is written before each message leaves, and at its end; `always`: before
    whatever the terminal does."""

    def each(effect: FlowEffect) -> Flow[Any]:
        if always or isinstance(effect, Call):
            save()
        return (yield effect)

    try:
        return (yield from through(flow, each))
    finally:
        save()
