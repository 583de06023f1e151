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
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from switch.app import kat_chip, kat_message, kat_oda
from switch.app.kat_inputs import Answers, Inputs, Leading, Value, VectorError
from switch.wire import tlv

STATUSES = ("pass", "fail", "unsupported")


class Result(NamedTuple):
    """What became of one vector; `status` is one of STATUSES, `detail` is empty for a pass."""

    id: str
    kind: str
    status: str
    detail: str


KINDS: Mapping[str, Callable[[Inputs], Answers]] = {**kat_message.KINDS, **kat_chip.KINDS, **kat_oda.KINDS}


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
    if isinstance(got, Leading) and isinstance(expected, str) and 8 <= len(expected) <= len(got) * 2:
        got = got[: len(expected) // 2]
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
