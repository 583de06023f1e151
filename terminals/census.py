"""Profiles of fleets: how many terminals of which kind, what they read, what is done at them, over which lines.

A profile is data, a TOML file; those shipped stand in fleets/, and a user's own is read alike. What is wrong with one
is told with its line and with what would be right.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from switch.wire.errors import WireError
from switch.wire.transactions import BY_NAME
from terminals.trade import WITHOUT_MONEY

SHIPPED: Final = Path(__file__).with_name("fleets")
_LINES: Final = "lines"
"""The file beside the profiles that holds the lines."""
_KINDS: Final = ("pos", "atm", "validators")
_DAY_S: Final = 86_400

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0, le=680_000)]
Rate = Annotated[float, msgspec.Meta(ge=0.0, le=100_000.0)]
Shares = dict[str, Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]]

S = TypeVar("S", bound=msgspec.Struct)


class CensusError(WireError):
    """A fleet's profile that cannot be used; the text names file, line, key and what would be right."""


class LineProfile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A line to the host: how long a connection takes, how long there and back, what it carries, whether it stays."""

    connect_s: Annotated[float, msgspec.Meta(ge=0.0, le=600.0)] = 0.0
    round_trip_ms: Annotated[float, msgspec.Meta(ge=0.0, le=60_000.0)] = 0.0
    bits_per_s: Annotated[int, msgspec.Meta(ge=1)] = 1_000_000_000
    kept: bool = True

    def takes_s(self, size: int) -> float:
        """Seconds that a message of so many bytes is under way, one way."""
        return self.round_trip_ms / 2000 + size * 8 / self.bits_per_s


class Stations(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Shop terminals, or machines.

    `contact`, `contactless` and `sm4` are shares of 1; `a_merchant` terminals have one merchant (0: one to five);
    `a_day` is transactions of a terminal and day, `amount_minor` what one comes to on average (0: as in a shop), `mix`
    their kinds, `lines` what they call over.
    """

    terminals: Count
    contact: Share = 1.0
    contactless: Share = 0.0
    sm4: Share = 1 / 3
    a_merchant: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    a_day: Rate = 0.0
    amount_minor: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    mix: Shares = {}
    lines: Shares = {}


