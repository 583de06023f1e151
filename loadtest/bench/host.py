"""The issuer host beyond the switch: lean, answering every request with an approval under a fresh MAC.

The first request of a shape (bitmap and length) is decoded and answered with the codec, and where its fields stand is
learnt; later ones are answered by slices. Sign-on and line tests get their 00.
"""

from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, Final

from loadtest.bench.ground import Ground
from loadtest.bench.process import BenchFailed
from switch.crypto.mac import message_mac
from switch.wire.codec import codec_of
from switch.wire.framing import NetworkHeader
from switch.wire.mab import network_mab
from switch.wire.profile import dialect_of
from switch.wire.transactions import reply_mti

_ECHOED: Final = (2, 3, 4, 7, 11, 12, 13, 25, 32, 33, 37, 41, 42, 49)
_FRESH: Final = (2, 4, 7, 11, 12, 13, 37, 41, 42)
"""Echoed fields in which two requests of one shape differ."""
_FRONT: Final = 4 + 46
_RECEIVE: Final = 1 << 18
_OTHER_DIGITS: Final = str.maketrans("0123456789", "5678901234")


class Host:
    """Answers on one blocking connection; `answered` counts the financial requests."""

    def __init__(self, ground: Ground) -> None:
        self._codec = codec_of(dialect_of(ground.network))
        section, keys = ground.network.header, ground.network.keys
        self._header = NetworkHeader(version=section.version, destination=section.source, source=section.destination)
        self._mac = message_mac(keys.mac, keys.suite, ground.zak)
        self._shapes: dict[tuple[bytes, int], Callable[[bytes], bytes]] = {}
        self._rest = b""
        self.answered = 0

    def serve(self, line: socket) -> Callable[[int], None]:
        """What to call when the connection can be read."""
        receive, send, shapes = line.recv, line.sendall, self._shapes

        def readable(_: int) -> None:
            data = receive(_RECEIVE)
            if not data:
                raise BenchFailed("the switch has hung up on its host")
            if self._rest:
                data = self._rest + data
            at, end = 0, len(data)
            answers = []
            while end - at >= 4:
                stop = at + 4 + int(data[at : at + 4])
                if stop > end:
                    break
                if stop > at + 4:
                    answer = shapes.get((data[at + _FRONT : at + _FRONT + 20], stop - at), self._first)
                    answers.append(answer(data[at:stop]))
                at = stop
            self._rest = data[at:]
            self.answered += len(answers)
            send(b"".join(answers))

        return readable

    def _first(self, whole: bytes) -> bytes:
        """Answer with the codec, and learn the shape of a financial request."""
        message = self._codec.decode(whole[_FRONT:])
        asked = message.fields
        if message.mti != "0200":
            self.answered -= 1
            told: dict[int, Any] = {de: asked[de] for de in (7, 11, 33, 53, 70) if de in asked}
            return self._framed(self._codec.encode(reply_mti(message.mti), {**told, 39: "00"}))
        fields: dict[int, Any] = {de: asked[de] for de in _ECHOED}
        fields |= {15: asked[13], 38: "123456", 39: "00", 100: "01020000", 128: " " * 8}
        answer = self._answering(asked, dict(sorted(fields.items())))
        self._shapes[whole[_FRONT : _FRONT + 20], len(whole)] = answer
        return answer(whole)

    def _framed(self, body: bytes) -> bytes:
        return b"%04d" % (46 + len(body)) + self._header.build(len(body)) + body

    def _answering(self, asked: dict[int, Any], fields: dict[int, Any]) -> Callable[[bytes], bytes]:
        """The function that answers all requests of this shape: their fields stand at the same places."""
        codec, mac = self._codec, self._mac
        request = codec.encode("0200", asked)
        reply, covered = codec.encode("0210", fields), network_mab("0210", fields)
        places = {de: _place(lambda f: codec.encode("0200", f), asked, de) for de in _FRESH}
        in_reply = {de: _place(lambda f: codec.encode("0210", f), fields, de) for de in _FRESH}
        in_mab = {de: _place(lambda f: network_mab("0210", f), fields, de) for de in (2, 4, 7, 11, 41, 42)}
        framed = self._framed(reply)
        body_pieces = _pieces(request, reply, places, in_reply, fields)
        mab_pieces = _pieces(request, covered, places, in_mab, fields)
        front = framed[:_FRONT]
        last = body_pieces.pop()
        if not isinstance(last, bytes):
            raise TypeError("a reply ends with its MAC")
        tail = last[:-8]

        def answer(whole: bytes) -> bytes:
            data = [piece if isinstance(piece, bytes) else whole[piece] for piece in mab_pieces]
            body = [piece if isinstance(piece, bytes) else whole[piece] for piece in body_pieces]
            return b"".join((front, *body, tail, mac(b"".join(data))))

        return answer


def _place(make: Callable[[dict[int, Any]], bytes], fields: dict[int, Any], de: int) -> int:
    """Where the value of a field stands in what `make` makes: every digit of it is changed, the first difference is
    its beginning."""
    other = fields[de].translate(_OTHER_DIGITS)
    pairs = zip(make(fields), make({**fields, de: other}), strict=True)
    return next(at for at, (left, right) in enumerate(pairs) if left != right)


def _pieces(
    request: bytes, made: bytes, places: dict[int, int], in_made: dict[int, int], fields: dict[int, Any]
) -> list[bytes | slice]:
    """`made` as constants and slices of a whole request frame; neighbours in both become one slice."""
    runs: list[tuple[int, int, int]] = []  # (start in made, start in request, size)
    for de in sorted(in_made):
        start, source, size = in_made[de], places[de], len(fields[de])
        if runs:
            before, from_, length = runs[-1]
            gap = start - before
            if source - from_ == gap and made[before + length : start] == request[from_ + length : source]:
                runs[-1] = (before, from_, gap + size)
                continue
        runs.append((start, source, size))
    return list(_cut(made, runs))


def _cut(made: bytes, runs: Sequence[tuple[int, int, int]]) -> list[bytes | slice]:
    pieces: list[bytes | slice] = []
    at = 0
    for start, source, size in runs:
        pieces += [made[at:start], slice(source + _FRONT, source + _FRONT + size)]
        at = start + size
    return [*pieces, made[at:]]
