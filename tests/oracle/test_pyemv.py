"""Ours against pyemv: card and session keys, cryptograms, both methods of ARPC, PIN change. 3DES only."""

import pyemv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.crypto import cryptogram, script
from switch.crypto.block import adjust_parity
from switch.crypto.cryptogram import CardKey, SessionKey
from switch.crypto.mac import pad_zero

KEYS = st.binary(min_size=16, max_size=16)
EIGHT = st.binary(min_size=8, max_size=8)
PANS = st.text("0123456789", min_size=12, max_size=19)
PSNS = st.text("0123456789", min_size=2, max_size=2)
PINS = st.text("0123456789", min_size=4, max_size=12)
few = settings(max_examples=40, deadline=None)


@few
@given(KEYS, PANS, PSNS)
def test_card_keys(imk: bytes, pan: str, psn: str) -> None:
    assert cryptogram.card_key("3des", imk, pan, psn, "A", parity=True) == pyemv.kd.derive_icc_mk_a(imk, pan, psn)
    assert cryptogram.card_key("3des", imk, pan, psn, "B", parity=True) == pyemv.kd.derive_icc_mk_b(imk, pan, psn)


@few
@given(KEYS, EIGHT)
def test_common_session_keys(mk: bytes, r: bytes) -> None:
    assert adjust_parity(cryptogram.emv_session_key(mk, r)) == pyemv.kd.derive_common_sk(mk, r)


@few
@given(KEYS, st.binary(max_size=80), st.binary(min_size=2, max_size=2), st.binary(min_size=4, max_size=4))
def test_cryptograms(sk: bytes, data: bytes, arc: bytes, csu: bytes) -> None:
    session = SessionKey("3des", sk)
    assert session.cryptogram(data) == pyemv.ac.generate_ac(sk, data, pyemv.ac.PaddingType.EMV)
    if data:
        assert session.mac(pad_zero(data, 8)) == pyemv.ac.generate_ac(sk, data, pyemv.ac.PaddingType.VISA)
    arqc = session.cryptogram(data)
    assert session.arpc(arqc, arc) == pyemv.ac.generate_arpc_1(sk, arqc, arc)
    assert session.arpc_csu(arqc, csu) == pyemv.ac.generate_arpc_2(sk, arqc, csu)
    assert session.arpc_csu(arqc, csu, arqc) == pyemv.ac.generate_arpc_2(sk, arqc, csu, arqc)
    assert session.mac4(data) == pyemv.sm.generate_command_mac(sk, data)[:4]


@few
@given(KEYS, KEYS, PINS, st.none() | PINS)
def test_pin_change(udk: bytes, sk: bytes, pin: str, current: str | None) -> None:
    block = script.pin_block(CardKey("3des", udk).pin_part, pin, current)
    assert block == pyemv.sm.format_vis_pin_block(udk, pin, current)
    theirs = pyemv.sm.encrypt_command_data(sk, block, pyemv.sm.EncryptionType.VISA)
    assert script.enciphered(SessionKey("3des", sk), block) == theirs


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 255])
def test_every_length_is_padded_alike(length: int) -> None:
    sk, data = bytes(range(16)), bytes(range(length % 256))
    assert SessionKey("3des", sk).cryptogram(data) == pyemv.ac.generate_ac(sk, data)
