"""Certificates of every shipped profile and path, opened with the public keys of the test CAs alone."""

import pytest
from cards import UN, ask, bcd, cdol1, cdol2, icc, opened, records, selected, static_data, tap_values

from switch.crypto import oda
from switch.wire import apdu, tlv
from terminals.card.card import Icc
from terminals.card.profile import CONTACT, Path, load, shipped
from terminals.card.signing import ca_keys

CAS = {key.index: key for key in ca_keys()}
PATHS = [
    (name, path)
    for name in shipped()
    for app in load(name).applications
    for path in app.paths.values()
    if name in ("debit", "dual", "sm", "dual_algorithm") or path.name == "contact"
]


def brought(name: str, path: Path) -> tuple[Icc, bytes, bytes]:
    """A card after GPO on this path, its AIP and AFL."""
    tap = path.name.startswith("tap")
    card = icc(name, "contactless" if tap else "contact")
    sm = b"\x01" if path.name.endswith("_sm") else b"\x00"
    wanted = card.image.applications[0].spec.layouts[CONTACT]
    values = {"9F7A": b"\x01" if path.name.startswith("ecash") else b"\0", "9F02": bcd(100), "5F2A": b"\x01\x56"}
    selected(card)
    if tap:
        pdol = tap_values(100, sm=sm.hex() if name == "dual_algorithm" else "")
        if card.image.applications[0].spec.numbers.get("9F79") is None:
            card.path = path
            card.phase = 2
            return card, path.aip, path.afl
        answer = opened(ask(card, apdu.gpo(pdol)), "77")
        return card, answer["82"], answer["94"]
    answer80 = ask(card, apdu.gpo(b"".join({**values, "DF69": sm}[tag] for tag, _, _ in wanted.places)))
    [(_, value)] = tlv.read(answer80)
    return card, value[:2], value[2:]


@pytest.mark.parametrize(("name", "path"), PATHS, ids=[f"{name}-{path.name}" for name, path in PATHS])
def test_certificates_of_every_path(name: str, path: Path) -> None:
    card, aip, afl = brought(name, path)
    assert (aip, afl) == (path.aip, path.afl)
    read = records(card, afl)
    pan = card.image.personal.pan
    issuer = oda.recover_issuer_key(
        CAS[read["8F"][0]], read["90"], read.get("92", b""), read.get("9F32", b""), pan, "261122"
    )
    data = static_data(card, afl, aip)
    key = oda.recover_icc_key(issuer, read["9F46"], read.get("9F48", b""), read.get("9F47", b""), data, pan, "261122")
    assert key.kind == issuer.kind == ("sm2" if path.suite == "sm4" else "rsa")
    assert len(key.modulus) == (64 if path.suite == "sm4" else 128)
    if "93" in read:
        assert oda.verify_ssad(issuer, read["93"], data) == b"\xda\xc1"
        with pytest.raises(oda.OdaError):
            oda.verify_ssad(issuer, read["93"], data + b"\0")
    if path.name in ("contact", "contact_sm"):
        answer = ask(card, apdu.internal_auth(bytes.fromhex(UN)))
        [(tag, sdad)] = tlv.read(answer)
        assert tag == "80"
        assert oda.verify_sdad(key, sdad, bytes.fromhex(UN)).number == b"\x00\x01"


@pytest.mark.parametrize(("name", "index"), [("debit", 0), ("sm", 0), ("dual", 1)])
def test_cda_in_both_cryptograms(name: str, index: int) -> None:
    path = load(name).applications[0].paths["ecash" if index else "contact"]
    card, _, _ = brought(name, path)
    key = oda.PublicKey(
        "sm2" if path.suite == "sm4" else "rsa", *card_key(card, path.suite), holder="", expiry="", serial=""
    )
    pdol = card.gpo_data
    kind = apdu.AC_TC if index else apdu.AC_ARQC
    answer = ask(card, apdu.generate_ac(kind | apdu.CDA_REQUEST, cdol1(100)))
    items = opened(answer, "77")
    assert list(items) == ["9F27", "9F36", "9F4B", "9F10"]
    told = tlv.write([(tag, items[tag]) for tag in ("9F27", "9F36", "9F10")])
    combined = oda.verify_cda(key, items["9F4B"], bytes.fromhex(UN), pdol + cdol1(100) + told, kind)
    assert (combined.number, combined.cid, combined.ac) == (b"\x00\x01", kind, card.first_ac)
    if index:
        return
    ask(card, apdu.external_auth(card.session("ac").arpc(combined.ac, b"00") + b"00"))
    items = opened(ask(card, apdu.generate_ac(0x40 | apdu.CDA_REQUEST, cdol2(b"00", 100))), "77")
    told = tlv.write([(tag, items[tag]) for tag in ("9F27", "9F36", "9F10")])
    whole = pdol + cdol1(100) + cdol2(b"00", 100) + told
    assert oda.verify_cda(key, items["9F4B"], bytes.fromhex(UN), whole, 0x40).cid == 0x40
    with pytest.raises(oda.OdaError):
        oda.verify_cda(key, items["9F4B"], bytes.fromhex(UN), whole[:-1] + b"\0", 0x40)


def card_key(card: Icc, suite: str) -> tuple[bytes, bytes]:
    key = card.image.signer.key(suite)
    return (key.public, b"") if suite == "sm4" else (key.modulus, key.exponent)  # type: ignore[union-attr]


def test_a_decline_is_never_signed() -> None:
    card, _, _ = brought("debit", load("debit").applications[0].paths["contact"])
    assert ask(card, apdu.generate_ac(apdu.AC_AAC | apdu.CDA_REQUEST, cdol1(100)))[:3] == b"\x80\x13\x00"


def test_one_seed_gives_one_card_byte_for_byte() -> None:
    path = load("sm").applications[0].paths["contact"]
    first, second = (records(brought("sm", path)[0], path.afl) for _ in range(2))
    assert first == second
    assert first["9F46"] != records(
        brought("sm", load("sm").applications[0].paths["tap"])[0], bytes.fromhex("28060600")
    )
