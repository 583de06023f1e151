"""The card itself: bytes in, bytes out, and never an exception whatever comes in.

`Icc` holds what is lost with the power (what is selected, where the transaction stands) beside the lasting `CardState`.
Handlers of the larger commands live in genac, tap, script and logs; the table at the end joins them.
"""

from collections.abc import Callable
from typing import Final

from switch.crypto.cryptogram import SessionKey
from switch.wire.apdu import PPSE, PSE
from terminals.card import genac, logs, pin, script, tap
from terminals.card.image import Image, ImageApplication
from terminals.card.profile import CONTACT, CONTACTLESS, DDOL, INTERFACES, KEPT, Path
from terminals.card.state import CARD_BLOCKED, CardState
from terminals.card.words import (
    BLOCKED_FILE,
    CARD_LOCKED,
    DONE,
    IDLE,
    INITIATED,
    NO_DATA,
    NO_FILE,
    NO_RECORD,
    OK,
    ONLINE,
    SELECTED,
    TAP_PENDING,
    WRONG_CLASS,
    WRONG_DATA,
    WRONG_INSTRUCTION,
    WRONG_LENGTH,
    WRONG_ORDER,
    WRONG_PLACE,
    amount,
    bcd,
)

_DDOL_BYTES: Final = int(DDOL[4:6], 16)
_ATR: Final = bytes.fromhex("3B6D000080650849048653000000000000")
_UNCHANGED: Final[dict[int, bytes]] = {}


class Icc:
    """One card in a reader. `entropy(n)` gives n random bytes; `t0` makes it answer as over T=0 (61xx, GET RESPONSE).

    The state is kept up to date after each command, so it may be put back into its wallet at any moment.
    """

    __slots__ = (
        "_match", "_next", "_waiting", "app", "arqc", "atc", "auth", "challenge", "cvr1", "cvr2", "dda", "directory",
        "entropy", "first_ac", "gpo_data", "image", "interface", "on", "order", "path", "pending", "phase", "purse",
        "script_dead", "script_seen", "scripts_open", "state", "t0", "values", "written",
    )  # fmt: skip

    def __init__(
        self,
        image: Image,
        state: CardState,
        entropy: Callable[[int], bytes],
        interface: str = CONTACT,
        t0: bool = False,
    ) -> None:
        self.image = image
        self.state = state
        self.entropy = entropy
        self.t0 = t0
        self.interface = interface
        self.on = False
        self.phase = DONE
        self.reset(interface)

    def reset(self, interface: str | None = None) -> bytes:
        """Power or field on: everything that is not lasting is forgotten. The answer to reset (contact), else b""."""
        if interface is not None:
            if interface not in INTERFACES:
                raise ValueError("interface: contact or contactless")
            self.interface = interface
        self.on = self.interface in self.image.profile.interfaces
        self.app: ImageApplication | None = None
        self._match = b""
        self._next = 0
        self._waiting = b""
        self._forget()
        self.phase = IDLE
        return _ATR if self.on and self.interface == CONTACT else b""

    def _forget(self) -> None:
        """What a SELECT forgets: all of the transaction, where one has begun."""
        begun, self.phase = self.phase > SELECTED, SELECTED
        self.directory = False
        if not begun:
            return
        self.path: Path | None = None
        self.values: dict[str, bytes] = {}
        self.gpo_data = b""
        self.atc = b""
        self.purse = 1
        self.written: dict[int, bytes] = _UNCHANGED
        self.pending: tap.Pending | None = None
        self.auth: bool | None = None
        self.first_ac = b""
        self.arqc = b""
        self.cvr1 = 0
        self.cvr2 = 0
        self.dda = False
        self.challenge = b""
        self.order = b""
        self.scripts_open = False
        self.script_dead = False
        self.script_seen = False

    def tear(self) -> None:
        """The card leaves: no answer any more until `reset`. What was not committed never happened."""
        self.reset()
        self.on = False

    def transmit(self, command: bytes) -> bytes:
        """The answer to a command: data and status word. b"" from a card without power or on an interface it lacks."""
        if not self.on:
            return b""
        size = len(command)
        if size < 4:
            return WRONG_LENGTH
        cla, ins, p1, p2 = command[0], command[1], command[2], command[3]
        handler = _HANDLERS.get(cla << 8 | ins)
        if handler is None:
            return self._unknown(cla, ins, command)
        data = b""
        if size > 5:
            stop = 5 + command[4]
            if stop == 5 or (size != stop and size != stop + 1):
                return WRONG_LENGTH
            data = command[5:stop]
        if self.challenge and ins != 0x20:
            self.challenge = b""
        answer = handler(self, p1, p2, data)
        return self._over_t0(answer, command, data) if self.t0 else answer

    def _unknown(self, cla: int, ins: int, command: bytes) -> bytes:
        if self.t0 and cla == 0 and ins == 0xC0:
            return self._get_response(command)
        if cla in _CLASSES and ins not in _INSTRUCTIONS:
            return WRONG_INSTRUCTION
        return WRONG_CLASS

    def _over_t0(self, answer: bytes, command: bytes, data: bytes) -> bytes:
        """T=0 carries data one way only: what a command with data has to say waits for GET RESPONSE."""
        self._waiting = b""
        size = len(answer) - 2
        if size <= 0:
            return answer
        if data:
            self._waiting = answer
            return bytes((0x61, size & 0xFF))
        asked = command[4] if len(command) == 5 else 0
        return answer if asked in (0, size & 0xFF) else bytes((0x6C, size & 0xFF))

    def _get_response(self, command: bytes) -> bytes:
        waiting = self._waiting
        if not waiting:
            return WRONG_ORDER
        size = len(waiting) - 2
        asked = command[4] if len(command) == 5 else 0
        if asked not in (0, size & 0xFF):
            return bytes((0x6C, size & 0xFF))
        self._waiting = b""
        return waiting

    # What the rooms beside this one ask of the card.

    def session(self, use: str) -> SessionKey:
        """The session key for ac, mac or enc of this transaction."""
        assert self.path is not None
        return self.image.card_key(self.path.suite, use).session(self.state.atc)

    def element(self, tag: str) -> bytes | None:
        """A parameter of the selected application, as a script may have changed it."""
        app = self.app
        assert app is not None
        extras = self.state.extras
        if extras is not None:
            changed = extras.objects.get((app.spec.index, tag))
            if changed is not None:
                return changed
        return app.spec.objects.get(tag)

    def number(self, tag: str) -> int | None:
        """The same as a decimal number (amounts)."""
        app = self.app
        assert app is not None
        if self.state.extras is None:
            return app.spec.numbers.get(tag)
        value = self.element(tag)
        return None if value is None else amount(value)

    def byte(self, tag: str) -> int | None:
        """The same as a binary number (counters and their limits, switches)."""
        value = self.element(tag)
        return None if value is None else int.from_bytes(value, "big")

    @property
    def blocked(self) -> bool:
        """Whether the selected application is blocked."""
        return self.app is not None and bool(self.state.blocked >> self.app.spec.index & 1)


