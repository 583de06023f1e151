"""The words of the table: what each check looks at. Each tells what is wrong, "" if nothing is, None if it cannot say.

No reason holds a value: the evidence beside it is masked, a reason goes everywhere.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from scenarios.sandwich.answers import (
    answer_mac,
    balances,
    institutions,
    mapped,
    no_other_card,
    no_secrets,
    returned,
    returned_rrn,
    terminals_own,
)
from scenarios.sandwich.rules import ALLOWED
from scenarios.sandwich.seen import VALID, Received, Seen
from scenarios.sandwich.view import MISSING, OTHER, Check, Verdict, View, agree, must_be
from switch.wire.errors import DecodeError, WireError
from switch.wire.private import NEW_PIN
from switch.wire.private_62 import read_detail, read_transfer_pan
from switch.wire.private_network import OriginalData, read_60, read_original_amount, write_90
from switch.wire.transactions import APPROVED

_PIN_USAGES: Final = (b"SM", NEW_PIN.encode())
"""Usages of DE63 with a PIN block: what becomes of it is the PIN's affair."""
_TIME = re.compile(r"(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]")


# requests


def equal(view: View, de: int) -> Verdict:
    """Carried as it was."""
    return agree(view.front.get(de), view.back.get(de))


def absent(view: View, de: int) -> Verdict:
    """Not there."""
    return "" if view.back.get(de) is None else "is there"


def network_mti(view: View, de: int) -> Verdict:
    """The type this transaction has on the network."""
    return must_be(view.back.mti, view.pair.row.network_mti)


def network_code(view: View, de: int) -> Verdict:
    """The processing code this transaction has on the network."""
    return must_be(view.back.get(de), view.pair.row.network_processing_code)


def card(view: View, de: int) -> Verdict:
    """The card number of the terminal's card."""
    if view.back.get(2) is None:
        return MISSING
    return "" if view.back.card == view.request.card else "another card"


def transmission_time(view: View, de: int) -> Verdict:
    """MMDDhhmmss."""
    value = view.back.get(7)
    if value is None:
        return MISSING
    return "" if _TIME.fullmatch(value) else "not a time"


def time_of_day(view: View, de: int) -> Verdict:
    """hhmmss; in an answer the front's is meant."""
    value = _newer(view).get(de)
    return MISSING if value is None else "" if _TIME.fullmatch(f"0101{value}") else "not a time"


def date(view: View, de: int) -> Verdict:
    """MMDD; in an answer the front's is meant."""
    value = _newer(view).get(de)
    return MISSING if value is None else "" if _TIME.fullmatch(f"{value}000000") else "not a date"


def _newer(view: View) -> Seen:
    """The message the switch made: on the line a request, to the terminal an answer."""
    return view.back if view.front is view.request else view.front


def renewed_stan(view: View, de: int) -> Verdict:
    """Not the terminal's number. One that is equal by chance is let pass: it is wrong when it is so twice running."""
    if view.back.get(11) is None:
        return MISSING
    if view.back.get(11) != view.front.get(11):
        return ""
    before = view.before
    if before is None or before.received is None:
        return None
    same = before.received.request.get(11) == before.asked.request.get(11)
    return "the terminal's own, twice running" if same else None


def merchant_type(view: View, de: int) -> Verdict:
    """The merchant's, by its record or by digits 8 to 11 of its number."""
    value = view.back.get(18)
    if value is None:
        return MISSING
    return "" if value in (view.mcc, str(view.request.get(42))[7:11]) else "not the merchant's"


def only_with_pin(view: View, de: int) -> Verdict:
    """Carried with a PIN, absent without."""
    if view.request.pin is not None:
        return must_be(view.back.get(de), view.front.get(de))
    return "" if view.back.get(de) is None else "is there without a PIN"


def acquirer(view: View, de: int) -> Verdict:
    """The profile's DE32."""
    return must_be(view.back.get(32), view.profile.acquirer)


def forwarder(view: View, de: int) -> Verdict:
    """The profile's DE33."""
    return must_be(view.back.get(33), view.profile.forwarder)


