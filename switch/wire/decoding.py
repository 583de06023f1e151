"""Writes the source of the decoding functions that `codec` compiles: one per MTI and bitmap (and fields looked for).

Positions that precede every variable field are constants; behind one, a run of fixed fields is cut out once and sliced
by constants. The generated functions raise some ValueError, LookupError or TypeError for everything unusual and never
say why.
"""

from collections.abc import Collection, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from switch.wire.careful import TEXT_KINDS, Field, Plan, bitmap_fields


def decode_source(
    plan: Plan, head: bytes, wanted: Collection[int] | None, result: str = ""
) -> tuple[str, dict[str, Any]]:
    """Source of `run(raw)` for bodies that begin with `head` (MTI and bitmap), and what it refers to by name.

    `run` returns a Message, or with `wanted` a dict of those fields (key 0 is the MTI), or with `result` the value of
    that expression, in which `v3` is the value of DE3: nothing is built that nobody asks for (1 us at 20 fields).
    """
    writer = _Decoder(plan, head, wanted, result)
    return writer.source(), writer.names


class _Place(NamedTuple):
    """A field of a run: its offset in the run and its size, in bytes."""

    field: Field
    start: int
    size: int


class _Decoder:
    """Collects the lines of one decoding function.

    Names in the generated code: `raw` the body; `s` its hex text (packed dialects) or its Latin-1 text, made once, for
    a slice of a str is the value itself where bytes would have to be decoded field by field (60 ns a field); `b` the
    byte position behind the last variable field and `q` the same in `s`; `g3` a run of fixed fields from DE3 on; `v3`
    the value of DE3; `n` a length.
    """

    def __init__(self, plan: Plan, head: bytes, wanted: Collection[int] | None, result: str = "") -> None:
        self.plan = plan
        self.wanted = wanted
        self.result = result
        present = bitmap_fields(head[plan.mti_size :])
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
        self.fixed_digits = False
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
                places, size = _places(self.plan, fields)
                asked = [place for place in places if self.asked(place.field)]
                if asked:
                    getattr(self, f"run_{group}")(asked)
                self.at += size
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

    def run_bytes(self, laid: Sequence[_Place]) -> None:
        for place in laid:
            self.value(place.field, self.in_bytes(place.start, place.size))

    def run_text(self, laid: Sequence[_Place]) -> None:
        """ASCII is tested once for the run (35 ns a field saved); GBK is decoded field by field."""
        name = f"g{laid[0].field.de}"
        start, total = _span(laid)
        self.lines.append(f"{name} = {self.in_bytes(start, total) if self.plan.packed else self.in_text(start, total)}")
        self.lines.append(f"if {name}.isascii():")
        cuts = [(place.field, place.start - start, place.start - start + place.size) for place in laid]
        self.cut_run(f"{name}.decode()" if self.plan.packed else name, cuts, "    ")
        self.lines.append("else:")
        self.lines += [
            f"    {self.target(place.field)} = wide({self.in_bytes(place.start, place.size)})" for place in laid
        ]

    def run_digits(self, laid: Sequence[_Place]) -> None:
        """The run is cut out once, and one test covers all its digits (a look at some of them cuts each by itself)."""
        if self.wanted is not None:
            for place in laid:
                self.digits_alone(place)
            return
        scale = self.scale
        name = f"g{laid[0].field.de}"
        self.lines.append(f"{name} = {self.in_text(0, _span(laid)[1] * scale)}")
        cuts = []
        for field, offset, size in laid:
            start, stop = offset * scale, (offset + size) * scale
            if scale == 2 and field.size & 1:
                pad = start if field.left else stop - 1
                start, stop = (start + 1, stop) if field.left else (start, stop - 1)
                self.pad(field, f"{name}[{pad}]")
                # the digit test below must not see a known pad
                self.lines.append(f"    {name} = {name}[:{pad}] + '0' + {name}[{pad + 1}:]")
            cuts.append((field, start, stop))
        self.cut_run(name, cuts)
        self.digits.append(name)
        self.fixed_digits = True

    def digits_alone(self, place: _Place) -> None:
        field, offset, size = place
        text = self.in_text(offset, size * self.scale)
        if self.plan.packed and field.size & 1:
            self.lines.append(f"x = {text}")
            self.pad(field, "x[0]" if field.left else "x[-1]")
            text = "x[1:]" if field.left else "x[:-1]"
        self.value(field, text)
        self.digits.append(f"v{field.de}")
        self.fixed_digits = True

    def run_signed(self, laid: Sequence[_Place]) -> None:
        """xn: C or D, then digits."""
        for field, offset, size in laid:
            packed = self.plan.packed
            text = f"{self.in_bytes(offset, size)}.decode()" if packed else self.in_text(offset, size)
            self.value(field, text, named=True)
            self.lines += [f"if v{field.de}[:1] not in ('C', 'D'):", "    raise ValueError"]
            self.digits.append(f"v{field.de}[1:]")

    def cut_run(self, text: str, cuts: Sequence[tuple[Field, int, int]], indent: str = "") -> None:
        """Slices of a run; several by one itemgetter over ready slice objects (10 ns a field)."""
        if len(cuts) == 1:
            field, start, stop = cuts[0]
            whole = start == 0 and (field.kind != "n" or not self.plan.packed or not field.size & 1)
            self.value(field, text if whole else f"{text}[{start}:{stop}]", indent=indent)
            return
        getter = f"C{cuts[0][0].de}"
        self.names[getter] = itemgetter(*(slice(start, stop) for _, start, stop in cuts))
        self.values += [field.de for field, _, _ in cuts]
        self.lines.append(f"{indent}{', '.join(self.target(field) for field, _, _ in cuts)} = {getter}({text})")

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
        elif field.kind in TEXT_KINDS:
            text = f"{self.in_bytes(0, 'n')}.decode('latin-1')" if packed else self.in_text(0, "n")
            self.value(field, text, named=True)
            self.lines.append(f"if not v{field.de}.isascii():")
            self.lines.append(f"    {self.target(field)} = wide({self.in_bytes(0, 'n')})")
        else:
            self.value(field, self.in_text(0, "n"), named=True)
            (self.digits if field.kind == "n" else self.tracks).append(f"v{field.de}")
        self.move("n")

    def variable_digits(self, field: Field) -> None:
        """Packed digits or track: n nibbles, a pad behind an odd number."""
        if self.asked(field):
            number = field.kind == "n"
            self.value(field, self.in_text(0, "n") + ("" if number else ".upper()"), named=number)
            if number:
                self.digits.append(f"v{field.de}")
            self.lines.append("if n & 1:")
            self.pad(field, f"s[{_sum(self.base(), self.at * 2, 'n')}]", "    ")
        self.move("(n + 1 >> 1)")

    # parts

    def target(self, field: Field, named: bool = False) -> str:
        """Where a value goes: straight into the dict (5 ns less than by way of a local); `named`: into a local too."""
        if self.wanted is not None or self.result:
            return f"v{field.de}"
        return f"v{field.de} = f[{field.de}]" if named else f"f[{field.de}]"

    def value(self, field: Field, expression: str, named: bool = False, indent: str = "") -> None:
        self.lines.append(f"{indent}{self.target(field, named)} = {expression}")
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
        if self.wanted is None and not self.result:
            # CPython builds displays of more than 15 items without presizing: filling a copied template spares the
            # resizing (220 ns at 24 fields).
            self.names["template"] = dict.fromkeys(self.values).copy
            head.append("f = template()")
        # Slices never fail, they shorten: one comparison at the end finds every cut (30 ns a field saved).
        end = _sum("b" if self.moving else "", self.at)
        check = [f"if {end} {'!=' if self.wanted is None else '>'} len(raw):", "    raise ValueError"]
        if self.digits:
            # bytes.isdigit takes 1 ns a character and knows ASCII only; str.isdecimal takes 4 and knows every script.
            joined = "".join(f"{{{part}}}" for part in self.digits)
            check.append(f'd = f"{joined}".encode()')
            check += [f"if {'' if self.fixed_digits else 'd and '}not d.isdigit():", "    raise ValueError"]
        if self.tracks:
            check.append(f"z = ({' + '.join(self.tracks)}).replace('=', '0').replace('D', '0').encode()")
            check += ["if z and not z.isdigit():", "    raise ValueError"]
        if self.result:
            result = f"return {self.result}"
        elif self.wanted is not None:
            result = f"return {{0: {self.mti!r}, {', '.join(f'{de}: v{de}' for de in self.values)}}}"
        else:
            # Filling the slots of a bare object spares the call of __init__ (30 ns).
            self.lines = ["m = new(Message)", f"m.mti = {self.mti!r}", "m.fields = f", "m.raw = raw", *self.lines]
            check.append(f"m.pads = {'pads' if self.pads else 'None'}")
            result = "return m"
        return "\n    ".join([*head, *self.lines, *check, result]) + "\n"


def _group(field: Field) -> str:
    """Which fixed fields can be cut out together; "" for variable ones."""
    if field.prefix:
        return ""
    if field.kind == "b":
        return "bytes"
    if field.kind == "xn":
        return "signed"
    return "text" if field.kind in TEXT_KINDS else "digits"


def _places(plan: Plan, fields: Sequence[Field]) -> tuple[list[_Place], int]:
    """Where the fields of a run lie, and the size of the run."""
    places = []
    start = 0
    for field in fields:
        size = _bytes(plan, field)
        places.append(_Place(field, start, size))
        start += size
    return places, start


def _span(laid: Sequence[_Place]) -> tuple[int, int]:
    """Start and size, in bytes, of the stretch from the first of these fields to the last."""
    start = laid[0].start
    return start, laid[-1].start + laid[-1].size - start


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
    texts = {f"{size:0{width}d}": size for size in range(limit + 1)}
    return {bytes.fromhex(text): size for text, size in texts.items()} if packed else texts


def _bytes(plan: Plan, field: Field) -> int:
    return (field.size + 1) // 2 if plan.packed and field.kind == "n" else field.size
