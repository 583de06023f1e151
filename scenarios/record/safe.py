"""A message as it may be kept: test cards for cards; no PIN block, MAC, key, check value or person's name in it."""

import re
from typing import Any, Final

from scenarios.record.pans import PanMap
from scenarios.record.story import Told
from scenarios.sandwich.keyring import Keyring
from switch.wire import tlv
from switch.wire.errors import WireError
from switch.wire.message import Message
from switch.wire.private import Usage, read_usages, write_usages
from switch.wire.private_62 import read_sm_pin_62
from switch.wire.private_pos import read_details, write_details

WRONG_PIN: Final = ("55", "38", "75")
_TRACKS: Final = (35, 36, 45)
_MACS: Final = {"pos": 64, "network": 128}
_PIN_USAGES: Final = ("SM", "NP")
_PERSONAL_TAGS: Final = ("5F20", "9F0B", "9F61", "9F1F", "9F20")
_SEARCHED: Final = (44, 46, 47, 48, 54, 56, 57, 58, 59, 60, 61, 62, 63, 102, 103, 104, 116, 117, 121, 122, 123)


class Safe:
    """Makes messages of one link safe. `keyring` knows the terminals' master keys, for as many as there are; `told_of`
    which they are."""

    def __init__(self, dialect: str, pans: PanMap, keyring: Keyring | None = None, tids: frozenset[str] = frozenset()):
        self.dialect = dialect
        self.pans = pans
        self._keyring = keyring
        self._tids = tids

    def request(self, message: Message, header: bytes, notes: list[str]) -> Told:
        """A request; what could not be done is added to `notes`. Whether its PIN was right is settled by `settle`."""
        return self._told(message, header, notes)

    def reply(self, message: Message, header: bytes, notes: list[str]) -> Told:
        """A reply. A sign-in's keys are learned first, so that the next messages' MACs can be told."""
        tid = str(message.get(41, ""))
        brings = message.mti == "0810" and message.get(39) == "00" and 62 in message.fields and self.dialect == "pos"
        brings = brings and message.get(60, "")[8:11] in ("001", "003", "004", "005", "006")
        if brings and self._keyring is not None and tid in self._tids:
            fault = self._keyring.sign_in(tid, message.fields[62])
            if fault:
                notes.append(f"the working keys of this sign-in cannot be opened: {fault}")
        told = self._told(message, header, notes)
        told.keys = brings
        if brings:
            told.fields[62] = bytes(len(told.fields[62]))
        return told

    def settle(self, request: Told, reply: Told | None) -> None:
        """The PIN was wrong where the answer says so, else it was right."""
        if request.pin:
            request.pin = "wrong" if reply is not None and reply.fields.get(39) in WRONG_PIN else "right"

    def _told(self, message: Message, header: bytes, notes: list[str]) -> Told:
        told = Told(message.mti, dict(message.fields), header.hex(), dict(message.pads or {}))
        fields = told.fields
        self._mac(message, told, notes)
        self._cards(message, told, notes)
        self._pins(told)
        if self.dialect == "network" and message.mti == "0800" and fields.get(70) == "101":
            told.keys = True
            for de in (48, 96):
                if de in fields:
                    fields[de] = bytes(len(fields[de])) if isinstance(fields[de], bytes) else "0" * len(fields[de])
        if self.dialect == "network" and 61 in fields:
            # Identity documents and check values of the card stand here.
            fields[61] = (
                re.sub(rb"\d", b"0", fields[61]) if isinstance(fields[61], bytes) else re.sub(r"\d", "0", fields[61])
            )
        for de in _SEARCHED:
            if de in fields:
                fields[de] = self._searched(fields[de])
        return told

    def _mac(self, message: Message, told: Told, notes: list[str]) -> None:
        de = _MACS[self.dialect]
        if de not in told.fields:
            return
        tid = str(message.get(41, ""))
        if self.dialect == "pos" and self._keyring is not None and tid in self._tids:
            told.mac = self._keyring.front_mac(tid, message.raw, message.fields)
        else:
            told.mac = "no key"
        if told.mac == "no key":
            notes.append(f"{message.mti}: MAC not checked, no key of {tid or 'this link'}")
        value = told.fields[de]
        told.fields[de] = bytes(len(value)) if isinstance(value, bytes) else "0" * len(value)

    def _cards(self, message: Message, told: Told, notes: list[str]) -> None:
        fields = told.fields
        if 2 in fields:
            fields[2] = self.pans.test(fields[2])
        for de in _TRACKS:
            if de in fields:
                self._track(de, message, told, notes)
        if 55 in fields:
            try:
                fields[55] = self._icc(fields[55])
            except WireError as error:
                notes.append(f"DE55 cannot be read and is left out: {error}")
                del fields[55]
        if message.mti == "0320" and 48 in fields and self.dialect == "pos":
            try:
                rows = read_details(fields[48])
                fields[48] = write_details(row._replace(pan=self.pans.test(row.pan)) for row in rows)
            except WireError:
                pass

    def _track(self, de: int, message: Message, told: Told, notes: list[str]) -> None:
        fields = told.fields
        track: str | None = fields[de]
        if fields.get(53, "000")[2:3] == "1":
            tid = str(message.get(41, ""))
            known = self._keyring is not None and tid in self._tids
            track = self._keyring.front_track(tid, message.fields, de) if known and self._keyring else None
            if track is None:
                notes.append(f"DE{de} is encrypted and its key is not known: left out")
                del fields[de]
                return
            told.sealed = True
        assert track is not None
        if self.pans.keep:
            fields[de] = track
            return
        pan, mark, rest = re.match(r"(?:99)?(\d*)([D=^]?)(.*)", track, re.DOTALL).groups()  # type: ignore[union-attr]
        if de != 35 or not mark:
            notes.append(f"DE{de} is left out: a test card has none like it")
            del fields[de]
            return
        fields[de] = self.pans.test(pan) + mark + rest[:7] + re.sub(r"\d", "0", rest[7:])

    def _icc(self, data: bytes) -> bytes:
        items = []
        for tag, value in tlv.read(data):
            if tag in _PERSONAL_TAGS and not self.pans.keep:
                value = bytes(len(value)) if tag != "5F20" else b" " * len(value)
            elif tag == "5A":
                value = _packed(self.pans.test(value.hex().rstrip("fF")))
            elif tag == "57" and not self.pans.keep:
                pan, _, rest = value.hex().upper().partition("D")
                value = _packed(f"{self.pans.test(pan)}D{rest[:7]}" + "0" * len(rest[7:].rstrip("F")))
            items.append((tag, value))
        return tlv.write(items)

    def _pins(self, told: Told) -> None:
        fields = told.fields
        if any(fields.get(52, b"")):
            told.pin = "right"
            fields[52] = bytes(len(fields[52]))
        for de in (48, 62, 63):
            value = fields.get(de)
            if not isinstance(value, bytes):
                continue
            if de == 62 and fields.get(53, "0")[:1] in ("1", "2") and value[:2] == b"\0\x10":
                told.pin = "right"
                fields[62] = value[:2] + bytes(16) + value[18:]
                read_sm_pin_62(fields[62])
                continue
            try:
                usages = read_usages(de, value)
            except WireError:
                continue
            if any(usage.tag in _PIN_USAGES for usage in usages):
                told.pin = "right"
                fields[de] = write_usages(
                    de,
                    tuple(
                        Usage(usage.tag, bytes(len(usage.data)) if usage.tag in _PIN_USAGES else usage.data)
                        for usage in usages
                    ),
                )

    def _searched(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return self.pans.in_text(value.decode("latin-1")).encode("latin-1")
        return self.pans.in_text(value)


def _packed(digits: str) -> bytes:
    return bytes.fromhex(digits + "F" * (len(digits) % 2))
