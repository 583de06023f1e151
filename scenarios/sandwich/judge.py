"""A recording judged: every rule, how often it was checked and broken, and the first evidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from scenarios.sandwich.checks import CHECKS
from scenarios.sandwich.course import Course
from scenarios.sandwich.join import Joined, Pair, join
from scenarios.sandwich.recorder import Recorder
from scenarios.sandwich.rules import ANSWER, REVERSAL, RULES, Rule, table
from scenarios.sandwich.seen import Asked, Received, Seen
from scenarios.sandwich.view import View
from switch.wire.errors import DecodeError
from switch.wire.private_network import read_90
from switch.wire.profile import NetworkProfile
from switch.wire.transactions import APPROVED, ATM, FINANCIAL_MTIS, ROWS

SLACK_S: Final = 5.0
"""How much longer than its patience a switch may take to reverse."""

_UNDER_MAC: Final = FINANCIAL_MTIS | {"0400"}


@dataclass(slots=True)
class Evidence:
    """The first time a rule was broken: what is wrong, and the messages of both sides."""

    reason: str
    kind: str
    front: Seen | None = None
    back: Seen | None = None

    def as_dict(self) -> dict[str, object]:
        """Masked, for JSON."""
        return {
            "reason": self.reason,
            "transaction": self.kind,
            **{
                side: {"where": seen.where, "fields": {str(de): text for de, text in seen.masked().items()}}
                for side, seen in (("front", self.front), ("back", self.back))
                if seen is not None
            },
        }


@dataclass(slots=True)
class Finding:
    """What became of one rule."""

    rule: Rule
    checked: int = 0
    broken: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    evidence: Evidence | None = None


@dataclass(slots=True)
class Coverage:
    """How often a row of the matrix was asked for, came out on a line, and was approved."""

    asked: int = 0
    joined: int = 0
    approved: int = 0


class Judgement:
    """All that is to be said of a recording."""

    def __init__(self, joined: Joined, recorder: Recorder) -> None:
        self.findings = {name: Finding(rule) for name, rule in RULES.items()}
        self.coverage = {row.name: Coverage() for row in ROWS}
        self.joined = joined
        self.reversals = len(joined.reversals)
        self.messages = recorder.messages
        self.complete = not recorder.full
        self.seconds = recorder.last - recorder.first

    @property
    def found(self) -> list[Finding]:
        """The rules that were broken, in the order of the table."""
        return [finding for finding in self.findings.values() if finding.broken]

    @property
    def unchecked(self) -> list[Rule]:
        """Rules that nothing in this recording could show."""
        return [finding.rule for finding in self.findings.values() if not finding.checked]

    @property
    def missing(self) -> list[str]:
        """Rows that never came out on a line; those of a machine only where there are machines, those that only a chip
        makes not at all."""
        machines = any(self.coverage[row.name].asked for row in ROWS if row.condition == ATM)
        rows = (row.name for row in ROWS if not row.chip and (machines or row.condition != ATM))
        return [name for name in rows if not self.coverage[name].joined]

    def tell(
        self, name: str, verdict: str | None, kind: str, front: Seen | None = None, back: Seen | None = None
    ) -> bool:
        """Count one check; True if the rule is broken."""
        if verdict is None:
            return False
        finding = self.findings[name]
        finding.checked += 1
        if not verdict:
            return False
        finding.broken += 1
        finding.kinds[kind] += 1
        if finding.evidence is None:
            finding.evidence = Evidence(verdict, kind, front, back)
        return True

    def checked(self, name: str, count: int) -> None:
        """Count checks that held."""
        self.findings[name].checked += count


def judge(
    recorder: Recorder, mccs: Mapping[str, str], ended: float | None = None, slack_s: float = SLACK_S, since: str = ""
) -> Judgement:
    """Judge a recording.

    `mccs` are the merchants' types by terminal; `ended` when the recording ended (its last message's time if it is not
    known); `slack_s` how much longer than its patience the switch may take; `since` the time (MMDDhhmmss) before which
    nothing was recorded: what the switch had stored by then is let pass.
    """
    joined = join(recorder)
    judgement = Judgement(joined, recorder)
    _Requests(recorder, judgement, mccs).run()
    _Reversals(recorder, judgement, mccs, since).run()
    _front_answers(recorder.asked, judgement)
    Course(recorder, joined, judgement.tell, recorder.last if ended is None else ended, slack_s, since).run()
    frames = recorder.frames
    for name, count in (
        ("front.readable", frames["front"]), ("front.keys", recorder.sign_ins), ("back.readable", frames["back"]),
        ("back.header", frames["back"]), ("back.class", frames["back"]),
    ):  # fmt: skip
        judgement.checked(name, count - sum(broken.rule == name for broken in recorder.broken))
    for broken in recorder.broken:
        judgement.tell(broken.rule, f"{broken.where}: {broken.reason}", "message")
    return judgement


def _front_answers(asked: Sequence[Asked], judgement: Judgement) -> None:
    """DE64 of every approval, whatever it approves."""
    for one in asked:
        answer = one.answer
        if answer is not None and one.request.mti in _UNDER_MAC and answer.get(39) in ("00", "10"):
            judgement.tell("answer.DE64", "" if answer.mac == "valid" else answer.mac, "answer", answer)


class _Requests:
    """Requests and answers of every pair, field by field."""

    def __init__(self, recorder: Recorder, judgement: Judgement, mccs: Mapping[str, str]) -> None:
        self._lines = recorder.lines
        self._judgement = judgement
        self._mccs = mccs
        self._tables: dict[str, tuple[Rule, ...]] = {}
        self._before: dict[str, Pair] = {}

    def run(self) -> None:
        for pair in self._judgement.joined.pairs:
            self._cover(pair)
            if pair.received is not None:
                self._request(pair, pair.received)
                self._answer(pair, pair.received)
                self._before[pair.asked.where] = pair

    def _cover(self, pair: Pair) -> None:
        coverage = self._judgement.coverage[pair.row.name]
        coverage.asked += 1
        coverage.joined += pair.received is not None
        answer = pair.told.answer
        coverage.approved += answer is not None and answer.get(39) in APPROVED

    def _profile(self, received: Received) -> NetworkProfile:
        return self._lines[received.where]

    def _request(self, pair: Pair, received: Received) -> None:
        kind, sent = pair.row.name, received.request
        tries = [asked.request for asked in pair.tries if asked.request.at <= sent.at]
        front = max(tries, key=lambda request: request.at, default=pair.asked.request)
        rrns = self._judgement.joined.rrns[received.where, sent.fields.get(37, "")]
        before = self._before.get(pair.asked.where)
        view = View(
            pair, front, sent, front, sent, self._profile(received), self._mccs.get(pair.asked.where, ""), rrns, before
        )
        told = pair.told.answer
        stored = pair.row.mti == "0220" and told is not None and told.at < sent.at
        rules = self._tables.get(kind) or self._tables.setdefault(kind, table(kind))
        for rule in rules:
            if stored and rule.name != "line.DE128":
                continue  # accepted while the line was down, sent from a store that keeps no track
            if self._judgement.tell(rule.name, CHECKS[rule.check](view, rule.de), kind, front, sent):
                pair.wrong.add(rule.de)
        for repeat in received.repeats:
            verdict = CHECKS["mac"](view._replace(back=repeat), 128)
            self._judgement.tell("line.DE128", verdict, kind, front, repeat)

    def _answer(self, pair: Pair, received: Received) -> None:
        """Only where the centre's answer was what the terminal waited for."""
        told, given, sent = pair.told.answer, received.answer, received.request
        if told is None or given is None or told.at < given.at:
            return
        profile = self._profile(received)
        if given.at - sent.at >= profile.timers.reply_s * 0.8:
            return
        view = View(pair, told, given, pair.told.request, sent, profile)
        for rule in ANSWER:
            if rule.check and rule.applies(pair.row.name):
                self._judgement.tell(rule.name, CHECKS[rule.check](view, rule.de), pair.row.name, told, given)


