"""Application selection: the candidate list by directory or by the terminal's own list, and the holder's choice.

EMV Book 1 section 12; docs/kernel.md. On contacts the directory is the PSE, in the field the PPSE.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from switch.wire import apdu, tlv
from switch.wire.errors import ApduError, TlvError
from terminals.flow import Ask, Flow
from terminals.kernel.parameters import Aid
from terminals.kernel.session import Ended, Kernel, Session, exchange

DIRECTORY_SFI_MAX: Final = 10
RECORDS_MAX: Final = 32


class Candidate(NamedTuple):
    """An application card and terminal have in common. `rank` 1 is the card's first choice, 16 where it has none."""

    name: bytes
    label: str
    rank: int
    confirm: bool
    aid: Aid


class Entry(NamedTuple):
    """What a directory, or an application's own answer, says of one: its name, label and priority byte (87)."""

    name: bytes
    label: str
    priority: int


def candidates(kernel: Kernel) -> Flow[list[Candidate]]:
    """What the card offers on its contacts, by rank. Raises Ended for a blocked or unreadable card."""
    found = yield from _by_pse(kernel)
    if not found:
        found = yield from _by_list(kernel)
    found.sort(key=lambda candidate: candidate.rank)
    return found


def tap_candidates(kernel: Kernel) -> Flow[list[Candidate]]:
    """What the card offers in the field (PPSE), by rank. Raises Ended for a blocked card."""
    data, sw = yield from exchange(apdu.select(apdu.PPSE))
    if sw == apdu.NOT_SUPPORTED:
        raise Ended("ended", "card_blocked")
    if sw != apdu.OK:
        return []
    found: list[Candidate] = []
    for entry in _field_directory(data):
        _add(kernel, found, entry)
    if len(found) > 1:
        found.sort(key=lambda candidate: candidate.rank)
    return found


@lru_cache(maxsize=256)  # all cards of a product give the same (6 us)
def _field_directory(data: bytes) -> tuple[Entry, ...]:
    """The entries of a PPSE. Raises TlvError."""
    proprietary = dict(_opened(data, "6F", "A5"))
    items = tlv.read(proprietary.get("BF0C", b""))
    return tuple(_entry(dict(tlv.read(value))) for tag, value in items if tag == "61")


def choose(session: Session, found: list[Candidate]) -> Flow[Candidate]:
    """One of the candidates: the only one, or what the holder says. Raises Ended, Cancelled."""
    if len(found) == 1 and not found[0].confirm:
        return found[0]
    answer = yield Ask("application", tuple(candidate.label for candidate in found))
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(found):
        raise Ended("ended", "not_chosen")
    return found[answer]


def open_application(session: Session, candidate: Candidate) -> Flow[Mapping[str, bytes] | None]:
    """SELECT a candidate: the elements of its FCI's proprietary template, or None when the card refuses it.

    The session knows the application afterwards. Raises TlvError for a broken FCI.
    """
    data, sw = yield from exchange(apdu.select(candidate.name))
    if sw == apdu.NOT_SUPPORTED:
        raise Ended("ended", "card_blocked")
    if sw == apdu.DEACTIVATED:
        session.refused = "application_blocked"
    if sw != apdu.OK:
        return None
    name, proprietary, label = _control(data)
    if not name.startswith(candidate.name):
        return None
    values = session.values
    session.aid = candidate.aid
    session.name = values["84"] = values["9F06"] = name
    values["9F09"] = candidate.aid.versions[0]
    session.label = label
    return proprietary


@lru_cache(maxsize=256)  # all cards of a product give the same (5 us)
def _control(data: bytes) -> tuple[bytes, Mapping[str, bytes], str]:
    """An FCI: the application's name (84), the elements of its proprietary template, and its label. Raises TlvError."""
    outer = dict(_opened(data, "6F"))
    proprietary = dict(tlv.read(outer.get("A5", b"")))
    return outer.get("84", b""), MappingProxyType(proprietary), _text(proprietary.get("50", b""))


def _opened(data: bytes, *path: str) -> tlv.Items:
    """The elements inside nested templates, each the first and only element of its level's kind."""
    items = tlv.read(data)
    for number, tag in enumerate(path):
        value = tlv.find(items, tag)
        if value is None or (number == 0 and len(items) != 1):
            raise TlvError(tag, 0, "template is missing")
        items = tlv.read(value)
    return items


def _text(value: bytes) -> str:
    text = value.decode("gbk", "replace").strip()
    return text if text.isprintable() else ""


def _entry(items: dict[str, bytes]) -> Entry:
    name = items.get("4F", b"")
    label = _text(items.get("9F12", b"")) or _text(items.get("50", b"")) or name.hex().upper()
    return Entry(name, label, items["87"][0] if items.get("87") else 0)


def _add(kernel: Kernel, found: list[Candidate], entry: Entry) -> None:
    name, label, priority = entry
    if not 5 <= len(name) <= 16:
        return
    aid = kernel.parameters.matching(name)
    if aid is None or (found and any(candidate.name == name for candidate in found)):
        return
    found.append(Candidate(name, label, priority & 15 or 16, bool(priority & 0x80), aid))


def _by_pse(kernel: Kernel) -> Flow[list[Candidate]]:
    """Empty when there is no directory, or one that does not read: then the list of AIDs decides."""
    try:
        data, sw = yield from exchange(apdu.select(apdu.PSE))
    except ApduError:
        raise Ended("fallback", "unreadable") from None
    if sw == apdu.NOT_SUPPORTED:
        raise Ended("ended", "card_blocked")
    if sw != apdu.OK:
        return []
    found: list[Candidate] = []
    try:
        sfi = tlv.find(_opened(data, "6F", "A5"), "88") or b""
        if len(sfi) != 1 or not 1 <= sfi[0] <= DIRECTORY_SFI_MAX:
            return []
        for record in range(1, RECORDS_MAX):
            data, sw = yield from exchange(apdu.read_record(sfi[0], record))
            if sw == apdu.NO_RECORD:
                break
            if sw != apdu.OK:
                return []
            for tag, entry in _opened(data, "70"):
                if tag == "61":
                    _add(kernel, found, _entry(dict(tlv.read(entry))))
    except TlvError:
        return []
    return found


def _by_list(kernel: Kernel) -> Flow[list[Candidate]]:
    """SELECT every AID of the terminal, and the next occurrences where it takes longer ones."""
    found: list[Candidate] = []
    blocked, answered = False, False
    for aid in kernel.parameters.aids:
        following = False
        for _ in range(RECORDS_MAX):
            try:
                data, sw = yield from exchange(apdu.select(aid.aid, following))
                if sw == apdu.NOT_SUPPORTED and not following:
                    raise Ended("ended", "card_blocked")
                answered = answered or sw in (apdu.OK, apdu.NOT_FOUND, apdu.DEACTIVATED)
                blocked = blocked or sw == apdu.DEACTIVATED
                if sw not in (apdu.OK, apdu.DEACTIVATED):
                    break
                outer = dict(_opened(data, "6F"))
                name = outer.get("84", b"")
                fits = name == aid.aid or (aid.partial and name.startswith(aid.aid))
                if sw == apdu.OK and fits:
                    _add(kernel, found, _entry({"4F": name, **dict(tlv.read(outer.get("A5", b"")))}))
            except TlvError:
                break
            except ApduError:
                raise Ended("fallback", "unreadable") from None
            if not aid.partial or name == aid.aid:
                break
            following = True
    if not found:
        if blocked:
            raise Ended("ended", "application_blocked")
        raise Ended("ended", "no_application") if answered else Ended("fallback", "unreadable")
    return found
