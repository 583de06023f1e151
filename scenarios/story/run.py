"""Stories played, and what came of them: one, or all of some paths."""

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from scenarios.sandwich.ground import Setup
from scenarios.story.casting import CAST, SEED, cast
from scenarios.story.expect import Judge
from scenarios.story.flows import NotThere, Unfit
from scenarios.story.live import LiveStage, Wardrobe
from scenarios.story.perform import Player
from scenarios.story.reading import Story, found_stories, read_story
from scenarios.story.result import Evidence, Finding, Run, StoryResult, Title, Verdict
from scenarios.story.sandwiched import sandwiched
from scenarios.story.shape import BadStory, Block
from scenarios.story.stage import CannotPlay, Stage, Stuck, YesHouse
from scenarios.world.rest import place_of
from switch.app.config import host_and_port
from switch.wire.profile import SHIPPED, ProfileError
from terminals.card.mint import CardFault
from terminals.card.profile import ProfileFault
from terminals.look.setting import SettingFault

LOOK_EVERY_S: Final = 0.5
"""How often an expectation with `within` is looked at again, virtual seconds."""
NOT_MARKED: Final = "not marked live"
_LIBRARIES: Final = ("shoudan", "cryptography", "msgspec", "ruamel.yaml", "gmssl")


class Telling:
    """A story being played on the virtual stage."""

    def __init__(self, story: Story, stage: Stage, player: type[Player] = Player) -> None:
        self.story, self.stage = story, stage
        self.not_seen: dict[str, None] = {}
        self.player = player(stage)
        self.judge = Judge(self.player)
        self.findings: list[Finding] = []
        self.checked = 0

    def tell(self) -> None:
        """All steps. Raises BadStory for one that cannot be done, Stuck."""
        self.stage.open()
        for number, step in enumerate(self.story.steps, 1):
            try:
                if step.get("note"):
                    self.stage.witness.note("switch", step["note"])
                self.player.do(step)
                self._look(number, step)
            except NotThere as error:
                self.findings.append(Finding(number, step.line, step["verb"], "to be done", str(error)))
                return
            except (Unfit, ValueError) as error:
                if isinstance(error, BadStory):
                    raise
                raise self.story.fault(step.line, str(error)) from None

    def _look(self, number: int, step: Block) -> None:
        verb = step["verb"]
        if verb == "until":
            self._await(number, step["until"])
            return
        for key in ("expect", "check"):
            if key in step:
                self._expect(number, step[key], key)

    def _expect(self, number: int, wanted: Block, path: str) -> None:
        end = self.stage.now + wanted.get("within", 0.0)
        found = self.judge.findings(number, wanted, path)
        while found and self.stage.now < end:
            self.stage.pass_time(min(LOOK_EVERY_S, end - self.stage.now))
            found = self.judge.findings(number, wanted, path)
        self._looked(found)

    def _await(self, number: int, wanted: Block) -> None:
        """Time passes until all is so; at the limit the story is stuck."""
        found = self.judge.findings(number, wanted, "until")
        while found:
            try:
                self.stage.pass_time(LOOK_EVERY_S)
            except Stuck:
                self.findings += found
                raise
            found = self.judge.findings(number, wanted, "until")
        self._looked([])

    def _looked(self, found: list[Finding]) -> None:
        self.checked += self.judge.checked
        self.not_seen |= dict.fromkeys(self.judge.not_seen)
        self.findings += found


Make = Callable[[Story], Stage]
"""How a stage is made for a story. Raises BadStory, CannotPlay."""


def virtual(story: Story) -> Stage:
    """The whole house on a virtual clock."""
    return Stage(story, cast(story))


def yes(story: Story) -> Stage:
    """The same with a switch that answers 00 to everything."""
    return Stage(story, cast(story), YesHouse)


