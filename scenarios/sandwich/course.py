"""What must come of a request: an answer, to the right terminal, or a reversal in time, and nothing twice."""

from collections.abc import Callable
from typing import TypeAlias

from scenarios.sandwich.join import Joined, Pair
from scenarios.sandwich.recorder import ADVICE, Recorder
from scenarios.sandwich.seen import Asked, Received, Seen
from switch.wire.profile import NetworkProfile
from switch.wire.transactions import APPROVED

Tell: TypeAlias = Callable[[str, str | None, str, Seen | None, Seen | None], bool]


def approved(asked: Asked) -> bool:
    """Whether the terminal was told that it is approved."""
    return asked.answer is not None and asked.answer.get(39) in APPROVED


class Course:
    """The rules of the course, applied to a joined recording that ended at `ended`.

    `slack_s` is added to a line's patience wherever something must have happened by then. An advice made before `since`
    (MMDDhhmmss) had been stored by the switch when the recording began.
    """

    def __init__(
        self, recorder: Recorder, joined: Joined, tell: Tell, ended: float, slack_s: float, since: str = ""
    ) -> None:
        self._recorder = recorder
        self._joined = joined
        self._tell = tell
        self._ended = ended
        self._slack_s = slack_s
        self._since = since

    def run(self) -> None:
        """All of them."""
        self._answers()
        self._keys()
        self._origins()
        for pair in self._joined.pairs:
            self._authorized(pair)
            if pair.received is not None:
                self._silence(pair, pair.received)
                self._reversed(pair, pair.received)
                self._taken_back(pair, pair.received)
                self._cause(pair, pair.received)
        for received in self._recorder.received.values():
            self._repeated(received)

    def _sent_again(self, received: Received) -> bool:
        """Under its own key, or (which another rule forbids) under a new one."""
        pair = next((pair for reversal, pair in self._joined.reversals if reversal is received), None)
        others = pair.reversals if pair is not None else []
        return bool(received.repeats) or any(other.request.at > received.request.at for other in others)

    def _profile(self, received: Received) -> NetworkProfile:
        return self._recorder.lines[received.where]

    def _in_time(self, received: Received) -> bool | None:
        """Whether the centre answered within the line's patience; None where it is too close to say, and where it sent
        the request back."""
        if received.rejected:
            return None
        patience = self._profile(received).timers.reply_s
        margin = min(1.0, patience * 0.2)
        answer = received.answer
        took = (self._ended if answer is None else answer.at) - received.request.at
        if answer is not None and took < patience - margin:
            return True
        return False if took > patience + margin else None

    # the front

    def _answers(self) -> None:
        astray = {id(stray.owner) for stray in self._recorder.strays if stray.owner is not None}
        back = {id(asked): pair for pair in self._joined.pairs for asked in pair.tries}
        for asked in self._recorder.asked:
            pair = back.get(id(asked))
            kind = pair.row.name if pair is not None else asked.request.mti
            line = pair.received.request if pair is not None and pair.received is not None else None
            if asked.answer is not None:
                self._tell("course.answered", "", kind, None, None)
                self._tell("course.addressee", "", kind, None, None)
                self._tell("course.once", "a second answer" if asked.spare else "", kind, asked.answer, line)
            elif asked.late is not None:
                self._tell("course.answered", "only after the terminal had given up", kind, asked.request, line)
            elif asked.ended is not None and id(asked) not in astray:
                self._tell("course.answered", "no answer", kind, asked.request, line)
        for stray in self._recorder.strays:
            owner = stray.owner
            reason = f"{stray.where} received what it had not asked for"
            if owner is not None:
                reason = f"{stray.where} received the answer to {owner.where}"
            pair = back.get(id(owner)) if owner is not None else None
            line = pair.received.answer if pair is not None and pair.received is not None else None
            self._tell("course.addressee", reason, pair.row.name if pair is not None else "answer", stray.message, line)

    # the lines

    def _keys(self) -> None:
        for received in self._recorder.received.values():
            seen = received.unlike[0] if received.unlike else received.request
            reason = "the key of another request" if received.unlike else ""
            self._tell("course.key", reason, received.request.mti, received.request, seen)

    def _origins(self) -> None:
        for pair in self._joined.pairs:
            if pair.received is not None:
                self._tell("course.asked_for", "", pair.row.name, None, None)
        for received in self._joined.orphans:
            if received.request.mti in ADVICE and received.request.fields.get(7, "") < self._since:
                continue
            self._tell("course.asked_for", "no terminal asked for it", received.request.mti, None, received.request)

    def _authorized(self, pair: Pair) -> None:
        if pair.row.mti == "0220" or not approved(pair.told):
            return
        if pair.received is None and any(r.request.get(41) == pair.asked.where for r in self._joined.ambiguous):
            return
        reason = "" if pair.received is not None else "approved, and no line was asked"
        self._tell("course.authorized", reason, pair.row.name, pair.told.answer, None)

    def _silence(self, pair: Pair, received: Received) -> None:
        if pair.row.mti == "0220" or pair.told.answer is None or self._in_time(received) is not False:
            return
        reason = "approved, and the line had not answered" if approved(pair.told) else ""
        self._tell("course.silence", reason, pair.row.name, pair.told.answer, received.request)

    # reversals

    def _limit(self, received: Received) -> float:
        return self._profile(received).timers.reply_s + self._slack_s

    def _reversed(self, pair: Pair, received: Received) -> None:
        if not pair.row.reversible:
            reason = "it was reversed" if pair.reversals else ""
            reversal = pair.reversals[0].request if pair.reversals else None
            self._tell("course.never_reversed", reason, pair.row.name, received.request, reversal)
            return
        if self._in_time(received) is not False:
            return
        by = received.request.at + self._limit(received)
        self._due("course.reversed", pair, received, by)

    def _due(self, name: str, pair: Pair, received: Received, by: float) -> None:
        """A reversal must have come by then."""
        reversals = sorted(pair.reversals, key=lambda reversal: reversal.request.at)
        if reversals:
            late = reversals[0].request.at - by
            reason = f"{late:.1f} s too late" if late > 0 else ""
            self._tell(name, reason, pair.row.name, received.request, reversals[0].request)
        elif self._ended > by:
            self._tell(name, "no reversal", pair.row.name, pair.asked.request, received.request)

    def _taken_back(self, pair: Pair, received: Received) -> None:
        asked = next((a for a in pair.taken_back if a.answer is not None and a.answer.get(39) == "00"), None)
        answer = received.answer
        if asked is None or answer is None or answer.get(39) not in APPROVED or self._in_time(received) is not True:
            return
        self._due("course.taken_back", pair, received, asked.request.at + self._limit(received))

    def _cause(self, pair: Pair, received: Received) -> None:
        if not pair.row.reversible:
            return
        if pair.reversals:
            reason = "a second reversal, with a key of its own" if len(pair.reversals) > 1 else ""
            self._tell(
                "course.repeat_key", reason, pair.row.name, pair.reversals[0].request, pair.reversals[-1].request
            )
        if self._in_time(received) is True and approved(pair.told) and not pair.taken_back:
            reason = "reversed without a cause" if pair.reversals else ""
            reversal = pair.reversals[0].request if pair.reversals else None
            self._tell("course.no_cause", reason, pair.row.name, pair.told.answer, reversal)

    def _repeated(self, received: Received) -> None:
        if received.request.mti not in ADVICE:
            return
        profile = self._profile(received)
        wait = profile.timers.reply_s + profile.reversal.first_repeat_s + self._slack_s
        if received.repeats:
            self._tell("course.repeated", "", received.request.mti, None, None)
        elif received.answer is None and self._ended - received.request.at > wait and not self._sent_again(received):
            self._tell("course.repeated", "sent once", received.request.mti, None, received.request)
