"""A million damaged messages: nothing but DecodeError, and the compiled way agrees with the careful one.

The seeds are fixed, so a failure comes back. SHOUDAN_FUZZ sets another number of messages.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from switch.wire import careful
from switch.wire.codec import Codec
from switch.wire.dialects import DIALECTS, NETWORK, POS
from switch.wire.errors import DecodeError
from switch.wire.framing import FRAMINGS

MUTATIONS = int(os.environ.get("SHOUDAN_FUZZ", "1000000"))
PARTS = 4
COMPARED = MUTATIONS // 20
"""How many of them are also decoded the careful way, encoded again and peeked at."""

WANTED = (2, 3, 11, 22, 35, 41, 60, 63, 90, 128)


@lru_cache(maxsize=1)
def corpus() -> list[tuple[Codec, bytes]]:
    """Real messages and ones with every field, each with a codec that has already compiled its shape."""
    codecs = {name: Codec(dialect) for name, dialect in DIALECTS.items()}
    vectors = json.loads((Path(__file__).parent / "vectors" / "messages.json").read_text())
    found = []
    for message in vectors:
        if message["exact"]:
            body = FRAMINGS[message["framing"]].unwrap(bytes.fromhex(message["hex"])).body
            found.append((codecs[message["link"]], body))
    for dialect in (POS, NETWORK):
        found += [(codecs[dialect.name], codecs[dialect.name].encode("0200", full(dialect, size))) for size in (1, 7)]
    for codec, body in found:
        for _ in range(10):
            message = codec.decode(body)
            codec.encode(message.mti, message.fields)
            codec.peek(body, WANTED)
    return found


def full(dialect: Any, size: int) -> dict[int, Any]:
    """A message with every field of a dialect; variable ones `size` long."""
    fields: dict[int, Any] = {}
    for de in range(2, dialect.bits + 1):
        row = dialect.row(de)
        length = size if row["len_type"] else row["max_len"]
        if row["kind"] != "unused":
            fields[de] = bytes(length) if row["kind"] == "b" else "C" + "0" * 8 if row["kind"] == "xn" else "0" * length
    return fields


def damaged(rng: Random, body: bytes) -> bytes:
    """One to three bytes changed, one bit flipped, cut off, cut out, or something put in."""
    data = bytearray(body)
    size = len(data)
    way, at = rng.random(), int(rng.random() * size)
    if way < 0.5:
        for _ in range(int(rng.random() * 3) + 1):
            data[int(rng.random() * size)] = int(rng.random() * 256)
    elif way < 0.65:
        data[at] ^= 1 << int(rng.random() * 8)
    elif way < 0.75:
        del data[at:]
    elif way < 0.85:
        del data[at : at + int(rng.random() * 4) + 1]
    else:
        data[at:at] = rng.randbytes(int(rng.random() * 4) + 1)
    return bytes(data)


def stream(seed: int, count: int) -> Iterator[tuple[Codec, bytes]]:
    rng = Random(seed)
    messages = corpus()
    for number in range(count):
        codec, body = messages[number % len(messages)]
        yield codec, damaged(rng, body)


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_messages_raise_nothing_but_decode_errors(part: int) -> None:
    refused = taken = 0
    for codec, body in stream(part, MUTATIONS // PARTS):
        try:
            codec.decode(body)
            taken += 1
        except DecodeError:
            refused += 1
    assert taken
    assert refused


def test_noise_raises_nothing_but_decode_errors() -> None:
    rng = Random(99)
    for number in range(MUTATIONS // 50):
        codec, body = corpus()[number % len(corpus())]
        head = body[: rng.choice((0, 2, 4, 10, 20))]
        for attempt in (codec.decode, lambda noise, codec=codec: codec.peek(noise, WANTED)):
            with suppress(DecodeError):
                attempt(head + rng.randbytes(int(rng.random() * 80)))


def result(read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except DecodeError as error:
        return str(error)


def test_the_compiled_and_the_careful_way_agree() -> None:
    """Same messages taken, same values and pads; what is taken comes out byte for byte; a peek is a part of it."""
    fast = 0
    for codec, body in stream(PARTS, COMPARED):
        expected = result(careful.decode, codec.plan, body)
        assert result(codec.decode, body) == expected
        compiled = codec._decode.get(body[: codec.plan.start])
        if compiled is not None:
            fast += 1
            try:
                assert compiled(body) == expected
            except (LookupError, ValueError, TypeError, AttributeError):
                assert isinstance(expected, str)
        peeked = result(codec.peek, body, WANTED)
        assert peeked == result(careful.peek, codec.plan, body, WANTED)
        if isinstance(expected, str):
            continue
        assert peeked == {0: expected.mti, **{de: expected[de] for de in WANTED if de in expected}}
        assert careful.encode(codec.plan, expected.mti, expected.fields, expected.pads) == body
        assert codec.encode(expected.mti, expected.fields, expected.pads) == body
        encoder = codec._encode.get(tuple(expected.fields))
        if encoder is not None and not expected.pads:
            assert encoder(expected.mti, expected.fields) == body
    assert fast > COMPARED // 2
