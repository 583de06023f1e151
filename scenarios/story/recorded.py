"""A recording as stories: what each of its terminals did becomes steps that a tester may read, edit and run.

Transactions that the matrix knows become `do` steps with cards of the same kind; what only a host can decide becomes an
operator rule; what nobody answered becomes a fault. Everything else becomes a raw message. Answers are expected to have
the code and the fields they had; of fields that differ from run to run only that they are there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from scenarios.record.compare import MUST_DIFFER
from scenarios.record.story import Exchange, read_story
from scenarios.story.seal import shown
from switch.issuer.portfolio import STANDARD_ISSUERS
from switch.wire.transactions import BY_KEY, Transaction, reply_mti

EXCHANGES_MAX: Final = 500
"""Of one terminal: a story is to be read."""
SCHEMA_LINE: Final = "# yaml-language-server: $schema=story.schema.json"
_SIGN_INS: Final = {"003": "3des", "004": "sm4", "006": "sm4"}
_DIALOGUES: Final = {
    ("0820", "002"): "sign-off", ("0820", "301"): "echo", ("0800", "360"): "parameters", ("0500", "201"): "settle",
}  # fmt: skip
SIGN_OFF: Final = "002"
_PART_OF_ONE: Final = frozenset((("0800", "361"), ("0320", "201"), ("0320", "202"), ("0320", "207")))
"""What a dialogue sends by itself after its first message."""
_LOCAL: Final = frozenset(("00", "Y1", "25", "30", "94", "97", "98", "99", "A0", "77", "12"))
"""Codes that the house comes to by itself, if it should."""
_VOLATILE: Final = frozenset((*MUST_DIFFER, 2, 14, 32, 35, 44, 54, 55, 60, 61, 62, 63))
_ENTRIES: Final = {"01": "manual", "02": "stripe", "05": "chip", "07": "tap", "80": "stripe"}
_OWN_BINS: Final = tuple(prefix for issuer in STANDARD_ISSUERS if issuer.own for prefix in issuer.bins)


class Notebook:
    """One terminal's story while it is written."""

    def __init__(self, number: int, tid: str) -> None:
        self.number = number
        self.tid = tid
        self.suite = "3des"
        self.reads = 0
        self.cards: dict[str, tuple[str, bool]] = {}
        self.steps: list[str] = []
        self.names: dict[tuple[str, str], str] = {}
        self.left_out = 0
        self._rules = self._settled = False

    def take(self, exchange: Exchange) -> None:
        """Add an exchange."""
        fields, mti = exchange.request.fields, exchange.request.mti
        code = str(fields.get(60, ""))[8:11]
        if exchange.way != "up":
            self.left_out += 1
        elif mti == "0800" and code in _SIGN_INS:
            self.suite = _SIGN_INS[code]
            self._step({"do": "sign-in"}, exchange)
        elif (mti, code) in _DIALOGUES and not (code == SIGN_OFF and self._settled):
            self._step({"do": _DIALOGUES[mti, code]}, exchange)
        elif (mti, code) in _PART_OF_ONE or mti == "0400" or (mti == "0820" and code == SIGN_OFF):
            self.left_out += 1  # the terminal sends it by itself
        else:
            row = BY_KEY.get((mti, str(fields.get(3, "")), str(fields.get(25, "")), str(fields.get(60, ""))[:2]))
            if row is None or row.chip in ("offline", "notice", "refund"):
                self._raw(exchange)
            else:
                self._transaction(exchange, row)

    def _transaction(self, exchange: Exchange, row: Transaction) -> None:
        fields = exchange.request.fields
        step: dict[str, Any] = {"do": row.name.replace("_", "-")}
        earlier = self._earlier(fields)
        if row.original and earlier is None:
            self._raw(exchange)
            return
        entry = _ENTRIES.get(str(fields.get(22, ""))[:2], "stripe")
        self.reads = max(self.reads, {"chip": 1, "tap": 2}.get(entry, 0))
        presented = earlier is None or 35 in fields or entry in ("chip", "tap")
        if presented or row.effect in ("credit", "capture", "hold_more"):
            step["card"] = self._card(fields, chip=entry in ("chip", "tap"))
        if earlier is not None:
            step["of"] = earlier
        if presented and not row.entry:
            step["entry"] = entry
        if entry in ("chip", "tap") and row.name == "sale":
            step["force-online"] = True  # it went online then: a card of the house might pay by itself
        if row.amount and row.effect != "undo":
            step["amount"] = f"{int(fields.get(4, '0')) / 100:.2f}"
        if row.pin and presented:
            step["pin"] = "right" if exchange.request.pin == "right" else exchange.request.pin or "none"
        name = f"n{exchange.n}"
        self.names[str(fields.get(60, ""))[2:8], str(fields.get(11, ""))] = name
        step["as"] = name
        self._step(step, exchange)

    def _earlier(self, fields: Mapping[int, Any]) -> str | None:
        """The step an earlier transaction was, by batch and number of DE61."""
        named = str(fields.get(61, ""))
        return self.names.get((named[:6], named[6:12]))

    def _card(self, fields: Mapping[int, Any], chip: bool) -> str:
        track = str(fields.get(35, ""))
        pan = str(fields.get(2, "")) or track.replace("=", "D").partition("D")[0]
        if pan not in self.cards:
            self.cards[pan] = (f"c{len(self.cards) + 1}", chip)
        name, chipped = self.cards[pan]
        self.cards[pan] = (name, chipped or chip)
        return name

    def _raw(self, exchange: Exchange) -> None:
        """A message as it was, but for what every terminal has of its own."""
        told = exchange.request
        keep = {str(de): _text(value) for de, value in told.fields.items() if de not in (2, 11, 35, 41, 42, 52, 64)}
        self._step({"send": {"mti": told.mti, "fields": keep}}, exchange)

    def _step(self, step: dict[str, Any], exchange: Exchange) -> None:
        self._settled = step.get("do") == "settle"
        reply = exchange.reply
        code = str(reply.fields.get(39, "00")) if reply is not None else ""
        refused = reply is not None and code not in _LOCAL
        if self._rules or refused:
            rules = [{"action": "code", "code": code, "times": 1}] if refused else []
            self.steps.append(_flow({"rules": {"cups": rules, "core": rules}}))
            self._rules = bool(rules)
        if reply is None:
            step["faults"] = {"on": "t1", "what": "drop", "which": {"mti": reply_mti(exchange.request.mti)}}
            step["expect"] = {"answer": "none"}
        else:
            step["expect"] = {"answer": code, "reply": {"mti": reply.mti, "de": dict(_expected(reply.fields))}}
        self.steps.append(_flow(step))

    def text(self, source: str) -> str:
        """The file. Cards and terminal are of the same kind as those recorded."""
        kinds = ("shop", "chip-shop", "tap-shop")
        kind = "sm-shop" if self.suite == "sm4" and not self.reads else kinds[self.reads]
        suite = ", suite: sm4" if self.suite == "sm4" and self.reads else ""
        cast, seen = [f"  t1: {{terminal: {kind}{suite}}}"], dict[str, int]()
        for pan, (name, chip) in self.cards.items():
            own = pan.startswith(_OWN_BINS)
            what = ("own-dual" if own else "dual") if chip else ("own-stripe" if own else "debit-stripe")
            seen[what] = seen.get(what, 0) + 1
            cast.append(f"  {name}: {{card: {what}, nth: {seen[what]}}}")
        left_out = f"{self.left_out} messages that follow by themselves are left out"
        head = [SCHEMA_LINE, f"# {source}, terminal {self.tid}; {left_out}"]
        title = f"终端 {self.tid} 的录制, en: What terminal {self.tid} did"
        return "\n".join([
            *head, f"id: REC-{self.number:03d}", f"title: {{zh: {title}}}", "chapter: recorded", "cast:", *cast,
            "steps:", *self.steps, "",
        ])  # fmt: skip


