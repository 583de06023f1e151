"""Issuer scripts (发卡行脚本) under secure messaging: commands with their MAC, templates, PIN change.

A command's MAC is the short MAC, under the session MAC key, of header (Lc with the 4 bytes of the MAC), ATC, the
cryptogram of the transaction's first GENERATE AC, and the data as sent. JR/T 0025.5.
"""

import hmac
from collections.abc import Iterable

from switch.crypto.cryptogram import SessionKey
from switch.crypto.errors import CryptoError, MacMismatch, PinFormatError

MAC = 4
BEFORE, AFTER = 0x71, 0x72
"""Templates: carried out before, or after, the second GENERATE AC."""
UNBLOCK, CHANGE_WITH_CURRENT, CHANGE = 0, 1, 2
"""P2 of PIN CHANGE/UNBLOCK."""


def mac_input(header: bytes, atc: int, ac: bytes, data: bytes) -> bytes:
    """What a command's MAC covers; `header` is CLA INS P1 P2 Lc."""
    if len(header) != 5 or len(ac) != 8 or not 0 <= atc <= 0xFFFF:
        raise CryptoError("a script's MAC takes a header of 5 bytes, an ATC of 2 and a cryptogram of 8")
    return header + atc.to_bytes(2, "big") + ac + data


def pin_block(key_part: bytes, pin: str, current: str | None = None) -> bytes:
    """The clear block of a PIN change: length and PIN filled with F, crossed with a part of a card key.

    `key_part` is bytes 5 to 8 of that key (`CardKey.pin_part`). Practice at Visa and in HSMs takes the cryptogram key;
    one public applet of PBOC the encipherment key. `current`: the PIN in force, where P2 says that it is crossed in.
    """
    value = int(_pin_field(pin), 16) ^ int.from_bytes(_part(key_part), "big")
    if current is not None:
        _pin_field(current)
        value ^= int(current.ljust(16, "0"), 16)
    return value.to_bytes(8, "big")


def pin_of(key_part: bytes, block: bytes, current: str | None = None) -> str:
    """The new PIN of a clear block; PinFormatError where none stands there."""
    if len(block) != 8:
        raise PinFormatError(f"a PIN change has a block of 8 bytes, not {len(block)}")
    value = int.from_bytes(block, "big") ^ int.from_bytes(_part(key_part), "big")
    if current is not None:
        _pin_field(current)
        value ^= int(current.ljust(16, "0"), 16)
    text = f"{value:016X}"
    length = int(text[1], 16)
    pin = text[2 : 2 + length]
    if text[0] != "0" or not (4 <= length <= 12 and pin.isdigit()) or text[2 + length :].strip("F"):
        raise PinFormatError("the block of a PIN change holds no PIN")
    return pin


def _pin_field(pin: str) -> str:
    if not (pin.isascii() and pin.isdigit() and 4 <= len(pin) <= 12):
        raise PinFormatError("a PIN has 4 to 12 digits")
    return f"0{len(pin):X}{pin}".ljust(16, "F")


def _part(key_part: bytes) -> bytes:
    if len(key_part) != 4:
        raise CryptoError(f"a PIN change takes 4 bytes of a card key, not {len(key_part)}")
    return key_part


def enciphered(session: SessionKey, block: bytes) -> bytes:
    """A PIN change's block as it travels: 08, block, 80 and zeros to 16 bytes, in ECB under the session key."""
    if len(block) != 8:
        raise CryptoError(f"a PIN change has a block of 8 bytes, not {len(block)}")
    return session.encrypt(b"\x08" + block + b"\x80" + bytes(6))


def deciphered(session: SessionKey, data: bytes) -> bytes:
    """The clear block of a PIN change; PinFormatError where what was deciphered is not built as one."""
    if len(data) != 16:
        raise PinFormatError(f"a PIN change has 16 enciphered bytes, not {len(data)}")
    clear = session.decrypt(data)
    if clear[0] != 8 or clear[9:] != b"\x80" + bytes(6):
        raise PinFormatError("an enciphered PIN change does not open as one")
    return clear[1:9]


