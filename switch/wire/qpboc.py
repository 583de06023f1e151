"""The decision of a contactless card at GET PROCESSING OPTIONS (qPBOC), as one pure function on values.

JR/T 0025.12, in the order of the published rules. What a card does with the decision (debit, counters, cryptogram) is
not here.
"""

from typing import NamedTuple

TC, ARQC, AAC, USE_OTHER_INTERFACE = "TC", "ARQC", "AAC", "6985"
"""What comes of it: offline approval, online, decline, or the status word that ends it on this interface."""

# Card transaction qualifiers (9F6C), byte 1.
CTQ_ONLINE_PIN, CTQ_SIGNATURE = 0x80, 0x40

# Terminal transaction qualifiers (9F66), bytes 1 and 2.
_READER_CONTACT, _READER_OFFLINE_ONLY, _READER_ONLINE_PIN, _READER_SIGNATURE = 0x10, 0x08, 0x04, 0x02
_ONLINE_REQUIRED, _CVM_REQUIRED = 0x80, 0x40

# Card additional processing (9F68), bytes 1, 2 and 3.
_LOW_VALUE, _LOW_VALUE_AND_TOTAL, _LOW_VALUE_OR_TOTAL, _NEW_CARD, _PIN_TRIES = 0x80, 0x40, 0x20, 0x10, 0x08
_MISMATCH_OFFLINE, _PREFERS_CONTACT = 0x04, 0x02
_PREPAID, _MISMATCH_REFUSED, _NEW_CARD_DECLINED = 0x80, 0x40, 0x20
_PIN_IF_MATCH, _PIN_IF_MISMATCH, _CVM_IF_MISMATCH, _SIGNATURE = 0x80, 0x40, 0x20, 0x10


class Tap(NamedTuple):
    """What the decision is made of; amounts in minor units. `ttq` is 9F66, `processing` 9F68 (4 bytes each).

    `balance_minor` 9F79, `single_max` 9F78, `reset_threshold` 9F6D, `cvm_limit` 9F6B, `last_online_atc` 9F13;
    `total_minor` is what was spent offline, under `total_upper_max` (9F5C) or, where that is None, `total_max` (9F54).
    """

    ttq: bytes
    amount_minor: int
    balance_minor: int
    single_max: int
    reset_threshold: int
    cvm_limit: int
    processing: bytes
    currency_matches: bool = True
    last_online_atc: int = 1
    pin_tries_exceeded: bool = False
    status_check: bool = False
    total_minor: int = 0
    total_max: int = 0
    total_upper_max: int | None = None


class Decision(NamedTuple):
    """`result`: TC, ARQC, AAC or 6985; `ctq`: byte 1 of 9F6C; `velocity`: the CVR's bit "counters exceeded".

    `debit`: the balance goes down by the amount (an approval, or an ARQC of a prepaid card). `why` names the rule.
    """

    result: str
    ctq: int
    velocity: bool
    debit: bool
    why: str


def _low_value(tap: Tap, flags: int, offline_only: bool) -> str:
    """Empty if the amount may be spent offline; otherwise the rule against it."""
    if offline_only:
        over = tap.amount_minor > tap.balance_minor or tap.amount_minor > tap.single_max
    else:
        over = tap.amount_minor > tap.single_max or tap.balance_minor - tap.amount_minor < tap.reset_threshold
    total_max = tap.total_max if tap.total_upper_max is None else tap.total_upper_max
    total_over = tap.total_minor + tap.amount_minor > total_max
    if flags & _LOW_VALUE_AND_TOTAL:
        return "balance or limit" if over else "offline total" if total_over else ""
    if flags & _LOW_VALUE_OR_TOTAL:
        # The total may let pass what the balance does not, but nobody spends what is not there.
        short = tap.amount_minor > tap.balance_minor
        return "balance and offline total" if over and (total_over or short) else ""
    return "balance or limit" if over else ""


