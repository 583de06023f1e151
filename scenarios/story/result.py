"""What came of stories: pure data, all text already masked. Reports read these and nothing else."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What a story ended with."""

    PASSED = "passed"
    FAILED = "failed"
    STUCK = "stuck"
    BROKEN = "broken"
    NOT_RUN = "not run"


ACTORS = ("card", "terminal", "switch", "cups", "core", "store-and-forward", "clearing")
"""Whoever stands on the ladder of a story, from left to right. `cups` is the network's centre, `core` the own bank."""


@dataclass(frozen=True, slots=True)
class Passing:
    """Something that went from one actor to another, or happened to one (`src` is `dst`).

    `at_s` in seconds since the story began (virtual, or real in a live run). `kind`: "message", "apdu", "row", "fault",
    "note". `trace` is the same for all that belongs to one terminal's transaction: "TID/batch/STAN", empty without one.
    `title` is short ("0200 sale"), `lines` what it says, masked.
    """

    at_s: float
    src: str
    dst: str
    kind: str
    trace: str
    title: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """An expectation that was not met: the number of its step (from 1), its line in the file, where in the step
    ("expect.answer"), what was expected and what was found, and what may help."""

    step: int
    line: int
    path: str
    expected: str
    actual: str
    hint: str = ""


class Title(NamedTuple):
    """A title in both languages; the same text twice where the file has one."""

    zh: str
    en: str


class Cell(NamedTuple):
    """One square of the coverage grid: a request that a terminal sent, and what became of it.

    `response` is DE39 or "none"; `fault` is the kind of fault that was at work, or "".
    """

    mti: str
    processing_code: str
    entry_mode: str
    response: str
    fault: str


@dataclass(frozen=True, slots=True)
class StoryResult:
    """One story and what came of it. `seconds` are real, `virtual_s` the story's own. `stage`: "virtual", "live",
    "serve", "sandwich".
    `reason` says why it is broken, stuck or not run."""

    id: str
    title: Title
    chapter: str
    rules: tuple[str, ...]
    path: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    passings: tuple[Passing, ...] = ()
    receipts: tuple[str, ...] = ()
    seconds: float = 0.0
    virtual_s: float = 0.0
    stage: str = "virtual"
    cells: tuple[Cell, ...] = ()
    reason: str = ""
    checked: int = 0
    """Expectations that were looked at."""
    not_seen: tuple[str, ...] = ()
    """Expectations this stage cannot look at: "line 12: expect.books"."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a report needs to be believed and repeated. `versions`: python, shoudan and libraries. `started` is wall
    time, ISO 8601. `configuration_hash` covers profiles, cast and stories. `host` is that of a live run, or empty."""

    seed: int
    versions: dict[str, str]
    configuration_hash: str
    started: str
    stage: str = "virtual"
    host: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """All stories of one run, in the order they were given."""

    evidence: Evidence
    stories: tuple[StoryResult, ...] = field(default=())

    def count(self, verdict: Verdict) -> int:
        """How many ended so."""
        return sum(story.verdict is verdict for story in self.stories)

    @property
    def passed(self) -> int:
        """Stories all of whose expectations were met."""
        return self.count(Verdict.PASSED)

    @property
    def failed(self) -> int:
        """Stories with an expectation not met, or stuck."""
        return self.count(Verdict.FAILED) + self.count(Verdict.STUCK)

    @property
    def seconds(self) -> float:
        """Real seconds, all stories together."""
        return sum(story.seconds for story in self.stories)
