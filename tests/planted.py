"""Faults planted in switch, issuer and terminal: the stories of their rules must notice, and no unrelated chapter may.

`python tests/planted.py` plays the whole book against each.
"""

import sys
from typing import Any, Final, NamedTuple

from scenarios.story.requirements import BOOK
from scenarios.story.result import Verdict
from scenarios.story.run import run_paths
from scenarios.world.mutants import Mutant
from switch.engine import admit, authorize, chips, original
from switch.engine.authorize import AuthorizeDesk
from switch.engine.books import Books, Exchange
from switch.engine.inflight import Inflight
from switch.engine.office import Office
from switch.engine.reverse import ReverseDesk
from switch.issuer import host
from switch.machine import Now
from terminals.device import pos


class Planted(NamedTuple):
    """A fault, the rules whose stories must fail for it (those that name the rule first), and the chapters that speak
    of what it breaks."""

    fault: Mutant
    rules: tuple[str, ...]
    chapters: tuple[str, ...]


def _forgotten_reversal(real: Any) -> Any:
    def queue(self: ReverseDesk, exchange: Exchange, reason: str, now: Now, out: Any) -> int:
        return 0 if reason in ("timeout", "mismatch") else int(real(self, exchange, reason, now, out))

    return queue


def _debt_forgotten(real: Any) -> Any:
    def doubtful(memory: Any, *given: Any) -> Any:
        outcome = real(memory, *given)
        memory.pending = None
        return outcome

    return doubtful


def _void_again(real: Any) -> Any:
    def fits(exchange: Exchange, earlier: Exchange) -> str:
        undone, earlier.undone = earlier.undone, False
        code = str(real(exchange, earlier))
        earlier.undone = undone
        return code

    return fits


def _without(*des: int) -> Any:
    def change(real: Any) -> Any:
        def request_fields(*given: Any) -> dict[int, Any]:
            return {de: value for de, value in real(*given).items() if de not in des}

        return request_fields

    return change


def _rounded(real: Any) -> Any:
    def request_fields(*given: Any) -> dict[int, Any]:
        fields: dict[int, Any] = real(*given)
        if 4 in fields:
            fields[4] = f"{int(fields[4]) // 100 * 100:012d}"
        return fields

    return request_fields


def _late_forgotten(real: Any) -> Any:
    def late(self: Inflight, key: tuple[str, str]) -> None:
        del self, key

    return late


def _crossed(real: Any) -> Any:
    def take(self: Inflight, key: tuple[str, str]) -> Exchange | None:
        first = next(iter(self.requests), key)
        found: Exchange | None = real(self, first)
        return found

    return take


def _own_clock(real: Any) -> Any:
    def journal(self: Office, exchange: Exchange, state: str, now: Now, out: Any, *given: Any, **named: Any) -> int:
        if state in ("answered", "delivered") and exchange.settlement_date:
            exchange.settlement_date = self.local(now)[1]
        return int(real(self, exchange, state, now, out, *given, **named))

    return journal


def _unchecked(real: Any) -> Any:
    def holds(*given: Any) -> str:
        code = str(real(*given))
        return "" if code == admit.WRONG_MAC else code

    return holds


def _repeat_accepted(real: Any) -> Any:
    def repeated(self: Any, link: Any, frame: Any, message: Any, earlier: Any, row: Any, *given: Any) -> None:
        now, out = given[-2:]
        self._office.answer(link, frame, message.mti, message.fields, "00", now, out, {37: earlier.rrn})

    return repeated


def _accepted(real: Any) -> Any:
    return lambda *given: ""


def _never_closed(real: Any) -> Any:
    return lambda self, exchange: False


def _reversed_counts(real: Any) -> Any:
    def totals(self: Books, tid: str, batch: str) -> tuple[int, int, int, int]:
        debits: list[int] = []
        credits_: list[int] = []
        for exchange in self.batches.get((tid, batch), ()):
            if exchange.approved and self.sign(exchange.row):
                (debits if self.sign(exchange.row) > 0 else credits_).append(exchange.amount)
        return sum(debits), len(debits), sum(credits_), len(credits_)

    return totals