def _cvm_needed(tap: Tap) -> bool:
    if tap.ttq[1] & _CVM_REQUIRED:
        return True
    if tap.currency_matches:
        return tap.amount_minor > tap.cvm_limit
    return bool(tap.processing[2] & _CVM_IF_MISMATCH)


def _online(tap: Tap, ctq: int, why: str, velocity: bool = False) -> Decision:
    """Online; a prepaid card pays at once, or declines."""
    if not tap.processing[1] & _PREPAID:
        return Decision(ARQC, ctq, velocity, False, why)
    if tap.amount_minor == 0 or tap.amount_minor > tap.balance_minor:
        return Decision(AAC, ctq, velocity, False, "prepaid: no amount" if not tap.amount_minor else "prepaid: balance")
    return Decision(ARQC, ctq, velocity, True, "prepaid: " + why)


def _declined(ctq: int, why: str, velocity: bool = False) -> Decision:
    return Decision(AAC, ctq, velocity, False, why)


def decide(tap: Tap) -> Decision:
    """The card's decision; ValueError unless 9F66 and 9F68 have 4 bytes each."""
    if len(tap.ttq) != 4 or len(tap.processing) != 4:
        raise ValueError("9F66 and 9F68 have 4 bytes each")
    reader, flags, more, cvm = tap.ttq[0], tap.processing[0], tap.processing[1], tap.processing[2]
    offline_only = bool(reader & _READER_OFFLINE_ONLY)
    if flags & _PREFERS_CONTACT and reader & _READER_CONTACT:
        return Decision(USE_OTHER_INTERFACE, 0, False, False, "card prefers contact")
    if not tap.currency_matches and more & _MISMATCH_REFUSED:
        return _declined(0, "currency refused")
    new_card = tap.last_online_atc == 0
    if offline_only and new_card and more & _NEW_CARD_DECLINED:
        return _declined(0, "new card")
    if offline_only and tap.pin_tries_exceeded:
        return _declined(0, "PIN tries exceeded")
    ctq = 0
    if _cvm_needed(tap):
        by_pin = cvm & (_PIN_IF_MATCH if tap.currency_matches else _PIN_IF_MISMATCH)
        if not offline_only and by_pin and reader & _READER_ONLINE_PIN:
            return _online(tap, CTQ_ONLINE_PIN, "online PIN")
        if not (cvm & _SIGNATURE and reader & _READER_SIGNATURE):
            return Decision(USE_OTHER_INTERFACE, 0, False, False, "no CVM in common")
        ctq = CTQ_SIGNATURE
    return _spend(tap, ctq, offline_only, new_card)


def _spend(tap: Tap, ctq: int, offline_only: bool, new_card: bool) -> Decision:
    """What is left once the holder's part is settled: online for a reason, or spent offline."""
    flags = tap.processing[0]
    can_offline = tap.currency_matches or bool(flags & _MISMATCH_OFFLINE)
    if not offline_only:
        if tap.ttq[1] & _ONLINE_REQUIRED:
            return _online(tap, ctq, "reader asks online")
        if not can_offline:
            return _online(tap, ctq, "currency online only")
        if new_card and flags & _NEW_CARD:
            return _online(tap, ctq, "new card")
        if tap.pin_tries_exceeded and flags & _PIN_TRIES:
            return _online(tap, ctq, "PIN tries exceeded")
    if tap.amount_minor == 0 or tap.status_check:
        return _online(tap, ctq, "no amount" if tap.amount_minor == 0 else "status check")
    if not flags & (_LOW_VALUE | _LOW_VALUE_AND_TOTAL | _LOW_VALUE_OR_TOTAL) or not can_offline:
        why = "no offline check" if can_offline else "currency online only"
        return _declined(ctq, why) if offline_only else _online(tap, ctq, why)
    if against := _low_value(tap, flags, offline_only):
        return _declined(ctq, against) if offline_only else _online(tap, ctq, against, velocity=True)
    return Decision(TC, ctq, False, True, "offline")
