"""The shapes a story file is made of: one declaration reads it strictly, writes its JSON Schema and its reference.

Scalars are taken as they are written, so that 0200 stays 0200 with quotes and without. Whatever is wrong is told as
`file:line: what`, with the nearest known word where there is one.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Protocol

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

NULL: Final = "tag:yaml.org,2002:null"
_SPANS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|min|h|d)?")
_TRUE, _FALSE = ("true", "yes"), ("false", "no")
AMOUNT_MAX: Final = 999_999_999_999


class BadStory(ValueError):
    """A file that cannot be used; `told` is `file:line: what`."""

    def __init__(self, path: str, line: int, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}")
        self.path = path
        self.line = line
        self.what = what


class Block(dict[str, Any]):
    """A mapping as it was read: `line` where it begins, `lines` where each of its values stands (from 1)."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}

    def at(self, key: str) -> int:
        """The line of a key, or of the block."""
        return self.lines.get(key, self.line)


class Shape(Protocol):
    """What a value may be."""

    def read(self, node: Node, path: str) -> Any:
        """The value of a node. Raises BadStory."""

    def schema(self) -> dict[str, Any]:
        """As JSON Schema."""

    def words(self) -> str:
        """In a few words, for the reference."""


def line_of(node: Node) -> int:
    """The line a node stands on, from 1."""
    return int(node.start_mark.line) + 1


def bad(path: str, node: Node, what: str) -> BadStory:
    """What to raise about a node."""
    return BadStory(path, line_of(node), what)


def meant(word: str, known: Iterable[str]) -> str:
    """`, did you mean "x"?` for the nearest known word, else what there is."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, 1, 0.5)
    if near:
        return f', did you mean "{near[0]}"?'
    return f"; there is {', '.join(words)}" if words and len(words) <= 40 else ""


def _scalar(node: Node, path: str, wanted: str) -> str:
    if not isinstance(node, ScalarNode) or (node.tag == NULL and not node.style):
        raise bad(path, node, f"{wanted} is wanted here")
    return str(node.value)


@dataclass(frozen=True)
class Text:
    """Any text, or one that fits a pattern; `what` says it in words."""

    pattern: str = ""
    what: str = "text"

    def read(self, node: Node, path: str) -> str:
        """The text as it is written."""
        text = _scalar(node, path, self.what)
        if self.pattern and re.fullmatch(self.pattern, text) is None:
            raise bad(path, node, f'"{text[:60]}": {self.what} is wanted here')
        return text

    def schema(self) -> dict[str, Any]:
        """Numbers too: an editor takes an unquoted 0200 for one."""
        found: dict[str, Any] = {"type": ["string", "number", "boolean"]}
        if self.pattern:
            found["pattern"] = f"^(?:{self.pattern})$"
        return found

    def words(self) -> str:
        """What it is."""
        return self.what


@dataclass(frozen=True)
class Number:
    """A whole number."""

    least: int = 0
    most: int = 10**12

    def read(self, node: Node, path: str) -> int:
        """The number."""
        text = _scalar(node, path, "a number")
        if re.fullmatch(r"-?[0-9]+", text) is None or not self.least <= int(text) <= self.most:
            raise bad(path, node, f'"{text[:40]}": a whole number from {self.least} to {self.most} is wanted here')
        return int(text)

    def schema(self) -> dict[str, Any]:
        """An integer."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def words(self) -> str:
        """What it is."""
        return "number"


@dataclass(frozen=True)
class Amount:
    """Money in yuan (12.00), read as minor units."""

    signed: bool = False

    def read(self, node: Node, path: str) -> int:
        """Minor units."""
        text = _scalar(node, path, "an amount")
        try:
            minor = Decimal(text) * 100
        except InvalidOperation:
            minor = Decimal("0.5")
        if minor != minor.to_integral_value() or abs(minor) > AMOUNT_MAX or (minor < 0 and not self.signed):
            raise bad(path, node, f'"{text[:40]}": an amount in yuan such as 12.00 is wanted here')
        return int(minor)

    def schema(self) -> dict[str, Any]:
        """A number of yuan."""
        found: dict[str, Any] = {"type": ["number", "string"]}
        return found if self.signed else {**found, "minimum": 0}

    def words(self) -> str:
        """What it is."""
        return "amount"


