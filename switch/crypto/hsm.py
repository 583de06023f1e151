"""A software HSM: keys by label, each held only as cipher text under the local master key (LMK, 主密钥).

What is kept of a key is a `KeyRecord`; label, usage and suite are bound to its cipher text, so a record moved to
another label, or declared to be of another kind, does not open. Working with a key needs a cipher context, which is
made from the record when first asked for and kept among a bounded number of others: tens of thousands of terminals
share a few thousand contexts. Nothing here holds, shows, writes or pickles a clear key.

A key serves one purpose (`purposes`). One thread uses one Hsm.
"""

import hmac
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from switch.crypto import numbers, pinblock, script
from switch.crypto.block import Transform, adjust_parity, encrypt_once, kcv, suite_of
from switch.crypto.cryptogram import IssuerKey, SessionKey
from switch.crypto.errors import CryptoError, KcvMismatch, KeyBlockError, KeyNotFound, MacMismatch
from switch.crypto.mac import ALGORITHMS
from switch.crypto.purposes import CARRIES, PURPOSES, PURPOSES_OF, USAGES, PinCipher
from switch.crypto.records import KeyRecord, Records
from switch.crypto.track import open_track

__all__ = ["CARRIES", "USAGES", "Exported", "Hsm", "Issued", "KeyRecord"]

NONCE = 12


class Exported(NamedTuple):
    """A key on its way out: cipher text under a key-encrypting key (ECB), and its check value of 4 bytes."""

    wrapped: bytes
    kcv: bytes


class Issued(NamedTuple):
    """A fresh key: cipher text under its terminal's master key (ECB), and its record."""

    wrapped: bytes
    record: KeyRecord


def _cut(data: bytes, lengths: Iterable[int]) -> list[bytes]:
    """Parts of these lengths, one after another."""
    parts = BytesIO(data)
    return [parts.read(length) for length in lengths]


def _binding(label: str, usage: str, suite: str) -> bytes:
    return "\0".join(("shoudan key", label, usage, suite)).encode()


