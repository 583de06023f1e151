"""What is burnt into one card: answers ready to be sent, keys, and certificates that are signed when first read.

An image is made of a profile and a person; it never changes (what changes is CardState) and serves any number of Icc.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from switch.crypto.cryptogram import CardKey
from switch.wire import tlv
from switch.wire.apdu import PPSE, PSE
from terminals.card.profile import CONTACT, Application, Path, Profile
from terminals.card.signing import Certificates, Signer
from terminals.card.state import PIN_TRIES, CardState
from terminals.card.words import NO_FILE, NO_RECORD, OK

_DIRECTORY_FILE: Final = 1
_EFFECTIVE: Final = bytes.fromhex("200101")
_NAME: Final = b"CARDHOLDER/TEST"
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Personal(NamedTuple):
    """The person's part of a card: `expiry` YYMM, `track2` with '=', `psn` two digits."""

    pan: str
    psn: str
    expiry: str
    track2: str
    pin: str
    institution: str

    def __repr__(self) -> str:
        return f"Personal(of {self.institution})"


class Image:
    """One card's image. `udk(suite, use)` gives the card's own key of 16 bytes, for 3des or sm4 and ac, mac or enc."""

    __slots__ = (
        "_directories", "_keys", "_udk", "applications", "personal", "pin_key", "pin_tries", "profile", "signer",
    )  # fmt: skip

    def __init__(
        self,
        profile: Profile,
        personal: Personal,
        udk: Callable[[str, str], bytes],
        signer: Signer,
        pin_key: str = "ac",
    ) -> None:
        self.profile = profile
        self.personal = personal
        self.signer = signer
        self.pin_key = pin_key
        self.pin_tries = PIN_TRIES
        self._udk = udk
        self._keys: dict[tuple[str, str], CardKey] = {}
        self._directories: dict[str, bytes] = {}
        self.applications = tuple(ImageApplication(self, spec) for spec in profile.applications)

    @property
    def pin(self) -> str:
        """The PIN the card was issued with."""
        return self.personal.pin

    @property
    def modulus_bytes(self) -> int:
        """The length of the card's RSA key, 0 without one; what an enciphered PIN is as long as."""
        return self.signer.modulus_bytes

    def fresh_state(self) -> CardState:
        """The state of the card as it leaves personalisation."""
        balances = [0, 0]
        for app in self.applications:
            for place, tag in enumerate(("9F79", "DF79")):
                balances[place] = app.spec.numbers.get(tag, balances[place])
        return CardState(balances[0], balances[1], self.pin_tries)

    def card_key(self, suite: str, use: str) -> CardKey:
        """The card's own key for a use, asked for at first need."""
        key = self._keys.get((suite, use))
        if key is None:
            key = CardKey(suite, self._udk(suite, use))
            self._keys[suite, use] = key
        return key

    def sign_dynamic(self, suite: str, atc: bytes, terminal: bytes, nonce: bytes) -> bytes:
        """9F4B of DDA and fDDA."""
        return self.signer.sign_dynamic(suite, atc, terminal, nonce)

    def sign_cda(
        self, suite: str, atc: bytes, cid: int, ac: bytes, exchanged: bytes, unpredictable: bytes, nonce: bytes
    ) -> bytes:
        """9F4B of CDA; `exchanged` are the values of the lists and the answer's elements, in order."""
        return self.signer.sign_cda(suite, atc, cid, ac, exchanged, unpredictable, nonce)

    def decipher(self, data: bytes) -> bytes:
        """A block enciphered under the card's public RSA key."""
        return self.signer.decipher(data)

    def directory(self, interface: str) -> bytes:
        """The answer to SELECT of the directory: PSE on contacts, PPSE in the field."""
        answer = self._directories.get(interface)
        if answer is None:
            if interface == CONTACT:
                inner = tlv.write([("84", PSE), ("A5", tlv.write([("88", bytes((_DIRECTORY_FILE,)))]))])
            else:
                entries = b"".join(tlv.write([("61", app.entry())]) for app in self._listed(interface))
                inner = tlv.write([("84", PPSE), ("A5", tlv.write([("BF0C", entries)]))])
            answer = tlv.write([("6F", inner)]) + OK
            self._directories[interface] = answer
        return answer

    def directory_record(self, file: int, number: int) -> bytes:
        """A record of the contact directory: one application each."""
        if file != _DIRECTORY_FILE:
            return NO_FILE
        listed = self._listed(CONTACT)
        if not 1 <= number <= len(listed):
            return NO_RECORD
        return tlv.write([("70", tlv.write([("61", listed[number - 1].entry())]))]) + OK

    def _listed(self, interface: str) -> list["ImageApplication"]:
        return [app for app in self.applications if interface in app.spec.interfaces]

    def __repr__(self) -> str:
        return f"Image({self.profile.name} of {self.personal.institution})"


