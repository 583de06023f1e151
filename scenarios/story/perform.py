"""The steps of a story, done one after the other on the virtual stage, and what came of them."""

from typing import TYPE_CHECKING, Any, Final

from scenarios.story.booth import Act, Booth
from scenarios.story.flows import NotThere, Unfit, flow_of
from scenarios.story.meddle import CRASH_S, POWER_S
from scenarios.story.outside import by_host, by_operator, frame_from_host, sent_raw
from scenarios.story.shape import Block
from scenarios.story.witness import TERMINAL
from switch.crypto.errors import CryptoError
from switch.wire.errors import WireError
from terminals.device.dialogue import Outcome
from terminals.device.receipt import receipt, settlement_slip

if TYPE_CHECKING:
    from scenarios.story.stage import Stage

DIALOGUE_S: Final = 86_400.0
_BOOKED: Final = ("approved", "offline")


class Player:
    """Does steps. `acts` are the dialogues so far, `named` those with a name; `kept` what was captured; `since` is the
    number of the last message before the step, `whole` says that all of the story is looked at."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.acts: list[Act] = []
        self.named: dict[str, Act] = {}
        self.kept: dict[str, str] = {}
        self.receipts: list[str] = []
        self.since = 0
        self.whole = False
        self.step_at = 0.0
        self.act: Act | None = None

    def do(self, step: Block) -> None:
        """One step. Raises Unfit for one that cannot be done, Stuck at the story's limit."""
        stage = self.stage
        self.since, self.step_at, self.whole = len(stage.witness.messages), stage.now, False
        for block in step.get("faults", ()):
            stage.meddler.order(block)
        try:
            getattr(self, "_" + step["verb"].replace("-", "_"))(step)
        except (WireError, CryptoError) as error:
            raise Unfit(str(error)) from None

    def booth(self, step: Block) -> Booth:
        """The terminal of a step, or the only one."""
        booths, name = self.stage.booths, step.get("at")
        if name is None:
            if len(booths) != 1:
                raise Unfit(f"at which terminal? (at: one of {', '.join(booths)})")
            name = next(iter(booths))
        if name not in booths:
            raise Unfit(f'"{name}" is no terminal')
        return booths[name]

    # steps

    def _do(self, step: Block) -> None:
        stage, booth = self.stage, self.booth(step)
        if not booth.on:
            stage.run(lambda: not booth.on, DIALOGUE_S)
        if booth.busy:
            stage.run(lambda: booth.busy, DIALOGUE_S)
        act = Act(step.get("as", ""), booth, step["do"].replace("-", "_"), self._filled(step), self.since, stage.now)
        earlier = self.named[step["of"]] if "of" in step else None
        flow = flow_of(stage, booth, self._filled(step), act, earlier)
        stage.meddler.at_card(booth, act.holder)
        self._keep(act)
        booth.play(act, flow)
        if not step.get("go-on", False):
            self._finish(act)

    def _filled(self, step: Block) -> Block:
        """A step with what was captured put in for $names."""
        if "original" in step:
            filled = Block(step.line)
            filled.update(step)
            filled["original"] = {key: self.value(text) for key, text in step["original"].items()}
            return filled
        return step

    def value(self, text: str) -> str:
        """A text, or what was kept under its $name; 0x$name for binary. Raises NotThere where nothing was kept."""
        if text.startswith("0x$"):
            return "0x" + self.value(text[2:])
        if not text.startswith("$"):
            return text
        if text[1:] not in self.kept:
            raise NotThere(f"nothing was captured as {text}")
        return self.kept[text[1:]]

    def _keep(self, act: Act) -> None:
        self.act = act
        self.acts.append(act)
        if act.name:
            self.named[act.name] = act

    def _finish(self, act: Act) -> None:
        """Wait for a dialogue's end, and for what is on its way then."""
        self.stage.run(lambda: not act.over, DIALOGUE_S)
        self._print(act)
        self.stage.settle_down()

    def _print(self, act: Act) -> None:
        slip = printed(act)
        if slip:
            self.receipts.append(slip)

    def _send(self, step: Block) -> None:
        if "from" in step:
            frame_from_host(self.stage, step["from"], step["send"], self.value)
            self.stage.pass_time(step["wait"]) if "wait" in step else self.stage.settle_down()
            return
        booth = self.booth(step)
        act = Act(step.get("as", ""), booth, "send", step, self.since, self.stage.now)
        flow = sent_raw(self, booth, step, act)
        self._keep(act)
        booth.play(act, flow)
        self._finish(act)

    def _host(self, step: Block) -> None:
        by_host(self.stage, step)
        self.stage.settle_down()

    def _switch(self, step: Block) -> None:
        by_operator(self.stage, step)
        self.stage.settle_down()

    def _fault(self, step: Block) -> None:
        self.stage.meddler.order(step["fault"])

    def _rules(self, step: Block) -> None:
        for name, blocks in step["rules"].items():
            try:
                self.stage.use_rules(name, blocks)
            except KeyError as error:
                raise Unfit(f"nobody in the cast is called {error}") from None

    def _pass(self, step: Block) -> None:
        self.stage.wait(step["pass"])
        self._ends()

    def _ends(self) -> None:
        for act in self.acts:
            if act.over and act.manner.get("go-on", False) and printed(act) not in self.receipts:
                self._print(act)

    def _power_off(self, step: Block) -> None:
        name = step["power-off"]
        if name not in self.stage.booths:
            raise Unfit(f'"{name}" is no terminal')
        self.stage.witness.note(TERMINAL, f"{name}: power-off", "fault")
        self.stage.booths[name].power_off(step.get("for", POWER_S))

    def _restart(self, step: Block) -> None:
        host = self.stage.hosts[step["restart"]]
        host.kill_and_restart(step.get("for", CRASH_S))
        self.stage.run(lambda: not (host.up and self.stage.ready()), step.get("for", CRASH_S) + 60.0)

    def _fill(self, step: Block) -> None:
        name = step["fill"]
        if name not in self.stage.booths:
            raise Unfit(f'"{name}" is no terminal')
        try:
            self.stage.booths[name].fill({int(yuan) * 100: count for yuan, count in step["notes"].items()})
        except ValueError as error:
            raise Unfit(str(error)) from None

    def _check(self, step: Block) -> None:
        self.since, self.step_at, self.whole = 0, self.stage.witness.began_s, True

    def _until(self, step: Block) -> None:
        """The waiting is done where it is looked at; counts are of the whole story."""
        self._check(step)


def printed(act: Act) -> str:
    """The receipt of a dialogue, "" where none is printed."""
    outcome: Outcome | None = act.outcome
    if outcome is None:
        return ""
    memory: Any = act.booth.memory
    if outcome.totals is not None:
        return settlement_slip(memory, outcome)
    item = outcome.item
    if item is None or item.state not in _BOOKED or outcome.state != "approved":
        return ""
    return receipt(memory, item)