@dataclass(frozen=True)
class Span:
    """A length of time: 70 s, 2 min, 500 ms; a bare number is seconds."""

    def read(self, node: Node, path: str) -> float:
        """Seconds."""
        text = _scalar(node, path, "a time").strip()
        found = _SPAN.fullmatch(text)
        if found is None:
            raise bad(path, node, f'"{text[:40]}": a time such as 70 s, 2 min or 500 ms is wanted here')
        return float(found[1]) * _SPANS[found[2] or "s"]

    def schema(self) -> dict[str, Any]:
        """A number of seconds, or one with its unit."""
        return {"type": ["number", "string"], "pattern": f"^{_SPAN.pattern}$"}

    def words(self) -> str:
        """What it is."""
        return "time"


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def read(self, node: Node, path: str) -> bool:
        """The flag."""
        text = _scalar(node, path, "true or false").lower()
        if text not in (*_TRUE, *_FALSE):
            raise bad(path, node, f'"{text[:40]}": true or false is wanted here')
        return text in _TRUE

    def schema(self) -> dict[str, Any]:
        """A boolean."""
        return {"type": "boolean"}

    def words(self) -> str:
        """What it is."""
        return "true, false"


@dataclass(frozen=True)
class Choice:
    """One of some words; an underscore counts as a dash."""

    names: tuple[str, ...]
    what: str = ""

    def read(self, node: Node, path: str) -> str:
        """The word."""
        text = _scalar(node, path, self.what or "a word")
        if text not in self.names:
            text = next((name for name in self.names if name.replace("_", "-") == text.replace("_", "-")), text)
        if text not in self.names:
            raise bad(path, node, f'unknown {self.what or "word"} "{text[:40]}"{meant(text, self.names)}')
        return text

    def schema(self) -> dict[str, Any]:
        """An enumeration."""
        return {"enum": list(self.names)}

    def words(self) -> str:
        """All of them, if they are few."""
        return ", ".join(self.names) if len(self.names) <= 12 or not self.what else self.what


@dataclass(frozen=True)
class Items:
    """A list; with `one`, a single thing may stand for a list of one."""

    of: Shape
    one: bool = False

    def read(self, node: Node, path: str) -> list[Any]:
        """All of them."""
        if not isinstance(node, SequenceNode):
            if self.one:
                return [self.of.read(node, path)]
            raise bad(path, node, "a list is wanted here")
        return [self.of.read(item, path) for item in node.value]

    def schema(self) -> dict[str, Any]:
        """An array."""
        many = {"type": "array", "items": self.of.schema()}
        return {"anyOf": [self.of.schema(), many]} if self.one else many

    def words(self) -> str:
        """What it is."""
        return f"{self.of.words()}{', or a list' if self.one else ' (list)'}"


@dataclass(frozen=True)
class Key:
    """A key of a mapping and what it means, in both languages."""

    name: str
    shape: Shape
    zh: str
    en: str
    needed: bool = False


@dataclass(frozen=True)
class Keys:
    """A mapping with known keys; `called` names it in the reference. `needs` one of these keys."""

    called: str
    keys: tuple[Key, ...]
    needs: tuple[str, ...] = ()
    by_name: Mapping[str, Key] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {key.name: key for key in self.keys})

    def read(self, node: Node, path: str) -> Block:
        """A Block of what is there."""
        if not isinstance(node, MappingNode):
            raise bad(path, node, f"{self.called}: a mapping is wanted here")
        block = Block(line_of(node))
        for name_node, value in node.value:
            name = str(name_node.value)
            key = self.by_name.get(name)
            if key is None:
                raise bad(path, name_node, f'unknown key "{name[:40]}"{meant(name, self.by_name)}')
            if name in block:
                raise bad(path, name_node, f'the key "{name}" stands there twice')
            block[name] = key.shape.read(value, path)
            block.lines[name] = line_of(name_node)
        for key in self.keys:
            if key.needed and key.name not in block:
                raise bad(path, node, f'the key "{key.name}" is missing ({self.called})')
        if self.needs and not any(name in block for name in self.needs):
            raise bad(path, node, f"one of {', '.join(self.needs)} is wanted ({self.called})")
        return block

    def schema(self) -> dict[str, Any]:
        """An object without other keys."""
        found: dict[str, Any] = {
            "title": self.called, "type": "object", "additionalProperties": False,
            "properties": {
                key.name: {**key.shape.schema(), "description": f"{key.zh} / {key.en}"} for key in self.keys
            },
        }  # fmt: skip
        needed = [key.name for key in self.keys if key.needed]
        if needed:
            found["required"] = needed
        return found

    def words(self) -> str:
        """Where to look."""
        return self.called


