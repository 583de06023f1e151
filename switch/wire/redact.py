"""The one door for everything printed: card numbers, tracks, PIN blocks and keys are masked here and nowhere else.

A masked value keeps its length, so a reader still sees what was on the wire. Card numbers keep the first six and the
last four digits; tracks, PIN blocks and keys keep nothing of their secret part. A value whose layout is not recognised
is masked rather than shown: nothing here raises, whatever the input.
"""

import re
from collections.abc import Iterator

STAR = "*"

_RUN = re.compile(r"[0-9]{13,}")
_TRACK = re.compile(r"(?<![0-9])([0-9]{12,}+)([=D^d])([0-9A-Fa-f=]{4,})")
_GROUPED = re.compile(r"(?<![0-9])[0-9]{4}(?:[ -][0-9]{4}){2,3}(?:[ -][0-9]{1,4})?(?![0-9])")
_LONG_WORD = re.compile(r"[0-9A-Za-z]{32,}")
_SEPARATOR = re.compile(r"[=Dd^]")
_TERMINAL_INFO = re.compile(r"(?:PI|A2)[0-9]{3}(?=0[0-9])")
_USAGE = re.compile(r"([0-9A-Z]{2})([0-9]{3})")
_PIN_USAGE = re.compile(rb"(?:SM|NK|NP)(?:[0-9]{3})?")

_FREE_TEXT = frozenset((43, 44, 46, 47, 48, 56, 57, 58, 59, 61, 62, 63, 104, 105, 120, 122, 123, 124))
"""DEs of private text, where a card number or track may hide; every other text DE has a layout without one."""

_STARRED_TAGS = frozenset(("56", "5F20", "5F24", "99", "9F0B", "9F1F", "9F20", "9F61"))

_CA_LIST = (b"\x9f\x06", b"\xdf")
"""How the public-key and AID downloads of DE62 begin: nothing in them is secret."""


def mask_pan(pan: str) -> str:
    """Card number with only its first six and last four digits left ("621214*********0030"); short ones lose more."""
    size = len(pan)
    if size >= 13:
        return pan[:6] + STAR * (size - 10) + pan[-4:]
    if size >= 9:
        return STAR * (size - 4) + pan[-4:]
    return STAR * size


def mask_track(track: str) -> str:
    """Track 1, 2 or 3 with its card number masked and all that follows the separator starred."""
    start = 1 if track[:1] in ("B", "b") else 0
    found = _SEPARATOR.search(track, start)
    if found is None and len(track) > 12:
        return track[: start + 6] + STAR * (len(track) - start - 6)
    if found is None or found.start() - start < 8:
        return STAR * len(track)
    end = found.start()
    return track[:start] + mask_pan(track[start:end]) + track[end] + STAR * (len(track) - end - 1)


def scrub(text: str) -> str:
    """Free text with everything that looks like a card number (13 digits and more), a track or a key masked.

    Runs of zeros only are left: they are fill. The length never changes.
    """
    text = _LONG_WORD.sub(_mask_long_word, text)
    text = _TRACK.sub(lambda m: mask_pan(m[1]) + m[2] + STAR * len(m[3]), text)
    text = _RUN.sub(lambda m: m[0] if not m[0].strip("0") else _mask_run(m[0]), text)
    return _GROUPED.sub(_mask_grouped, text)


def _mask_run(run: str) -> str:
    """A run of digits; leading zeros are fill in right-justified card numbers, so the number starts after them."""
    number = run.lstrip("0")
    if len(number) < 13 or len(run) <= 19:
        number = run
    return run[: len(run) - len(number)] + mask_pan(number)


def _mask_long_word(match: re.Match[str]) -> str:
    text = match[0]
    if text.isdecimal() or not text.strip("0"):
        return text
    return STAR * len(text)