def track(view: View, de: int) -> Verdict:
    """The clear track with '=' as its separator."""
    ours, theirs = view.front.get(de), view.back.get(de)
    if ours == "":
        return None  # enciphered under a key that the recorder could not use
    if theirs is not None and "D" in theirs:
        return "separator D"
    return agree(ours.replace("D", "=") if ours else ours, theirs)


def own_rrn(view: View, de: int) -> Verdict:
    """Twelve characters, this request's only."""
    value = view.back.get(37)
    if value is None:
        return MISSING
    if len(str(value).strip()) != 12:
        return "not twelve characters"
    if value == view.front.get(37):
        return "the original's"
    return "" if view.rrns == 1 else "another request's as well"


def auth_code(view: View, de: int) -> Verdict:
    """The original's: as the terminal sent it, or as the original was answered."""
    wanted = view.front.get(38)
    original = view.pair.original
    if wanted is None and original is not None and original.told.answer is not None:
        wanted = original.told.answer.get(38)
    return None if wanted is None else must_be(view.back.get(38), wanted)


def merchant_name(view: View, de: int) -> Verdict:
    """Not blank."""
    value = view.back.get(43)
    if value is None:
        return MISSING
    return "" if str(value).strip() else "blank"


def original_amount(view: View, de: int) -> Verdict:
    """DE48 of a refund."""
    value = view.back.get(48)
    if value is None:
        return MISSING
    try:
        told = read_original_amount(value)
    except DecodeError:
        return "not a usage ASOA012"
    original = view.pair.original
    if original is None or original.received is None:
        return None
    amounts = {int(seen.get(4) or 0) for seen in (original.asked.request, original.received.request)}
    return "" if told in amounts else "another amount"


def pin(view: View, de: int) -> Verdict:
    """The same PIN on both sides, and the same new one where it is changed."""
    verdict = _same_pin(view.request.pin, view.back.pin)
    if verdict != "" or not view.pair.row.new_pin:
        return verdict
    verdict = _same_pin(view.request.new_pin, view.back.new_pin)
    return f"the new PIN: {verdict}" if verdict else verdict


def _same_pin(ours: tuple[bytes, ...] | None, theirs: tuple[bytes, ...] | None) -> Verdict:
    if ours is None:
        return "" if theirs is None else "a PIN block where the terminal sent none"
    if theirs is None:
        return "no PIN block"
    if not ours:
        return None  # the terminal's own block could not be opened
    if not theirs:
        return "no PIN block under the line's key"
    return "" if set(ours) & set(theirs) else "another PIN"


def security_control(view: View, de: int) -> Verdict:
    """Format 2 and the line's algorithm with a PIN; absent without."""
    value = view.back.get(53)
    if view.request.pin is None:
        return "" if value is None or not value.strip("0") else "is there without a PIN"
    if value is None:
        return MISSING
    return "" if value[:2] == f"2{view.profile.keys.algorithm_digit}" else OTHER


def network_60(view: View, de: int) -> Verdict:
    """Reason and terminal type."""
    value = view.back.get(60)
    if value is None:
        return MISSING
    try:
        told = read_60(value)
    except WireError:
        return "not in the network's form"
    if told.reason != "0000":
        return "another reason"
    wanted = view.pair.row.terminal_type or view.profile.terminal_type
    return "" if told.terminal_type == wanted else "another terminal type"


def receiver(view: View, de: int) -> Verdict:
    """The card that is paid, as the terminal named it."""
    ours = view.front.get(62)
    if ours is None:
        return None
    try:
        wanted = read_transfer_pan(read_detail(ours, "transfer"))
    except WireError:
        return None
    return must_be(view.back.get(de), wanted)


def not_passed(view: View, de: int) -> Verdict:
    """Not as the terminal sent it."""
    ours, theirs = view.front.get(de), view.back.get(de)
    if ours is None:
        return None
    if theirs is None or _bytes(ours) not in _bytes(theirs):
        return ""
    return "" if de == 63 and _bytes(ours)[:2] in _PIN_USAGES else "handed through"


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8")


