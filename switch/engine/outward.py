"""A terminal's request as it looks on the other side: the fields the network wants, from those the terminal sent."""

import time
from functools import lru_cache
from typing import Any, Final

from switch.crypto.errors import CryptoError
from switch.engine.books import Exchange, Terminal
from switch.engine.chips import READ, UNRELIABLE
from switch.engine.counterpart import BEIJING_S, Counterpart
from switch.engine.office import Office
from switch.machine import Now
from switch.wire.errors import WireError
from switch.wire.private import NEW_PIN, Usage, read_new_pin, read_sm_pin, write_new_pin, write_sm_pin
from switch.wire.private_62 import read_detail, read_sm_pin_62, read_transfer_pan
from switch.wire.private_network import (
    De60,
    OriginalData,
    write_48_usages,
    write_60,
    write_90,
    write_original_amount,
)
from switch.wire.profile import coded
from switch.wire.transactions import NOTICE_CODE, Transaction

MERCHANT_NAME_BYTES = 40
NET60_DIGITS = 23
"""An acquirer sends DE60 up to the initiation mode; the network fills the rest."""
NET60_CHIP_DIGITS = 25
"""Up to the application, where a chip was read."""
DETAIL_USAGES: Final = {"instalment": "IP", "points": "BP"}
"""Usages of DE48 on the network for what a terminal's DE62 holds (unverified)."""
LOAD_USAGE: Final = "LE"
"""Usage of DE48 on the network for a terminal's DE48 in a load from another account (unverified)."""

_UNCHANGED = (22, 23, 41, 42, 49, 55)


@lru_cache(maxsize=16)
def _local(second: int) -> tuple[str, str]:
    """DE12 and DE13 in Beijing: written once a second (2 us)."""
    moment = time.gmtime(second + BEIJING_S)
    return time.strftime("%H%M%S", moment), time.strftime("%m%d", moment)


class PinUnusable(Exception):
    """The PIN block cannot be opened or read: response code 99."""


@lru_cache(maxsize=4096)  # 0.8 us
def merchant_name(name: str) -> str:
    """DE43: forty bytes of GBK, cut between characters, filled with spaces."""
    data = name.encode("gbk", "replace")
    while len(data) > MERCHANT_NAME_BYTES:
        name = name[:-1]
        data = name.encode("gbk", "replace")
    return data.decode("gbk") + " " * (MERCHANT_NAME_BYTES - len(data))


def request_fields(
    office: Office, counterpart: Counterpart, exchange: Exchange, terminal: Terminal, pan: str, now: Now
) -> dict[int, Any]:
    """The fields of the network request for a terminal's request (member rules, base request and differences).

    Raises PinUnusable where a PIN is present that cannot be translated, WireError for a private field that cannot be
    read.
    """
    request = exchange.request or {}
    row = exchange.row
    fields = base_fields(counterpart, exchange, terminal.merchant_name, pan, now)
    for de in _UNCHANGED:
        if de in request:
            fields[de] = request[de]
    if row.amount:
        fields[4] = request[4]
    if 14 in request and not row.drops_expiry:
        fields[14] = request[14]
    if 35 in request:
        fields[35] = request[35].replace("D", "=")
    if 36 in request:
        fields[36] = request[36].replace("D", "=")
    if (row.voice or row.original in ("auth", "rrn")) and 38 in request:
        fields[38] = request[38]
    put_original(fields, exchange)
    if row.chip == "notice":
        put_notice(fields, counterpart, exchange)
    elif row.chip == "load" and row.detail:
        fields[102] = pan
        fields[48] = write_48_usages((Usage(LOAD_USAGE, request[48].encode("latin-1")),))
    if row.detail:
        put_detail(fields, row, read_detail(request[62], row.detail))
    put_pin(office, counterpart, request, terminal, pan, fields)
    if row.new_pin:
        put_new_pin(office, counterpart, request, terminal, pan, fields)
    fields[60] = net60(counterpart, exchange)
    return fields


def base_fields(counterpart: Counterpart, exchange: Exchange, name: str, pan: str, now: Now) -> dict[int, Any]:
    """What every message about an exchange carries: card, codes, times, institutions, terminal."""
    clock, date = _local(int(now.wall))
    row = coded(exchange.row, counterpart.profile)
    return {
        2: pan,
        3: row.network_processing_code,
        7: exchange.net_time,
        11: exchange.net_stan,
        12: clock,
        13: date,
        18: exchange.mcc,
        25: row.network_condition or row.condition,
        32: counterpart.profile.acquirer,
        33: counterpart.profile.forwarder,
        37: exchange.rrn,
        43: merchant_name(name),
    }


def net60(counterpart: Counterpart, exchange: Exchange, reason: str = "0000") -> str:
    """DE60 up to 60.3.5: reason, what the terminal can read, its type, the MAC's algorithm; where a chip was read, up
    to 60.3.7, with the chip's condition, the no-PIN flag, medium and application."""
    profile = counterpart.profile
    return _net60(
        reason,
        exchange.entry_mode[:2],
        exchange.read,
        exchange.row.terminal_type or profile.terminal_type,
        profile.keys.suite,
        profile.chips.medium,
    )