def _mask_grouped(match: re.Match[str]) -> str:
    digits = re.sub(r"[ -]", "", match[0])
    if len(digits) < 13 or not digits.strip("0"):
        return match[0]
    left = iter(mask_pan(digits))
    return "".join(c if c in " -" else next(left) for c in match[0])


def masked(de: int | str, value: object) -> str:
    """Any field's value as it may be printed; bytes come out as hex, with stars for what is hidden.

    `de` is the DE number (0 for the MTI) or a name; a value of an unexpected type is scrubbed as text.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _masked_bytes(de, bytes(value))
    return _masked_text(de, str(value))


def _masked_text(de: int | str, text: str) -> str:
    if de == 2:
        return mask_pan(text)
    if de in (35, 36, 45):
        return mask_track(text)
    if de in (14, 52, 96):
        return STAR * len(text) if text.strip("0") else text
    if de in (102, 103):
        return mask_pan(text.rstrip()) + text[len(text.rstrip()) :]
    if de == 55:
        return _masked_hex_text(text)
    if de == 48 and text.isdecimal():
        return _masked_48(text)
    if de == 61 and len(text) >= 22:
        return _masked_61(text)
    if de in _FREE_TEXT or not isinstance(de, int) or de > 128:
        return _masked_usages(text)
    return text


def _masked_hex_text(text: str) -> str:
    try:
        return mask_tlv(bytes.fromhex(text))
    except ValueError:
        return STAR * len(text)


def _masked_48(digits: str) -> str:
    """POS totals, counts and tips pass; batch details have their card numbers masked; the rest is scrubbed."""
    if len(digits) in (4, 12, 62):
        return digits
    if len(digits) % 40 == 2 and int(digits[:2]) == len(digits) // 40:
        parts = [digits[:2]]
        for start in range(2, len(digits), 40):
            pan = digits[start + 8 : start + 28]
            number = pan.lstrip("0")
            # A test card may begin with zeros: never let the fill eat into what is shown as the first six.
            number = number if len(number) >= 13 else pan[-16:]
            parts += (
                digits[start : start + 8],
                pan[: 20 - len(number)],
                mask_pan(number),
                digits[start + 28 : start + 40],
            )
        return "".join(parts)
    return scrub(digits)


def _masked_61(text: str) -> str:
    """POS original data are digits without a card number; the network's identity block hides number and name."""
    if len(text) <= 29 and text.isdecimal():
        return text
    number = text[2:22]
    if number.strip("0 "):
        number = STAR * len(number)
    head, usage, tail = text[22:].partition("AM")
    return text[:2] + number + scrub(head) + usage + STAR * len(tail)


def _masked_usages(text: str) -> str:
    """Text of usages, `AS` then tag 2, length 3, data: each data scrubbed alone, as a length is no part of a number."""
    if _TERMINAL_INFO.match(text):
        return _masked_terminal_info(text)
    if not text.startswith("AS"):
        return scrub(text)
    at, out = 2, ["AS"]
    while found := _USAGE.match(text, at):
        stop = found.end() + int(found[2])
        data = text[found.end() : stop]
        out.append(found[0] + (STAR * len(data) if found[1] in ("NK", "NP", "SM") else scrub(data)))
        at = min(stop, len(text))
    return "".join(out) + scrub(text[at:])


def _masked_terminal_info(text: str) -> str:
    """Device type, serial number and version pass; the factor (last six card digits) is cut to its last four."""
    wide = text.startswith("A2")
    step = 5 if wide else 4
    at, out = 5, [text[:5]]
    while at + step <= len(text):
        tag, length = text[at : at + 2], text[at + 2 : at + step]
        try:
            size = int(length, 10 if wide else 16)
        except ValueError:
            break
        value = text[at + step : at + step + size]
        out += (tag, length, STAR * (len(value) - 4) + value[-4:] if tag == "06" else value)
        at += step + size
    return "".join(out) + scrub(text[at:])