class ImageApplication:
    """One application of one card: its answers are built once and then only sent."""

    __slots__ = ("_certificates", "_fci", "_options", "_records", "image", "product", "sequence", "spec", "track2")

    def __init__(self, image: Image, spec: Application) -> None:
        self.image = image
        self.spec = spec
        person = image.personal
        self.track2 = tlv.write([("57", _track2(person.track2))])
        self.sequence = tlv.write([("5F34", bytes.fromhex(person.psn))])
        self.product = tlv.write([("9F63", spec.data["9F63"])]) if "9F63" in spec.data else b""
        self._fci: dict[str, bytes] = {}
        self._options: dict[str, bytes] = {}
        self._records: dict[int, bytes] = {}
        self._certificates: dict[str, Certificates] = {}

    def entry(self) -> bytes:
        """What a directory says of the application."""
        spec = self.spec
        return tlv.write([("4F", spec.aid), ("50", spec.label), ("87", bytes((spec.priority,)))])

    def fci(self, interface: str) -> bytes:
        """The answer to SELECT, without status word."""
        answer = self._fci.get(interface)
        if answer is None:
            spec = self.spec
            inner = [("50", spec.label), ("87", bytes((spec.priority,)))]
            if spec.pdol[interface]:
                inner.append(("9F38", spec.pdol[interface]))
            inner += [("5F2D", b"zh"), ("9F11", b"\x01"), ("9F12", spec.label)]
            more = [(tag, bytes(log)) for tag, log in (("9F4D", spec.log), ("DF4D", spec.load_log)) if log[0]]
            if "DF61" in spec.objects:
                more.append(("DF61", spec.objects["DF61"]))
            if more:
                inner.append(("BF0C", tlv.write(more)))
            answer = tlv.write([("6F", tlv.write([("84", spec.aid), ("A5", tlv.write(inner))]))])
            self._fci[interface] = answer
        return answer

    def contact_options(self, path: Path) -> bytes:
        """The answer to GPO on contacts: format 80, AIP and AFL."""
        answer = self._options.get(path.name)
        if answer is None:
            answer = tlv.write([("80", path.aip + path.afl)]) + OK
            self._options[path.name] = answer
        return answer

    def has_file(self, file: int) -> bool:
        """Whether there is a file with this short identifier."""
        return any(key >> 8 == file for key in self.spec.records)

    def record(self, key: int, state: CardState) -> bytes | None:
        """A record with its status word, as scripts may have rewritten it; None if there is none."""
        if state.extras is not None and state.extras.records:
            rewritten = state.extras.records.get((self.spec.index, key))
            if rewritten is not None:
                return rewritten + OK
        answer = self._records.get(key)
        if answer is None:
            tags = self.spec.records.get(key)
            if tags is None:
                return None
            path = self.spec.path_of(key)
            answer = tlv.write([("70", tlv.write([item for tag in tags for item in self._element(tag, path)]))]) + OK
            self._records[key] = answer
        return answer

    def extended(self, answer: bytes, appended: bytes) -> bytes:
        """A record with more elements at its end."""
        body = answer[2:-2] if answer[1] < 0x80 else answer[3:-2]
        return tlv.write([("70", body + appended)]) + OK

    def _element(self, tag: str, path: Path | None) -> list[tuple[str, bytes]]:
        """An element of a record by name, by name and value (tag=hex), or nothing (92, 9F48 of a short key)."""
        name, written, value = tag.partition("=")
        if written:
            return [(name, bytes.fromhex(value))]
        own = self._personal(name)
        if own is None and name in self.spec.data:
            own = self.spec.data[name]
        if own is None and path is not None:
            own = self._certified(path).get(name)
        return [] if own is None else [(name, own)]

    def _personal(self, tag: str) -> bytes | None:
        person = self.image.personal
        if tag == "5A":
            return bytes.fromhex(person.pan + "F" * (len(person.pan) % 2))
        if tag == "57":
            return _track2(person.track2)
        if tag == "5F24":
            return bytes.fromhex(person.expiry) + bytes.fromhex(f"{_DAYS[int(person.expiry[2:]) - 1]:02d}")
        if tag == "5F34":
            return bytes.fromhex(person.psn)
        if tag == "5F20":
            return self.spec.data.get("5F20", _NAME)
        if tag == "5F25":
            return self.spec.data.get("5F25", _EFFECTIVE)
        return None

    def _certified(self, path: Path) -> Certificates:
        """The certificates of a path, signed now if nobody asked before."""
        made = self._certificates.get(path.name)
        if made is None:
            person = self.image.personal
            made = self.image.signer.certificates(path.suite, person.pan, person.expiry, self._static(path))
            self._certificates[path.name] = made
        return made

    def _static(self, path: Path) -> bytes:
        """The data that certificates vouch for: signed records (whole from SFI 11 on), then the AIP if 9F4A says so."""
        fresh = CardState()
        parts = []
        for key in path.signed:
            answer = self.record(key, fresh)
            assert answer is not None
            body = answer[:-2]
            if key >> 8 <= 10:
                body = body[2:] if body[1] < 0x80 else body[3:]
            parts.append(body)
        if self.spec.data.get("9F4A") == b"\x82":
            parts.append(path.aip)
        return b"".join(parts)


def _track2(track: str) -> bytes:
    digits = track.replace("=", "D")
    return bytes.fromhex(digits + "F" * (len(digits) % 2))
