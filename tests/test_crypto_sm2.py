"""SM2 behind its door: every provider gives the same bytes, gmssl's two traps are shut, nothing wrong verifies."""

import random
import subprocess
import sys

import pytest
from gmssl import sm2 as gm_sm2
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import sm2, sm2_provider
from switch.crypto.errors import CryptoError
from switch.crypto.sm2_provider import Gmssl, N, Provider

PRIVATE = bytes.fromhex("AAF8CE02045DD01619D689EE731C551159BE7EB2D51A372FF56B556E5CB2FDE3")
PUBLIC = bytes.fromhex(
    "173A31DD681C6F8FE3BA6C354AD3924A4ADFD15EB0581BC1B37A1EB1C88DA29B"
    "47155F62FCF4CCCD201B134351A049D77E81F6A6C66E9CB32664F41348DA11F6"
)
NONCE = bytes.fromhex("59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21")
MESSAGE = bytes.fromhex("150302001211223344")
SIGNATURE = bytes.fromhex(
    "573F0D2BF05951FC8B1E0BF2F67F9B3B0AE0E310EF87A91FCB5FC30791E8F6F0"
    "82E20FD51F9B7C302EACE08E9BBB172EEE9FC5D9F431D9BD2C605A52B8975E73"
)


@pytest.fixture(params=sm2_provider.NAMES)
def by(request: pytest.FixtureRequest) -> Provider:
    if request.param == "tongsuopy":
        pytest.importorskip("tongsuopy")
    return sm2_provider.provider(request.param)


def test_keys_and_the_derived_signature(by: Provider) -> None:
    assert by.public_key(int.from_bytes(PRIVATE, "big")) == PUBLIC
    e = sm2.digest(PUBLIC, MESSAGE)
    assert sm2.sign_digest(PRIVATE, e, NONCE, by) == SIGNATURE
    assert sm2.verify_digest(PUBLIC, e, SIGNATURE, by)


def test_the_example_of_the_standard(by: Provider) -> None:
    """GM/T 0003.5 (annex A), as OpenSSL and others carry it: key, nonce and signature over `message digest`."""
    key = sm2.key(bytes.fromhex("3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"))
    assert key.public.hex().upper() == (
        "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
        "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
    )
    e = sm2.digest(key.public, b"message digest")
    assert e.hex().upper() == "F0B43E94BA45ACCAACE692ED534382EB17E6AB5A19CE7B31F4486FDFC0D28640"
    nonce = bytes.fromhex("59276E27D506861A16680F3AD9C02DCCEF3CC1FA3CDBE4CE6D54B80DEAC1BC21")
    assert sm2.sign_digest(key.private, e, nonce, by).hex().upper() == (
        "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
        "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
    )


@settings(max_examples=6, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60), st.binary(min_size=32, max_size=32), st.data())
def test_signed_by_one_verified_by_all(seed: bytes, message: bytes, nonce: bytes, draw: st.DataObject) -> None:
    key = sm2.key_from_seed(seed)
    if not any(nonce):
        return
    signature = sm2.sign(key, message, nonce)
    e = sm2.digest(key.public, message)
    assert sm2.sign_digest(key.private, e, nonce, Gmssl()) == signature
    place = draw.draw(st.integers(0, 63))
    flipped = bytearray(signature)
    flipped[place] ^= 1 << draw.draw(st.integers(0, 7))
    for one in (sm2_provider.chosen(), Gmssl()):
        assert sm2.verify_digest(key.public, e, signature, one)
        assert not sm2.verify_digest(key.public, e, bytes(flipped), one)
        assert not sm2.verify_digest(key.public, sm2.digest(key.public, message + b"x"), signature, one)


def test_gmssl_strips_leading_zeros_and_fours_and_we_do_not() -> None:
    private = next(d for d in range(1, 3000) if sm2_provider.chosen().public_key(d)[0] in (0x40, 0x04, 0x44, 0x00))
    key = sm2.key(private.to_bytes(32, "big"))
    point = key.public.hex()
    stripped = gm_sm2.CryptSM2(f"{private:064x}", "04" + point).public_key
    assert len(stripped) < 128, "the trap is gone: gmssl has been mended"
    e = sm2.digest(key.public, MESSAGE)
    signature = sm2.sign_digest(key.private, e, NONCE, Gmssl())
    assert sm2.verify_digest(key.public, e, signature, Gmssl())
    assert sm2.normalised(key.public) == sm2.normalised(b"\x04" + key.public) == key.public


