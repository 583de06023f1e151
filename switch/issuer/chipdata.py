"""What a chip and its terminal say in DE55, read once: counter, cryptogram, issuer application data, script results."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from switch.crypto.cryptogram import AC_INPUTS, ALGORITHMS
from switch.wire import tlv
from switch.wire.errors import TlvError

AAC, TC, ARQC = 0x00, 0x40, 0x80
"""Types of cryptogram: the two high bits of 9F27."""

_TYPES: Final = {0x00: AAC, 0x10: TC, 0x20: ARQC}
_BALANCE_TYPES: Final = {0x01: 5, 0x03: 10}
"""Discretionary data that begin with the electronic cash balance, and their length (9F10; JR/T 0025.5)."""
_ONLINE: Final = ("9F26", "9F10", "9F36", "9F37", "9F02", "95", "9A", "9C", "5F2A", "82", "9F1A", "9F03")
RESULT: Final = 5
"""Bytes of one script result in DF31."""

PIN_TRIES_EXCEEDED: Final = 0x004000
"""Bit of the CVR (as a number of 3 bytes): the chip's PIN has been tried too often."""


class Iad(NamedTuple):
    """Issuer application data (9F10): the key index, cryptogram version, CVR as a number of 3 bytes, suite.

    `told` are the discretionary data without their type, `mac` the 4 bytes behind them; both empty if there are none.
    """

    key_index: int
    cvn: int
    cvr: int
    suite: str
    balance_minor: int | None = None
    told: bytes = b""
    mac: bytes = b""

    @property
    def first(self) -> int:
        """What the first GENERATE AC (or the tap) gave: AAC, TC or ARQC."""
        return _TYPES.get(self.cvr >> 16 & 0x30, AAC)

    @property
    def second_tc(self) -> bool:
        """Whether a second GENERATE AC gave a TC."""
        return self.cvr >> 22 == 1

    @property
    def offline_tc(self) -> bool:
        """Whether a TC was given offline: at once, or because the terminal could not go online. A TC that ends an
        online transaction is no offline sale."""
        return self.first == TC or (self.second_tc and bool(self.cvr >> 16 & 1))

    @property
    def scripts(self) -> int:
        """Issuer commands that the chip counted in its last online transaction."""
        return self.cvr >> 4 & 0x0F

    @property
    def script_failed(self) -> bool:
        """Whether one of them failed."""
        return bool(self.cvr & 0x08)


class ChipData(NamedTuple):
    """DE55 of a request or of an offline transaction. `kind` is AAC, TC or ARQC; `e_cash` says that 9F74 is there."""

    values: Mapping[str, bytes]
    atc: int
    ac: bytes
    kind: int
    iad: Iad
    e_cash: bool

    def __repr__(self) -> str:
        return f"ChipData(atc {self.atc})"


class ScriptResult(NamedTuple):
    """One entry of DF31: whether all commands were carried out, and the script's identifier (4 bytes)."""

    done: bool
    script_id: bytes


def read_chip(icc_data: bytes) -> ChipData:
    """DE55 with a cryptogram. TlvError where it cannot be read or lacks what the cryptogram covers."""
    values = _values(icc_data)
    for tag in _ONLINE:
        if not values.get(tag):
            raise TlvError(tag, 0, "is missing")
    iad = read_iad(values["9F10"])
    if len(values["9F36"]) != 2 or len(values["9F26"]) != 8 or len(values["9F02"]) != 6:
        raise TlvError("9F36", 0, "a counter has 2 bytes, a cryptogram 8, an amount 6")
    if not values["9F02"].hex().isdecimal():
        raise TlvError("9F02", 0, "is no amount")
    cid = values.get("9F27")
    kind = cid[0] & 0xC0 if cid else iad.first
    return ChipData(values, int.from_bytes(values["9F36"], "big"), values["9F26"], kind, iad, bool(values.get("9F74")))


def read_iad(value: bytes) -> Iad:
    """9F10. TlvError where it is too short, or its cryptogram version or algorithm is none of ours."""
    if len(value) < 7 or value[3] != 3:
        raise TlvError("9F10", 0, "holds no CVR")
    suite = ALGORITHMS.get(value[7] if len(value) > 7 else 0)
    if suite is None or value[2] not in AC_INPUTS:
        raise TlvError("9F10", 0, "names a cryptogram version or an algorithm that is not known")
    iad = Iad(value[1], value[2], int.from_bytes(value[4:7], "big"), suite)
    size = _BALANCE_TYPES.get(value[9]) if len(value) > 9 else None
    if size is None or len(value) < 10 + size + 4:
        return iad
    told, mac = value[10 : 10 + size], value[10 + size : 14 + size]
    digits = told[:5].hex()
    return iad._replace(balance_minor=int(digits) if digits.isdecimal() else None, told=told, mac=mac)


def read_results(icc_data: bytes) -> tuple[ScriptResult, ...] | None:
    """The script results of a notice or reversal: None without DF31. TlvError where DE55 cannot be read."""
    told = _values(icc_data).get("DF31")
    if not told:
        return None
    if len(told) % RESULT:
        raise TlvError("DF31", 0, f"a script result has {RESULT} bytes")
    entries = (told[at : at + RESULT] for at in range(0, len(told), RESULT))
    return tuple(ScriptResult(entry[0] >> 4 == 2, entry[1:]) for entry in entries)


def _values(icc_data: bytes) -> dict[str, bytes]:
    return dict(tlv.read(icc_data))
