"""Messages to values and back, by functions generated per MTI and bitmap (decode, peek) and per field tuple (encode).

A hot room. What each trick bought is said where it stands (CPython 3.11); `shoudan bench codec` shows the sum. The
generated code has no branch per field that the bitmap could have decided, and checks with few large tests instead of
many small ones; whatever looks wrong to it is handed to `careful`, which names the place. Both accept the same bytes
(tests/test_codec_fuzz.py).
"""

from binascii import unhexlify
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from switch.wire import careful
from switch.wire.careful import KNOWN_PADS, narrow, plan_of, wide
from switch.wire.decoding import decode_source
from switch.wire.dialects import Dialect
from switch.wire.encoding import encode_source
from switch.wire.mab import LENGTHS
from switch.wire.message import Message
from switch.wire.outline import Outline, outline_source

Fields = Mapping[int, Any]

_WARM = 8
"""Good messages of one shape before a function is compiled for it (1 ms): sending all bitmaps cannot stall us."""

_SHAPES = 256
"""Compiled shapes kept; beyond that all are dropped and the live ones come back. Real traffic has fewer than 50."""

_ASKED = 1024
"""Compiled readers and writers kept; beyond that all are dropped."""

_SIGHTINGS = 4096
_WANTED = 64
QUIET = (LookupError, ValueError, TypeError, AttributeError)
"""What the compiled functions raise for all that is unusual."""


class Codec:
    """Encoder and decoder of one dialect. Bodies start at the MTI; framing is not its business.

    Values: `str` for digits (without pad), tracks and text, `bytes` for binary fields. Not shared between threads while
    compiling.
    """

    __slots__ = (
        "_decode", "_decoders", "_encode", "_encoders", "_head", "_peekers", "_readers", "_writers", "dialect", "plan",
    )  # fmt: skip

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.plan = plan_of(dialect)
        self._head = slice(0, self.plan.start)
        self._decoders = _Shapes(lambda head: self._compile_decode(head, None))
        self._encoders = _Shapes(self._compile_encode)
        self._decode = self._decoders.made
        self._encode = self._encoders.made
        self._peekers: dict[tuple[int, ...], _Shapes] = {}
        self._readers: dict[tuple[bytes, str], Callable[[bytes], Any]] = {}
        self._writers: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def decode(self, body: bytes) -> Message:
        """All fields, every rule of the dialect checked; DecodeError and nothing else, whatever the bytes."""
        try:
            return self._decode[body[self._head]](body)  # type: ignore[no-any-return]
        except QUIET:
            pass
        # Outside the handler: the error must not carry what the fast path stumbled over.
        message = careful.decode(self.plan, bytes(body))
        self._decoders.sighted(message.raw[self._head])
        return message

    def encode(self, mti: str, fields: Fields, pads: Mapping[int, str] | None = None) -> bytes:
        """The body; `fields` is not changed. EncodeError for a value its field cannot carry."""
        shape = tuple(fields)
        if not pads:
            try:
                return self._encode[shape](mti, fields)  # type: ignore[no-any-return]
            except QUIET:
                pass
        body = careful.encode(self.plan, mti, fields, pads)
        if not pads:
            self._encoders.sighted(shape)
        return body

    def peek(self, body: bytes, wanted: tuple[int, ...]) -> dict[int, Any]:
        """The MTI (key 0) and those of the wanted fields that the message carries.

        For a first look (routing) only. It steps over other fields by their lengths and never looks behind the last
        wanted one, so it succeeds on messages that `decode` refuses; the values it returns are checked as `decode`
        would. A broken length or a cut before the last wanted field is a DecodeError.
        """
        try:
            return self._peekers[wanted].made[body[self._head]](body)  # type: ignore[no-any-return]
        except QUIET:
            pass
        body = bytes(body)
        found = careful.peek(self.plan, body, wanted)
        self._peekers_of(wanted).sighted(body[self._head])
        return found

    def reader(self, head: bytes, result: str) -> Callable[[bytes], Any]:
        """A function that decodes bodies beginning with `head` (MTI and bitmap), by every rule of the dialect, to the
        value of the expression `result`, in which `v3` is the value of DE3.

        It raises some of QUIET for what `decode` refuses.
        """
        wanted = head, result
        made = self._readers.get(wanted)
        if made is None:
            source, names = decode_source(self.plan, head, None, result)
            made = _build(source, {"wide": wide, "odd": _odd, "LENGTHS": LENGTHS, **names})
            _keep(self._readers, wanted, made)
        return made

    def writer(self, outline: Outline) -> Callable[..., Any]:
        """A function that fills in an outline, for values that a decoder or this process has checked."""
        wanted = (*outline[3:], outline.mti, *outline.constants.items(), None, *outline.variables.items())
        made = self._writers.get(wanted)
        if made is None:
            source, names = outline_source(self.plan, outline)
            made = _build(source, {"unhexlify": unhexlify, "LENGTHS": LENGTHS, **names})
            _keep(self._writers, wanted, made)
        return made

    def _peekers_of(self, wanted: tuple[int, ...]) -> "_Shapes":
        if wanted not in self._peekers:
            if len(self._peekers) >= _WANTED:
                self._peekers.clear()
            self._peekers[wanted] = _Shapes(lambda head: self._compile_decode(head, frozenset(wanted)))
        return self._peekers[wanted]

    def _compile_decode(self, head: bytes, wanted: Collection[int] | None) -> Callable[..., Any]:
        source, names = decode_source(self.plan, head, wanted)
        return _build(source, {"Message": Message, "new": object.__new__, "wide": wide, "odd": _odd, **names})

    def _compile_encode(self, shape: tuple[int, ...]) -> Callable[..., Any]:
        source, names = encode_source(self.plan, shape)
        return _build(source, {"unhexlify": unhexlify, "isascii": str.isascii, "narrow": narrow, **names})


