"""Writes the source of functions that fill in a message whose outline is known: most fields stand, a few are put in.

Where a switch sends the same kind of message again and again, only card, amount, numbers and times differ. What differs
comes from a decoder or from this process, so nothing is checked here, and nothing is looked up by DE: 1.2 us for 23
fields of the network, against 2.4 for `encode` and 2 for the dict it wants (`shoudan bench switch`).
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from switch.wire.careful import Field, Plan, narrow
from switch.wire.encoding import prefixes

_ODD: Final = ("", "0")


class Outline(NamedTuple):
    """A message of which only some fields differ from one to the next.

    `constants` are the values that stand; of the others `variables` names the argument by DE (LookupError where one is
    too long for its field). `arguments` are all arguments in their order, separated by commas. `tail` is the MAC's
    field, which the caller appends; with `also`, an expression, the function returns the body and its value.
    """

    mti: str
    constants: Mapping[int, Any]
    variables: Mapping[int, str]
    arguments: str
    tail: int = 0
    also: str = ""


def outline_source(plan: Plan, outline: Outline) -> tuple[str, dict[str, Any]]:
    """Source of `run(arguments)`, and what it refers to by name."""
    writer = _Writer(plan)
    for de in sorted({*outline.constants, *outline.variables}):
        field = plan.fields[de]
        if de in outline.variables:
            writer.variable(field, outline.variables[de])
        else:
            writer.constant(field, outline.constants[de])
    return writer.source(outline), writer.names


class _Writer:
    """Collects the pieces of one function: ("hex" or "text", source inside an f-string), ("bytes", an expression) or
    ("constant", bytes as characters), which joins what stands beside it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names: dict[str, Any] = {"odd_pad": _ODD}
        self.pieces: list[tuple[str, str]] = []

    def source(self, outline: Outline) -> str:
        plan, mti = self.plan, outline.mti
        number = 0 if plan.bits == 64 else 1 << 127
        for de in {*outline.constants, *outline.variables, *((outline.tail,) if outline.tail else ())}:
            number |= 1 << (plan.bits - de)
        bitmap = number.to_bytes(plan.bits // 8, "big").decode("latin-1")
        head = ("constant", (bytes.fromhex(mti).decode("latin-1") if plan.packed else mti) + bitmap)
        result = " + ".join(_expression(*piece) for piece in _joined([head, *self.pieces]))
        also = f", {outline.also}" if outline.also else ""
        return f"def run({outline.arguments}):\n    return {result}{also}\n"

    def constant(self, field: Field, value: Any) -> None:
        """A field's bytes as they will always stand."""
        if isinstance(value, str) and field.kind not in ("n", "z"):
            value = narrow(value)
        size = len(value)
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        if self.plan.packed and field.kind in ("n", "z"):
            digits = _ODD[size & 1] + text if field.left else text + _ODD[size & 1]
            text = bytes.fromhex(digits).decode("latin-1")
        prefix = self._prefixes(field)[size] if field.prefix else ""
        self.pieces.append(("constant", prefix + text))

    def variable(self, field: Field, name: str) -> None:
        """A field whose value is the argument `name`: str, or bytes for a binary field."""
        packed = self.plan.packed
        digits = packed and field.kind in ("n", "z")
        if field.prefix:
            table = f"{'L' if digits else 'P'}{self._width(field)}_{field.size}"
            self.names[table] = prefixes(self._width(field), field.size) if digits else self._prefixes(field)
            self.pieces.append(("hex" if digits else "text", f"{{{table}[len({name})]}}"))
        if digits:
            odd = f"{{odd_pad[len({name}) & 1]}}" if field.prefix else _ODD[field.size & 1]
            self.pieces.append(("hex", odd + f"{{{name}}}" if field.left else f"{{{name}}}" + odd))
        elif field.kind == "b":
            self.pieces.append(("bytes", name) if packed else ("text", f"{{{name}.decode('latin-1')}}"))
        else:
            self.pieces.append(("text", f"{{{name}}}"))

    def _width(self, field: Field) -> int:
        return field.prefix * 2 if self.plan.packed else field.digits

    def _prefixes(self, field: Field) -> tuple[str, ...]:
        """Prefixes by length, as the characters that stand for their bytes."""
        return (_packed_prefixes if self.plan.packed else prefixes)(self._width(field), field.size)


@lru_cache(maxsize=64)
def _packed_prefixes(width: int, limit: int) -> tuple[str, ...]:
    return tuple(bytes.fromhex(digits).decode("latin-1") for digits in prefixes(width, limit))


def _joined(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pieces with neighbours of one kind in one, and constants in what stands before them, or behind: the fewer
    expressions, the fewer calls (0.3 us in a terminal's answer)."""
    joined = [pieces[0]]
    for kind, text in pieces[1:]:
        before, earlier = joined[-1]
        if before == kind:
            joined[-1] = (kind, earlier + text)
        elif kind == "constant" and before != "bytes":
            joined[-1] = (before, earlier + _within(before, text))
        elif before == "constant" and kind != "bytes":
            joined[-1] = (kind, _within(kind, earlier) + text)
        else:
            joined.append((kind, text))
    return joined


def _within(kind: str, constant: str) -> str:
    """A constant inside the f-string of its neighbour."""
    return constant.encode("latin-1").hex() if kind == "hex" else _literal(constant)


def _literal(text: str) -> str:
    """Text as it stands inside an f-string between double quotes."""
    return "".join(
        char * 2 if char in "{}" else char if char.isascii() and char.isprintable() and char not in '"\\'
        else f"\\x{ord(char):02x}"
        for char in text
    )  # fmt: skip


def _expression(kind: str, text: str) -> str:
    if kind == "bytes":
        return text
    if kind == "constant":
        return repr(text.encode("latin-1"))
    return f'unhexlify(f"{text}")' if kind == "hex" else f'f"{text}".encode("latin-1")'
