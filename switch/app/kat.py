"""`shoudan kat`: known answers (已知答案测试) computed again and compared.

A file is a JSON list of objects: `id`, `kind`, `inputs`, `expected`, and notes that are not read. Every key of
`expected` is computed from `inputs`; unknown inputs are ignored. An answer is *pass*, *fail* (with the first byte that
differs, or what is wrong with the vector itself) or *unsupported* (a kind, or an expected key, that is not computed
here). Hex is compared without case.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import typer

from switch.crypto import block, mac, pinblock, track
from switch.crypto.digest import sm3
from switch.wire import tlv

STATUSES = ("pass", "fail", "unsupported")
ITERATIONS_MAX = 10_000_000

Value: TypeAlias = bytes | str | bool | tlv.Items
"""bytes stand as hex in a file, str as themselves, elements as pairs of tag and value."""

Answers: TypeAlias = dict[str, Callable[[], Value]]


class VectorError(ValueError):
    """A vector that cannot be computed as it is written: something absent, or of the wrong shape."""


class Result(NamedTuple):
    """What became of one vector; `status` is one of STATUSES, `detail` is empty for a pass."""

    id: str
    kind: str
    status: str
    detail: str


class Inputs:
    """The inputs of one vector, read by what they should be; VectorError names the one that is not."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """A text."""
        if name not in self._values:
            raise VectorError(f"input {name} is absent")
        value = self._values[name]
        if not isinstance(value, str):
            raise VectorError(f"input {name} is not text")
        return value

    def octets(self, name: str, default: bytes | None = None) -> bytes:
        """Bytes, written in hex."""
        if default is not None and name not in self._values:
            return default
        try:
            return bytes.fromhex(self.text(name))
        except VectorError:
            raise
        except ValueError:
            raise VectorError(f"input {name} is not hex") from None

    def ascii(self, name: str) -> bytes:
        """Bytes, written as the characters that they are."""
        try:
            return self.text(name).encode("ascii")
        except UnicodeEncodeError:
            raise VectorError(f"input {name} has characters outside ASCII") from None

    def count(self, name: str, default: int) -> int:
        """A count from 1 to ITERATIONS_MAX, as a number or in digits."""
        value = self._values.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 12:
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= ITERATIONS_MAX:
            raise VectorError(f"input {name} is not a count from 1 to {ITERATIONS_MAX}")
        return value

    def suite(self, name: str = "algorithm") -> str:
        """A cipher suite, 3DES unless given."""
        if name not in self._values:
            return "3des"
        suite = {"3des": "3des", "des": "3des", "tdes": "3des", "sm4": "sm4"}.get(self.text(name).lower())
        if suite is None:
            raise VectorError(f"input {name} is neither 3des nor sm4")
        return suite


def _sm3(given: Inputs) -> Answers:
    return {"digest": lambda: sm3(given.octets("msg_hex"))}


def _sm4_ecb(given: Inputs) -> Answers:
    def ciphertext() -> bytes:
        encrypt = block.ecb_encryptor("sm4", given.octets("key"))
        data = given.octets("pt")
        for _ in range(given.count("iterations", 1)):
            data = encrypt(data)
        return data

    return {"ct": ciphertext}


def _sm4_cbc(given: Inputs) -> Answers:
    def ciphertext() -> bytes:
        return block.cbc_encrypt("sm4", given.octets("key"), given.octets("iv", bytes(16)), given.octets("pt"))

    return {"ct": ciphertext}


def _kcv(given: Inputs) -> Answers:
    return {
        "kcv_3des": lambda: block.kcv("3des", given.octets("key"), 3),
        "kcv_sm4": lambda: block.kcv("sm4", given.octets("key"), 3),
    }


def _cup_mac(given: Inputs) -> Answers:
    suite, message = given.suite(), given.octets("message")
    cipher = block.cipher(suite, given.octets("key"))
    steps = mac.cup_ecb_steps(cipher, message)
    return {
        "r": lambda: steps.r,
        "a": lambda: steps.a,
        "b": lambda: steps.b,
        "c": lambda: steps.c,
        "de64": lambda: mac.cup_ecb_mac(cipher, message).decode(),
    }


def _alg3_pad1(given: Inputs) -> Answers:
    return {"mac": lambda: mac.iso9797_alg3(given.octets("key"), given.octets("msg_hex"), pad=1)}


def _alg3_pad2(given: Inputs) -> Answers:
    return {"mac": lambda: mac.iso9797_alg3(given.octets("key"), given.octets("msg_hex"), pad=2)}


def _network_mac(given: Inputs) -> Answers:
    suite, key, text = given.suite(), given.octets("key"), given.ascii("text")
    if suite == "sm4":
        last = mac.sm4_cbc_mac(key, text)
    else:
        last = mac.x9_9(key, text) if len(key) == 8 else mac.x9_19(key, text)
    return {"cbc": lambda: last, "de128": lambda: mac.message_mac("network", suite, key)(text).decode()}


def _pin_iso0(given: Inputs) -> Answers:
    return {"block": lambda: pinblock.encode("iso0", given.text("pin"), given.text("pan"))}


def _pin_iso2(given: Inputs) -> Answers:
    return {"block": lambda: pinblock.encode("iso2", given.text("pin"))}


def _pin_iso4_pan(given: Inputs) -> Answers:
    return {"field": lambda: pinblock.iso4_pan_field(given.text("pan"))}


# Length of DE62 to the length of each key in it; behind each key stand 4 bytes of check value.
_SIGNIN_LAYOUTS = {24: (8, 8), 36: (8, 8, 8), 40: (16, 16), 56: (24, 24), 60: (16, 16, 16), 84: (24, 24, 24)}


def _signin_keys(given: Inputs) -> Answers:
    suite, de62 = given.suite(), given.octets("de62")
    tmk = block.cipher(suite, given.octets("tmk"))
    lengths = _SIGNIN_LAYOUTS.get(len(de62))
    if lengths is None:
        raise VectorError(f"no key layout of DE62 has {len(de62)} bytes")
    answers: Answers = {}
    valid = True
    at = 0
    for name, length in zip(("pik", "mak", "tdk"), lengths, strict=False):
        wrapped, check = de62[at : at + length], de62[at + length : at + length + 4]
        at += length + 4
        if suite == "3des" and length == 16 and not any(wrapped[8:]):
            wrapped = wrapped[:8]
        key = tmk.decrypt(wrapped)
        answers[name] = partial(bytes, key)
        valid = valid and block.kcv(suite, key) == check
    answers["valid"] = partial(bool, valid)
    return answers


def _track(given: Inputs) -> Answers:
    cipher, clear = block.cipher(given.suite(), given.octets("tdk")), given.text("track2")
    return {
        "block": lambda: bytes.fromhex(track.cut(clear, cipher.block).block),
        "encrypted": lambda: track.encrypt_track(cipher, clear),
    }


def _tlv(given: Inputs) -> Answers:
    def elements() -> tlv.Items:
        data = given.octets("hex")
        return tlv.read(data, size_max=max(len(data), tlv.SIZE_MAX))

    return {"tlv": elements}


KINDS: Mapping[str, Callable[[Inputs], Answers]] = {
    "kcv": _kcv,
    "mac-cup-ecb": _cup_mac,
    "mac-iso9797-alg3-pad1": _alg3_pad1,
    "mac-iso9797-alg3-pad2": _alg3_pad2,
    "mac-network": _network_mac,
    "pinblock-iso0": _pin_iso0,
    "pinblock-iso2": _pin_iso2,
    "pinblock-iso4-pan-field": _pin_iso4_pan,
    "signin-keys": _signin_keys,
    "sm3": _sm3,
    "sm4-cbc": _sm4_cbc,
    "sm4-ecb": _sm4_ecb,
    "tlv": _tlv,
    "track-encrypt": _track,
}


def _bytes_differ(got: bytes, expected: Any) -> str:
    if not isinstance(expected, str):
        return "expected value is not hex text"
    try:
        wanted = bytes.fromhex(expected)
    except ValueError:
        return "expected value is not hex"
    for place, (ours, theirs) in enumerate(zip(got, wanted, strict=False)):
        if ours != theirs:
            return f"byte {place} is {ours:02X}, expected {theirs:02X}"
    return "" if len(got) == len(wanted) else f"{len(got)} bytes, expected {len(wanted)}"


def _text_differs(got: str, expected: Any) -> str:
    if not isinstance(expected, str):
        return "expected value is not text"
    for place, (ours, theirs) in enumerate(zip(got.upper(), expected.upper(), strict=False)):
        if ours != theirs:
            return f"byte {place} is {ours!r}, expected {theirs!r}"
    return "" if len(got) == len(expected) else f"{len(got)} characters, expected {len(expected)}"


def _elements_differ(got: tlv.Items, expected: Any) -> str:
    if not isinstance(expected, list):
        return "expected value is not a list of elements"
    for place, (ours, theirs) in enumerate(zip(got, expected, strict=False)):
        if not (isinstance(theirs, list) and len(theirs) == 2 and isinstance(theirs[0], str)):
            return f"expected element {place} is not a pair of tag and value"
        tag = theirs[0].upper()
        if ours[0] != tag:
            return f"element {place} is {ours[0]}, expected {tag!r}"
        if difference := _bytes_differ(ours[1], theirs[1]):
            return f"element {place} ({ours[0]}): {difference}"
    return "" if len(got) == len(expected) else f"{len(got)} elements, expected {len(expected)}"


def differ(got: Value, expected: Any) -> str:
    """How an answer differs from what a file expects, naming the first byte; empty if it does not."""
    if isinstance(got, bool):
        wrong = not isinstance(expected, bool) or got != expected
        return f"{json.dumps(got)}, expected {json.dumps(expected)}"[:80] if wrong else ""
    if isinstance(got, bytes):
        return _bytes_differ(got, expected)
    return _text_differs(got, expected) if isinstance(got, str) else _elements_differ(got, expected)


def _computed(kind: str, inputs: Mapping[str, Any], expected: Mapping[str, Any]) -> tuple[str, str]:
    answers = KINDS[kind](Inputs(inputs))
    unknown = [name for name in expected if name not in answers]
    for name, wanted in expected.items():
        if name in answers and (difference := differ(answers[name](), wanted)):
            return "fail", f"{name}: {difference}"
    if unknown:
        return "unsupported", f"expected {', '.join(unknown)} is not computed for this kind"
    return "pass", ""


def check(vector: Any, place: int = 0) -> Result:
    """One vector's result, whatever stands in its place (`place` names one that has no id)."""
    if not isinstance(vector, dict):
        return Result(f"#{place}", "", "fail", "a vector is an object")
    kind = vector.get("kind")
    name = vector.get("id")
    shown = name if isinstance(name, str) and name else f"#{place}"
    inputs, expected = vector.get("inputs"), vector.get("expected")
    if not isinstance(kind, str) or not kind:
        return Result(shown, "", "fail", "kind is not a text")
    if shown != name:
        return Result(shown, kind, "fail", "id is not a text")
    if not isinstance(inputs, dict) or not isinstance(expected, dict) or not expected:
        return Result(shown, kind, "fail", "inputs and expected are objects, and something is expected")
    if kind not in KINDS:
        return Result(shown, kind, "unsupported", "kind is not computed yet")
    try:
        return Result(shown, kind, *_computed(kind, inputs, expected))
    except ValueError as error:  # VectorError, and what crypto and wire say of values that do not fit
        return Result(shown, kind, "fail", str(error))