class Script:
    """Writes the commands of one transaction's scripts: its ATC, its first cryptogram, its session keys.

    `encipherment` is needed by `pin_change` only.
    """

    __slots__ = ("_ac", "_atc", "_encipherment", "_mac")

    def __init__(self, mac: SessionKey, atc: int, ac: bytes, encipherment: SessionKey | None = None) -> None:
        self._mac = mac
        self._atc = atc
        self._ac = ac
        self._encipherment = encipherment

    def command(self, cla: int, ins: int, p1: int, p2: int, data: bytes = b"") -> bytes:
        """Any command with its MAC: CLA INS P1 P2 Lc data MAC."""
        if len(data) > 255 - MAC:
            raise CryptoError(f"a script's command carries 251 bytes at most, not {len(data)}")
        header = bytes((cla, ins, p1, p2, len(data) + MAC))
        return header + data + self._mac.mac4(mac_input(header, self._atc, self._ac, data))

    def put_data(self, tag: str, value: bytes) -> bytes:
        """PUT DATA of one element; `tag` in hex, one byte or two."""
        number = int(tag, 16)
        return self.command(0x04, 0xDA, number >> 8, number & 0xFF, value)

    def update_record(self, sfi: int, record: int, value: bytes) -> bytes:
        """UPDATE RECORD: the whole record anew."""
        return self.command(0x04, 0xDC, record, sfi << 3 | 4, value)

    def app_block(self) -> bytes:
        """APPLICATION BLOCK (应用锁定)."""
        return self.command(0x84, 0x1E, 0, 0)

    def app_unblock(self) -> bytes:
        """APPLICATION UNBLOCK (应用解锁)."""
        return self.command(0x84, 0x18, 0, 0)

    def card_block(self) -> bytes:
        """CARD BLOCK (卡片锁定): for ever."""
        return self.command(0x84, 0x16, 0, 0)

    def pin_unblock(self) -> bytes:
        """PIN UNBLOCK (PIN解锁): the tries are given back."""
        return self.command(0x84, 0x24, 0, UNBLOCK)

    def pin_change(self, key_part: bytes, pin: str, current: str | None = None) -> bytes:
        """PIN CHANGE (PIN修改): crossed with the PIN in force where that is given; see `pin_block` for `key_part`."""
        if self._encipherment is None:
            raise CryptoError("a PIN change needs the session key of encipherment")
        data = enciphered(self._encipherment, pin_block(key_part, pin, current))
        return self.command(0x84, 0x24, 0, CHANGE if current is None else CHANGE_WITH_CURRENT, data)


def _element(tag: bytes, value: bytes) -> bytes:
    length = len(value)
    if length > 255:
        raise CryptoError(f"a script of {length} bytes is too long for one template")
    return tag + (b"\x81" if length > 127 else b"") + bytes((length,)) + value


def template(commands: Iterable[bytes], script_id: bytes | None = None, tag: int = AFTER) -> bytes:
    """A script as it travels: 71 or 72 around 9F18 (4 bytes, if given) and each command in 86; 255 bytes at most."""
    if script_id is not None and len(script_id) != 4:
        raise CryptoError(f"a script identifier has 4 bytes, not {len(script_id)}")
    inner = b"" if script_id is None else _element(b"\x9f\x18", script_id)
    return _element(bytes((tag,)), inner + b"".join(_element(b"\x86", command) for command in commands))


def check(session: SessionKey, command: bytes, atc: int, ac: bytes) -> bytes:
    """A card's side: the data of a command whose MAC is right; MacMismatch otherwise, also where none can stand."""
    if len(command) < 5 + MAC or command[4] != len(command) - 5:
        raise MacMismatch("a script's command holds no MAC")
    data = command[5:-MAC]
    if not hmac.compare_digest(session.mac4(mac_input(command[:5], atc, ac, data)), command[-MAC:]):
        raise MacMismatch("MAC of a script's command does not match")
    return data
