"""The codec beside pyiso8583, in one run.

A 17-field magstripe sale of the POS dialect and a 24-field 0200 of the network, decoded, encoded and looked at for
routing, by Shoudan and by pyiso8583 in turn. Both get the same bytes and the same spec, their results are compared
before any time is taken, and every value is read inside the timed loop. Times are CPU time, medians over rounds that
alternate between the two.
"""

import platform
from collections.abc import Callable
from importlib.metadata import version
from statistics import median
from time import process_time
from typing import Any

import iso8583

from switch.wire.codec import Codec
from switch.wire.dialects import NETWORK, POS, Dialect

Fields = dict[int, Any]

ROUTE = (2, 3, 35, 41, 42)
"""What a switch needs to choose a way, besides the MTI: card (2 or 35), kind of transaction, terminal, merchant."""

REQUIRED = {"decode": 8.0, "encode": 10.0, "route": 15.0}
"""The ratios that the codec has to reach."""

POS_SALE: Fields = {
    2: "6212140000000000030",
    3: "000000",
    4: "000000012345",
    11: "000123",
    14: "2912",
    22: "021",
    25: "00",
    26: "12",
    35: "6212140000000000030D2912201000000123",
    41: "00210001",
    42: "861440360120021",
    49: "156",
    52: bytes.fromhex("06121456FFFFFFFE"),
    53: "2600000000000000",
    60: "22000001000500",
    63: b"01 ",
    64: b"8A9E91B8",
}

NETWORK_PURCHASE: Fields = {
    2: "6212140000000000030",
    3: "000000",
    4: "000000012345",
    7: "0713035021",
    11: "001085",
    12: "035021",
    13: "0713",
    14: "2912",
    18: "4900",
    22: "021",
    25: "00",
    26: "12",
    32: "04384530",
    33: "04384530",
    35: "6212140000000000030=2912201000000123",
    37: "160713869672",
    41: "10000147",
    42: "810000949000001",
    43: "CHN29000SHOUDAN TEST MERCHANT           ",
    49: "156",
    52: bytes.fromhex("06121456FFFFFFFE"),
    53: "2600000000000000",
    60: "00000500030000000000000",
    128: "86723E86",
}


def bench_codec(rounds: int = 101, loops: int = 300) -> dict[str, Any]:
    """Microseconds a message and ratios (pyiso8583 over Shoudan), per dialect and overall (the smaller of the two).

    `rounds` is the number of times taken per figure, `loops` the messages per time (fewer for the slower one, so that
    a time is about as long and the machine's other work meets both alike).
    """
    dialects = {
        dialect.name: _bench_dialect(dialect, fields, rounds, loops)
        for dialect, fields in ((POS, POS_SALE), (NETWORK, NETWORK_PURCHASE))
    }
    return {
        "python": platform.python_version(),
        "pyiso8583": version("pyiso8583"),
        "rounds": rounds,
        "loops": loops,
        "dialects": dialects,
        **{task: min(figures[task] for figures in dialects.values()) for task in REQUIRED},
        "required": REQUIRED,
    }


def _bench_dialect(dialect: Dialect, fields: Fields, rounds: int, loops: int) -> dict[str, Any]:
    codec, spec = Codec(dialect), dialect.spec
    body, document = _same_results(codec, fields)
    route = [str(de) for de in ROUTE if de in fields]
    result: dict[str, Any] = {"fields": len(fields), "bytes": len(body), "us": {}}
    tasks: dict[str, tuple[Callable[[int], None], Callable[[int], None]]] = {
        "decode": (lambda n: _decode_ours(codec, body, n), lambda n: _decode_theirs(spec, body, n)),
        "encode": (lambda n: _encode_ours(codec, fields, n), lambda n: _encode_theirs(spec, document, n)),
        "route": (lambda n: _route_ours(codec, body, n), lambda n: _route_theirs(spec, body, route, n)),
    }
    for task, (ours, theirs) in tasks.items():
        shoudan, other = _alternate(ours, theirs, rounds, loops)
        result["us"][task] = {"shoudan": round(shoudan, 3), "pyiso8583": round(other, 3)}
        result[task] = round(other / shoudan, 2)
    return result


def _same_results(codec: Codec, fields: Fields) -> tuple[bytes, dict[str, str]]:
    """The message as bytes and as pyiso8583's document, once both libraries agree on each; RuntimeError otherwise.

    Called often enough that the codec has compiled its functions, as it has in a running switch.
    """
    for _ in range(16):
        body = codec.encode("0200", fields)
        message = codec.decode(body)
        peeked = codec.peek(body, ROUTE)
    document, _ = iso8583.decode(body, codec.dialect.spec)
    expected = {"t": "0200", **{str(de): _as_text(value) for de, value in message.fields.items()}}
    theirs = {key: value for key, value in document.items() if key not in ("p", "1")}
    encoded, _ = iso8583.encode(dict(theirs), codec.dialect.spec)
    wanted = {0: "0200", **{de: fields[de] for de in ROUTE if de in fields}}
    if message.fields != fields or theirs != expected or bytes(encoded) != body or peeked != wanted:
        raise RuntimeError(f"the two codecs differ on the {codec.dialect.name} message: nothing to compare")
    return body, theirs


def _as_text(value: Any) -> str:
    return value.hex().upper() if isinstance(value, bytes) else str(value)


def _alternate(
    ours: Callable[[int], None], theirs: Callable[[int], None], rounds: int, loops: int
) -> tuple[float, float]:
    """Median microseconds a call of the two, timed in turn so that a busy moment of the machine meets both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, count, taken in ((ours, loops, times[0]), (theirs, max(1, loops // 10), times[1])):
            start = process_time()
            run(count)
            taken.append((process_time() - start) / count * 1e6)
    return median(times[0]), median(times[1])


def _decode_ours(codec: Codec, body: bytes, loops: int) -> None:
    decode = codec.decode
    for _ in range(loops):
        tuple(decode(body).fields.values())


def _decode_theirs(spec: Any, body: bytes, loops: int) -> None:
    decode = iso8583.decode
    for _ in range(loops):
        document, _ = decode(body, spec)
        tuple(document.values())


def _encode_ours(codec: Codec, fields: Fields, loops: int) -> None:
    encode = codec.encode
    for _ in range(loops):
        encode("0200", fields)


def _encode_theirs(spec: Any, document: dict[str, str], loops: int) -> None:
    encode = iso8583.encode
    for _ in range(loops):
        encode(document, spec)


def _route_ours(codec: Codec, body: bytes, loops: int) -> None:
    peek = codec.peek
    for _ in range(loops):
        tuple(peek(body, ROUTE).values())


def _route_theirs(spec: Any, body: bytes, wanted: list[str], loops: int) -> None:
    decode = iso8583.decode
    for _ in range(loops):
        document, _ = decode(body, spec)
        document["t"]
        for key in wanted:
            document[key]
