"""What a known-answer vector gives and what is computed of it: the inputs read by what they should be."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from switch.wire import tlv

ITERATIONS_MAX = 10_000_000

ALGORITHMS = {b"\x00": "3des", b"\x01": "3des", b"\x04": "sm4"}

Value: TypeAlias = bytes | str | bool | tlv.Items
"""bytes stand as hex in a file, str as themselves, elements as pairs of tag and value."""

Answers: TypeAlias = dict[str, Callable[[], Value]]


class VectorError(ValueError):
    """A vector that cannot be computed as it is written: something absent, or of the wrong shape."""


class Leading(bytes):
    """Bytes of which a file may expect fewer than all, 4 at least: those that come first."""


class Inputs:
    """The inputs of one vector, read by what they should be; VectorError names the one that is not."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A text."""
        if name not in self._values:
            raise VectorError(f"input {name} is absent")
        value = self._values[name]
        if not isinstance(value, str):
            raise VectorError(f"input {name} is not text")
        return value

    def octets(self, name: str, default: bytes | None = None) -> bytes:
        """Bytes, written in hex."""
        if default is not None and name not in self._values:
            return default
        try:
            return bytes.fromhex(self.text(name))
        except VectorError:
            raise
        except ValueError:
            raise VectorError(f"input {name} is not hex") from None

    def ascii(self, name: str) -> bytes:
        """Bytes, written as the characters that they are."""
        try:
            return self.text(name).encode("ascii")
        except UnicodeEncodeError:
            raise VectorError(f"input {name} has characters outside ASCII") from None

    def count(self, name: str, default: int) -> int:
        """A count from 1 to ITERATIONS_MAX, as a number or in digits."""
        value = self._values.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= ITERATIONS_MAX:
            raise VectorError(f"input {name} is not a count from 1 to {ITERATIONS_MAX}")
        return value

    def suite(self, name: str = "algorithm") -> str:
        """A cipher suite, 3DES unless given."""
        if name not in self._values:
            return "3des"
        suite = {"3des": "3des", "des": "3des", "tdes": "3des", "sm4": "sm4"}.get(self.text(name).lower())
        if suite is None:
            raise VectorError(f"input {name} is neither 3des nor sm4")
        return suite

    def has(self, name: str) -> bool:
        """Whether the input is there; null stands for absent."""
        return self._values.get(name) is not None

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number from 0 on, as a number or in digits."""
        if default is not None and not self.has(name):
            return default
        if name not in self._values:
            raise VectorError(f"input {name} is absent")
        value = self._values[name]
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise VectorError(f"input {name} is not a whole number")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise VectorError(f"input {name} is neither true nor false")
        return value

    def sized(self, name: str, size: int) -> bytes:
        """Bytes of one length, written in hex."""
        value = self.octets(name)
        if len(value) != size:
            raise VectorError(f"input {name} has {len(value)} bytes, not {size}")
        return value

    def chip_suite(self) -> str:
        """The suite that the algorithm byte of a chip (`alg`) names, 3DES unless given."""
        suite = ALGORITHMS.get(self.octets("alg", b"\x01"))
        if suite is None:
            raise VectorError("input alg is neither 01 nor 04")
        return suite