class _Reversals:
    """Reversals on the lines, field by field, against what they reverse."""

    def __init__(self, recorder: Recorder, judgement: Judgement, mccs: Mapping[str, str], since: str) -> None:
        self._lines = recorder.lines
        self._judgement = judgement
        self._mccs = mccs
        self._since = since

    def run(self) -> None:
        for received, pair in self._judgement.joined.reversals:
            if pair is not None and pair.received is not None:
                self._known(received, pair, pair.received)
            elif not self._older(received):
                self._unknown(received)

    def _known(self, reversal: Received, pair: Pair, original: Received) -> None:
        front, tell = pair.asked.request, self._judgement.tell
        profile, mcc = self._lines[reversal.where], self._mccs.get(pair.asked.where, "")
        view = View(pair, front, reversal.request, front, original.request, profile, mcc)
        kind, sent = f"reversal of {pair.row.name}", original.request
        for rule in REVERSAL:
            tell(rule.name, CHECKS[rule.check](view, rule.de), kind, sent, view.back)
        for repeat in reversal.repeats:
            tell("line.DE128", CHECKS["mac"](view._replace(back=repeat), 128), kind, sent, repeat)

    def _older(self, reversal: Received) -> bool:
        """Whether it reverses what was sent before the recording began."""
        try:
            return read_90(reversal.request.fields.get(90, "")).time < self._since
        except DecodeError:
            return False

    def _unknown(self, reversal: Received) -> None:
        seen, tell = reversal.request, self._judgement.tell
        reason = "absent" if seen.get(90) is None else "names nothing that was sent"
        tell("reversal.DE90", reason, "reversal", None, seen)
        tell("line.DE128", "" if seen.mac == "valid" else seen.mac, "reversal", None, seen)