@lru_cache(maxsize=512)
def _net60(reason: str, entry: str, read: str, terminal_type: str, suite: str, medium: bool) -> str:
    chip = entry in READ
    capability, condition, no_pin, application = tuple(read or ("6" if chip else "2") + "000")
    sub_fields = De60(
        reason=reason,
        read_capability=capability if capability != "0" else "6" if chip else "2",
        icc_condition=condition,
        no_pin=no_pin,
        icc_reliability="1" if entry == UNRELIABLE else "0",
        terminal_type=terminal_type,
        reserved_3="004" if suite == "sm4" else "000",
        initiation="1",
        medium="2",
        icc_application=application,
    )
    return write_60(sub_fields, size=NET60_CHIP_DIGITS if medium and application != "0" else NET60_DIGITS)


def put_original(fields: dict[int, Any], exchange: Exchange) -> None:
    """What names the earlier transaction of a void, refund, completion or advice on the network: DE38, 48, 90."""
    original, row = exchange.original, exchange.row
    if original is None:
        if row.voice:
            fields[38] = exchange.auth_code
        return
    if original.auth_code:
        fields[38] = original.auth_code
    if row.elements:
        fields[90] = original_elements(original)
    if row.effect == "credit" and not row.confirms:
        fields[48] = write_original_amount(original.amount)


def put_notice(fields: dict[int, Any], counterpart: Counterpart, exchange: Exchange) -> None:
    """A script result notice: DE3, 4, 25 and 39 of the transaction it speaks of, DE70 951, and no DE38."""
    original = exchange.original
    if original is None:
        return
    row = coded(original.row, counterpart.profile)
    fields[3] = counterpart.profile.chips.notice_codes.get(row.name, row.network_processing_code)
    fields[25] = row.network_condition or row.condition
    if row.amount:
        fields[4] = f"{original.amount:012d}"
    fields[39] = original.response_code
    fields[70] = NOTICE_CODE
    fields.pop(38, None)


def put_detail(fields: dict[int, Any], row: Transaction, detail: bytes) -> None:
    """What a terminal says in DE62 as the network wants it: a receiving account in DE103, other details in DE48.

    The usages of DE48 are unverified: the sources have no table for them.
    """
    if row.detail == "transfer":
        fields[103] = read_transfer_pan(detail)
    else:
        fields[48] = write_48_usages((Usage(DETAIL_USAGES[row.detail], detail),))


def original_elements(original: Exchange) -> str:
    """DE90 of whatever undoes or reverses `original`."""
    return write_90(
        OriginalData(original.net_mti, original.net_stan, original.net_time, original.acquirer, original.forwarder)
    )


def put_pin(
    office: Office,
    counterpart: Counterpart,
    request: dict[int, Any],
    terminal: Terminal,
    pan: str,
    fields: dict[int, Any],
) -> None:
    """Translate the terminal's PIN block, if there is one, into DE52 or DE63 with DE26 and DE53."""
    control = request.get(53, "0")
    if control[0] not in "12":
        return
    suite = office.pos.suites[terminal.suite]  # type: ignore[index]
    keys = counterpart.profile.keys
    try:
        block = terminal_pin_block(request, suite.pin_carrier)
    except (WireError, KeyError) as error:
        raise PinUnusable(type(error).__name__) from None
    block = _translated(office, counterpart, terminal, control, pan, block)
    fields[26] = request.get(26, "12")
    fields[53] = f"2{keys.algorithm_digit}".ljust(16, "0")
    if keys.pin_carrier == "de52":
        fields[52] = block
    else:
        fields[52] = bytes(8)
        fields[63] = write_sm_pin(block)


def put_new_pin(
    office: Office,
    counterpart: Counterpart,
    request: dict[int, Any],
    terminal: Terminal,
    pan: str,
    fields: dict[int, Any],
) -> None:
    """Translate the second PIN block of a PIN change, where the profiles say that it stands (unverified).

    Raises DecodeError where there is none, PinUnusable for one that cannot be translated.
    """
    de = int(office.pos.suites[terminal.suite].new_pin_carrier[2:])  # type: ignore[index]
    block = read_new_pin(de, request.get(de, b""))
    block = _translated(office, counterpart, terminal, request[53], pan, block)
    if counterpart.profile.keys.new_pin_carrier == "de48":
        fields[48] = write_48_usages((Usage(NEW_PIN, block),))
    else:
        fields[63] = write_new_pin(63, block, fields.get(63, b""))


def _translated(
    office: Office, counterpart: Counterpart, terminal: Terminal, control: str, pan: str, block: bytes
) -> bytes:
    """A terminal's PIN block (`control` is its DE53) under the line's PIN key. Raises PinUnusable."""
    suite = office.pos.suites[terminal.suite]  # type: ignore[index]
    own = suite.pin_format if control[0] == "2" else "plain"
    theirs = counterpart.profile.keys.pin_format
    try:
        return office.hsm.translate_pin(f"pik/{terminal.tid}", own, counterpart.zpk, theirs, pan, block)
    except CryptoError as error:
        raise PinUnusable(type(error).__name__) from None


def available(balances: str) -> str:
    """The one of the network's balances (DE54, 20 characters each) that a terminal is told: what is available (amount
    type 02), not what the ledger says; the first where none is."""
    entries = [balances[at : at + 20] for at in range(0, len(balances), 20)]
    return next((entry for entry in entries if entry[2:4] == "02"), entries[0])


def terminal_pin_block(request: dict[int, Any], carrier: str) -> bytes:
    """The PIN block as the terminal sent it; KeyError or WireError where it is not there."""
    if carrier == "de63-sm":
        return read_sm_pin(request[63])
    if carrier == "de62-22":
        return read_sm_pin_62(request[62])
    block: bytes = request[52]
    return block