def play(story: Story, make: Make = virtual, name: str = "virtual", player: type[Player] = Player) -> StoryResult:
    """One story on a stage."""
    began = time.perf_counter()
    verdict, reason = Verdict.PASSED, ""
    blank = StoryResult(story.id, story.title, story.chapter, story.rules, story.path, Verdict.BROKEN, stage=name)
    telling = None
    try:
        telling = Telling(story, make(story), player)
        telling.tell()
    except (BadStory, ProfileFault, CardFault, ProfileError, SettingFault) as error:
        verdict, reason = Verdict.BROKEN, str(error)
    except CannotPlay as error:
        verdict, reason = Verdict.NOT_RUN, str(error)
    except Stuck:
        verdict, reason = Verdict.STUCK, f"still waiting after {story.limit_s:g} s of virtual time"
    except Exception as error:
        if telling is None:
            raise
        telling.findings.append(Finding(0, 1, "switch", "no exception", f"{type(error).__name__} in {place_of(error)}"))
    finally:
        if telling is not None:
            telling.stage.close()
    seconds = time.perf_counter() - began
    if telling is None:
        return replace(blank, verdict=verdict, reason=reason, seconds=seconds)
    stage, witness = telling.stage, telling.stage.witness
    findings = list(telling.findings)
    findings += [Finding(0, 1, "switch", "nothing impossible", what) for what in witness.internal]
    if verdict is Verdict.PASSED and findings:
        verdict = Verdict.FAILED
    return replace(
        blank, verdict=verdict, findings=tuple(findings), passings=tuple(witness.passings),
        receipts=tuple(telling.player.receipts), seconds=seconds, virtual_s=round(stage.now - witness.began_s, 3),
        cells=witness.cells(), reason=reason, checked=telling.checked, not_seen=tuple(telling.not_seen),
    )  # fmt: skip


def play_path(path: Path, make: Make = virtual, name: str = "virtual") -> StoryResult:
    """One file; what is wrong with it is a broken story."""
    try:
        story = read_story(path)
    except BadStory as error:
        return StoryResult(path.stem, Title("", ""), path.parent.name, (), str(path), Verdict.BROKEN, reason=str(error))
    return play(story, make, name)


def run_paths(
    paths: Sequence[Path], processes: int = 1, only: Iterable[str] = (),
    told: Callable[[StoryResult], None] = lambda result: None, one: Callable[[Path], StoryResult] = play_path,
) -> Run:  # fmt: skip
    """All stories of files and directories, in order. `only` are ids. Raises OSError for a path that is not there."""
    began = datetime.now(UTC)
    files = found_stories(list(paths))
    wanted = frozenset(only)
    if wanted:
        files = [file for file in files if file.stem in wanted or _id_of(file) in wanted]
    results: list[StoryResult] = []
    if processes > 1 and len(files) > 1:
        with ProcessPoolExecutor(processes, get_context("forkserver")) as pool:
            for result in pool.map(one, files, chunksize=4):
                results.append(result)
                told(result)
    else:
        for file in files:
            result = one(file)
            results.append(result)
            told(result)
    return Run(evidence(files, began), _no_twins(results))


def run_live(
    paths: Sequence[Path], wardrobe: Wardrobe, only: Iterable[str] = (),
    told: Callable[[StoryResult], None] = lambda result: None,
) -> Run:  # fmt: skip
    """The stories marked `live` against a host, one after the other; the others are not run."""

    def make(story: Story) -> Any:
        if not story.live:
            raise CannotPlay(NOT_MARKED)
        return LiveStage(story, wardrobe)

    found = run_paths(paths, 1, only, told, partial(play_path, make=make, name="live"))
    where = f"{wardrobe.host}:{wardrobe.port}"
    return replace(found, evidence=replace(found.evidence, stage="live", host=where))


def run_sandwiched(
    paths: Sequence[Path], setup: Setup, only: Iterable[str] = (),
    told: Callable[[StoryResult], None] = lambda result: None,
) -> Run:  # fmt: skip
    """All stories around the switch of a sandwich's ground, one after the other; it signs on anew for each."""
    host, port = host_and_port(setup.config.front)
    wardrobe = Wardrobe(host, port, setup.pos, setup.terminals, setup.config.seed, issued=setup.config.cards_per_issuer)
    found = run_paths(
        paths, 1, only, told, partial(play_path, make=partial(sandwiched, setup, wardrobe), name="sandwich")
    )
    return replace(found, evidence=replace(found.evidence, stage="sandwich", host=setup.config.front))


def _no_twins(results: list[StoryResult]) -> tuple[StoryResult, ...]:
    """Two stories of one id: the later ones are broken."""
    first: dict[str, str] = {}
    found = []
    for result in results:
        other = first.setdefault(result.id, result.path)
        if other != result.path:
            reason = f"{result.path}:1: the id {result.id} is that of {other} already"
            result = replace(result, verdict=Verdict.BROKEN, reason=reason)
        found.append(result)
    return tuple(found)


def _id_of(path: Path) -> str:
    try:
        return read_story(path).id
    except BadStory:
        return ""


def evidence(files: Iterable[Path], began: datetime, stage: str = "virtual", host: str = "") -> Evidence:
    """What makes a run believable: seed, versions, and a hash over profiles, cast and stories."""
    digest = sha256()
    for path in (*sorted(SHIPPED.glob("*.toml")), *sorted(CAST.glob("*.yaml")), *files):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return Evidence(SEED, versions, digest.hexdigest()[:16], began.isoformat(timespec="seconds"), stage, host)
