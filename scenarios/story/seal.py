"""Fields by their place in a message (39, 55.9F36, 60[8:11]), messages written anew, and their MACs."""

import re
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from scenarios.story.witness import TERMINAL, Message, element
from switch.crypto.errors import CryptoError
from switch.wire import tlv
from switch.wire.errors import WireError
from switch.wire.framing import NetworkHeader
from switch.wire.mab import network_mab, pos_mab

if TYPE_CHECKING:
    from scenarios.story.stage import Stage

_PLACE = re.compile(r"([0-9]{1,3})(?:\.([0-9A-Fa-f]+)|\[(-?[0-9]*):(-?[0-9]*)\])?")
POS_MAC, NETWORK_MAC = 64, 128
_ICC: Final = 55
_NO_TEXT: Final = (52, _ICC, 64, 96)
"""Fields that never hold text: their hexadecimal needs no 0x, so that what was captured can be put in again."""


def split_place(place: str) -> tuple[int, str, slice | None]:
    """A place's DE, tag ("" for none) and part (None for the whole)."""
    found = _PLACE.fullmatch(place)
    if found is None:
        raise ValueError(place)
    de, tag, first, last = found.groups()
    if first is None:
        return int(de), (tag or "").upper(), None
    return int(de), "", slice(int(first) if first else None, int(last) if last else None)


def shown(value: Any) -> str:
    """A field's value as text: binary in hexadecimal, upper case."""
    return value.hex().upper() if isinstance(value, bytes) else str(value)


def field_value(message: Message, place: str) -> str | None:
    """The value at a place of a message, None where it is absent."""
    de, tag, part = split_place(place)
    value = message.fields.get(de)
    if value is None:
        return None
    if tag:
        value = element(value if isinstance(value, bytes) else b"", tag)
        return None if value is None else value.hex().upper()
    return shown(value) if part is None else shown(value)[part]


def latin_text(message: Message, place: str) -> str | None:
    """The same of a binary field, a character a byte; None for other fields and tags."""
    de, tag, part = split_place(place)
    value = message.fields.get(de)
    if not isinstance(value, bytes) or tag:
        return None
    text = value.decode("latin-1")
    return text if part is None else text[part]


def plain_text(message: Message, place: str) -> str | None:
    """The same where it is printable ASCII, also of a tag; else None."""
    de, tag, _ = split_place(place)
    value = element(message.fields.get(de) or b"", tag) if tag else None
    text = latin_text(message, place) if value is None else value.decode("latin-1")
    return text if text is not None and text.isascii() and text.isprintable() else None


def set_field(message: Message, fields: MutableMapping[int, Any], place: str, text: str) -> None:
    """Put a value at a place of `fields`; 0x... is binary. Binary fields take text too."""
    de, tag, part = split_place(place)
    binary = message.codec.dialect.spec[str(de)]["kind"] == "b"
    value: Any = bytes.fromhex(text.removeprefix("0x")) if text.startswith("0x") or de in _NO_TEXT else text
    if tag:
        fresh = value if isinstance(value, bytes) else bytes.fromhex(text)
        items = [(name, fresh if name == tag else old) for name, old in tlv.read(fields.get(_ICC, b""))]
        if all(name != tag for name, _ in items):
            items.append((tag, fresh))
        fields[_ICC] = tlv.write(items)
        return
    if part is not None:
        whole = shown(fields.get(de, ""))
        start, stop, _ = part.indices(len(whole))
        text = whole[:start] + text + whole[stop:]
        value = bytes.fromhex(text) if binary else text
    fields[de] = value.encode("gbk") if binary and isinstance(value, str) else value


class Seals:
    """The MACs of a story's messages, by the keys of their other side."""

    def __init__(self, stage: "Stage") -> None:
        self._stage = stage

    def verdict(self, message: Message) -> str:
        """right, wrong or none; "" where nobody can say."""
        if message.unread or message.frame is None:
            return ""
        try:
            if message.leg == TERMINAL:
                proof = message.fields.get(POS_MAC)
                if proof is None:
                    return "none"
                pinpad = self._stage.booths[message.name].memory.pinpad
                return "" if not pinpad.ready else _told(pinpad.verify(pos_mab(message.frame.body), proof))
            proof = message.fields.get(NETWORK_MAC)
            if proof is None:
                return "none"
            made = self.line_mac(message.leg, message.mti, message.fields)
            return "" if made is None or message.mti[1:2] == "8" else _told(made == proof)
        except (WireError, CryptoError):
            return ""

    def line_mac(self, line: str, mti: str, fields: Mapping[int, Any]) -> str | None:
        """DE128 under the line's MAC key as its far side has it; None without one."""
        hsm, label = self._stage.ground.hsms[line], f"zak/{line}"
        if label not in hsm:
            return None
        section = self._stage.ground.networks[line].keys
        return hsm.mac(label, section.mac, network_mab(mti, fields)).decode()

    def pos_mac(self, name: str, body: bytes) -> bytes:
        """DE64 under the terminal's MAC key; zeros without one."""
        pinpad = self._stage.booths[name].memory.pinpad
        return pinpad.mac(pos_mab(body)) if pinpad.ready else bytes(8)

    def body(self, leg: str, name: str, mti: str, fields: dict[int, Any], how: str) -> bytes:
        """A body of these fields with its MAC: keep, right, wrong, none. Raises EncodeError."""
        codec = self._stage.witness.codecs[leg]
        if leg == TERMINAL:
            return self._pos_body(codec, name, mti, dict(fields), how)
        fields = dict(sorted(fields.items()))
        if how == "none":
            fields.pop(NETWORK_MAC, None)
        elif how in ("right", "wrong"):
            fields.pop(NETWORK_MAC, None)
            made = self.line_mac(leg, mti, fields) or "00000000"
            fields[NETWORK_MAC] = made if how == "right" else _spoilt(made)
        return codec.encode(mti, fields)

    def _pos_body(self, codec: Any, name: str, mti: str, fields: dict[int, Any], how: str) -> bytes:
        if how == "none":
            fields.pop(POS_MAC, None)
        elif how in ("right", "wrong"):
            fields[POS_MAC] = bytes(8)
        body: bytes = codec.encode(mti, dict(sorted(fields.items())), self._stage.line.pads)
        if how not in ("right", "wrong"):
            return body
        made = self.pos_mac(name, body)
        return body[:-8] + (made if how == "right" else bytes((made[0] ^ 1,)) + made[1:])


def _told(right: bool) -> str:
    return "right" if right else "wrong"


def _spoilt(mac: str) -> str:
    return ("1" if mac[0] == "0" else "0") + mac[1:]


def resealed(seals: Seals, message: Message, fields: dict[int, Any], how: str) -> bytes:
    """A message written anew with other fields. One that had no MAC gets none. Raises EncodeError."""
    mac = POS_MAC if message.leg == TERMINAL else NETWORK_MAC
    if mac not in message.fields and how == "right":
        how = "keep"
    body = seals.body(message.leg, message.name, message.mti, fields, how)
    frame = message.frame
    header = frame.header if message.leg == TERMINAL else NetworkHeader.parse(frame.header).build(len(body))
    return message.framing.wrap(body, header, frame.tpdu)
