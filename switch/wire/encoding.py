"""Writes the source of the encoding functions that `codec` compiles, one per tuple of fields.

The generated functions raise some ValueError, LookupError, TypeError or AttributeError for everything unusual and never
say why.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from switch.wire.careful import TEXT_KINDS, Field, Plan


def encode_source(plan: Plan, shape: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """Source of `run(mti, fields)` for dicts whose keys come in exactly this order, and what it refers to by name."""
    writer = _Encoder(plan, shape)
    return writer.source(), writer.names


class _Encoder:
    """Collects the parts of one encoding function.

    Names in the generated code: `a3` the value of DE3, unpacked in the dict's own order (one C loop, 10 ns a field);
    `n2` the length of a variable one.
    """

    def __init__(self, plan: Plan, shape: Sequence[int]) -> None:
        self.plan = plan
        self.shape = shape
        self.fields = [plan.fields[de] for de in sorted(shape)]
        self.names: dict[str, Any] = {"odd_pad": ("", "0")}
        self.digits = ["mti"]
        self.tracks: list[str] = []
        self.wrong = ["len(mti) != 4"]
        self.lengths: list[str] = []
        # wire order: ("hex", source of an f-string) or ("bytes", source of an expression)
        self.parts: list[tuple[str, str]] = []

    def source(self) -> str:
        plan = self.plan
        number = 0 if plan.bits == 64 else 1 << 127
        for field in self.fields:
            number |= 1 << (plan.bits - field.de)
        bitmap = number.to_bytes(plan.bits // 8, "big")
        self.names["bitmap"] = bitmap.hex() if plan.packed else bitmap.decode("latin-1")
        self.part("hex", "{mti}{bitmap}")
        for field in self.fields:
            self.field(field)
        return "\n    ".join(["def run(mti, fields):", *self.checks(), f"return {self.joined()}"]) + "\n"

    def field(self, field: Field) -> None:
        de, packed = field.de, self.plan.packed
        value = f"a{de}"
        odd = ""
        if field.prefix:
            width = field.prefix * 2 if packed else field.digits
            table = f"L{width}_{field.size}"
            # A tuple indexed by the length: too long is an IndexError, no format call (90 ns a field).
            self.names[table] = prefixes(width, field.size)
            self.lengths.append(f"n{de} = len({value})")
            self.part("hex", f"{{{table}[n{de}]}}")
            odd = f"{{odd_pad[n{de} & 1]}}"
        else:
            self.wrong.append(f"len({value}) != {field.size}")
            odd = "0" if field.size & 1 else ""
        if field.kind in ("n", "z"):
            shown = f"{{{value}}}"
            self.part("hex", shown if not packed else odd + shown if field.left else shown + odd)
            if field.kind == "n":
                self.digits.append(value)
            elif not packed:
                self.tracks.append(value)
        elif field.kind == "xn":
            self.wrong.append(f"{value}[0] not in 'CD'")
            self.digits.append(f"{value}[1:]")
        if field.kind in ("n", "z"):
            return
        if packed:
            self.part("bytes", value if field.kind == "b" else f"{value}.encode('latin-1')")
        else:
            # Binary goes through Latin-1 into the message's one f-string: 50 ns against 90 for a piece to join.
            self.part("hex", f"{{{value}.decode('latin-1')}}" if field.kind == "b" else f"{{{value}}}")

    def part(self, kind: str, text: str) -> None:
        if kind == "hex" and self.parts and self.parts[-1][0] == "hex":
            self.parts[-1] = ("hex", self.parts[-1][1] + text)
        else:
            self.parts.append((kind, text))

    def checks(self) -> list[str]:
        lines = []
        if self.shape:
            lines.append("".join(f"a{de}, " for de in self.shape) + "= fields.values()")
        texts = [field for field in self.fields if field.kind in TEXT_KINDS]
        if texts:
            # One test for all text (30 ns a field); str.isascii, not the method, so that bytes are refused.
            lines.append(f"if not isascii({' + '.join(f'a{field.de}' for field in texts)}):")
            # Only what is not ASCII is narrowed: the merchant's name, and not seven fields (1.5 us).
            names = [f"a{field.de}" for field in texts]
            lines += [f"    {name} = isascii({name}) and {name} or narrow({name})" for name in names]
        lines += self.lengths
        lines += [f"if {' or '.join(self.wrong)}:", "    raise ValueError"]
        joined = "".join(f"{{{value}}}" for value in self.digits)
        lines += [f'if not f"{joined}".encode().isdigit():', "    raise ValueError"]
        if self.tracks:
            track = " + ".join(self.tracks)
            lines.append(f"z = ({track}).replace('=', '0').replace('D', '0')")
            lines += ["if z and not z.encode().isdigit():", "    raise ValueError"]
        return lines

    def joined(self) -> str:
        if not self.plan.packed:
            return f'f"{self.parts[0][1]}".encode("latin-1")'
        return " + ".join(f'unhexlify(f"{text}")' if kind == "hex" else text for kind, text in self.parts)


@lru_cache(maxsize=64)
def prefixes(width: int, limit: int) -> tuple[str, ...]:
    """Length to prefix, of `width` characters: "0000", "0001"..."""
    return tuple(f"{size:0{width}d}" for size in range(limit + 1))
