"""Offline data authentication in both kinds: chains issued here verify, and each thing that can be wrong is named."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa as generated
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import certify, oda, rsa, sm2
from switch.crypto.certify import Certificate, Signer
from switch.crypto.errors import CryptoError
from switch.crypto.oda import CaKey, KeyRing, OdaError, PublicKey
from switch.crypto.rsa import RsaKey
from switch.crypto.unionpay import CA_KEYS, RID, ca_key

PAN = "6228000000183117"
STATIC = bytes.fromhex("5A0862280000001831175F24033012319F08020030") + b"\x7c\x00"
UN = bytes.fromhex("11223344")
AC = bytes.fromhex("F294D7022FA9B058")
NONCE = bytes(range(1, 33))
TODAY = "261122"


class House(NamedTuple):
    """An authority, an issuer, a card, and what they signed."""

    ca: Signer
    issuer: Signer
    icc: Signer
    ca_key: CaKey
    issuer_certificate: Certificate
    icc_certificate: Certificate

    def issuer_key(self, **given: str) -> PublicKey:
        return oda.recover_issuer_key(self.ca_key, *self.issuer_certificate, **given)

    def icc_key(self, static_data: bytes = STATIC, **given: str) -> PublicKey:
        return oda.recover_icc_key(self.issuer_key(), *self.icc_certificate, static_data, **given)


def rsa_key(bits: int, exponent: int) -> RsaKey:
    numbers = generated.generate_private_key(exponent, bits).private_numbers()
    return rsa.key_from_primes(numbers.p, numbers.q, exponent)


@pytest.fixture(scope="module", params=["rsa", "sm2"])
def house(request: pytest.FixtureRequest) -> House:
    ca: Signer
    issuer: Signer
    icc: Signer
    if request.param == "rsa":
        ca, issuer, icc = rsa_key(1408, 3), rsa_key(1152, 65537), rsa_key(1024, 3)
        ca_key = CaKey(RID, 0x90, "rsa", ca.modulus, ca.exponent, "20301231")
    else:
        ca, issuer, icc = (sm2.key_from_seed(bytes([n]) * 32) for n in (1, 2, 3))
        ca_key = CaKey(RID, 0x91, "sm2", ca.public, expiry="301231")
    first = certify.issue_issuer_certificate(ca, issuer, "622800", "1230", b"\0\0\1", NONCE)
    second = certify.issue_icc_certificate(issuer, icc, PAN, "1230", b"\0\0\2", STATIC, NONCE[::-1])
    return House(ca, issuer, icc, ca_key, first, second)


def test_a_chain_opens(house: House) -> None:
    issuer = house.issuer_key(pan=PAN, today=TODAY)
    assert (issuer.holder, issuer.expiry, issuer.serial) == ("622800FF", "1230", "000001")
    icc = house.icc_key(pan=PAN, today=TODAY)
    assert (icc.holder, icc.expiry, icc.serial) == (PAN + "FFFF", "1230", "000002")
    for recovered, signer in ((issuer, house.issuer), (icc, house.icc)):
        if isinstance(signer, RsaKey):
            assert (recovered.modulus, recovered.exponent) == (signer.modulus, signer.exponent)
        else:
            assert (recovered.modulus, recovered.exponent) == (signer.public, b"")
    lengths = [len(part) for part in (*house.issuer_certificate, *house.icc_certificate)]
    assert lengths == ([176, 4, 3, 144, 26, 1] if issuer.kind == "rsa" else [142, 0, 0, 148, 0, 0])


def test_every_signature_verifies_and_every_flipped_bit_fails(house: House) -> None:
    issuer, icc = house.issuer_key(), house.icc_key()
    ssad = certify.sign_static_data(house.issuer, b"\xda\xc5", STATIC, NONCE)
    assert oda.verify_ssad(issuer, ssad, STATIC) == b"\xda\xc5"
    dda = certify.sign_dynamic(house.icc, b"\0\x12", UN, NONCE)
    assert oda.verify_sdad(icc, dda, UN).number == b"\0\x12"
    nine = bytes.fromhex("011122334430000000")
    data = oda.fdda_data(UN, bytes(6), b"\1\x56", nine)
    assert data == UN + bytes(6) + b"\1\x56" + nine
    fdda = certify.sign_dynamic(house.icc, b"\0\x12", data, NONCE)
    assert oda.verify_fdda(icc, fdda, UN, bytes(6), b"\1\x56", nine).number == b"\0\x12"
    cda = certify.sign_cda(house.icc, b"\0\x12", 0x40, AC, b"transaction", UN, NONCE)
    combined = oda.verify_cda(icc, cda, UN, b"transaction", 0x40)
    assert combined[:3] == (b"\0\x12", 0x40, AC)
    assert combined.hashed == oda.transaction_hash(icc.kind, b"transaction")
    for wrong, said in (
        (lambda: oda.verify_ssad(issuer, ssad, STATIC[:-1]), {"hash", "signature"}),
        (lambda: oda.verify_sdad(icc, dda, UN[::-1]), {"hash", "signature"}),
        (lambda: oda.verify_fdda(icc, fdda, UN), {"hash", "signature"}),
        (lambda: oda.verify_fdda(icc, fdda, UN, bytes(5) + b"\1", b"\1\x56", nine), {"hash", "signature"}),
        (lambda: oda.verify_cda(icc, cda, UN, b"another"), {"transaction"}),
        (lambda: oda.verify_cda(icc, cda, UN, b"transaction", 0x80), {"cryptogram"}),
        (lambda: oda.verify_cda(icc, dda, UN, b"transaction"), {"length"} | {"hash", "signature"}),
        (lambda: oda.verify_sdad(icc, ssad, UN), {"length", "recovery"}),
        (lambda: oda.verify_sdad(icc, b"", UN), {"length"}),
        (lambda: oda.verify_ssad(issuer, b"\x13", STATIC), {"length"}),
        (lambda: house.icc_key(STATIC + b"\0"), {"hash", "signature"}),
    ):
        with pytest.raises(OdaError) as failed:
            wrong()
        assert failed.value.reason in said
        assert oda.FAULTS[failed.value.reason][1] in str(failed.value)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_flipped_bits(house: House, data: st.DataObject) -> None:
    def flipped(value: bytes) -> bytes:
        place = data.draw(st.integers(0, len(value) * 8 - 1))
        return (int.from_bytes(value, "big") ^ (1 << place)).to_bytes(len(value), "big")

    issuer = house.issuer_key()
    for signed in (house.issuer_certificate, house.icc_certificate):
        for part in (n for n in range(3) if signed[n]):
            wrong = list(signed)
            wrong[part] = flipped(signed[part])
            opened = (
                oda.open_issuer(house.ca_key, *wrong)
                if signed is house.issuer_certificate
                else oda.open_icc(issuer, *wrong, STATIC)
            )
            assert opened.fault in oda.FAULTS


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=40))
def test_whatever_bytes_end_in_an_oda_error(house: House, noise: bytes, more: bytes) -> None:
    issuer, icc = house.issuer_key(), house.icc_key()
    for wrong in (
        lambda: oda.recover_issuer_key(house.ca_key, noise, more, more),
        lambda: oda.recover_icc_key(issuer, noise, more, more, more),
        lambda: oda.verify_ssad(issuer, noise, more),
        lambda: oda.verify_sdad(icc, noise, more),
        lambda: oda.verify_cda(icc, noise, more, more),
        lambda: oda.recover_icc_key(PublicKey("rsa", more, more, "", "", ""), more, more, more, more),
    ):
        with pytest.raises(OdaError):
            wrong()


@pytest.mark.parametrize(
    ("pan", "today", "said"),
    [
        (PAN, "301231", ""),
        (PAN, "310101", "expired"),
        (PAN, "991231", ""),
        ("6229000000183117", TODAY, "holder"),
        (PAN[:-1], TODAY, "holder"),
    ],
)
def test_holder_and_expiry(house: House, pan: str, today: str, said: str) -> None:
    ca = CaKey(RID, house.ca_key.index, house.ca_key.kind, house.ca_key.modulus, house.ca_key.exponent)
    for ring in (None, KeyRing()):
        for _ in range(2):
            issuer_of = oda.recover_issuer_key if ring is None else ring.issuer_key
            icc_of = oda.recover_icc_key if ring is None else ring.icc_key
            if said:
                with pytest.raises(OdaError) as failed:
                    issuer_of(ca, *house.issuer_certificate, pan if said == "expired" else "6229", today)
                assert failed.value.reason == said
                with pytest.raises(OdaError) as failed:
                    icc_of(house.issuer_key(), *house.icc_certificate, STATIC, pan, today)
                assert failed.value.reason == said
            else:
                issuer = issuer_of(ca, *house.issuer_certificate, pan, today)
                assert icc_of(issuer, *house.icc_certificate, STATIC, pan, today).holder == PAN + "FFFF"


def test_a_ring_keeps_keys_and_still_asks(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing(issuers_max=1, cards_max=1)
    issuer = ring.issuer_key(house.ca_key, *house.issuer_certificate, PAN, TODAY)
    icc = ring.icc_key(issuer, *house.icc_certificate, STATIC, PAN, TODAY)
    monkeypatch.setattr(oda, "open_issuer", None)
    monkeypatch.setattr(oda, "open_icc", None)
    assert ring.issuer_key(house.ca_key, *house.issuer_certificate, PAN, TODAY) is issuer
    assert ring.icc_key(issuer, *house.icc_certificate, STATIC, PAN, TODAY) is icc
    with pytest.raises(OdaError, match="expired"):
        ring.issuer_key(house.ca_key, *house.issuer_certificate, PAN, "310101")
    with pytest.raises(OdaError, match="card number"):
        ring.icc_key(issuer, *house.icc_certificate, STATIC, "6228000000183118", TODAY)
    with pytest.raises(TypeError):
        ring.icc_key(issuer, *house.icc_certificate, STATIC + b"\0", PAN, TODAY)


def test_a_ca_key_that_is_not_itself() -> None:
    key = ca_key(0x09)
    assert key is not None
    assert key.fault() == ""
    bent = CaKey(key.rid, key.index, key.kind, key.modulus[:-1] + b"\0", key.exponent, "", key.checksum)
    assert bent.fault() == "ca key"
    with pytest.raises(OdaError, match="CA key: checksum"):
        oda.recover_issuer_key(bent, bytes(176))
    assert CaKey(RID, 1, "sm2", bytes(64)).fault() == "point"
    old = CaKey(RID, 9, "rsa", key.modulus, key.exponent, "091231")
    assert (old.fault("091231"), old.fault("100101")) == ("", "expired")


def test_the_published_keys() -> None:
    assert [f"{key.index:02X}" for key in CA_KEYS] == [
        *("01", "02", "03", "04", "08", "09", "0A", "0B", "0C"),
        *("18", "57", "58", "61", "80"),
    ]
    assert all(key.fault() == "" for key in CA_KEYS)
    sizes = {f"{key.index:02X}": len(key.modulus) * 8 for key in CA_KEYS if key.kind == "rsa"}
    assert sizes == {
        "01": 1024, "02": 1152, "03": 1408, "04": 1984, "08": 1152, "09": 1408, "0A": 1024, "0B": 1984, "0C": 1152,
        "61": 1024, "80": 1024,
    }  # fmt: skip
    assert ca_key(0x51) is None


def test_a_real_card_chain_with_intermediate_values() -> None:
    vectors = json.loads((Path(__file__).parent / "vectors" / "vectors.json").read_text(encoding="utf-8"))
    given = next(v["inputs"] for v in vectors if v["kind"] == "rsa-certificate-chain")
    raw = {name: bytes.fromhex(value) for name, value in given.items()}
    ca = ca_key(raw["ca"][0])
    assert ca is not None
    opened = oda.open_issuer(ca, raw["90"], raw["92"], raw["9F32"])
    assert opened.clear[:15].hex().upper() == "6A02621094FF1230001156" + "0101B001"
    assert (len(opened.clear), opened.fault) == (176, "")
    assert opened.key is not None
    assert oda.open_icc(opened.key, raw["9F46"], raw["9F48"], raw["9F47"], raw["static_data"][:-2]).fault == "hash"
    icc = oda.recover_icc_key(opened.key, raw["9F46"], raw["9F48"], raw["9F47"], raw["static_data"])
    assert oda.verify_sdad(icc, raw["sdad"], raw["ddol_data"]).number.hex().upper() == "000659A2F145F4"
    assert oda.verify_ssad(opened.key, raw["93"], raw["static_data"]).hex().upper() == "DAC5"
    with pytest.raises(OdaError, match="expired"):
        oda.recover_issuer_key(ca, raw["90"], raw["92"], raw["9F32"], today="310101")


def test_what_cannot_be_signed_is_refused(house: House) -> None:
    other = sm2.key_from_seed(bytes(32)) if isinstance(house.ca, RsaKey) else rsa_key(1024, 3)
    for wrong in (
        lambda: certify.issue_issuer_certificate(house.ca, other, "622800", "1230", b"\0\0\1", NONCE),
        lambda: certify.issue_issuer_certificate(house.ca, house.issuer, "622800123", "1230", b"\0\0\1", NONCE),
        lambda: certify.issue_issuer_certificate(house.ca, house.issuer, "622800", "123", b"\0\0\1\2", NONCE),
        lambda: certify.issue_icc_certificate(house.issuer, house.icc, "62zz", "1230", b"\0\0\1", STATIC, NONCE),
        lambda: certify.sign_static_data(house.issuer, b"1", STATIC, NONCE),
        lambda: certify.sign_dynamic(house.icc, b"1", UN, NONCE),
    ):
        with pytest.raises(CryptoError):
            wrong()


def test_rsa_blocks_that_do_not_fit() -> None:
    key = rsa_key(1024, 3)
    long = rsa_key(1152, 3)
    with pytest.raises(CryptoError, match="as long at least"):
        certify.issue_icc_certificate(key, long, PAN, "1230", b"\0\0\1", STATIC)
    with pytest.raises(CryptoError, match="no dynamic data"):
        certify.dynamic_block(key, bytes(104), UN)
    with pytest.raises(CryptoError, match="signs blocks"):
        rsa.sign(key, b"\xff" * 128)
    with pytest.raises(CryptoError, match="as long as"):
        rsa.recover(key.modulus, key.exponent, b"\xff" * 128)
    with pytest.raises(CryptoError, match="no RSA key"):
        rsa.key_from_primes(7, 13, 3)
    assert repr(key) == "RsaKey(1024 bits)"
    assert rsa.recover(key.modulus, key.exponent, rsa.sign(key, bytes(127) + b"\7"))[-1:] == b"\7"