class Gates(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Bus validators of one operator, and its back office's terminals at the acquirer; `fare_minor` is what a tap comes
    to on average."""

    terminals: Annotated[int, msgspec.Meta(ge=0, le=9_999)]
    office: Annotated[int, msgspec.Meta(ge=1, le=99)] = 2
    fare_minor: Annotated[int, msgspec.Meta(ge=100, le=100_000)] = 200
    a_day: Rate = 0.0


class Census(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A fleet. `speaks` is how its host speaks (a profile of the wire), `named_lines` are lines of its own."""

    name: str
    speaks: str = "unionpay-pos"
    pos: Stations = Stations(terminals=0)
    atm: Stations = Stations(terminals=0)
    validators: Gates = Gates(terminals=0)
    named_lines: dict[str, LineProfile] = {}

    @property
    def terminals(self) -> int:
        return self.pos.terminals + self.atm.terminals + self.validators.terminals

    def scaled(self, terminals: int) -> "Census":
        """The same fleet with so many terminals in all, each kind by its share: one at least of each, where there is
        room for all kinds."""
        counts = [part.terminals for part in (self.pos, self.atm, self.validators)]
        least = int(terminals >= len(counts))
        fewer = [count and max(least, count * terminals // self.terminals) for count in counts]
        fewer[counts.index(max(counts))] += terminals - sum(fewer)
        parts = zip(("pos", "atm", "validators"), (self.pos, self.atm, self.validators), fewer, strict=True)
        changed = {name: msgspec.structs.replace(part, terminals=count) for name, part, count in parts}
        return msgspec.structs.replace(self, **changed)

    def line(self, name: str) -> LineProfile:
        """A line by its name. KeyError."""
        return self.named_lines[name] if name in self.named_lines else shipped_lines()[name]

    @property
    def rates(self) -> tuple[float, float, float]:
        """Transactions a second, on average: at shop terminals, machines, validators."""
        parts = (self.pos, self.atm, self.validators)
        first, second, third = (part.terminals * part.a_day / _DAY_S for part in parts)
        return first, second, third


def shipped() -> list[str]:
    """The names of the profiles that are shipped."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml") if path.stem != _LINES)


def shipped_lines() -> dict[str, LineProfile]:
    """The lines that are shipped, by name."""
    return msgspec.toml.decode((SHIPPED / f"{_LINES}.toml").read_bytes(), type=dict[str, LineProfile])


def is_census(name: str) -> bool:
    """Whether a name, or a file, is a fleet's profile and not one of the wire."""
    if name in shipped():
        return True
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return any(re.search(rf"^\s*\[{kind}\]", text, re.MULTILINE) for kind in _KINDS)


def load_census(name: str) -> Census:
    """A shipped profile by name, or a file. Raises CensusError."""
    path = SHIPPED / f"{name}.toml" if name in shipped() else Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise CensusError(name, None, f"{reason}; shipped are {', '.join(shipped())}") from None
    return parse_census(text, name)


def parse_census(text: str, where: str) -> Census:
    """A profile's text; `where` names it in errors. Raises CensusError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CensusError(where, None, str(error)) from None
    if isinstance(table.get("lines"), dict):
        table["named_lines"] = table.pop("lines")
    _known_keys(table, text, where)
    census = _converted(table, Census, text, where, [])
    _check(census, text, where)
    return census


def _converted(table: Mapping[str, Any], kind: type[S], text: str, where: str, above: list[str]) -> S:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$")
        keys = [key for key in at.rstrip("`").replace("[...]", "").split(".") if key]
        raise _fault(text, where, above + keys, reason[0].lower() + reason[1:]) from None


def _fault(text: str, where: str, keys: list[str], reason: str) -> CensusError:
    """An error with the line at which the key stands."""
    shown = ".".join(keys).replace("named_lines", "lines")
    number = _line_of(text, keys)
    return CensusError(where, None, f"{f'line {number}: ' if number else ''}{f'{shown}: ' if shown else ''}{reason}")


def _line_of(text: str, keys: list[str]) -> int:
    """The line of a key, or of the last section on the way to it that is there; 0 for none."""
    wanted = ["lines" if key == "named_lines" else key for key in keys]
    section: list[str] = []
    found = 0
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"\s*\[([^\]]+)\]", line)
        if head:
            section = [part.strip() for part in head.group(1).split(".")]
            if section == wanted[: len(section)]:
                found = number
            continue
        key = re.match(r"\s*([\w-]+)\s*=", line)
        if key and [*section, key.group(1)] == wanted[: len(section) + 1]:
            return number
    return found


def _known_keys(table: Mapping[str, Any], text: str, where: str) -> None:
    """Every key known, or said which was meant."""
    kinds: dict[str, type[msgspec.Struct]] = {"pos": Stations, "atm": Stations, "validators": Gates}
    levels: list[tuple[list[str], Mapping[str, Any], type[msgspec.Struct]]] = [([], table, Census)]
    levels += [([name], table[name], kind) for name, kind in kinds.items() if isinstance(table.get(name), dict)]
    named = table.get("named_lines", {})
    levels += [(["named_lines", name], line, LineProfile) for name, line in named.items() if isinstance(line, dict)]
    for above, level, kind in levels:
        known = [field.name for field in msgspec.structs.fields(kind)]
        for key in level:
            if key not in known:
                raise _fault(text, where, [*above, key], f"is not known{_meant(key, known)}")
            if len(above) == 2:  # the names of lines are the user's: an error of the whole tells them not
                _converted({key: level[key]}, kind, text, where, above)


def _meant(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; {near[0]!r} is meant?" if near else f"; there are {', '.join(known)}"


def _check(census: Census, text: str, where: str) -> None:
    """What one value says of another."""
    lines = sorted({*shipped_lines(), *census.named_lines})
    for name, part in (("pos", census.pos), ("atm", census.atm)):
        if part.contactless > part.contact:
            reason = f"{part.contactless:g} is more than contact, which includes it: {part.contact:g} at most"
            raise _fault(text, where, [name, "contactless"], reason)
        kinds = [row.name for row in BY_NAME.values() if row.name.startswith("atm_") == (name == "atm")]
        for what, given, known in (("mix", part.mix, [*kinds, *WITHOUT_MONEY]), ("lines", part.lines, lines)):
            for word in given:
                if word not in known:
                    raise _fault(text, where, [name, what], f"there is no {word!r}{_meant(word, known)}")
            if given and not any(given.values()):
                raise _fault(text, where, [name, what], "all shares are 0: one is needed at least")
    if not census.terminals:
        raise _fault(text, where, [], f"no terminals: {', '.join(_KINDS)} need one with terminals = 1 or more")
