"""Writes the source of the functions that `codec` compiles: decode and peek per MTI and bitmap, encode per tuple of fields.

Positions that precede every variable field are constants; behind one, a run of fixed fields is cut out once and sliced
by constants. The generated functions raise some ValueError, LookupError or TypeError for everything unusual and never
say why.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from switch.wire.careful import Field, Plan, bitmap_fields

_TEXT = ("an", "ans")


def decode_source(plan: Plan, head: bytes, wanted: Collection[int] | None) -> tuple[str, dict[str, Any]]:
    """`run(raw)` for bodies that begin with `head` (MTI and bitmap): a Message, or with `wanted` a dict of those (key 0
    is the MTI).

    The second result is what the source refers to by name.
    """
    writer = _Decoder(plan, head, wanted)
    return writer.source(), writer.names


class _Decoder:
    """Collects the lines of one decoding function.

    Names in the generated code: `raw` the body; `s` its hex text (packed dialects) or its Latin-1 text, made once, for
    a slice of a str is the value itself where bytes would have to be decoded field by field (60 ns a field); `b` the
    byte position behind the last variable field and `q` the same in `s`; `g3` a run of fixed fields from DE3 on; `v3`
    the value of DE3; `n` a length.
    """

    def __init__(self, plan: Plan, head: bytes, wanted: Collection[int] | None) -> None:
        self.plan = plan
        self.wanted = wanted
        present = bitmap_fields(plan, head[plan.mti_size :])
        last = max((de for de in present if wanted is None or de in wanted), default=0)
        self.present = [plan.fields[de] for de in present if de <= last]
        self.scale = 2 if plan.packed else 1
        # The shape includes the MTI: it is a constant of the function (60 ns).
        self.mti = head[: plan.mti_size].hex() if plan.packed else head[: plan.mti_size].decode("ascii")
        self.names: dict[str, Any] = {}
        self.lines: list[str] = []
        self.values: list[int] = []
        self.digits: list[str] = []
        self.tracks: list[str] = []
        self.pads = False
        # The position is `at` bytes from the start or, once behind a variable field, from b.
        self.at = plan.start
        self.moving = False
        self.q_known = False

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

    def in_bytes(self, offset: int, size: str | int) -> str:
        """Slice of `raw` at the current position; offset and size in bytes."""
        return _slice("raw", "b" if self.moving else "", self.at + offset, size)

    def in_text(self, offset: int, size: str | int) -> str:
        """Slice of `s` at the current position; offset in bytes, size in characters."""
        return _slice("s", self.base(), (self.at + offset) * self.scale, size)

    def base(self) -> str:
        if not self.moving or not self.plan.packed:
            return "b" if self.moving else ""
        if not self.q_known:
            self.lines.append("q = b + b")
            self.q_known = True
        return "q"

    def move(self, amount: str) -> None:
        """Let b stand `amount` bytes behind the current position."""
        self.lines.append(f"b = {_sum('b' if self.moving else '', self.at, amount)}")
        self.at, self.moving, self.q_known = 0, True, False

    # runs of fixed fields of one group

    def run_bytes(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        for field, offset, size in _laid(fields, sizes):
            if self.asked(field):
                self.value(field, self.in_bytes(offset, size))

    def run_text(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        """ASCII is tested once for the run (35 ns a field saved); GBK is decoded field by field."""
        name = f"g{fields[0].de}"
        total = sum(sizes)
        self.lines.append(f"{name} = {self.in_bytes(0, total) if self.plan.packed else self.in_text(0, total)}")
        cuts = [(field, start, start + size) for field, start, size in _laid(fields, sizes) if self.asked(field)]
        self.lines.append(f"if {name}.isascii():")
        self.cut_run(f"{name}.decode()" if self.plan.packed else name, total, cuts, "    ")
        self.lines.append("else:")
        self.lines += [f"    v{field.de} = wide({self.in_bytes(start, stop - start)})" for field, start, stop in cuts]

    def run_digits(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        """The run is cut out once, and one test covers all its digits."""
        scale = self.scale
        name = f"g{fields[0].de}"
        total = sum(sizes) * scale
        self.lines.append(f"{name} = {self.in_text(0, total)}")
        cuts = []
        for field, offset, size in _laid(fields, sizes):
            start, stop = offset * scale, (offset + size) * scale
            if not self.asked(field):
                continue
            if scale == 2 and field.size & 1:
                pad = start if field.left else stop - 1
                start, stop = (start + 1, stop) if field.left else (start, stop - 1)
                self.pad(field, f"{name}[{pad}]")
                # the digit test below must not see a known pad
                self.lines.append(f"    {name} = {name}[:{pad}] + '0' + {name}[{pad + 1}:]")
            cuts.append((field, start, stop))
        self.cut_run(name, total, cuts)
        self.digits += [name] if len(cuts) == len(fields) else [f"v{field.de}" for field, _, _ in cuts]

    def run_signed(self, fields: Sequence[Field], sizes: Sequence[int]) -> None:
        """xn: C or D, then digits."""
        for field, offset, size in _laid(fields, sizes):
            if self.asked(field):
                packed = self.plan.packed
                self.value(field, f"{self.in_bytes(offset, size)}.decode()" if packed else self.in_text(offset, size))
                self.lines += [f"if v{field.de}[:1] not in ('C', 'D'):", "    raise ValueError"]
                self.digits.append(f"v{field.de}[1:]")

    def cut_run(self, text: str, total: int, cuts: Sequence[tuple[Field, int, int]], indent: str = "") -> None:
        """Slices of a run; several by one itemgetter over ready slice objects (10 ns a field)."""
        self.values += [field.de for field, _, _ in cuts]
        if len(cuts) == 1:
            field, start, stop = cuts[0]
            whole = stop - start == total
            self.lines.append(f"{indent}v{field.de} = {text if whole else f'{text}[{start}:{stop}]'}")
            return
        getter = f"C{cuts[0][0].de}"
        self.names[getter] = itemgetter(*(slice(start, stop) for _, start, stop in cuts))
        self.lines.append(f"{indent}{', '.join(f'v{field.de}' for field, _, _ in cuts)} = {getter}({text})")

    # variable fields

    def variable(self, field: Field) -> None:
        packed = self.plan.packed
        table = f"L{field.digits}_{field.size}"
        if packed and field.prefix == 1:
            # LL by the byte itself: no slice to make and hash (40 ns); None spoils the arithmetic that follows.
            self.names[table] = _bcd_lengths(field.size)
            self.lines.append(f"n = {table}[raw[{_sum('b' if self.moving else '', self.at)}]]")
        else:
            # One dict access refuses non-digits and too much (80 ns less than int() and two tests).
            self.names[table] = _lengths_of(field.prefix * self.scale, field.size, packed)
            text = self.in_bytes(0, field.prefix) if packed else self.in_text(0, field.prefix)
            self.lines.append(f"n = {table}[{text}]")
        self.at += field.prefix
        if packed and field.kind in ("n", "z"):
            self.variable_digits(field)
            return
        if not self.asked(field):
            self.move("n")
            return
        if field.kind == "b":
            self.value(field, self.in_bytes(0, "n"))
        elif field.kind in _TEXT:
            self.value(field, f"{self.in_bytes(0, 'n')}.decode('latin-1')" if packed else self.in_text(0, "n"))
            self.lines += [f"if not v{field.de}.isascii():", f"    v{field.de} = wide({self.in_bytes(0, 'n')})"]
        else:
            self.value(field, self.in_text(0, "n"))
            (self.digits if field.kind == "n" else self.tracks).append(f"v{field.de}")
        self.move("n")

    def variable_digits(self, field: Field) -> None:
        """Packed digits or track: n nibbles, a pad behind an odd number."""
        if self.asked(field):
            self.value(field, self.in_text(0, "n") + (".upper()" if field.kind == "z" else ""))
            if field.kind == "n":
                self.digits.append(f"v{field.de}")
            self.lines.append("if n & 1:")
            self.pad(field, f"s[{_sum(self.base(), self.at * 2, 'n')}]", "    ")
        self.move("(n + 1 >> 1)")

    # parts

    def value(self, field: Field, expression: str) -> None:
        self.lines.append(f"v{field.de} = {expression}")
        self.values.append(field.de)

    def pad(self, field: Field, nibble: str, indent: str = "") -> None:
        self.pads = True
        self.lines.append(f"{indent}if {nibble} != '0':")
        self.lines.append(f"{indent}    pads = odd(pads, {field.de}, {nibble})")

    def assemble(self) -> str:
        head = ["def run(raw):"]
        if any("s[" in line for line in self.lines):
            head.append(f"s = {'raw.hex()' if self.plan.packed else 'raw.decode(' + repr('latin-1') + ')'}")
        if self.pads:
            head.append("pads = None")
        # Slices never fail, they shorten: one comparison at the end finds every cut (30 ns a field saved).
        end = _sum("b" if self.moving else "", self.at)
        check = [f"if {end} {'!=' if self.wanted is None else '>'} len(raw):", "    raise ValueError"]
        if self.digits:
            # bytes.isdigit takes 1 ns a character and knows ASCII only; str.isdecimal takes 4 and knows every script.
            joined = "".join(f"{{{part}}}" for part in self.digits)
            check.append(f'd = f"{joined}".encode()')
            check += ["if d and not d.isdigit():", "    raise ValueError"]
        if self.tracks:
            check.append(f"z = ({' + '.join(self.tracks)}).replace('=', '0').replace('D', '0').encode()")
            check += ["if z and not z.isdigit():", "    raise ValueError"]
        return "\n    ".join([*head, *self.lines, *check, *self.result()]) + "\n"

    def result(self) -> list[str]:
        if self.wanted is not None:
            return [f"return {{0: {self.mti!r}, {', '.join(f'{de}: v{de}' for de in self.values)}}}"]
        pads = ", pads" if self.pads else ""
        if len(self.values) <= 15:
            return [f"return Message({self.mti!r}, {{{', '.join(f'{de}: v{de}' for de in self.values)}}}, raw{pads})"]
        # CPython builds displays of more than 15 items without presizing: filling a copied template spares the resizing
        # (220 ns at 24).
        self.names["template"] = dict.fromkeys(self.values).copy
        return [
            "f = template()",
            *(f"f[{de}] = v{de}" for de in self.values),
            f"return Message({self.mti!r}, f, raw{pads})",
        ]


def _group(field: Field) -> str:
    """Which fixed fields can be cut out together; "" for variable ones."""
    if field.prefix:
        return ""
    if field.kind == "b":
        return "bytes"
    if field.kind == "xn":
        return "signed"
    return "text" if field.kind in _TEXT else "digits"


def _laid(fields: Sequence[Field], sizes: Sequence[int]) -> list[tuple[Field, int, int]]:
    """Fields with their offset in the run and their size, in bytes."""
    return [(field, sum(sizes[:index]), sizes[index]) for index, field in enumerate(fields)]


def _sum(*terms: str | int) -> str:
    """Terms joined by +, without zeros."""
    return " + ".join(str(term) for term in terms if term not in (0, "")) or "0"


def _slice(text: str, base: str, start: int, size: str | int) -> str:
    if not base and isinstance(size, int):
        return f"{text}[{start}:{start + size}]"
    stop = _sum(base, start + size) if isinstance(size, int) else _sum(base, start, size)
    return f"{text}[{_sum(base, start)} : {stop}]"


# Length tables are shared by all functions that need the same one: a table for 999 takes 100 KB.


@lru_cache(maxsize=64)
def _bcd_lengths(limit: int) -> tuple[int | None, ...]:
    """The number in each packed byte; None when it is not decimal or over the limit."""
    values = [(byte >> 4, byte & 15) for byte in range(256)]
    return tuple(
        tens * 10 + ones if tens < 10 and ones < 10 and tens * 10 + ones <= limit else None for tens, ones in values
    )


@lru_cache(maxsize=64)
def _lengths_of(width: int, limit: int, packed: bool) -> dict[str, int] | dict[bytes, int]:
    """Length prefix as it stands on the wire to length."""
    texts = _prefixes(width, limit)
    return (
        {bytes.fromhex(text): size for size, text in enumerate(texts)}
        if packed
        else {t: n for n, t in enumerate(texts)}
    )


@lru_cache(maxsize=64)
def _prefixes(width: int, limit: int) -> tuple[str, ...]:
    """Length to prefix: "0000", "0001"..."""
    return tuple(f"{size:0{width}d}" for size in range(limit + 1))


def _bytes(plan: Plan, field: Field) -> int:
    return (field.size + 1) // 2 if plan.packed and field.kind == "n" else field.size


def encode_source(plan: Plan, shape: Sequence[int]) -> tuple[str, dict[str, Any]]:
    """`run(mti, fields)` for field dicts whose keys come in exactly this order: the body."""
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
            self.names[table] = _prefixes(width, field.size)
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
            # Binary goes through Latin-1 into the one f-string of the message: 50 ns against 90 for another piece to
            # join.
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
