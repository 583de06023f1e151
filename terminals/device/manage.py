"""Sign-in, sign-off, echo test: the dialogues that move no money. Source: pos-protocol.md sections 7 and 8."""

from switch.crypto.errors import CryptoError
from terminals.device.dialogue import SILENCE, BadReply, Line, Outcome, administration, ask, plain, reason_of
from terminals.device.memory import Memory
from terminals.flow import Flow

SIGN_OFF, ECHO = "002", "301"


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


def _asked(memory: Memory, line: Line, kind: str, body: bytes, stan: str) -> Flow[Outcome]:
    try:
        reply = yield from ask(memory, line, "0820", body, stan)
    except (*SILENCE, BadReply) as error:
        return Outcome(kind, "unknown", stan=stan, reason=reason_of(error))
    return Outcome(kind, "approved" if reply[39] == "00" else "declined", reply[39], stan, memory.batch, fields=reply)