def _select(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    if p1 != 4 or p2 not in (0, 2):
        return WRONG_PLACE
    if not data or len(data) > 16:
        return WRONG_LENGTH
    if icc.state.flags & CARD_BLOCKED:
        return CARD_LOCKED
    if data == (PSE if icc.interface == CONTACT else PPSE) and p2 == 0:
        icc.app, icc._match = None, b""
        icc._forget()
        icc.directory = True
        return icc.image.directory(icc.interface)
    first = icc._next if p2 == 2 and data == icc._match else 0
    for place, app in enumerate(icc.image.applications):
        if place >= first and icc.interface in app.spec.interfaces and app.spec.aid.startswith(data):
            icc.app, icc._match, icc._next = app, data, place + 1
            icc._forget()
            fci = app.fci(icc.interface)
            return fci + BLOCKED_FILE if icc.state.blocked >> app.spec.index & 1 else fci + OK
    return NO_FILE


def _gpo(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    app, state = icc.app, icc.state
    if app is None:
        return WRONG_ORDER
    if not app.spec.payment:
        return WRONG_INSTRUCTION
    if icc.phase != SELECTED or state.atc >= 0xFFFF:
        return WRONG_ORDER
    if p1 or p2:
        return WRONG_PLACE
    layout = app.spec.layouts[icc.interface]
    if len(data) != layout.size + 2 or data[1] != layout.size:
        return WRONG_LENGTH
    if data[0] != 0x83:
        return WRONG_DATA
    body = data[2:]
    values = layout.values(body)
    if amount(values.get("9F02", b"")) is None:
        return WRONG_DATA
    state.atc += 1
    icc.atc = state.atc.to_bytes(2, "big")
    icc.values, icc.gpo_data = values, body
    if icc.interface == CONTACTLESS:
        return tap.gpo(icc, app, values)
    path = genac.choose_path(icc, app, values)
    if path is None:
        icc.phase = DONE
        return WRONG_ORDER
    icc.path, icc.phase = path, INITIATED
    return app.contact_options(path)


def _read_record(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    if p2 & 7 != 4:
        return WRONG_PLACE
    if data:
        return WRONG_LENGTH
    file, app = p2 >> 3, icc.app
    if app is None:
        return icc.image.directory_record(file, p1) if icc.directory and icc.interface == CONTACT else WRONG_ORDER
    if file in (app.spec.log[0], app.spec.load_log[0]) and file:
        return logs.read(icc, app, file, p1)
    if icc.phase < INITIATED and app.spec.payment:
        return WRONG_ORDER
    key = file << 8 | p1
    answer = icc.written.get(key) or app.record(key, icc.state)
    if answer is None:
        return NO_RECORD if app.has_file(file) else NO_FILE
    if icc.phase == TAP_PENDING and icc.path is not None and key == icc.path.last:
        tap.commit(icc, app)
    return answer


def _get_data(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    app = icc.app
    if app is None:
        return WRONG_ORDER
    if data:
        return WRONG_LENGTH
    name = bytes((p1, p2)) if p1 else bytes((p2,))
    tag = name.hex().upper()
    value = _kept(icc, tag) if tag in KEPT and app.spec.payment else icc.element(tag)
    if value is None:
        value = logs.format_of(app, tag)
    if value is None:
        return NO_DATA
    return name + bytes((len(value),)) + value + OK


def _kept(icc: Icc, tag: str) -> bytes | None:
    """The elements that live in the state; the purses only where the application has one."""
    app, state = icc.app, icc.state
    assert app is not None
    if tag in ("9F79", "9F5D", "DF79"):
        purse = "DF79" if tag == "DF79" else "9F79"
        return None if purse not in app.spec.objects else bcd(state.balance2 if purse == "DF79" else state.balance)
    if tag == "9F17":
        return bytes((state.pin_tries,))
    return (state.atc if tag == "9F36" else state.last_online).to_bytes(2, "big")


def _internal_authenticate(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    app, path = icc.app, icc.path
    if p1 or p2:
        return WRONG_PLACE
    if app is None or path is None or icc.phase != INITIATED or icc.interface != CONTACT or icc.dda:
        return WRONG_ORDER
    if not path.aip[0] & 0x20:
        return WRONG_ORDER
    if len(data) != _DDOL_BYTES:
        return WRONG_LENGTH
    icc.dda = True
    signed = icc.image.sign_dynamic(path.suite, icc.atc, data, icc.entropy(32))
    size = len(signed)
    return (bytes((0x80, size)) if size < 128 else bytes((0x80, 0x81, size))) + signed + OK


def _external_authenticate(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    if p1 or p2:
        return WRONG_PLACE
    if icc.phase != ONLINE or icc.auth is not None:
        return WRONG_ORDER
    if len(data) != 10:
        return WRONG_LENGTH
    return genac.external_authenticate(icc, data)


def _get_challenge(icc: Icc, p1: int, p2: int, data: bytes) -> bytes:
    if p1 or p2:
        return WRONG_PLACE
    if icc.app is None:
        return WRONG_ORDER
    if data:
        return WRONG_LENGTH
    icc.challenge = icc.entropy(8)
    return icc.challenge + OK


_CLASSES: Final = frozenset({0x00, 0x80, 0x84, 0x04})
_HANDLERS: Final[dict[int, Callable[[Icc, int, int, bytes], bytes]]] = {
    0x00A4: _select,
    0x80A8: _gpo,
    0x00B2: _read_record,
    0x80CA: _get_data,
    0x80AE: genac.generate_ac,
    0x0088: _internal_authenticate,
    0x0082: _external_authenticate,
    0x0020: pin.verify,
    0x0084: _get_challenge,
    0x805A: logs.prove,
    0x04DA: script.put_data,
    0x04DC: script.update_record,
    0x841E: script.block_application,
    0x8418: script.unblock_application,
    0x8416: script.block_card,
    0x8424: script.change_pin,
}
_INSTRUCTIONS: Final = frozenset(key & 0xFF for key in _HANDLERS)
