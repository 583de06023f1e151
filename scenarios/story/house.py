"""Stories in Python: the virtual house with handles on its terminals, its switch, its centre and its cards.

Steps and expectations are those of story files, given as keywords with underscores: `terminal.do("sale", amount=12,
expect={"answer": "00"})`. Whatever is not as expected is an AssertionError that tells all differences.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scenarios.story.booth import Act
from scenarios.story.casting import cast
from scenarios.story.expect import Judge
from scenarios.story.perform import Player, printed
from scenarios.story.reading import story_of
from scenarios.story.result import Finding
from scenarios.story.shape import Block, Shape, compose_text
from scenarios.story.stage import Stage
from scenarios.story.vocabulary import STEPS, STORY
from scenarios.story.wanted import EXPECT
from scenarios.story.witness import Message
from switch.clearing.schema import JOURNAL, LEDGER

HERE: Final = "<test>"
_LIMIT_S: Final = 3600.0


def _dashed(tree: Any) -> Any:
    """Keywords with underscores as the keys of a story; numbers as they would be written."""
    if isinstance(tree, Mapping):
        return {_key(str(key)): _dashed(one) for key, one in tree.items()}
    if isinstance(tree, list | tuple):
        return [_dashed(one) for one in tree]
    return tree if tree is None or isinstance(tree, bool) else str(tree)


def _key(name: str) -> str:
    """A keyword as a key; a place in a profile (timers.reply_s, application/main/...) stays as it is."""
    return name if "." in name or "/" in name else name.replace("_", "-")


def _read(shape: Shape, tree: Any) -> Any:
    return shape.read(compose_text(json.dumps(_dashed(tree), ensure_ascii=False), HERE), HERE)


class House:
    """The house of one test. `cast` is as in a story file; the other keywords are keys of a story: hosts, date ...

    Raises BadStory for a cast that cannot be.
    """

    def __init__(self, cast_: Mapping[str, Any], **story: Any) -> None:
        told = {"id": "PY-1", "title": "a test", "limit": _LIMIT_S, **story, "cast": cast_, "steps": []}
        self.story = story_of(_read(STORY, told), Path(HERE))
        self.stage = Stage(self.story, cast(self.story))
        self.player = Player(self.stage)
        self.judge = Judge(self.player)
        self.stage.open()
        self.terminals = {name: Terminal(self, name) for name in self.stage.booths}
        self.cards = {name: holder.card for name, holder in self.stage.troupe.holders.items()}
        self.switch = Switch(self)
        self.centre, self.core = Centre(self, "cups"), Centre(self, "core")

    def step(self, **step: Any) -> "Done":
        """Any step of a story: `step(fault={...})`, `step(power_off="t1")`. Raises AssertionError, BadStory, Unfit."""
        block: Block = _read(STEPS, step)
        self.player.do(block)
        done = Done(self)
        for key in ("expect", "check", "until"):
            if key in block:
                self._hold(self._findings(block[key], key))
        return done

    def check(self, **wanted: Any) -> None:
        """What is expected now, of the whole story so far. Raises AssertionError."""
        self.step(check=wanted)

    def pass_time(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        self.step(**{"pass": f"{seconds:g} s"})

    def _findings(self, wanted: Block, path: str) -> list[Finding]:
        end = self.stage.now + wanted.get("within", 0.0)
        found = self.judge.findings(0, wanted, path)
        while found and self.stage.now < end:
            self.stage.pass_time(min(0.5, end - self.stage.now))
            found = self.judge.findings(0, wanted, path)
        return found

    def _hold(self, found: list[Finding]) -> None:
        told = [f"{one.path}: expected {one.expected}, actual {one.actual}" for one in found]
        hints = [one.hint for one in found if one.hint]
        assert not found, "\n".join(told + hints)


class Done:
    """A step that has been done: its messages by place, how the terminal's dialogue ended, its receipt."""

    def __init__(self, house: House) -> None:
        self._house = house
        player = house.player
        self.act: Act | None = player.act if player.act is not None and player.act.first == player.since else None
        self.outcome = self.act.outcome if self.act is not None else None
        self.receipt = printed(self.act) if self.act is not None else ""
        self.messages: list[Message] = list(house.stage.witness.messages[player.since :])

    @property
    def answer(self) -> str:
        """DE39 that the terminal was told, "" without an answer."""
        return self.outcome.response_code if self.outcome is not None else ""

    def seen(self, place: str, mti: str = "") -> list[Message]:
        """The step's messages at a place: request, reply, to-host, from-host."""
        return [one for one in self.messages if one.place == place and mti in ("", one.mti)]

    def expect(self, **wanted: Any) -> "Done":
        """Hold the step against expectations. Raises AssertionError."""
        house = self._house
        house._hold(house._findings(_read(EXPECT, wanted), "expect"))
        return self


class Terminal:
    """A terminal of the house."""

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self.name = name
        self.memory = house.stage.booths[name].memory

    def do(self, kind: str, **step: Any) -> Done:
        """A transaction: `do("sale", amount=12, card="c1", pin="wrong")`. Raises AssertionError where it expects."""
        return self._house.step(do=kind, at=self.name, **step)

    def send(self, mti: str = "", **step: Any) -> Done:
        """A raw message: `send("0200", like="sale", fields={4: "000000000100"}, mac="wrong")`."""
        keys = ("like", "of", "fields", "without", "mac", "raw")
        message = {key: step.pop(key) for key in keys if key in step}
        return self._house.step(send={**({"mti": mti} if mti else {}), **message}, at=self.name, **step)

    def power_off(self, seconds: float = 30.0) -> None:
        """Cut its power for a while."""
        self._house.step(**{"power-off": self.name, "for": f"{seconds:g} s"})


class Switch:
    """The switch: its journal, its messages, its restart."""

    def __init__(self, house: House) -> None:
        self._house = house

    @property
    def status(self) -> dict[str, Any]:
        """Its counters and depths."""
        status: dict[str, Any] = self._house.stage.switch.machine.status()
        return status

    def journal(self) -> list[dict[str, Any]]:
        """The journal's rows since the test began."""
        return self._house.stage.witness.table(JOURNAL)

    def sent(self, mti: str = "") -> list[Message]:
        """What it sent to network and core."""
        return [one for one in self._house.stage.witness.messages if one.place == "to-host" and mti in ("", one.mti)]

    def restart(self, seconds: float = 1.5) -> None:
        """Kill it and start it again on its rows."""
        self._house.step(restart="switch", **{"for": f"{seconds:g} s"})


class Centre:
    """The network's centre or the own bank's core."""

    def __init__(self, house: House, name: str) -> None:
        self._house = house
        self.name = name

    def rules(self, *rules: Mapping[str, Any]) -> None:
        """Operator rules in place of those before; none of them: it behaves."""
        self._house.step(rules={self.name: list(rules)})

    def ask(self, what: str, **more: Any) -> Done:
        """Its own traffic: key-reset, cut-over, line-test, sign-off."""
        return self._house.step(host=self.name, ask=what, **more)

    def fault(self, what: str, **more: Any) -> None:
        """Something goes wrong on its line: `fault("drop", which={"mti": "0210"})`."""
        self._house.step(fault={"on": self.name, "what": what, **more})

    def ledger(self) -> list[dict[str, Any]]:
        """The issuers' rows since the test began."""
        return self._house.stage.witness.table(LEDGER, self.name)
