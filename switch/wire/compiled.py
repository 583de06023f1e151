"""Writes the source of the specialised functions that `codec` compiles: decode and peek per bitmap, encode per tuple of fields.

Positions that precede every variable field are constants; behind one, a run of fixed fields is cut out once and sliced by constants.
The generated functions raise some ValueError, LookupError or TypeError for everything unusual and never say why.
"""

from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Any

from switch.wire.careful import Field, Plan

_TEXT = ("an", "ans")


def decode_source(plan: Plan, present: Sequence[Field], wanted: Collection[int] | None) -> tuple[str, dict[str, Any]]:
    """`run(raw)` for messages with exactly these fields: a Message, or with `wanted` a dict of those (key 0 is the MTI)."""
    writer = _Decoder(plan, present, wanted)
    return writer.source(), writer.names


class _Decoder:
    """Collects the lines of one decoding function.

    Names in the generated code: `raw` the body; `s` its hex text (packed dialects) or its Latin-1 text, made once, for a slice of a str is
    the value itself where bytes would have to be decoded field by field (60 ns a field); `q` the position in `s` behind the last
    variable field, `b` the same in bytes; `g3` a run of fixed fields from DE3 on; `v3` the value of DE3; `n` a length.
    """

    def __init__(self, plan: Plan, present: Sequence[Field], wanted: Collection[int] | None) -> None:
        self.plan = plan
        self.wanted = wanted
        if wanted is not None:
            last = max((field.de for field in present if field.de in wanted), default=0)
            present = [field for field in present if field.de <= last]
        self.present = present
        self.scale = 2 if plan.packed else 1
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self.values: list[str] = []
        self.digits: list[str] = []
        self.tracks: list[str] = []
        self.pads = False
        # A position is self.at bytes, counted from the start or, once self.moving, from q.
        self.at = plan.start
        self.moving = False
        self.bytes_known = False

    def asked(self, field: Field) -> bool:
        return self.wanted is None or field.de in self.wanted

    def source(self) -> str:
        index = 0
        while index < len(self.present):
            group = _group(self.present[index])
            stop = index + 1
            while group and stop < len(self.present) and _group(self.present[stop]) == group:
                stop += 1
            fields = self.present[index:stop]
            if not group:
                self.variable(fields[0])
            else:
                sizes = [_bytes(self.plan, field) for field in fields]
                if any(self.asked(field) for field in fields):
                    getattr(self, f"run_{group}")(fields, sizes)
                self.at += sum(sizes)
            index = stop
        return self.assemble()

    # positions

    def in_text(self, offset: int, size: int) -> str:
        """Slice of `s`; offset and size in bytes."""
        start = (self.at + offset) * self.scale
        return self.slice("s", "q" if self.moving else "", start, size * self.scale)

    def in_bytes(self, offset: int, size: int) -> str:
        """Slice of `raw`; offset and size in bytes."""
        base = "q" if self.moving else ""
        if self.moving and self.plan.packed:
            base = "b"
            if not self.bytes_known:
                self.lines.append("b = q >> 1")
                self.bytes_known = True
        return self.slice("raw", base, self.at + offset, size)

    @staticmethod
    def slice(text: str, base: str, start: int, size: int) -> str:
        if not base:
            return f"{text}[{start}:{start + size}]"
        return f"{text}[{base} + {start} : {base} + {start + size}]" if start else f"{text}[{base} : {base} + {size}]"

    def move(self, amount: str) -> None:
        """Let q stand `amount` behind the current position."""
        start = self.at * self.scale
        terms = [part for part in ("q" if self.moving else "", str(start) if start else "", amount) if part]
        if terms != ["q"]:
            self.lines.append(f"q = {' + '.join(terms)}")
        self.at, self.moving, self.bytes_known = 0, True, False

    # runs of fixed fields of one group

    def run_bytes(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        offset = 0
        for field, size in zip(fields, sizes, strict=True):
            if self.asked(field):
                self.value(field, self.in_bytes(offset, size))
            offset += size

    def run_text(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        """ASCII is tested once for the run (35 ns a field saved); GBK is decoded field by field."""
        name = f"g{fields[0].de}"
        total = sum(sizes)
        text = f"{self.in_bytes(0, total)}.decode('latin-1')" if self.plan.packed else self.in_text(0, total)
        self.lines.append(f"{name} = {text}")
        slow = []
        cuts = []
        offset = 0
        for field, size in zip(fields, sizes, strict=True):
            if self.asked(field):
                cuts.append((field, offset, offset + size))
                slow.append(f"    v{field.de} = wide({self.in_bytes(offset, size)})")
            offset += size
        self.cut_run(name, total, cuts)
        self.lines += [f"if not {name}.isascii():", *slow]

    def run_digits(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        """The run is cut out once, and one test covers all its digits."""
        scale = self.scale
        name = f"g{fields[0].de}"
        total = sum(sizes)
        self.lines.append(f"{name} = {self.in_text(0, total)}")
        cuts = []
        offset = 0
        for field, size in zip(fields, sizes, strict=True):
            start, stop = offset * scale, (offset + size) * scale
            offset += size
            if not self.asked(field):
                continue
            if scale == 2 and field.size & 1:
                pad = start if field.left else stop - 1
                start, stop = (start + 1, stop) if field.left else (start, stop - 1)
                self.pad(field, f"{name}[{pad}]")
                # the digit test below must not see a known pad
                self.lines.append(f"    {name} = {name}[:{pad}] + '0' + {name}[{pad + 1}:]")
            cuts.append((field, start, stop))
        self.cut_run(name, total * scale, cuts)
        self.digits += [name] if len(cuts) == len(fields) else [f"v{field.de}" for field, _, _ in cuts]

    def run_signed(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        """xn: C or D, then digits."""
        offset = 0
        for field, size in zip(fields, sizes, strict=True):
            if self.asked(field):
                text = f"{self.in_bytes(offset, size)}.decode('latin-1')" if self.plan.packed else self.in_text(offset, size)
                self.value(field, text)
                self.lines += [f"if v{field.de}[:1] not in ('C', 'D'):", "    raise ValueError"]
                self.digits.append(f"v{field.de}[1:]")
            offset += size

    def cut_run(self, name: str, total: int, cuts: Sequence[tuple[Field, int, int]]) -> None:
        """Slices of a run; three and more by one itemgetter over ready slice objects (10 ns a field)."""
        if len(cuts) < 3:
            for field, start, stop in cuts:
                self.value(field, name if stop - start == total else f"{name}[{start}:{stop}]")
            return
        getter = f"C{cuts[0][0].de}"
        self.names[getter] = itemgetter(*(slice(start, stop) for _, start, stop in cuts))
        self.lines.append(f"{', '.join(f'v{field.de}' for field, _, _ in cuts)} = {getter}({name})")
        self.values += [f"{field.de}: v{field.de}" for field, _, _ in cuts]

    # variable fields

    def variable(self, field: Field) -> None:
        """Length by look-up of its text: one dict access refuses non-digits and too much (80 ns less than int() and two tests)."""
        plan, de = self.plan, field.de
        width = field.prefix * self.scale
        table = f"L{width}_{field.size}"
        self.names[table] = {f"{size:0{width}d}": size for size in range(field.size + 1)}
        self.lines.append(f"n = {table}[{self.in_text(0, field.prefix)}]")
        self.at += field.prefix
        asked = self.asked(field)
        if plan.packed and field.kind not in ("n", "z"):
            if asked:
                if not self.moving:
                    self.move("")
                self.in_bytes(0, 0)
                start = f"b + {self.at}" if self.at else "b"
                self.value(field, f"raw[{start} : {start} + n]" + (".decode('latin-1')" if field.kind in _TEXT else ""))
                self.text_check(field, f"raw[{start} : {start} + n]")
            self.move("n + n")
            return
        self.move("")
        if asked:
            text = "raw" if field.kind == "b" else "s"
            self.value(field, f"{text}[q : q + n]" + (".upper()" if plan.packed and field.kind == "z" else ""))
            self.text_check(field, "raw[q : q + n]")
        if field.kind == "n" and asked:
            self.digits.append(f"v{de}")
        elif field.kind == "z" and asked and not plan.packed:
            self.tracks.append(f"v{de}")
        if not plan.packed:
            self.lines.append("q += n")
        elif asked:
            self.lines += ["q += n", "if n & 1:"]
            self.pad(field, "s[q]", "    ")
            self.lines.append("    q += 1")
        else:
            self.lines.append("q += n + (n & 1)")

    def text_check(self, field: Field, data: str) -> None:
        if field.kind in _TEXT:
            self.lines += [f"if not v{field.de}.isascii():", f"    v{field.de} = wide({data})"]

    # parts

    def value(self, field: Field, expression: str) -> None:
        self.lines.append(f"v{field.de} = {expression}")
        self.values.append(f"{field.de}: v{field.de}")

    def pad(self, field: Field, nibble: str, indent: str = "") -> None:
        self.pads = True
        self.lines.append(f"{indent}if {nibble} != '0':")
        self.lines.append(f"{indent}    pads = odd(pads, {field.de}, {nibble})")

    def assemble(self) -> str:
        head = ["def run(raw):", "s = raw.hex()" if self.plan.packed else "s = raw.decode('latin-1')", "mti = s[:4]"]
        if self.pads:
            head.append("pads = None")
        # Slices never fail, they shorten: one comparison at the end finds every cut (30 ns a field saved).
        offset = self.at * self.scale
        end = f"q + {offset}" if self.moving and offset else "q" if self.moving else str(offset)
        check = [f"if {end} {'!=' if self.wanted is None else '>'} len(s):", "    raise ValueError"]
        # bytes.isdigit takes 1 ns a character and knows ASCII only; str.isdecimal takes 4 and knows every script.
        joined = "".join(f"{{{part}}}" for part in ("mti", *self.digits))
        check += [f'if not f"{joined}".encode().isdigit():', "    raise ValueError"]
        if self.tracks:
            track = " + ".join(self.tracks)
            check.append(f"z = ({track}).replace('=', '0').replace('D', '0')")
            check += ["if z and not z.encode().isdigit():", "    raise ValueError"]
        values = ", ".join(self.values)
        if self.wanted is None:
            result = f"return Message(mti, {{{values}}}, raw{', pads' if self.pads else ''})"
        else:
            result = f"return {{0: mti, {values}}}"
        return "\n    ".join([*head, *self.lines, *check, result]) + "\n"


def _group(field: Field) -> str:
    """Which fixed fields can be cut out together; "" for variable ones."""
    if field.prefix:
        return ""
    if field.kind == "b":
        return "bytes"
    if field.kind == "xn":
        return "signed"
    return "text" if field.kind in _TEXT else "digits"


def _bytes(plan: Plan, field: Field) -> int:
    return (field.size + 1) // 2 if plan.packed and field.kind == "n" else field.size


def encode_source(plan: Plan, shape: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """`run(mti, fields)` for field dicts whose keys come in exactly this order: the body."""
    writer = _Encoder(plan, shape)
    return writer.source(), writer.names


class _Encoder:
    """Collects the parts of one encoding function.

    Names in the generated code: `a3` the value of DE3, unpacked in the dict's own order (one C loop, 10 ns a field); `n2` the length of a
    variable one.
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
            self.names[table] = tuple(f"{size:0{width}d}" for size in range(field.size + 1))
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
            self.part("hex", f"{{{value}}}")
        elif packed:
            self.part("bytes", value if field.kind == "b" else f"{value}.encode('latin-1')")
        else:
            # Binary goes through Latin-1 into the one f-string of the message: 50 ns against 90 for another piece to join.
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
        texts = [field for field in self.fields if field.kind in _TEXT]
        if texts:
            # One test for all text (30 ns a field); str.isascii, not the method, so that bytes are refused.
            lines.append(f"if not isascii({' + '.join(f'a{field.de}' for field in texts)}):")
            lines += [f"    a{field.de} = narrow(a{field.de})" for field in texts]
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
