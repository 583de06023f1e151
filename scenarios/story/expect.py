"""What is expected, held against what was seen. Each thing that differs is a Finding with its line."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from scenarios.record.match import NETWORK_KEY, POS_KEY, Reply, why_no_match
from scenarios.story.accounts import books_checks, cash_checks, metrics_checks
from scenarios.story.booth import Act
from scenarios.story.flows import Unfit
from scenarios.story.perform import Player
from scenarios.story.result import Finding
from scenarios.story.seal import field_value, latin_text, plain_text, split_place
from scenarios.story.shape import Block
from scenarios.story.states import Check, card_checks, terminal_checks
from scenarios.story.wanted import PLACES
from scenarios.story.witness import TERMINAL, Message
from switch.wire import tlv
from switch.wire.redact import mask_tlv, masked
from switch.wire.transactions import BY_NAME, reply_mti

if TYPE_CHECKING:
    from scenarios.story.stage import Stage

MACS: Final = (64, 128)
STATE_CHECKS: Final[dict[str, Callable[["Judge", Block], Iterator[Check]]]] = {
    "terminal": terminal_checks, "card": card_checks, "books": books_checks, "cash": cash_checks,
    "metrics": metrics_checks,
}  # fmt: skip
_OF_PLACE: Final = {
    "request": (TERMINAL, True, ""), "reply": (TERMINAL, False, ""), "to-host": ("", True, ""),
    "from-host": ("", False, ""), "reversal": (TERMINAL, True, "0400"), "reversal-reply": (TERMINAL, False, "0410"),
    "host-reversal": ("", True, "0420"), "host-reversal-reply": ("", False, "0430"),
}  # fmt: skip
"""Leg ("" a host's), direction, and the MTI where the place says it."""
_PLAIN_MTIS: Final = {
    "sign_in": "0800", "sign_off": "0820", "echo": "0820", "parameters": "0800", "status": "0820", "settle": "0500",
    "download": "0800", "upload": "0200", "stripe_load": "0200",
}  # fmt: skip


class Judge:
    """Holds expectations against a player's stage. `number` and `step` are of the step being judged."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.stage: Stage = player.stage
        self.number = 0
        self.checked = 0
        self.not_seen: list[str] = []

    def findings(self, number: int, wanted: Block, path: str) -> list[Finding]:
        """All that is not as expected now."""
        self.number, self.checked = number, 0
        self.not_seen.clear()
        found: list[Finding] = []
        for key, value in wanted.items():
            if key in ("within", "verb"):
                continue
            line = wanted.at(key)
            if not self.visible(key):
                self.not_seen.append(f"line {line}: {path}.{key}")
                continue
            if key == "answer":
                found += self._answer(value, line, f"{path}.answer")
            elif key in PLACES:
                found += self._messages(key, value, line, f"{path}.{key}")
            elif key == "count":
                found += self._counts(value, f"{path}.count")
            else:
                found += self._state(key, value, f"{path}.{key}")
        return found

    def visible(self, what: str) -> bool:
        """Whether this stage can look at something."""
        return self.stage.seen is None or what in self.stage.seen

    def finding(self, line: int, path: str, expected: str, actual: str, hint: str = "") -> Finding:
        """One difference."""
        return Finding(self.number, line, path, expected, actual, hint)

    # messages

    def seen(self, place: str, mti: str = "", line: str = "") -> list[Message]:
        """Messages of the step at a place."""
        leg, up, fixed = _OF_PLACE[place]
        wanted = mti or fixed
        booth = self.player.act.booth if self.player.act is not None else None
        return [
            one for one in self.stage.witness.messages[self.player.since :]
            if one.up is up and (one.leg == leg if leg else one.leg != TERMINAL) and (not wanted or one.mti == wanted)
            and (not line or one.leg == line)
            and (leg != TERMINAL or booth is None or self.player.whole or one.name == booth.till.name)
        ]  # fmt: skip

    def _default_mti(self, place: str) -> str:
        """The MTI of the step's transaction at a place; "" where the step says nothing of it."""
        act = self.player.act
        if _OF_PLACE[place][2] or act is None or self.player.whole or act.first < self.player.since:
            return ""
        kind = act.item.kind if act.item is not None else act.kind
        row = BY_NAME.get(kind)
        mti = row.mti if row is not None else _PLAIN_MTIS.get(kind, "")
        if kind == "send":
            asked = self.seen("request")
            mti = asked[-1].mti if asked else ""
            row = BY_NAME.get(str(act.manner["send"].get("like", "")).replace("-", "_"))
        if place in ("request", "reply"):
            return mti if place == "request" or not mti else reply_mti(mti)
        if row is None:
            return ""
        return row.network_mti if place == "to-host" else reply_mti(row.network_mti)

    def pick(self, place: str, wanted: Mapping[str, Any]) -> Message | None:
        """The message an expectation speaks of."""
        mti = wanted.get("mti") or self._default_mti(place)
        found = self.seen(place, mti, wanted.get("line", ""))
        nth = wanted.get("nth", -1)
        if not found or nth == 0 or abs(nth) > len(found):
            return None
        picked: Message = found[nth - 1 if nth > 0 else nth]
        return picked

    def _answer(self, value: str, line: int, path: str) -> Iterator[Finding]:
        self.checked += 1
        expected = self.player.value(value)
        reply = self.pick("reply", {})
        heard = reply is not None and reply.fault not in ("drop", "delay", "swap", "reject", "echo")
        actual = str(reply.fields.get(39, "absent")) if reply is not None and heard else "none"
        act = self.player.act
        chip = act.item.chip if act is not None and act.item is not None else None
        if actual == "none" and chip is not None:
            actual = chip.arc or "none"
        if actual != expected:
            reason = act.outcome.reason if act is not None and act.outcome is not None else ""
            yield self.finding(line, path, expected, actual + (f" ({reason})" if reason else ""), self.no_match())

    def no_match(self) -> str:
        """Why the step's last request has no answer, in words."""
        for place, back, key in (("to-host", "from-host", NETWORK_KEY), ("request", "reply", POS_KEY)):
            asked = self.pick(place, {})
            if asked is None or not asked.mti or asked.mti[2] not in "02":
                continue
            replies = [
                Reply(one.mti, one.fields, one.at_s) for one in self.seen(back)
                if one.leg == asked.leg and one.fault != "drop"
            ]  # fmt: skip
            same = [
                one
                for one in replies
                if one.mti == reply_mti(asked.mti)
                and all(one.fields.get(de) == asked.fields.get(de) for de in key if de in asked.fields)
            ]
            if not same:
                where = "to the host" if place == "to-host" else "to the terminal"
                return f"{where}: " + "; ".join(
                    why_no_match(asked.mti, asked.fields, replies, key, asked.at_s).sentences()
                )
        return ""

    def _messages(self, place: str, wanted: list[Any], line: int, path: str) -> Iterator[Finding]:
        for number, one in enumerate(wanted):
            where = f"{path}[{number}]" if len(wanted) > 1 else path
            if isinstance(one, str):
                yield from self._none(place, one, line, where)
            else:
                yield from self._message(place, one, where)

    def _none(self, place: str, word: str, line: int, path: str) -> Iterator[Finding]:
        self.checked += 1
        found = self.seen(place, self._default_mti(place))
        if (word == "none") == bool(found):
            told = ", ".join(one.title for one in found) or "none"
            yield self.finding(line, path, word, told, "" if found else self.no_match())

    def _message(self, place: str, wanted: Block, path: str) -> Iterator[Finding]:
        message = self.pick(place, wanted)
        self.checked += 1
        if message is None:
            mti = wanted.get("mti") or self._default_mti(place)
            others = ", ".join(one.title for one in self.seen(place)) or "nothing"
            nth = f" (number {wanted['nth']})" if "nth" in wanted else ""
            yield self.finding(wanted.line, path, f"a message {mti}{nth}".replace("  ", " "), others, self.no_match())
            return
        for de, check in wanted.get("de", {}).items():
            yield from self._field(message, de, check, wanted["de"].at(de), f"{path}.de.{de}")
        if "only" in wanted:
            self.checked += 1
            has = sorted(de for de in message.fields if de not in MACS)
            if has != sorted(wanted["only"]):
                yield self.finding(wanted.at("only"), f"{path}.only", str(sorted(wanted["only"])), str(has))
        if "mac" in wanted:
            self.checked += 1
            if message.mac != wanted["mac"]:
                yield self.finding(wanted.at("mac"), f"{path}.mac", wanted["mac"], message.mac or "not known")
        after = message.at_s + self.stage.witness.began_s - self.player.step_at
        for key in [one for one in ("after", "before") if one in wanted]:
            self.checked += 1
            if (after < wanted[key]) if key == "after" else (after > wanted[key]):
                yield self.finding(wanted.at(key), f"{path}.{key}", f"{key} {wanted[key]:g} s", f"{after:.3f} s")

    def _field(self, message: Message, place: str, check: Any, line: int, path: str) -> Iterator[Finding]:
        self.checked += 1
        value = field_value(message, place)
        told = "absent" if value is None else _shown(place, value)
        for expected, fits in self._wants(message, place, check, value):
            if not fits:
                yield self.finding(line, path, expected, told)

    def _wants(self, message: Message, place: str, check: Any, value: str | None) -> Iterator[tuple[str, bool]]:
        """(what is expected in words, whether it is so)."""
        same = _same(value, plain_text(message, place))
        if isinstance(check, str):
            if check in ("present", "absent"):
                yield check, (value is not None) == (check == "present")
            else:
                wanted = self.player.value(check)
                yield _shown(place, wanted), same(wanted)
            return
        yield from self._told(check, value, same, message, place)

    def _told(
        self, check: Block, value: str | None, same: Callable[[str], bool], message: Message | None, place: str
    ) -> Iterator[tuple[str, bool]]:
        for how, wanted in check.items():
            match how:
                case "capture":
                    yield "present, to be kept", value is not None
                    self.player.kept[wanted] = value or ""
                case "value":
                    yield _shown(place, self.player.value(wanted)), same(self.player.value(wanted))
                case "not":
                    yield (
                        f"not {_shown(place, self.player.value(wanted))}",
                        value is not None and not same(self.player.value(wanted)),
                    )
                case "in":
                    yield f"one of {', '.join(wanted)}", any(same(self.player.value(one)) for one in wanted)
                case "pattern":
                    fits = value is not None and _matches(wanted, value, message, place)
                    yield f"like {wanted}", fits
                case "length":
                    yield f"{wanted} characters", value is not None and len(value) == wanted
                case "amount":
                    yield f"{wanted:012d}", value is not None and value.isdecimal() and int(value) == wanted
                case "echo" if not self.visible(wanted.partition(".")[0]):
                    self.not_seen.append(f"DE{place} echo {wanted}")
                case "echo":
                    other = self._echoed(wanted, place)
                    yield f"{'absent' if other is None else _shown(place, other)} as in {wanted}", value == other

    def _echoed(self, wanted: str, place: str) -> str | None:
        where, _, de = wanted.partition(".")
        if where not in PLACES:
            raise Unfit(f'echo: "{where}" is no place; there is {", ".join(PLACES)}')
        message = self.pick(where, {})
        return field_value(message, de or place) if message is not None else None

    def _counts(self, wanted: Block, path: str) -> Iterator[Finding]:
        for key, expected in wanted.items():
            self.checked += 1
            place, *more = key.split(" ")
            if place not in PLACES:
                raise Unfit(f'count: "{place}" is no place; there is {", ".join(PLACES)}')
            if not self.visible(place):
                self.not_seen.append(f"line {wanted.at(key)}: {path}.{key}")
                continue
            mti = next((one for one in more if one.isdecimal()), "")
            line = next((one for one in more if not one.isdecimal()), "")
            found = self.seen(place, mti, line)
            if len(found) != expected:
                told = f"{len(found)}" + (f" ({', '.join(one.title for one in found)})" if found else "")
                yield self.finding(wanted.at(key), f"{path}.{key}", str(expected), told)

    # terminal, card, books, cash, metrics

    def _state(self, key: str, value: Any, path: str) -> Iterator[Finding]:
        blocks = value if isinstance(value, list) else [value]
        for number, block in enumerate(blocks):
            where = f"{path}[{number}]" if len(blocks) > 1 else path
            for name, place, expected, actual in STATE_CHECKS[key](self, block):
                self.checked += 1
                if isinstance(expected, tuple):  # (in words, whether it is so)
                    words, fits = expected
                else:
                    expected = self.player.value(expected) if isinstance(expected, str) else expected
                    words, fits = _plain(expected), expected == actual
                if not fits:
                    yield self.finding(place.at(name.split(".")[-1]), f"{where}.{name}", words, _plain(actual))

    def value_checks(self, check: Any, value: Any) -> Iterator[tuple[str, bool]]:
        """A value of no message (a column of a book) against a check."""
        text = _plain(value)
        if isinstance(check, str):
            if check in ("present", "absent"):
                yield check, bool(text) == (check == "present")
            else:
                wanted = self.player.value(check)
                yield wanted, text == wanted
            return
        yield from self._told(check, text, lambda wanted: text == wanted, None, "")

    @property
    def act(self) -> Act:
        """The dialogue that is spoken of. Raises Unfit without one."""
        if self.player.act is None:
            raise Unfit("no dialogue has been before")
        return self.player.act


def _same(value: str | None, text: str | None) -> Callable[[str], bool]:
    def same(wanted: str) -> bool:
        return value is not None and (wanted in (value, text) or wanted.upper().removeprefix("0X") == value)

    return same


def _matches(pattern: str, value: str, message: Message | None, place: str) -> bool:
    try:
        if re.search(pattern, value):
            return True
        text = latin_text(message, place) if message is not None else None
        return text is not None and re.search(pattern, text) is not None
    except re.error:
        raise Unfit(f'"{pattern}" is no regular expression') from None


def _shown(place: str, value: str) -> str:
    """A value as it may be printed; `place` is "" for what is no field."""
    if not place:
        return value
    de, tag, _ = split_place(place)
    if not tag:
        return masked(de, value)
    try:
        data = bytes.fromhex(value)
    except ValueError:
        return masked(de, value)
    return mask_tlv(tlv.write([(tag, data)]))[-len(value) :] if value else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