def original_elements(view: View, de: int) -> Verdict:
    """DE90 of a void or refund."""
    value = view.back.get(90)
    if value is None:
        return MISSING
    original = view.pair.original
    if original is None or original.received is None:
        return None
    return "" if value == elements_of(original.received) else "names something else"


def elements_of(received: Received) -> str:
    """DE90 of what undoes this request."""
    get = received.request.get
    try:
        return write_90(OriginalData(get(0), get(11), get(7), get(32) or "", get(33) or ""))
    except (WireError, TypeError):
        return ""


def mac(view: View, de: int) -> Verdict:
    """DE128 under the line's key."""
    return "" if view.back.mac == VALID else view.back.mac


def nothing_else(view: View, de: int) -> Verdict:
    """No field beyond those of the table."""
    others = sorted(set(view.back.fields) - ALLOWED)
    return "" if not others else "DE" + ", DE".join(map(str, others))


# reversals


def as_original(view: View, de: int) -> Verdict:
    """As in the request it reverses, or as that should have been where it was wrong already."""
    if de in view.pair.wrong:
        return None
    return agree(view.sent.get(de), view.back.get(de))


def card_of_original(view: View, de: int) -> Verdict:
    """The original's card number."""
    return None if 2 in view.pair.wrong else card(view, de)


def own_key(view: View, de: int) -> Verdict:
    """Another DE7 and DE11 than the original's."""
    if view.back.get(11) is None:
        return MISSING
    same = all(view.back.get(n) == view.sent.get(n) for n in (7, 11))
    return "the original's" if same else ""


def no_track(view: View, de: int) -> Verdict:
    """Neither DE35 nor DE36 nor DE45."""
    there = [n for n in (35, 36, 45) if view.back.get(n) is not None]
    return "" if not there else f"DE{there[0]} is there"


def no_pin(view: View, de: int) -> Verdict:
    """Neither a PIN block nor DE26."""
    if view.back.get(26) is not None:
        return "DE26 is there"
    return "" if view.back.pin is None and view.back.get(52) is None else "a PIN block is there"


def answered_auth_code(view: View, de: int) -> Verdict:
    """The code the original was given in time."""
    received = view.pair.received
    answer = received.answer if received is not None else None
    given = view.sent.get(38) or (answer.get(38) if answer is not None else None)
    if given is None or (answer is not None and answer.at > view.back.at):
        return None
    in_time = answer is not None and answer.at - view.sent.at < view.profile.timers.reply_s
    told = view.pair.told.answer
    if not in_time or told is None or told.at > view.back.at or told.get(39) not in APPROVED:
        return None  # whether the switch knew the code is not seen
    return must_be(view.back.get(38), given)


def reason(view: View, de: int) -> Verdict:
    """DE60.1 as the profile has it."""
    value = view.back.get(60)
    if value is None:
        return MISSING
    section = view.profile.reversal
    return "" if value[:4] in (section.timeout, section.terminal) else "another reason"


def names_original(view: View, de: int) -> Verdict:
    """DE90 names the request on this line."""
    value = view.back.get(90)
    if value is None:
        return MISSING
    received = view.pair.received
    return "" if received is not None and value == elements_of(received) else "names something else"


CHECKS: Final[Mapping[str, Check]] = {
    check.__name__: check
    for check in (
        equal, absent, network_mti, network_code, card, transmission_time, time_of_day, date, renewed_stan,
        merchant_type, only_with_pin, acquirer, forwarder, track, own_rrn, auth_code, merchant_name, original_amount,
        pin, security_control, network_60, receiver, not_passed, original_elements, mac, nothing_else, as_original,
        card_of_original, own_key, no_track, no_pin, answered_auth_code, reason, names_original, no_other_card,
        terminals_own, returned, returned_rrn, mapped, institutions, balances, answer_mac, no_secrets,
    )
}  # fmt: skip
