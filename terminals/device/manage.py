"""Sign-in, sign-off, echo test, parameters and status: the dialogues that move no money.

See docs/protocol-pos.md sections 5, 7 and 8.
"""

from switch.crypto.errors import CryptoError
from switch.wire.errors import DecodeError
from switch.wire.private_62 import read_parameters, write_parameters
from terminals.device.dialogue import SILENCE, BadReply, Line, Outcome, administration, ask, plain, reason_of
from terminals.device.memory import Memory
from terminals.flow import Flow

SIGN_OFF, ECHO = "002", "301"
PARAMETERS, PARAMETERS_END, STATUS = "360", "361", "362"
DEVICES = ("01", "02", "03", "04", "05")
"""Keyboard, PIN pad, reader, printer, display."""


def sign_in(memory: Memory, line: Line) -> Flow[Outcome]:
    """Sign in (签到): working keys, each checked, the batch number and the host's clock.

    A check value that differs is a failed sign-in: "declined" with reason "keys", the former keys stay in the PIN pad.
    """
    section = line.protection(memory.suite).section
    stan = memory.next_stan()
    fields = administration(memory, section.sign_in_code) | {11: stan, 63: line.operator}
    body = plain(line, "0800", fields)
    # The host changes its keys whether or not its answer arrives.
    memory.signed_in = False
    try:
        reply = yield from ask(memory, line, "0800", body, stan)
    except (*SILENCE, BadReply) as error:
        return Outcome("sign_in", "unknown", stan=stan, reason=reason_of(error))
    code = reply[39]
    if code != "00":
        return Outcome("sign_in", "declined", code, stan, fields=reply)
    batch = reply.get(60, "")[2:8]
    if len(batch) != 6 or 62 not in reply:
        return Outcome("sign_in", "declined", code, stan, reason="bad reply", fields=reply)
    try:
        memory.pinpad.load_keys(reply[62], section.keys, section.mac)
    except CryptoError:
        return Outcome("sign_in", "declined", code, stan, reason="keys", fields=reply)
    memory.open_batch(batch)
    memory.signed_in = True
    return Outcome("sign_in", "approved", code, stan, batch, fields=reply)


def sign_off(memory: Memory, line: Line) -> Flow[Outcome]:
    """Sign off (签退); the terminal is signed off whatever the answer."""
    stan = memory.next_stan()
    body = plain(line, "0820", administration(memory, SIGN_OFF) | {11: stan})
    memory.signed_in = False
    return (yield from _asked(memory, line, "sign_off", body, stan))


def echo(memory: Memory, line: Line) -> Flow[Outcome]:
    """Echo test (回响测试): whether the host is there. It has no trace number."""
    return (yield from _asked(memory, line, "echo", plain(line, "0820", administration(memory, ECHO)), ""))


def parameters(memory: Memory, line: Line) -> Flow[Outcome]:
    """Parameter download (参数下载) and its end; the terminal keeps what it was given before unless all of it came."""
    try:
        reply = yield from ask(memory, line, "0800", plain(line, "0800", administration(memory, PARAMETERS)))
        if reply[39] != "00":
            return Outcome("parameters", "declined", reply[39], fields=reply)
        given = dict(read_parameters(reply.get(62, b"")))
        reply = yield from ask(memory, line, "0800", plain(line, "0800", administration(memory, PARAMETERS_END)))
    except (*SILENCE, BadReply) as error:
        return Outcome("parameters", "unknown", reason=reason_of(error))
    except DecodeError:
        return Outcome("parameters", "declined", reason="bad reply")
    if reply[39] == "00":
        memory.parameters = given
    return Outcome("parameters", "approved" if reply[39] == "00" else "declined", reply[39], fields=reply)


def status(memory: Memory, line: Line) -> Flow[Outcome]:
    """Status upload (状态上送): all devices well, and the parameters in force."""
    told = [(code, "1") for code in DEVICES] + sorted(memory.parameters.items())
    fields = administration(memory, STATUS) | {62: write_parameters(told)}
    return (yield from _asked(memory, line, "status", plain(line, "0820", fields), ""))


def _asked(memory: Memory, line: Line, kind: str, body: bytes, stan: str) -> Flow[Outcome]:
    try:
        reply = yield from ask(memory, line, "0820", body, stan)
    except (*SILENCE, BadReply) as error:
        return Outcome(kind, "unknown", stan=stan, reason=reason_of(error))
    return Outcome(kind, "approved" if reply[39] == "00" else "declined", reply[39], stan, memory.batch, fields=reply)
