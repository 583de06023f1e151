"""Network management at the centre: sign-on and sign-off, line test, key reset."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from switch.issuer.envelope import Envelope, transmission_time
from switch.issuer.keys import MAC_KEY, PIN_KEY, LinkKeys
from switch.machine import Arm, Link, Now, Out
from switch.wire.errors import DecodeError
from switch.wire.message import Message
from switch.wire.private_network import KeyResetControl, read_53_reset, write_53_reset, write_new_key
from switch.wire.profile import NetworkProfile

SIGN_ON: Final = "001"
SIGN_OFF: Final = "002"
KEY_RESET: Final = "101"
LINE_TEST: Final = "301"
_ACKNOWLEDGED: Final = frozenset(("003", "004", "005", "006", LINE_TEST))

_ECHOED: Final[tuple[int, ...]] = (7, 11, 33, 53, 70)

RESET_REPLY_S: Final = 30.0
"""How long an offered key waits for its acknowledgement."""


class Line:
    """One connection of the member, and whether it has signed on over it."""

    __slots__ = ("link", "signed_on")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.signed_on = False


class Offer(NamedTuple):
    """A new key on its way: the DE11 its acknowledgement must carry, the line, and when to give up."""

    stan: str
    line: Line
    until: float


class Management:
    """Answers 0820, offers keys with 0800 and takes 0810. `welcome` is called when a line has signed on."""

    def __init__(
        self,
        profile: NetworkProfile,
        envelope: Envelope,
        keys: LinkKeys,
        count: Callable[[str], None],
        welcome: Callable[[Line, Now, Out], None],
    ) -> None:
        self._profile = profile
        self._envelope = envelope
        self._keys = keys
        self._count = count
        self._welcome = welcome
        self._offers: dict[str, Offer] = {}
        self._next: dict[str, Line] = {}

    def receive(self, line: Line, header: bytes, message: Message, now: Now, out: Out) -> None:
        """A message of class 08xx."""
        if message.mti == "0820":
            self._on_0820(line, header, message, now, out)
        elif message.mti == "0810":
            self._on_0810(line, message, now, out)
        elif message.mti == "0830":
            self._count("acknowledged" if message.get(39) == "00" else "not_acknowledged")
        else:
            self._count("unexpected")

    def _on_0820(self, line: Line, header: bytes, message: Message, now: Now, out: Out) -> None:
        fields = message.fields
        code = self._judge(line, fields)
        answer: dict[int, Any] = {de: fields[de] for de in _ECHOED if de in fields}
        answer[39] = code
        out.append(self._envelope.answer(line.link, header, "0830", dict(sorted(answer.items()))))
        self._count("management")
        if code != "00":
            self._count("management_refused")
        elif fields[70] == SIGN_ON:
            self._welcome(line, now, out)
        elif fields[70] == KEY_RESET:
            self._reset(line, fields[53][0], now, out)

    def _judge(self, line: Line, fields: Mapping[int, Any]) -> str:
        """30 fields missing, 31 not our member, 40 an unknown function; sign-on and sign-off take effect here."""
        if any(de not in fields for de in (7, 11, 33, 70)):
            return "30"
        if fields[33] != self._profile.forwarder:
            return "31"
        code = fields[70]
        if code in (SIGN_ON, SIGN_OFF):
            line.signed_on = code == SIGN_ON
        elif code == KEY_RESET:
            return self._judge_reset(fields)
        elif code not in _ACKNOWLEDGED:
            return "40"
        return "00"

    def _judge_reset(self, fields: Mapping[int, Any]) -> str:
        try:
            read_53_reset(fields.get(53, ""))
        except DecodeError:
            return "30"
        return "00"

    def reset_keys(self, line: Line, now: Now, out: Out) -> None:
        """Both keys anew, unasked."""
        self._reset(line, MAC_KEY, now, out)
        self._next[PIN_KEY] = line

    def _reset(self, line: Line, digit: str, now: Now, out: Out) -> None:
        if digit == PIN_KEY and not self._keys.has(MAC_KEY):
            # The reset of a PIN key is MAC'd, so a member without a MAC key is given that one first.
            self._next[PIN_KEY] = line
            digit = MAC_KEY
        wrapped = self._keys.offer(digit)
        stan = self._envelope.next_stan()
        section = self._profile.keys
        fields: dict[int, Any] = {7: transmission_time(now), 11: stan}
        if len(wrapped) == 16:
            fields[48] = write_new_key(wrapped)
        algorithm = section.algorithm_digit if len(wrapped) == 16 else "0"
        fields[53] = write_53_reset(KeyResetControl(digit, algorithm))
        fields[70] = KEY_RESET
        if len(wrapped) == 8:
            fields[96] = wrapped
        fields[100] = self._profile.forwarder
        new = digit == MAC_KEY and (section.mac_key_proves_itself or not self._keys.has(MAC_KEY))
        fields[128] = self._keys.mac("0800", fields, key_reset=True, new=new)
        until = now.mono + RESET_REPLY_S
        self._offers[digit] = Offer(stan, line, until)
        out.append(self._envelope.originate(line.link, "0800", fields))
        out.append(Arm(until))

    def _on_0810(self, line: Line, message: Message, now: Now, out: Out) -> None:
        fields = message.fields
        digit = next((d for d, offer in self._offers.items() if offer.stan == fields.get(11)), "")
        if not digit or self._offers[digit].line is not line or fields.get(70) != KEY_RESET:
            self._count("unexpected")
            return
        if not self._keys.verify("0810", fields, now.mono, key_reset=True, new=digit == MAC_KEY):
            self._count("bad_mac")
            return
        del self._offers[digit]
        if fields.get(39) != "00":
            self._keys.withdraw(digit)
            self._count("keys_refused")
            return
        self._keys.adopt(digit, now.mono)
        self._count("keys_reset")
        for waiting in tuple(self._next):
            self._reset(self._next.pop(waiting), waiting, now, out)

    def line_down(self, line: Line) -> None:
        """Whatever was offered over this line is withdrawn."""
        line.signed_on = False
        self._next = {digit: waiting for digit, waiting in self._next.items() if waiting is not line}
        for digit in [digit for digit, offer in self._offers.items() if offer.line is line]:
            self._give_up(digit)

    def tick(self, now: Now) -> None:
        """Give up offers that nobody acknowledged."""
        for digit in [digit for digit, offer in self._offers.items() if offer.until <= now.mono]:
            self._give_up(digit)

    def _give_up(self, digit: str) -> None:
        del self._offers[digit]
        self._keys.withdraw(digit)
        self._next.clear()
        self._count("keys_unacknowledged")

    def deadline(self) -> float | None:
        """When `tick` is wanted, None if it is not."""
        return min((offer.until for offer in self._offers.values()), default=None)
