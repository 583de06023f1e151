"""The passive recorder of both sides. It is told what passes, in order, and files it: it changes and delays nothing.

Front: what each terminal sends and receives. Back: what the centre receives and answers, by line.
"""

from collections.abc import Mapping
from typing import Final

from scenarios.sandwich.keyring import Keyring
from scenarios.sandwich.seen import Asked, Broken, Received, Seen, Stray
from switch.wire.codec import Codec, codec_of
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import NetworkHeader
from switch.wire.message import Message
from switch.wire.profile import NetworkProfile, PosProfile, dialect_of
from switch.wire.transactions import FINANCIAL_MTIS, reply_mti

MESSAGES_MAX: Final = 400_000
"""Messages a recording may hold (2 to 3 KB each); beyond that it is `full` and takes no more."""

QUIET_S: Final = 1.0

REVERSALS: Final = frozenset(("0420", "0421"))
REQUESTS: Final = FINANCIAL_MTIS | REVERSALS
MANAGEMENT: Final = frozenset(("0800", "0810", "0820", "0830"))
ADVICE: Final = frozenset(("0220", "0420", "0421"))
_SAME: Final = (2, 3, 4, 37, 41, 42, 90)
"""A repeat under the same key says the same in these."""


class Recorder:
    """`pos` is the terminals' profile, `lines` the member's profile of each line, by its name."""

    def __init__(self, keyring: Keyring, pos: PosProfile, lines: Mapping[str, NetworkProfile]) -> None:
        self.keyring = keyring
        self.lines = dict(lines)
        self.pos = pos
        self.asked: list[Asked] = []
        self.received: dict[tuple[str, str, str, str], Received] = {}
        self.strays: list[Stray] = []
        self.broken: list[Broken] = []
        self.sign_ins = 0
        self.signed_on: set[str] = set()
        self.messages = 0
        self.frames = {"front": 0, "back": 0}
        self.first = self.last = 0.0
        self._pos_codec = codec_of(dialect_of(pos))
        self._own_codecs: dict[str, Codec] = {}
        self._codecs = {name: codec_of(dialect_of(profile)) for name, profile in self.lines.items()}
        self._open: dict[str, Asked] = {}
        self._by_stan: dict[tuple[str, str, str], list[Asked]] = {}

    def __repr__(self) -> str:
        return f"Recorder({len(self.asked)} requests in front, {len(self.received)} behind)"

    def speaks(self, tid: str, profile: PosProfile) -> None:
        """This terminal has a profile of its own."""
        self._own_codecs[tid] = codec_of(dialect_of(profile))

    @property
    def full(self) -> bool:
        return self.messages >= MESSAGES_MAX

    def _count(self, at: float) -> bool:
        if not self.messages:
            self.first = at
        self.last = max(self.last, at)
        if self.full:
            return False
        self.messages += 1
        return True

    # front

    def terminal_sends(self, tid: str, body: bytes, at: float) -> None:
        """A request leaves a terminal; one it had under way is over."""
        if not self._count(at):
            return
        self.terminal_gives_up(tid, at)
        message = self._own_codecs.get(tid, self._pos_codec).decode(body)
        asked = Asked(self._front(tid, message, at))
        self.asked.append(asked)
        self._open[tid] = asked
        self._by_stan.setdefault((tid, reply_mti(message.mti), message.get(11, "")), []).append(asked)

    def terminal_receives(self, tid: str, body: bytes, at: float) -> None:
        """A message reaches a terminal, whatever it is."""
        self.frames["front"] += 1
        if not self._count(at):
            return
        try:
            message = self._own_codecs.get(tid, self._pos_codec).decode(body)
        except DecodeError as error:
            self.broken.append(Broken("front.readable", tid, at, str(error)))
            return
        asked = self._open.get(tid)
        if asked is not None and self._answers(asked, message):
            self._take_keys(tid, asked, message, at)
            asked.answer = self._front(tid, message, at)
            del self._open[tid]
            return
        seen = self._front(tid, message, at)
        before = self._before(tid, message)
        if before is None:
            self.strays.append(Stray(tid, seen, self._owner(tid, message)))
        elif before.answer is not None:
            before.spare.append(seen)
        else:
            before.late = seen

    def terminal_garbled(self, tid: str, reason: str, at: float) -> None:
        """Bytes that are no frames reached a terminal."""
        self.frames["front"] += 1
        self.broken.append(Broken("front.readable", tid, at, reason))

    def terminal_gives_up(self, tid: str, at: float) -> None:
        """A terminal waits no longer."""
        asked = self._open.pop(tid, None)
        if asked is not None:
            asked.ended = at

    def _answers(self, asked: Asked, message: Message) -> bool:
        """Whether this is the answer to that: class, number, terminal and merchant."""
        request = asked.request
        wanted = {de: request.fields[de] for de in (11, 41, 42) if de in request.fields}
        return message.mti == reply_mti(request.mti) and all(message.get(de) == value for de, value in wanted.items())

    def _before(self, tid: str, message: Message) -> Asked | None:
        """An earlier request of the same terminal that this answers: a late answer, or a second one."""
        for asked in reversed(self._by_stan.get((tid, message.mti, message.get(11, "")), ())):
            if self._answers(asked, message):
                return asked
        return None

    def _owner(self, tid: str, message: Message) -> Asked | None:
        """The latest request of another terminal that this answers."""
        owner = str(message.get(41, ""))
        if owner == tid:
            return None
        for asked in reversed(self._by_stan.get((owner, message.mti, message.get(11, "")), ())):
            if self._answers(asked, message):
                return asked
        return None

    def _take_keys(self, tid: str, asked: Asked, message: Message, at: float) -> None:
        if asked.request.mti != "0800" or message.get(39) != "00":
            return
        self.sign_ins += 1
        fault = self.keyring.sign_in(tid, message.fields[62]) if 62 in message.fields else "DE62 is absent"
        if fault:
            self.broken.append(Broken("front.keys", tid, at, fault))

    def _front(self, tid: str, message: Message, at: float) -> Seen:
        keyring = self.keyring
        fields = dict(message.fields)
        for de in (35, 36):
            if de in fields:
                fields[de] = keyring.front_track(tid, fields, de) or ""
        pan = fields.get(2) or fields.get(35, "").replace("=", "D").partition("D")[0]
        return Seen(
            tid,
            at,
            message.mti,
            fields,
            keyring.digest(pan),
            keyring.front_mac(tid, message.raw, fields),
            keyring.front_pin(tid, fields, pan) if pan else None,
            keyring.front_new_pin(tid, fields, pan) if pan else None,
        )

    # back

    def line_receives(self, line: str, header: bytes, body: bytes, at: float) -> None:
        """A message comes out of the switch on a line."""
        self.frames["back"] += 1
        if not self._count(at):
            return
        self._check_header(line, header, len(body), at)
        try:
            message = self._codecs[line].decode(body)
        except DecodeError as error:
            self.broken.append(Broken("back.readable", line, at, str(error)))
            return
        if message.mti in MANAGEMENT:
            if message.mti == "0810":
                self.keyring.taken(line, message.fields)
            return
        if message.mti not in REQUESTS:
            self.broken.append(Broken("back.class", line, at, f"message type {message.mti}"))
            return
        self._file(self._back(line, message, at))

    def line_garbled(self, line: str, reason: str, at: float) -> None:
        """Bytes that are no frames came out of the switch on a line."""
        self.frames["back"] += 1
        self.broken.append(Broken("back.readable", line, at, reason))

    def _check_header(self, line: str, header: bytes, size: int, at: float) -> None:
        profile = self.lines[line]
        if not profile.framing.header:
            return
        try:
            told = NetworkHeader.parse(header, len(header) + size)
        except FrameError as error:
            self.broken.append(Broken("back.header", line, at, str(error)))
            return
        if (told.destination, told.source) != (profile.header.destination, profile.header.source):
            self.broken.append(Broken("back.header", line, at, "destination or source is not the profile's"))

    def _file(self, seen: Seen) -> None:
        get = seen.fields.get
        key = (seen.where, "04" if seen.mti in REVERSALS else seen.mti, get(7, ""), get(11, ""))
        first = self.received.get(key)
        if first is None:
            self.received[key] = Received(seen)
        elif seen.mti in ADVICE and all(get(de) == first.request.fields.get(de) for de in _SAME):
            first.repeats.append(seen)
        else:
            first.unlike.append(seen)

    def line_sends(self, line: str, body: bytes, at: float) -> None:
        """The centre answers on a line, or says something of its own."""
        if not self._count(at):
            return
        message = self._codecs[line].decode(body)
        fields = message.fields
        if message.mti == "0800":
            self.keyring.offered(line, fields)
        elif message.mti == "0830" and fields.get(70) == "001" and fields.get(39) == "00":
            self.signed_on.add(line)
        if message.mti in MANAGEMENT:
            return
        asked = "04" if message.mti == "0430" else f"{message.mti[:2]}{int(message.mti[2]) - 1}0"
        received = self.received.get((line, asked, fields.get(7, ""), fields.get(11, "")))
        if received is not None and received.answer is None:
            received.answer = self._back(line, message, at)

    def line_rejects(self, line: str, body: bytes) -> None:
        """The centre sends a message back as it came, because of its header."""
        try:
            head = self._codecs[line].peek(body, (7, 11))
        except DecodeError:
            return
        kind = "04" if head[0] in REVERSALS else head[0]
        received = self.received.get((line, kind, head.get(7, ""), head.get(11, "")))
        if received is not None:
            received.rejected = True

    def _back(self, line: str, message: Message, at: float) -> Seen:
        keyring, fields = self.keyring, message.fields
        pan = fields.get(2) or fields.get(35, "").partition("=")[0]
        return Seen(
            line,
            at,
            message.mti,
            dict(fields),
            keyring.digest(pan),
            keyring.back_mac(line, message.mti, fields),
            keyring.back_pin(line, fields, pan) if pan else None,
            keyring.back_new_pin(line, fields, pan) if pan else None,
        )

    # both

    def due(self, slack_s: float) -> float:
        """By when everything must have been reversed that the centre left without an answer in time.

        A moment of quiet is waited for in any case.
        """
        reversed_ = {
            (received.where, named[10:20], named[4:10])
            for received in self.received.values()
            if received.request.mti in REVERSALS and (named := received.request.fields.get(90, ""))
        }
        last = 0.0
        for received in self.received.values():
            request, answer = received.request, received.answer
            if request.mti in REVERSALS or received.key in reversed_:
                continue
            patience = self.lines[received.where].timers.reply_s
            if answer is None or answer.at - request.at > patience * 0.5:
                last = max(last, request.at + patience + slack_s)
        return max(last, self.last + QUIET_S)
