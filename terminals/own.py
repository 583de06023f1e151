"""The user's own terminals and cards, from their files: master keys unwrapped and checked, PINs put to their cards.

A terminal's master key comes wrapped under a transport key, which the user gives in a file or in an environment
variable. Every fault of a file is told with its line; nothing is loaded by halves.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from switch.crypto.block import Transform, ecb_decryptor, ecb_encryptor, kcv
from switch.wire.roster import (
    SUITES,
    TRANSPORT_KEY,
    CardRow,
    TerminalRow,
    accept_terminals,
    card_number,
    digits,
    hexadecimal,
    key_label,
    one_of,
    read_cards,
)
from switch.wire.table import Column, Fault, Faults, TableError, read_table
from terminals.fleet import Terminal

ENVIRONMENT: Final = "SHOUDAN_KEK"
"""The environment variable of transport keys: `label:suite:key[:kcv]`, `;` between keys."""


@dataclass(frozen=True, slots=True)
class TransportKey:
    """A key that master keys travel under: 16 bytes, or 24 for 3des; `kcv` is b"" where none came with it."""

    label: str
    suite: str
    key: bytes = field(repr=False)
    kcv: bytes = b""
    line: int = 0

    def __post_init__(self) -> None:
        if self.suite == "sm4" and len(self.key) != 16:
            raise ValueError("an sm4 key has 32 hexadecimal digits")
        if self.kcv and not _checks(self.suite, self.key, self.kcv):
            raise ValueError("kcv: the key has another check value")


KEY_COLUMNS: Final = (
    Column("label", key_label, TRANSPORT_KEY, unique=True),
    Column("suite", one_of(SUITES), required=True),
    Column("key", hexadecimal(16, 24), required=True),
    Column("kcv", hexadecimal(3, 8), b""),
)
PIN_COLUMNS: Final = (
    Column("pan", card_number, required=True, unique=True),
    Column("pin", digits(4, 12), required=True),
)


def _checks(suite: str, key: bytes, sent: bytes) -> bool:
    return hmac.compare_digest(kcv(suite, key, len(sent)), sent)


def read_transport_keys(path: str | Path) -> list[TransportKey]:
    """Transport keys of a file with the columns label, suite, key, kcv. Raises TableError."""
    return read_table(path, KEY_COLUMNS, TransportKey)


def parse_transport_keys(text: str) -> list[TransportKey]:
    """Transport keys of the environment variable. Raises TableError with the number of the entry as its line."""
    keys: list[TransportKey] = []
    for number, entry in enumerate(text.split(";"), 1):
        cells = [cell.strip() for cell in entry.split(":")]
        try:
            if len(cells) not in (3, 4):
                raise ValueError("label:suite:key or label:suite:key:kcv is needed")
            values = {c.name: c.read(cell) for c, cell in zip(KEY_COLUMNS, cells, strict=False)}
            if any(key.label == values["label"] for key in keys):
                raise ValueError("a second key of this label")
            keys.append(TransportKey(line=number, **values))
        except ValueError as error:
            raise TableError(ENVIRONMENT, [Fault(number, str(error))]) from None
    return keys


def wrap(key: TransportKey, suite: str, tmk: bytes) -> tuple[bytes, bytes]:
    """A master key as a row of terminals.csv carries it: in ECB under the transport key, and 4 bytes of check value."""
    return ecb_encryptor(key.suite, key.key)(tmk), kcv(suite, tmk)


def own_terminals(path: str | Path, keys: Iterable[TransportKey], suites: Iterable[str]) -> list[Terminal]:
    """The terminals of terminals.csv with their master keys open; `suites` are those the profile has.

    Raises TableError: also for a row without a master key, a transport key that was not given, a check value that
    differs, a suite the profile does not have.
    """
    open_under = {key.label: ecb_decryptor(key.suite, key.key) for key in keys}
    spoken = frozenset(suites)
    fleet = accept_terminals(path, lambda row: _opened(row, open_under, spoken))
    if not fleet:
        raise TableError(str(path), [Fault(0, "lists no terminal")])
    return fleet


def _opened(row: TerminalRow, open_under: Mapping[str, Transform], spoken: frozenset[str]) -> Terminal:
    if row.suite not in spoken:
        raise ValueError(f"suite: the profile has none for {row.suite}")
    if not row.tmk:
        raise ValueError("tmk: a terminal without its master key cannot sign in")
    unwrap = open_under.get(row.kek)
    if unwrap is None:
        raise ValueError(f"kek: no transport key {row.kek!r} was given (--kek-file, {ENVIRONMENT})")
    tmk = unwrap(row.tmk)
    if not _checks(row.suite, tmk, row.kcv):
        raise ValueError(f"kcv: the master key has another check value under transport key {row.kek!r}")
    return Terminal(
        row.tid, row.mid, row.mcc, row.merchant_name, row.suite, row.district, tmk, row.model, row.capabilities,
        row.topology,
    )  # fmt: skip


def own_cards(path: str | Path, pin_file: str | Path | None = None) -> list[CardRow]:
    """The cards of cards.csv, with PINs from `pin_file` where one is given. Raises TableError, without card numbers."""
    cards = read_cards(path)
    if not cards:
        raise TableError(str(path), [Fault(0, "lists no card")])
    if pin_file is None:
        return cards
    pins = dict(read_table(pin_file, PIN_COLUMNS, lambda line, pan, pin: (pan, (line, pin))))
    known = {card.pan for card in cards}
    faults = Faults(pin_file)
    for pan, (line, _) in pins.items():
        if pan not in known:
            faults.add(line, f"pan: no such card in {path}")
    faults.end()
    return [replace(card, pin=pins[card.pan][1]) if card.pan in pins else card for card in cards]