class Hsm:
    """Keys by label under one LMK of 32 bytes.

    `entropy(n)` gives n random bytes, for keys and nonces; `contexts_max` bounds the ready contexts.
    Errors: KeyNotFound, KcvMismatch, PinFormatError, KeyBlockError, and CryptoError for a key used for another purpose.
    """

    __slots__ = ("_contexts", "_contexts_max", "_crowded", "_entropy", "_lmk", "_nonces", "_records", "_told")

    def __init__(self, lmk: bytes, entropy: Callable[[int], bytes], contexts_max: int = 8192) -> None:
        if len(lmk) != 32:
            raise CryptoError(f"a local master key has 32 bytes, not {len(lmk)}")
        if contexts_max < 1:
            raise CryptoError("an Hsm keeps one context at least")
        self._lmk = AESGCM(lmk)
        self._entropy = entropy
        self._nonces: list[bytes] = []
        self._told: Callable[[str], object] = lambda label: None
        self._records = Records()
        self._contexts: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._contexts_max = contexts_max
        self._crowded = False

    def __repr__(self) -> str:
        return f"Hsm({len(self._records)} keys)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Hsm is not to be pickled or copied; store its records")

    # Keys in and out

    def generate(self, label: str, usage: str, suite: str, length: int = 16) -> None:
        """A fresh random key (DES keys with odd parity and unlike halves); it replaces one of the same usage."""
        self._put(label, usage, suite, self._fresh(suite, self._entropy(length)))

    def issue(self, owner: str, suite: str, wanted: Iterable[tuple[str, int]]) -> list[Issued]:
        """Fresh keys of one terminal, a usage and a length each, given out under its master key.

        `generate` and `export` of each in one; the context is thrown away, nobody wants it before the next sign-in.
        """
        usages, lengths = zip(*wanted, strict=True)
        master = self._carrier(f"tmk/{owner}", *usages)
        if master.suite != suite:
            raise CryptoError(f"key {master.label!r} is of {master.suite} and carries no keys of {suite}")
        keys = [self._fresh(suite, drawn) for drawn in _cut(self._entropy(sum(lengths)), lengths)]
        wrapped = _cut(encrypt_once(suite, self._clear(master), b"".join(keys)), lengths)
        records = [self._put(f"{usage}/{owner}", usage, suite, key) for usage, key in zip(usages, keys, strict=True)]
        return list(map(Issued, wrapped, records))

    def _fresh(self, suite: str, drawn: bytes) -> bytes:
        """A key of these random bytes."""
        length = len(drawn)
        if length not in suite_of(suite).lengths:
            raise CryptoError(f"no {suite} key has {length} bytes")
        if suite != "3des":
            return drawn
        key = adjust_parity(drawn)
        while length > 8 and key[:8] == key[8:16]:
            key = adjust_parity(self._entropy(length))
        return key

    def import_clear(self, label: str, usage: str, suite: str, *components: bytes) -> None:
        """The key ceremony: the one door for clear values, of which the key is the exclusive-or.

        Two or three components, each in one custodian's hands, for a TMK or ZMK; a single one for tests and tools.
        """
        if not components or len({len(component) for component in components}) != 1:
            raise CryptoError("the components of a key are of one length")
        value = 0
        for component in components:
            value ^= int.from_bytes(component, "big")
        self._put(label, usage, suite, value.to_bytes(len(components[0]), "big"))

    def import_key(
        self, label: str, usage: str, suite: str, wrapped: bytes, under: str, kcv: bytes | None = None
    ) -> None:
        """Take in a key that arrived in ECB under the key-encrypting key `under`, of 8, 16 or 24 bytes.

        A DES MAK of 8 bytes and 8 zero bytes, as DE62 carries it, is taken as single-length.
        `kcv`: 3 to 8 leading bytes of the check value; KcvMismatch leaves the label as it was.
        """
        self._carrier(under, usage)
        if suite == "3des" and usage == "mak" and len(wrapped) == 16 and not any(wrapped[8:]):
            wrapped = wrapped[:8]
        self._put(label, usage, suite, self._context(under, "unwrap")(wrapped), kcv)

    def export(self, label: str, under: str) -> Exported:
        """The key in ECB under `under`, of its own length (a single-length MAK: 8 bytes), and its check value."""
        record = self.record(label)
        self._carrier(under, record.usage)
        return Exported(self._context(under, "wrap")(self._clear(record)), record.kcv)

    def _carrier(self, under: str, *usages: str) -> KeyRecord:
        """The key-encrypting key that may carry such keys."""
        carrier = self.record(under)
        for usage in usages:
            if usage not in CARRIES.get(carrier.usage, ()):
                raise CryptoError(f"key {under!r} is a {carrier.usage} and carries no {usage}")
        return carrier

    def _put(self, label: str, usage: str, suite: str, key: bytes, sent: bytes | None = None) -> KeyRecord:
        """Keep a key, whose check value `sent` must begin."""
        if usage not in USAGES:
            raise CryptoError(f"unknown key usage {usage!r}")
        if not (label and label.isprintable() and len(label) <= 64):
            raise CryptoError("a key label has 1 to 64 printable characters")
        if usage == "store" and suite != "aes":
            raise CryptoError("a store key is an aes key")
        if usage == "imk":
            IssuerKey(suite, key)  # refuses what no card key can be derived from
        there = self._records.get(label)
        if there is not None and there.usage != usage:
            raise CryptoError(f"key {label!r} is a {there.usage}; forget it before it becomes a {usage}")
        value = kcv(suite, key, 8)
        if sent is not None and not (3 <= len(sent) <= 8 and hmac.compare_digest(value[: len(sent)], sent)):
            raise KcvMismatch(label)
        nonce = self._nonce()
        wrapped = nonce + self._lmk.encrypt(nonce, key, _binding(label, usage, suite))
        record = KeyRecord(label, usage, suite, wrapped, value[:4])
        self._keep(record)
        return record

    # Records

    def record(self, label: str) -> KeyRecord:
        """What may be stored of a key; KeyNotFound."""
        record = self._records.get(label)
        if record is None:
            raise KeyNotFound(label)
        return record

    def restore(self, record: Iterable[Any]) -> None:
        """Take back a record (also as a plain tuple); KeyBlockError unless it opens as what it says under this LMK."""
        fields = tuple(record)
        if tuple(map(type, fields)) != (str, str, str, bytes, bytes):
            raise KeyBlockError("a key record has a label, a usage and a suite as text, wrapped key and kcv as bytes")
        taken = KeyRecord(*fields)
        if taken.usage not in USAGES or kcv(taken.suite, self._clear(taken)) != taken.kcv:
            raise KeyBlockError(f"record of key {taken.label!r} contradicts itself")
        self._keep(taken)

    def labels(self) -> Iterator[str]:
        """All labels: a terminal's together, all others before them in the order in which they came."""
        return iter(tuple(self._records))

    def kcv(self, label: str) -> bytes:
        """The check value of a key, 4 bytes."""
        return self.record(label).kcv

    def copy(self, label: str, to: str) -> None:
        """Keep a key under a second label too, as the one before it while a new key comes into force."""
        record = self.record(label)
        self._put(to, record.usage, record.suite, self._clear(record))

    def forget(self, label: str) -> None:
        """Drop a key; KeyNotFound."""
        usage = self.record(label).usage
        self._records.drop(label)
        self._drop_contexts(label, usage)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all records as JSON lines (hex for bytes), whole or not at all, readable by the owner only."""
        target = Path(path)
        unfinished = target.with_name(target.name + ".new")
        lines = (
            json.dumps({**record._asdict(), "wrapped": record.wrapped.hex(), "kcv": record.kcv.hex()})
            for record in map(self.record, self._records)
        )
        with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        lmk: bytes,
        entropy: Callable[[int], bytes],
        contexts_max: int = 8192,
    ) -> Self:
        """An Hsm with the records of a saved file; KeyBlockError with the line for another LMK or a damaged file."""
        hsm = cls(lmk, entropy, contexts_max)
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = json.loads(line.decode("utf-8"))
                    wrapped, check = bytes.fromhex(row["wrapped"]), bytes.fromhex(row["kcv"])
                    hsm.restore((row["label"], row["usage"], row["suite"], wrapped, check))
                except KeyBlockError as error:
                    raise KeyBlockError(f"line {number} of the key file: {error}") from None
                except UnicodeDecodeError:
                    raise KeyBlockError(f"line {number} is no text: not a key file") from None
                except (ValueError, KeyError, TypeError):
                    raise KeyBlockError(f"line {number} of the key file is not a key record") from None
        return hsm

    def __contains__(self, label: str) -> bool:
        return label in self._records

    def __len__(self) -> int:
        return len(self._records)

    def _keep(self, record: KeyRecord) -> None:
        self._records.put(record)
        self._drop_contexts(record.label, record.usage)

    def _drop_contexts(self, label: str, usage: str) -> None:
        for purpose in PURPOSES_OF[usage]:
            self._contexts.pop((label, purpose), None)
        self._told(label)

    def tell(self, changed: Callable[[str], object]) -> None:
        """Call `changed` with the label of every key that is replaced or forgotten from now on: whoever has taken a
        function of it (`mac_function`, `pin_translator`) is to let go of that."""
        self._told = changed

    def _clear(self, record: KeyRecord) -> bytes:
        nonce, sealed = record.wrapped[:NONCE], record.wrapped[NONCE:]
        try:
            return self._lmk.decrypt(nonce, sealed, _binding(record.label, record.usage, record.suite))
        except (InvalidTag, ValueError):
            raise KeyBlockError(f"key {record.label!r} does not open under this local master key") from None

    def _context(self, label: str, purpose: str) -> Any:
        """The ready context of a key for one purpose: 0.2 us when it is at hand, 6 to 15 us when it is made."""
        where = (label, purpose)
        contexts = self._contexts
        context = contexts.get(where)
        if context is not None:
            if self._crowded:
                contexts.move_to_end(where)
            return context
        record = self.record(label)
        usages, make = PURPOSES[purpose]
        if record.usage not in usages:
            raise CryptoError(f"key {label!r} is a {record.usage}, not one to {purpose} with")
        context = make(record.suite, self._clear(record))
        contexts[where] = context
        # Which context was used last matters only when some must soon go (0.1 us a use, seven uses a message).
        self._crowded = len(contexts) * 2 > self._contexts_max
        if len(contexts) > self._contexts_max:
            contexts.popitem(last=False)
        return context

    # Work with keys

    def mac(self, label: str, algorithm: str, data: bytes) -> bytes:
        """The 8 ASCII characters of DE64 (`cup-ecb`) or DE128 (`x9.9`, `x9.19`, `sm4-cbc`, `network`) over `data`."""
        # A ready context was made for a known algorithm: only where there is none, the name is looked at.
        context = self._contexts.get((label, algorithm))
        if context is None:
            context = self.mac_function(label, algorithm)
        elif self._crowded:
            self._contexts.move_to_end((label, algorithm))
        mac: bytes = context(data)
        return mac

    def mac_function(self, label: str, algorithm: str) -> Callable[[bytes], bytes]:
        """What `mac` computes with, for who makes many under one key (0.6 us a MAC)."""
        if algorithm not in ALGORITHMS:
            raise CryptoError(f"unknown MAC algorithm {algorithm!r}")
        return cast(Transform, self._context(label, algorithm))

    def verify_mac(self, label: str, algorithm: str, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is ours, compared in constant time."""
        return hmac.compare_digest(self.mac(label, algorithm, data), mac)

    def check_mac(self, label: str, algorithm: str, data: bytes, mac: bytes) -> None:
        """`verify_mac` for those who would rather have MacMismatch."""
        if not self.verify_mac(label, algorithm, data, mac):
            raise MacMismatch("MAC does not match")

    def translate_pin(
        self, from_label: str, from_format: str, to_label: str, to_format: str, pan: str, block: bytes
    ) -> bytes:
        """The PIN block again, under another key and in another format, of the same PAN.

        A block that holds the PAN is not turned into one without it (ISO 9564-1): such blocks of many cards could be
        compared. PinFormatError where the deciphered block is not of its format; then 99 is the answer.
        """
        return self.pin_translator(from_label, from_format, to_label, to_format)(pan, block)

    def pin_translator(
        self, from_label: str, from_format: str, to_label: str, to_format: str
    ) -> Callable[[str, bytes], bytes]:
        """`translate_pin` of any PAN and block between two keys, for who translates many (1 us a block)."""
        if pinblock.format_of(from_format).with_pan and not pinblock.format_of(to_format).with_pan:
            raise CryptoError(f"no translation from {from_format} to {to_format}: the PAN would be lost")
        decrypt = self._pin_cipher(from_label, "open PINs", from_format)
        encrypt = self._pin_cipher(to_label, "seal PINs", to_format)
        size, decode, same = pinblock.format_of(from_format).size, pinblock.decode, to_format == from_format

        def translate(pan: str, block: bytes) -> bytes:
            if len(block) != size:
                raise pinblock.wrong_size(from_format, block)
            clear = decrypt(block)
            pin = decode(from_format, clear, pan)
            # The same PIN of the same PAN is the same block (1.2 us).
            return encrypt(clear if same else pinblock.encode(to_format, pin, pan))

        return translate

    def _pin_cipher(self, label: str, purpose: str, fmt: str) -> Transform:
        cipher: PinCipher = self._context(label, purpose)
        if cipher.block != pinblock.format_of(fmt).size:
            raise CryptoError(f"key {label!r} has blocks of {cipher.block} bytes, format {fmt} has others")
        return cipher.transform

    def _open_pin(self, label: str, fmt: str, pan: str, block: bytes) -> tuple[str, bytes]:
        """The PIN of a block, and the block in clear."""
        decrypt = self._pin_cipher(label, "open PINs", fmt)
        if len(block) != pinblock.format_of(fmt).size:
            raise pinblock.wrong_size(fmt, block)
        clear = decrypt(block)
        return pinblock.decode(fmt, clear, pan), clear

    def pin_reference(self, label: str, pan: str, pin: str) -> bytes:
        """What an issuer keeps instead of a PIN: 16 bytes, a digest of PAN and PIN under the pvk `label`."""
        pinblock.encode("plain", pin)
        return cast(bytes, self._context(label, "refer to PINs")(f"{pan}:{pin}".encode()))

    def pin_matches(self, label: str, fmt: str, pan: str, block: bytes, reference: bytes, pvk: str = "pvk") -> bool:
        """Whether the PIN in `block`, under PIN key `label`, is the one `reference` was made of under the key `pvk`."""
        pin, _ = self._open_pin(label, fmt, pan, block)
        return hmac.compare_digest(self.pin_reference(pvk, pan, pin), reference)

    def refer_to_pin(self, label: str, fmt: str, pan: str, block: bytes, pvk: str = "pvk") -> bytes:
        """The reference of the PIN in `block`, under PIN key `label`, for an issuer to keep: the PIN stays inside."""
        pin, _ = self._open_pin(label, fmt, pan, block)
        return self.pin_reference(pvk, pan, pin)

    def issuer_key(self, label: str) -> IssuerKey:
        """An imk ready to derive cards' keys, none of which comes out of it; the same object while it is at hand."""
        key: IssuerKey = self._context(label, "derive")
        return key

    def pin_for_card(self, label: str, fmt: str, pan: str, block: bytes, session: SessionKey, key_part: bytes) -> bytes:
        """The PIN in `block`, under PIN key `label`, enciphered for a chip's PIN change: 16 bytes; see `script`."""
        pin, _ = self._open_pin(label, fmt, pan, block)
        return script.enciphered(session, script.pin_block(key_part, pin))

    def decrypt_track(self, label: str, track: str) -> str:
        """The clear track of DE35 or DE36 under a tdk; TrackFormatError."""
        suite = self.record(label).suite
        return open_track(self._context(label, "open tracks"), suite_of(suite).block, track)

    def seal(self, label: str, clear: bytes, aad: bytes) -> bytes:
        """Data for storage: nonce, AES-GCM cipher text and tag under a store key, with `aad` bound to it."""
        nonce = self._nonce()
        return cast(bytes, nonce + self._context(label, "seal").encrypt(nonce, clear, aad))

    def _nonce(self) -> bytes:
        # Drawn 64 at a time: one system call for all of them (1.8 us a nonce).
        if not self._nonces:
            drawn = self._entropy(64 * NONCE)
            self._nonces = [drawn[at : at + NONCE] for at in range(0, 64 * NONCE, NONCE)]
        return self._nonces.pop()

    def open(self, label: str, sealed: bytes, aad: bytes) -> bytes:
        """What `seal` took; CryptoError for another key, another `aad`, or changed bytes."""
        context = self._context(label, "seal")
        try:
            clear: bytes = context.decrypt(sealed[:NONCE], sealed[NONCE:], aad)
        except (InvalidTag, ValueError):
            raise CryptoError(f"sealed data does not open under key {label!r}") from None
        return clear

    def number_sealer(self, label: str) -> numbers.Sealer:
        """What seals card numbers, each with the 12 digits of its reference, under a store key (`numbers`)."""
        return cast(numbers.Sealer, self._context(label, "seal numbers"))

    def open_number(self, label: str, sealed: bytes, reference: str) -> str:
        """The number of a block; CryptoError for another key, another reference, or changed bytes."""
        return cast(str, self._context(label, "open numbers")(sealed, reference))

    def keyed_hash(self, label: str, data: bytes) -> bytes:
        """16 bytes of keyed BLAKE2s under a hash key: equal for equal data, telling nothing else."""
        return self.hash_function(label)(data)

    def hash_function(self, label: str) -> Callable[[bytes], bytes]:
        """`keyed_hash` of any data under one key."""
        return cast(Transform, self._context(label, "hash"))