def _masked_bytes(de: int | str, data: bytes) -> str:
    if de in (52, 96):
        return data.hex().upper() if not any(data) else STAR * (2 * len(data))
    if de == 55:
        return mask_tlv(data)
    if de in (64, 128) and len(data) == 8:
        return data.hex().upper()
    if de in (2, 14, 35, 36, 45):
        return STAR * (2 * len(data))
    if de in (48, 57, 58, 59, 62, 63):
        return _masked_private(de, data)
    return _masked_bytes_as_text(data)


def _masked_private(de: int | str, data: bytes) -> str:
    """Private binary fields: text is scrubbed, PIN and key usages starred, downloads of public keys pass."""
    usage = _PIN_USAGE.match(data) if de != 62 else None  # key blocks may begin with anything
    if usage is not None:
        return usage[0].hex().upper() + STAR * (2 * (len(data) - usage.end()))
    if _printable(data, chinese=de != 62):
        return _masked_bytes_as_text(data)
    body = data[1:] if data[:1] in (b"0", b"1", b"2", b"3") else data
    if body.startswith(_CA_LIST) and _well_formed(body):
        return data.hex().upper()
    return STAR * (2 * len(data))


def _printable(data: bytes, chinese: bool) -> bool:
    """Whether bytes are text: ASCII and, if wanted, GBK pairs; no control characters.

    Working keys are random bytes that now and then look like GBK, so where they travel only ASCII counts as text.
    """
    try:
        return data.decode("gbk" if chinese else "ascii").isprintable()
    except UnicodeDecodeError:
        return False


def _masked_bytes_as_text(data: bytes) -> str:
    """Hex of the bytes, two stars for every byte that scrub (or the hidden factor of a terminal block) would star."""
    text = data.decode("latin-1")
    clean = _masked_usages(text)
    if len(clean) != len(text):
        return STAR * (2 * len(data))
    return "".join("**" if c == STAR and t != STAR else f"{ord(t):02X}" for t, c in zip(text, clean, strict=True))


def mask_tlv(data: bytes) -> str:
    """BER-TLV as hex, the values of card number, track and name tags starred, also inside templates.

    What follows a malformed element is starred whole.
    """
    out: list[str] = []
    end = 0
    for tag, start, stop in _walk(data):
        out.append(data[end:start].hex().upper())
        out.append(_mask_tag(tag, data[start:stop]))
        end = stop
    out.append(STAR * (2 * (len(data) - end)))
    return "".join(out)


def _mask_tag(tag: str, value: bytes) -> str:
    text = value.hex().upper()
    if tag == "5A":
        number = text.rstrip("F")
        return mask_pan(number) + text[len(number) :] if number.isdecimal() else STAR * len(text)
    # 9F6B is a six-byte limit on PBOC cards and track 2 elsewhere.
    if tag == "57" or (tag == "9F6B" and len(value) != 6):
        return mask_track(text)
    if tag in _STARRED_TAGS:
        return STAR * len(text)
    if int(tag[:2], 16) & 0x20 and _well_formed(value):
        return mask_tlv(value)
    return text


def _well_formed(data: bytes) -> bool:
    end = 0
    for _, _, stop in _walk(data):
        end = stop
    return end == len(data)


def _walk(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(tag, start and end of its value) of each whole element; stops without a word where the data stop making sense.

    The strict reader is `switch.wire.tlv`; this one must never raise, as it runs while an error is being reported.
    """
    at, size = 0, len(data)
    while at < size:
        start = at
        at += 1
        if data[start] & 0x1F == 0x1F:
            while at < size and data[at] & 0x80:
                at += 1
            at += 1
        if at >= size or at - start > 3:
            return
        tag = data[start:at].hex().upper()
        length = data[at]
        at += 1
        if length & 0x80:
            count = length & 0x7F
            if count not in (1, 2) or at + count > size:
                return
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + length > size:
            return
        yield tag, at, at + length
        at += length