def test_no_nonce_comes_from_random(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("random was asked")

    monkeypatch.setattr(random, "choice", never)
    monkeypatch.setattr("gmssl.func.choice", never)
    monkeypatch.setattr(gm_sm2.func, "random_hex", never)
    e = sm2.digest(PUBLIC, MESSAGE)
    assert sm2.sign_digest(PRIVATE, e, NONCE, Gmssl()) == SIGNATURE
    assert sm2.sign(sm2.key(PRIVATE), MESSAGE, NONCE) == SIGNATURE
    assert sm2.sign(sm2.key(PRIVATE), MESSAGE, NONCE[::-1]) != SIGNATURE


def test_what_is_no_signature_does_not_verify(by: Provider) -> None:
    e = sm2.digest(PUBLIC, MESSAGE)
    r, s = SIGNATURE[:32], SIGNATURE[32:]
    order = N.to_bytes(32, "big")
    opposite = (N - int.from_bytes(r, "big")).to_bytes(32, "big")
    for wrong in (b"", SIGNATURE[:-1], bytes(32) + s, r + bytes(32), order + s, r + order, r + opposite, s + r):
        assert not sm2.verify_digest(PUBLIC, e, wrong, by)
    for public in (bytes(64), PUBLIC[:-1] + b"\0", PUBLIC[:63], b"\xff" * 64, b"\x04" + PUBLIC):
        assert not sm2.verify_digest(public, e, SIGNATURE, by)
    assert not sm2.verify_digest(PUBLIC, e[:31], SIGNATURE, by)
    # s = N - t meets the point at infinity for the key 1: no provider may stumble.
    one = by.public_key(1)
    assert not sm2.verify_digest(
        one, e, (5).to_bytes(32, "big") + ((N - 5) * pow(2, -1, N) % N).to_bytes(32, "big"), by
    )


def test_keys_out_of_range() -> None:
    for private in (bytes(32), (N - 1).to_bytes(32, "big"), N.to_bytes(32, "big"), b"\x01"):
        with pytest.raises(CryptoError):
            sm2.key(private)
    for seed in (bytes(32), b"\xff" * 32):
        assert sm2.on_curve(sm2.key_from_seed(seed).public)
    with pytest.raises(CryptoError):
        sm2.key_from_seed(b"short")
    with pytest.raises(CryptoError):
        sm2.normalised(bytes(64))
    with pytest.raises(CryptoError, match="nonce"):
        sm2.sign(sm2.key(PRIVATE), MESSAGE, bytes(32))
    with pytest.raises(CryptoError, match="32 bytes"):
        sm2.sign(sm2.key(PRIVATE), MESSAGE, b"1")
    with pytest.raises(CryptoError, match="name"):
        sm2.z(PUBLIC, bytes(9000))
    assert repr(sm2.key(PRIVATE)) == "Sm2Key()"


def test_the_signers_name_matters() -> None:
    assert sm2.z(PUBLIC) != sm2.z(PUBLIC, b"ALICE123@YAHOO.COM")
    signature = sm2.sign(sm2.key(PRIVATE), MESSAGE, NONCE, b"ALICE123@YAHOO.COM")
    assert sm2.verify(PUBLIC, MESSAGE, signature, b"ALICE123@YAHOO.COM")
    assert not sm2.verify(PUBLIC, MESSAGE, signature)


def test_a_provider_is_chosen_by_name() -> None:
    with pytest.raises(CryptoError, match="unknown SM2 provider"):
        sm2_provider.provider("abacus")
    script = "from switch.crypto import sm2_provider; print(sm2_provider.chosen().name)"
    for name, absent, said in (
        ("gmssl", "", "gmssl"),
        ("", "tongsuopy", "gmssl"),
    ):
        hide = f"import sys; sys.modules['{absent}'] = None; " if absent else ""
        run = subprocess.run(
            [sys.executable, "-c", hide + script], env={"SHOUDAN_SM2": name}, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == said


def test_rsa_without_gmpy2_gives_the_same() -> None:
    script = (
        "import sys; sys.modules['gmpy2'] = None\n"
        "from switch.crypto import rsa\n"
        "assert not rsa.FAST\n"
        "key = rsa.key_from_primes(2**127 - 1, 2**89 - 1, 65537)\n"
        "block = b'\\x01' * key.size\n"
        "assert rsa.recover(key.modulus, key.exponent, rsa.sign(key, block)) == block\n"
        "print(rsa.sign(key, block).hex())"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    from switch.crypto import rsa

    key = rsa.key_from_primes(2**127 - 1, 2**89 - 1, 65537)
    assert run.stdout.strip() == rsa.sign(key, b"\x01" * key.size).hex()