class _Shapes:
    """Compiled functions by shape: MTI and bitmap, or tuple of fields.

    Callers read `made` as the plain dict it is (a subclass with __missing__ costs 60 ns a message); a shape that is not
    in it goes the careful way and is reported by `sighted`.
    """

    __slots__ = ("_make", "_seen", "made")

    def __init__(self, make: Callable[[Any], Callable[..., Any]]) -> None:
        self.made: dict[Any, Callable[..., Any]] = {}
        self._make = make
        self._seen: dict[Any, int] = {}

    def sighted(self, shape: Any) -> None:
        """A good message of this shape came the careful way; compile once it has come often enough."""
        if shape in self.made:
            return
        count = self._seen.get(shape, 0) + 1
        if count < _WARM:
            if len(self._seen) >= _SIGHTINGS:
                self._seen.clear()
            self._seen[shape] = count
            return
        if len(self.made) >= _SHAPES:
            self.made.clear()
        self._seen.pop(shape, None)
        self.made[shape] = self._make(shape)


@lru_cache(maxsize=16)
def codec_of(dialect: Dialect) -> Codec:
    """The process's codec of a dialect, so that its compiled functions are made once."""
    return Codec(dialect)


def _keep(known: dict[Any, Callable[..., Any]], shape: Any, made: Callable[..., Any]) -> None:
    """Keep a function that was compiled when asked for (0.5 ms): an engine asks for the same ones again, and so do the
    other engines of a process."""
    if len(known) >= _ASKED:
        known.clear()
    known[shape] = made


def _odd(pads: dict[int, str] | None, de: int, pad: str) -> dict[int, str]:
    """Remember a pad nibble that is not 0; ValueError for one that was never seen in the field."""
    pad = pad.upper()
    if pad not in KNOWN_PADS:
        raise ValueError
    return {**(pads or {}), de: pad}


def _build(source: str, names: dict[str, Any]) -> Callable[..., Any]:
    exec(compile(source, "<compiled codec>", "exec"), names)
    made: Callable[..., Any] = names["run"]
    return made