@dataclass(frozen=True)
class Free:
    """A mapping whose keys are names or numbers of the author's own."""

    of: Shape
    key: Shape = Text(r"[A-Za-z0-9][A-Za-z0-9 ._:\[\]-]*", "a name")

    def read(self, node: Node, path: str) -> Block:
        """A Block by key."""
        if not isinstance(node, MappingNode):
            raise bad(path, node, f"a mapping from {self.key.words()} to {self.of.words()} is wanted here")
        block = Block(line_of(node))
        for name_node, value in node.value:
            name = self.key.read(name_node, path)
            if name in block:
                raise bad(path, name_node, f'the key "{name}" stands there twice')
            block[name] = self.of.read(value, path)
            block.lines[name] = line_of(name_node)
        return block

    def schema(self) -> dict[str, Any]:
        """An object of such values."""
        return {"type": "object", "additionalProperties": self.of.schema()}

    def words(self) -> str:
        """What it is."""
        return f"{self.key.words()}: {self.of.words()}"


@dataclass(frozen=True)
class Either:
    """A scalar or a mapping: whichever is written."""

    scalar: Shape
    mapping: Shape

    def read(self, node: Node, path: str) -> Any:
        """Whatever it is."""
        return (self.mapping if isinstance(node, MappingNode) else self.scalar).read(node, path)

    def schema(self) -> dict[str, Any]:
        """Any of both."""
        return {"anyOf": [self.scalar.schema(), self.mapping.schema()]}

    def words(self) -> str:
        """Both."""
        return f"{self.scalar.words()}; or {self.mapping.words()}"


@dataclass(frozen=True)
class NumberOr:
    """A whole number, or one word."""

    word: str
    least: int = 0

    def read(self, node: Node, path: str) -> int | str:
        """The number, or the word."""
        text = _scalar(node, path, f"a number or {self.word}")
        if text == self.word:
            return text
        if not text.isdecimal() or int(text) < self.least:
            raise bad(path, node, f'"{text[:40]}": a number from {self.least} or {self.word} is wanted here')
        return int(text)

    def schema(self) -> dict[str, Any]:
        """An integer, or the word."""
        return {"anyOf": [{"type": "integer", "minimum": self.least}, {"enum": [self.word]}]}

    def words(self) -> str:
        """Both."""
        return f"number, {self.word}"


@dataclass(frozen=True)
class ByVerb:
    """A mapping whose one verb says which keys it may have."""

    called: str
    verbs: tuple[Keys, ...]

    def read(self, node: Node, path: str) -> Block:
        """A Block; its verb stands under "verb"."""
        if not isinstance(node, MappingNode):
            raise bad(path, node, f"a {self.called} is a mapping")
        by_verb = {keys.called: keys for keys in self.verbs}
        names = [str(name.value) for name, _ in node.value]
        found = [name for name in names if name in by_verb]
        if len(found) != 1:
            if found:
                raise bad(path, node, f"a {self.called} does one thing: {' or '.join(found)}")
            word = names[0] if names else ""
            raise bad(path, node, f'unknown {self.called} "{word[:40]}"{meant(word, by_verb)}')
        block = by_verb[found[0]].read(node, path)
        block["verb"] = found[0]
        return block

    def schema(self) -> dict[str, Any]:
        """One object a verb."""
        return {"oneOf": [keys.schema() for keys in self.verbs]}

    def words(self) -> str:
        """What it is."""
        return self.called


def compose(path: Path) -> Node:
    """The YAML of a file as nodes. Raises BadStory for what is no YAML, OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadStory(str(path), 1, f"not UTF-8 (byte {error.start})") from None
    return compose_text(text, str(path))


def compose_text(text: str, name: str) -> Node:
    """The same of a text; `name` is told in errors."""
    try:
        node: Node | None = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadStory(name, mark.line + 1 if mark else 1, f"no YAML: {error.problem}") from None
    except YAMLError as error:
        raise BadStory(name, 1, f"no YAML: {type(error).__name__}") from None
    if node is None:
        raise BadStory(name, 1, "the file is empty")
    return node