def run(objects: Iterable[Any]) -> Iterator[Result]:
    """The result of each vector, in their order."""
    for place, vector in enumerate(objects):
        yield check(vector, place)


def read_file(path: str) -> list[Any]:
    """The vectors of a file (`-`: standard input); VectorError if it cannot be read as a JSON list."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8-sig")
        vectors = json.loads(text)
    except OSError as error:
        raise VectorError(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise VectorError(f"is not JSON: {error}") from None
    if not isinstance(vectors, list):
        raise VectorError("is not a list of vectors")
    return vectors


def _file_results(path: str) -> Iterator[Result]:
    try:
        yield from run(read_file(path))
    except VectorError as error:
        yield Result(path, "file", "fail", str(error))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def summary(results: Iterable[Result]) -> dict[str, dict[str, int]]:
    """Kind to the number of each status."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        counts.setdefault(result.kind, Counter())[result.status] += 1
    return {kind: {status: counts[kind][status] for status in STATUSES} for kind in sorted(counts)}


def _print_table(by_kind: Mapping[str, Mapping[str, int]], totals: Mapping[str, int]) -> None:
    width = max(len("total"), *(len(_printable(kind)) for kind in by_kind)) if by_kind else len("total")
    typer.echo("")
    typer.echo("kind".ljust(width) + "".join(status.rjust(13) for status in STATUSES))
    for kind, counts in (*by_kind.items(), ("total", totals)):
        typer.echo(_printable(kind).ljust(width) + "".join(str(counts[status]).rjust(13) for status in STATUSES))


def kat(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Known-answer files, - for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute known answers again and compare: pass, fail with the first differing byte, or unsupported.

    Exits 1 if one fails.
    """
    results: list[Result] = []
    rows: list[dict[str, str]] = []
    for path in files:
        for result in _file_results(path):
            results.append(result)
            rows.append({"file": path, **result._asdict()})
            if not as_json:
                line = f"{result.status:<12} {result.id}  {result.kind}" + (result.detail and f": {result.detail}")
                typer.echo(_printable(line))
    by_kind = summary(results)
    totals = {status: sum(counts[status] for counts in by_kind.values()) for status in STATUSES}
    if as_json:
        typer.echo(json.dumps({"results": rows, "summary": totals, "by_kind": by_kind}, indent=1))
    else:
        _print_table(by_kind, totals)
    if totals["fail"]:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("kat")(kat)