def _expected(fields: Mapping[int, Any]) -> Iterator[tuple[str, str | dict[str, str]]]:
    """What is expected of an answer's fields: DE39 stands by itself."""
    for de, value in sorted(fields.items()):
        if de in (11, 41, 42):
            yield str(de), {"echo": "request"}
        elif de in _VOLATILE:
            yield str(de), "present"
        elif de != 39:
            yield str(de), _text(value)


def _text(value: Any) -> str:
    return f"0x{shown(value)}" if isinstance(value, bytes) else str(value)


def _flow(step: Mapping[str, Any]) -> str:
    """A step on lines of its own, each key's value in flow style."""
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in step.items()]
    return "- " + "\n  ".join(lines)


def stories_of(exchanges: Iterable[Exchange], source: str) -> dict[str, str]:
    """File names and texts: one story a terminal, in the order in which they came, EXCHANGES_MAX exchanges each."""
    books: dict[str, Notebook] = {}
    for exchange in exchanges:
        tid = str(exchange.request.fields.get(41, "unknown"))
        book = books.setdefault(tid, Notebook(len(books) + 1, tid))
        if len(book.steps) < EXCHANGES_MAX:
            book.take(exchange)
        else:
            book.left_out += 1
    return {f"REC-{book.number:03d}-{book.tid}.yaml": book.text(source) for book in books.values() if book.steps}


def write_stories(recording: Path, directory: Path) -> int:
    """Write a recording's stories into a directory; how many. Raises StoryError, OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    found = stories_of(read_story(recording), recording.name)
    for name, text in found.items():
        (directory / name).write_text(text, encoding="utf-8")
    return len(found)
