"""The rules that stories prove: `scenarios/book/requirements.yaml`, each with its words in two languages and where it
comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

BOOK: Final = Path(__file__).parent.parent / "book"
"""The stories that come with the house, and their rules."""

FILE: Final = "requirements.yaml"
KEYS: Final = ("zh", "en", "source")


class RequirementsError(ValueError):
    """A requirements file that cannot be read: the text names file, line and what is wrong."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `source`: the page and clause of the public standards it comes from, or "practice"."""

    id: str
    chapter: str
    zh: str
    en: str
    source: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """One chapter of the book: `name` is its directory."""

    name: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Requirements:
    """All chapters and rules, in their order."""

    chapters: dict[str, Chapter]
    rules: dict[str, Rule]


def read_requirements(path: Path = BOOK / FILE) -> Requirements:
    """Read the rules. Raises RequirementsError, with the line, for a key unknown or absent or an id used twice."""
    try:
        document = YAML().load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise RequirementsError(f"{path}:{line}: {getattr(error, 'problem', None) or error}") from None
    except OSError as error:
        raise RequirementsError(f"{path}: {error.strerror}") from None
    if not isinstance(document, dict):
        raise RequirementsError(f"{path}:1: a mapping of chapters is needed")
    chapters: dict[str, Chapter] = {}
    rules: dict[str, Rule] = {}
    for name, chapter in document.items():
        _keys(path, document, name, chapter, ("zh", "en", "rules"))
        chapters[name] = Chapter(name, chapter["zh"], chapter["en"])
        for key, rule in chapter["rules"].items():
            _keys(path, chapter["rules"], key, rule, KEYS)
            if key in rules:
                raise RequirementsError(f"{path}:{_line(chapter['rules'], key)}: {key} is there twice")
            rules[key] = Rule(key, name, *(str(rule[word]).strip() for word in KEYS))
    return Requirements(chapters, rules)


def _line(mapping: Any, key: str) -> int:
    return int(mapping.lc.key(key)[0]) + 1


def _keys(path: Path, mapping: Any, key: str, value: Any, wanted: tuple[str, ...]) -> None:
    """Exactly the keys wanted, none of them empty."""
    found = set(value) if isinstance(value, dict) else set()
    wrong = [f"{word!r} is missing" for word in wanted if not (word in found and value[word])]
    wrong += [f"unknown key {word!r}" for word in sorted(found - set(wanted))]
    if wrong:
        raise RequirementsError(f"{path}:{_line(mapping, key)}: {key}: {', '.join(wrong)}")
