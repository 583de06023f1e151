"""A story file read: strictly, whole, with the line of everything that may turn out wrong later."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from scenarios.story.requirements import RequirementsError, read_requirements
from scenarios.story.result import Title
from scenarios.story.shape import BadStory, Block, compose, meant
from scenarios.story.vocabulary import STORY

LIMIT_S: Final = 600.0
SUFFIXES: Final = (".yaml", ".yml")
REQUIREMENTS: Final = "requirements.yaml"
_NAMING: Final = ("at", "card", "payer", "to")


@dataclass(frozen=True, slots=True)
class Story:
    """One story as it is told; `steps` are Blocks whose "verb" says which. `path` as it was given."""

    path: str
    id: str
    title: Title
    chapter: str
    rules: tuple[str, ...]
    live: bool
    limit_s: float
    began: datetime | None
    cast: Block
    hosts: Any
    profile: Block | None
    steps: tuple[Block, ...]

    def fault(self, line: int, what: str) -> BadStory:
        """What to raise about a line."""
        return BadStory(self.path, line, what)


def read_story(path: Path) -> Story:
    """A story. Raises BadStory; OSError where there is no such file."""
    return story_of(STORY.read(compose(path), str(path)), path)


def story_of(block: Block, path: Path) -> Story:
    """A story of what was read. Raises BadStory for names that nobody has, and rules that are not in its book."""
    title = block["title"]
    if isinstance(title, str):
        both = Title(title, title)
    else:
        both = Title(title.get("zh") or title.get("en", ""), title.get("en") or title.get("zh", ""))
    steps = tuple(block["steps"])
    rules = list(block.get("rules", ()))
    for step in steps:
        rules += [rule for rule in step.get("rule", ()) if rule not in rules]
    story = Story(
        str(path), block["id"], both, block.get("chapter") or path.parent.name, tuple(rules), block.get("live", False),
        block.get("limit", LIMIT_S), _moment(block, str(path)), block["cast"], block.get("hosts"), block.get("profile"),
        steps,
    )  # fmt: skip
    _check_names(story)
    _check_rules(story, path, block.at("rules"))
    return story


def _check_rules(story: Story, path: Path, line: int) -> None:
    """A story that lies in a book names rules of that book."""
    lists = (folder / REQUIREMENTS for folder in path.resolve().parents)
    requirements = next((one for one in lists if one.is_file()), None)
    if requirements is None:
        return
    try:
        known = _rules_of(requirements)
    except RequirementsError as error:
        raise story.fault(line, str(error)) from None
    for rule in story.rules:
        if rule not in known:
            raise story.fault(line, f'no rule is called "{rule}"{meant(rule, known)}')


@lru_cache(maxsize=8)
def _rules_of(path: Path) -> frozenset[str]:
    return frozenset(read_requirements(path).rules)


def _moment(block: Block, path: str) -> datetime | None:
    if "date" not in block:
        return None
    text = block["date"]
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M" if " " in text else "%Y-%m-%d")
    except ValueError:
        raise BadStory(path, block.at("date"), f'"{text}": there is no such day') from None


def _check_names(story: Story) -> None:
    """Whoever a step speaks of must be in the cast, and every name given before it is used."""
    given: set[str] = set()
    for step in story.steps:
        for key in _NAMING:
            name = step.get(key)
            if name is not None and name not in story.cast:
                raise story.fault(step.at(key), f'nobody in the cast is called "{name}"{meant(name, story.cast)}')
        of = step.get("of") or (step["send"].get("of") if step["verb"] == "send" else None)
        if of is not None and of not in given:
            raise story.fault(step.at("of"), f'no step before is called "{of}" (as: {of}){meant(of, given)}')
        if "as" in step:
            given.add(step["as"])


def found_stories(paths: list[Path]) -> list[Path]:
    """All story files of some files and directories, in order. Raises OSError for what is not there."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES and one.name != REQUIREMENTS)
        elif path.is_file():
            found.append(path)
        else:
            raise FileNotFoundError(2, "no such file or directory", str(path))
    return found