def _refund_beyond(real: Any) -> Any:
    def fits(exchange: Exchange, earlier: Exchange) -> str:
        code = str(real(exchange, earlier))
        return "" if code == original.WRONG_AMOUNT and exchange.row.effect == "credit" else code

    return fits


def _unknown_forgotten(real: Any) -> Any:
    return lambda self, key: None


def _always(real: Any) -> Any:
    return lambda self, exchange: True


def _unread(real: Any) -> Any:
    def offline(office: Any, exchange: Exchange, found: Any) -> str:
        code = str(real(office, exchange, found))
        return "" if code == chips.WRONG_AMOUNT else code

    return offline


def _twice(real: Any) -> Any:
    return 200


def planted(name: str, owner: Any, attribute: str, change: Any, rules: str, chapters: str) -> Planted:
    """One line of the table."""
    return Planted(Mutant(name, name, owner, attribute, change), tuple(rules.split()), tuple(chapters.split()))


PLANTED: Final = (
    planted("a timed-out request is not reversed", ReverseDesk, "queue", _forgotten_reversal, "RV-1",
            "reversals entry golive preauth keys drills"),
    planted("a terminal forgets the reversal it owes", pos, "doubtful", _debt_forgotten, "RV-2",
            "reversals entry preauth settlement cutover drills cash"),
    planted("a void is sent on twice", original, "_fits", _void_again, "NE-27", "entry preauth drills"),
    planted("DE55 is dropped", authorize, "request_fields", _without(55), "LD-1 CT-28",
            "loads contact contactless inspection golive settlement cash"),
    planted("amounts are rounded to yuan", authorize, "request_fields", _rounded, "NE-11",
            "entry golive preauth loads contact contactless inspection"),
    planted("the PIN gets lost on the way", authorize, "request_fields", _without(26, 52, 53, 63), "NE-21 NE-22 KY-14",
            "entry golive keys loads reversals contact contactless cash inspection"),
    planted("a late answer is not noted", Inflight, "late", _late_forgotten, "RV-7", "reversals"),
    planted("an answer goes to whoever waits longest", Inflight, "take", _crossed, "NE-44", "entry drills"),
    planted("the settlement date is the switch's own", Office, "journal", _own_clock, "CO-2", "cutover"),
    planted("the MAC is not checked", admit, "real", _unchecked, "NE-14", "entry keys"),
    planted("a STAN used again is approved", AuthorizeDesk, "_repeated", _repeat_accepted, "NE-15",
            "entry loads reversals contactless cash"),
    planted("a completion may be twice its hold", host, "COMPLETION_PERCENT_MAX", _twice, "PA-5", "preauth"),
    planted("the stripe of a chip card is taken", chips, "_stripe", _accepted, "CT-31", "golive contact inspection"),
    planted("a certificate is paid twice", Books, "spend", _always, "CL-9", "contactless"),
    planted("a certificate pays another amount", chips, "_offline", _unread, "CL-11", "contactless"),
    planted("a closed day is reversed", ReverseDesk, "_day_closed", _never_closed, "CO-5", "cutover cash"),
    planted("what was reversed counts", Books, "totals", _reversed_counts, "ST-4", "settlement reversals drills"),
    planted("a refund may be more than its sale", original, "_fits", _refund_beyond, "NE-29", "entry contactless"),
    planted("a reversal that came first is forgotten", ReverseDesk, "remember_unknown", _unknown_forgotten, "RV-9",
            "reversals"),
)  # fmt: skip


def main() -> int:
    """The whole book against each fault; how many got away or were noticed elsewhere."""
    wrong = 0
    for one in PLANTED:
        with one.fault.alive():
            run = run_paths([BOOK])
        failed = [story for story in run.stories if story.verdict is not Verdict.PASSED]
        missed = [story.id for story in run.stories if story.rules[0] in one.rules and story not in failed]
        astray = [story.id for story in failed if story.chapter not in one.chapters]
        wrong += bool(missed or astray)
        sys.stdout.write(f"{one.fault.name}: {len(failed)} stories fail; missed {missed}, astray {astray}\n")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
