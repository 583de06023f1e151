"""An Hsm that counts what a real one would be asked: one operation a command.

A command makes a working key and gives it out under two keys at once, or makes or checks a MAC, or translates a PIN, or
opens a track. What only guards the journal, sealing and hashing, no payment HSM is asked for.
"""

from collections.abc import Iterable
from typing import Any

from switch.crypto.hsm import Hsm, Issued


class MeteredHsm(Hsm):
    """`operations` counts from 0."""

    __slots__ = ("operations",)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.operations = 0

    def generate(self, label: str, usage: str, suite: str, length: int = 16) -> None:
        """As `Hsm.generate`."""
        self.operations += 1
        super().generate(label, usage, suite, length)

    def issue(self, owner: str, suite: str, wanted: Iterable[tuple[str, int]]) -> list[Issued]:
        """As `Hsm.issue`: one command a key."""
        issued = super().issue(owner, suite, wanted)
        self.operations += len(issued)
        return issued

    def import_key(
        self, label: str, usage: str, suite: str, wrapped: bytes, under: str, kcv: bytes | None = None
    ) -> None:
        """As `Hsm.import_key`."""
        self.operations += 1
        super().import_key(label, usage, suite, wrapped, under, kcv)

    def mac(self, label: str, algorithm: str, data: bytes) -> bytes:
        """As `Hsm.mac`."""
        self.operations += 1
        return super().mac(label, algorithm, data)

    def verify_mac(self, label: str, algorithm: str, data: bytes, mac: bytes) -> bool:
        """As `Hsm.verify_mac`: one command, however it is done here."""
        after = self.operations + 1
        right = super().verify_mac(label, algorithm, data, mac)
        self.operations = after
        return right

    def translate_pin(
        self, from_label: str, from_format: str, to_label: str, to_format: str, pan: str, block: bytes
    ) -> bytes:
        """As `Hsm.translate_pin`."""
        self.operations += 1
        return super().translate_pin(from_label, from_format, to_label, to_format, pan, block)

    def decrypt_track(self, label: str, track: str) -> str:
        """As `Hsm.decrypt_track`."""
        self.operations += 1
        return super().decrypt_track(label, track)
