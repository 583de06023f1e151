"""Issuer scripts (71 before, 72 after the last GENERATE AC): run command by command, told in five bytes each (DF31)."""

from typing import Final, NamedTuple

from switch.wire import apdu, tlv
from switch.wire.errors import ApduError, TlvError
from terminals.flow import CardRemoved, Flow
from terminals.kernel.session import exchange

_WARNINGS: Final = (0x62, 0x63)
_PUT_BALANCE: Final = (0xDA, 0x9F, 0x79)
_NO_IDENTIFIER: Final = bytes(4)


class Ran(NamedTuple):
    """What came of one script: its five bytes of DF31, whether it worked, whether the card left while it ran.

    `load` tells of a command that sets the e-cash balance: "none", "done", "failed" (the card refused it, or it was
    never sent), "doubt" (the card left before its answer). `balance`: what the last such command set, six bytes.
    """

    result: bytes
    ok: bool
    removed: bool
    load: str
    balance: bytes = b""


def run(script: bytes) -> Flow[Ran]:
    """Run one script's commands, up to the first the card refuses (a status other than 90xx, 62xx, 63xx)."""
    try:
        commands, identifier = _commands(script)
    except TlvError:
        return Ran(b"\x00" + _NO_IDENTIFIER, False, False, "none")
    setting = [command for command in commands if _sets_balance(command)]
    load = "failed" if setting else "none"
    for number, command in enumerate(commands, 1):
        failing = bytes((0x10 | min(number, 15),)) + identifier
        try:
            _, sw = yield from exchange(command)
        except CardRemoved:
            return Ran(failing, False, True, "doubt" if _sets_balance(command) else load)
        except ApduError:
            return Ran(failing, False, False, load)
        if sw >> 8 not in (0x90, *_WARNINGS):
            return Ran(failing, False, False, load)
        if _sets_balance(command):
            load = "done"
    return Ran(b"\x20" + identifier, True, False, load, setting[-1][5:11] if setting else b"")


def _commands(script: bytes) -> tuple[list[bytes], bytes]:
    """The 86 objects and the identifier (9F18). Raises TlvError for a script that is to be left alone whole."""
    items = tlv.read(script)
    commands = [value for tag, value in items if tag == "86"]
    identifier = tlv.find(items, "9F18") or _NO_IDENTIFIER
    if not commands or len(identifier) != 4 or any(tag not in ("86", "9F18") for tag, _ in items):
        raise TlvError("", 0, "not a script")
    for command in commands:
        try:
            apdu.Command.parse(command)
        except ApduError:
            raise TlvError("86", 0, "not a command") from None
    return commands, identifier


def _sets_balance(command: bytes) -> bool:
    return tuple(command[1:4]) == _PUT_BALANCE
