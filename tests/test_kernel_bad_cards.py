"""Cards that misbehave: each ends in the outcome the specification names, none in an exception; with the TVR bit."""

from typing import Any

import cards
import pytest
from kernel_cards import Recorded, complete, holder, kernel, present, sw, tear

from switch.wire import bits, tlv
from terminals.card.signing import ca_keys
from terminals.kernel.parameters import ParameterFault, demo_parameters, read_aid, read_ca_key, write_aid, write_ca_key

OUTCOMES = {"online", "approved", "declined", "try_other_interface", "fallback", "ended"}
KINDS = [("debit", "contact", 150000), ("dual", "contact", 500), ("dual", "contactless", 500)]
KINDS += [("debit", "contactless", 150000)]
STATUS = [0x6283, 0x6300, 0x6400, 0x6700, 0x6982, 0x6985, 0x6A81, 0x6A82, 0x6A83, 0x6A88, 0x6D00, 0x6E00, 0x6F00]
STATUS += [0x6100, 0x6C00, 0x0000, 0xFFFF]
BROKEN = {
    "no status word": b"",
    "half a status word": b"\x90",
    "no data": b"\x90\x00",
    "cut short": bytes.fromhex("701A8F019000"),
    "indefinite length": bytes.fromhex("7080000000009000"),
    "three-byte tag": bytes.fromhex("7006DF818101019000") + b"",
    "tag of four bytes": bytes.fromhex("7007DF8181810101009000"),
    "nested to no end": bytes.fromhex("70067004700270009000"),
    "fill bytes": bytes.fromhex("000000009000"),
    "length past the end": bytes.fromhex("77829FFF9F36020001" + "9000"),
    "two templates": bytes.fromhex("700070009000"),
}


def everywhere(kind: tuple[str, str, int]) -> int:
    card = Recorded(cards.icc(kind[0], kind[1]))
    told = present(card, kind[2], kind[1])
    assert told.outcome in ("online", "approved")
    return len(card.said)


def bent(kind: tuple[str, str, int], place: int, change: Any, **more: Any) -> tuple[Any, Recorded]:
    def bend(n: int, command: bytes, response: bytes) -> bytes:
        changed: bytes = change(response) if n == place else response
        return changed

    card = Recorded(cards.icc(kind[0], kind[1]), bend)
    told = present(card, kind[2], kind[1], person=holder(tap_again=False), **more)
    assert told.outcome in OUTCOMES
    assert told.tvr >> 40 == 0
    return told, card


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def test_a_wrong_status_word_at_every_step(kind: tuple[str, str, int]) -> None:
    for place in range(everywhere(kind)):
        for status in STATUS:
            told, card = bent(kind, place, lambda response, status=status: status.to_bytes(2, "big"))
            command = card.said[place][0]
            if command[1] == 0xB2 and place > 6 and status not in (0x6100, 0x6C00):
                assert told.outcome in ("ended", "approved"), (place, hex(status))
            if command[1] == 0xAE:
                assert (told.outcome, told.reason) in (("ended", "status"), ("ended", "data"))
            if command[1] == 0xA8 and status == 0x6985:
                assert told.outcome in ("ended", "try_other_interface")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def test_broken_data_at_every_step(kind: tuple[str, str, int]) -> None:
    for place in range(everywhere(kind)):
        for name, response in BROKEN.items():
            told, card = bent(kind, place, lambda _, response=response: response)
            if card.said[place][0][1] in (0xA8, 0xAE):
                assert told.outcome == "ended", (name, place, told.outcome)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}-{kind[1]}")
def test_a_card_torn_at_every_step(kind: tuple[str, str, int]) -> None:
    for place in range(everywhere(kind)):
        told, _card = bent(kind, place, tear)
        assert (told.outcome, told.reason) == ("ended", "card_removed")
        assert told.session is None


@pytest.mark.parametrize("kind", KINDS[1:3], ids=lambda kind: f"{kind[0]}-{kind[1]}")
def test_one_bit_flipped_in_every_answer(kind: tuple[str, str, int]) -> None:
    for place in range(everywhere(kind)):
        for at in (0, 1, 3, -3, -10):

            def flip(response: bytes, at: int = at) -> bytes:
                changed = bytearray(response)
                changed[at % len(changed)] ^= 0x10
                return bytes(changed)

            bent(kind, place, flip)


def test_a_card_torn_after_the_host_approved_is_reversed() -> None:
    card = Recorded(cards.icc("debit"))
    told = present(card, 150000)
    card.bend = tear
    done = complete(told, card)
    assert (done.outcome, done.reason, done.reversal_needed) == ("declined", "card_removed", True)


FAILED = {"E0F9C8": bits.TVR_CDA_FAILED, "E0F9C0": bits.TVR_DDA_FAILED, "E0F980": bits.TVR_SDA_FAILED}


@pytest.mark.parametrize("capabilities", FAILED)
@pytest.mark.parametrize("wrong", ["expired CA key", "no CA key", "certificate bit", "missing", "later than all"])
def test_offline_data_authentication_that_fails(capabilities: str, wrong: str) -> None:
    keys = ca_keys()
    if wrong == "expired CA key":
        import dataclasses

        keys = tuple(dataclasses.replace(key, expiry="251231") for key in keys)
    parameters = demo_parameters(() if wrong == "no CA key" else keys)

    def bend(n: int, command: bytes, response: bytes) -> bytes:
        if command[1] != 0xB2 or n < 4 or sw(response) != 0x9000:
            return response
        items = tlv.read(tlv.read(response[:-2])[0][1])
        if wrong == "certificate bit":
            items = [(t, v[:-20] + bytes((v[-20] ^ 1,)) + v[-19:]) if t == "90" else (t, v) for t, v in items]
        if wrong == "missing":
            items = [(t, v) for t, v in items if t != "90"]
        return tlv.write([("70", tlv.write(items))]) + b"\x90\x00"

    card = Recorded(cards.icc("debit"), bend)
    date = {"later than all": "491231"}.get(wrong, "261122")
    told = present(card, 150000, terminal=kernel(parameters=parameters, capabilities=capabilities), date=date)
    missing = bits.TVR_ICC_DATA_MISSING if wrong == "missing" else 0
    expired = bits.TVR_EXPIRED if wrong == "later than all" else 0
    pin = bits.TVR_ONLINE_PIN | bits.TVR_FLOOR_LIMIT | bits.TVR_NEW_CARD
    failed = FAILED[capabilities]
    if wrong == "later than all" and failed == bits.TVR_SDA_FAILED:
        failed = 0  # the issuer's certificate outlives the card's
    assert told.tvr == failed | missing | expired | pin
    assert told.tsi & bits.TSI_ODA
    assert told.outcome in ("online", "declined")


def get_data(tag: bytes, value: bytes | None) -> Any:
    answer = tag + bytes((len(value),)) + value + b"\x90\x00" if value is not None else b"\x6a\x88"
    return lambda n, command, response: answer if command[1:4] == b"\xca" + tag else response


@pytest.mark.parametrize(
    ("last", "tvr"),
    [
        ("0000", bits.TVR_NEW_CARD),
        ("0001", bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT),
        ("0009", bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT),
        (None, bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT),
    ],
)
def test_a_counter_that_runs_backwards(last: str | None, tvr: int) -> None:
    bend = get_data(b"\x9f\x13", bytes.fromhex(last) if last is not None else None)
    told = present(Recorded(cards.icc("debit"), bend), 150000)
    mask = bits.TVR_LOWER_LIMIT | bits.TVR_UPPER_LIMIT | bits.TVR_NEW_CARD
    assert told.tvr & mask == tvr


def test_cards_refused_by_the_terminal() -> None:
    card = Recorded(cards.icc("debit"))
    person = card.icc.image.personal
    told = present(card, 150000, terminal=kernel(exceptions={f"{person.pan}-{person.psn}"}), force_online=True)
    assert told.tvr & bits.TVR_EXCEPTION_FILE
    assert told.tvr & bits.TVR_FORCED_ONLINE
    tapped = Recorded(cards.icc("dual", "contactless"))
    person = tapped.icc.image.personal
    told = present(tapped, 500, "contactless", terminal=kernel(exceptions={f"{person.pan}-{person.psn}"}))
    assert (told.outcome, told.reason) == ("declined", "exception_file")


def test_a_card_that_answers_more_than_asked_for() -> None:
    card = Recorded(
        cards.icc("debit"),
        lambda n, c, r: bytes.fromhex("8013400001001122334455667707010103600000019000") if c[1] == 0xAE else r,
    )
    told = present(card, 150000)
    assert (told.outcome, told.reason) == ("ended", "cryptogram")


def test_fdda_that_fails_after_the_card_has_left() -> None:
    card = Recorded(cards.icc("dual", "contactless"))
    told = present(card, 500, "contactless", terminal=kernel(parameters=demo_parameters()))
    assert (told.outcome, told.reason) in (("declined", "oda_failed"), ("online", "oda_failed"))


def test_nothing_secret_in_a_repr() -> None:
    card = Recorded(cards.icc("debit"))
    told = present(card, 150000)
    assert told.pan
    assert told.pin == "123456"
    done = complete(told, card)
    for shown in (repr(told), repr(done), repr(told.session), repr(told.session.face)):
        assert told.pan not in shown
        assert "123456" not in shown


def test_parameters_by_download() -> None:
    record = bytes.fromhex(
        "9F0608A000000333010101DF0101009F08020020DF1105D84000A800DF1205D84004F800DF130500100000009F1B0400000001"
        "DF150400000000DF160199DF170199DF14039F3704DF1801019F7B06000000100000DF1906000000100000DF2006000000100000"
        "DF2106000000100000"
    )
    aid = read_aid(record)
    assert (aid.tac_default, aid.tac_online, aid.tac_denial) == (0xD84000A800, 0xD84004F800, 0x0010000000)
    assert (aid.partial, aid.floor_minor, aid.e_cash_max, aid.tap_cvm) == (True, 1, 100000, 100000)
    assert (aid.target, aid.target_max, aid.ddol.hex(), aid.online_pin) == (99, 99, "9f3704", True)
    assert read_aid(write_aid(aid)) == aid
    for key in ca_keys():
        assert read_ca_key(write_ca_key(key)) == key
    loaded = demo_parameters().loaded([record], [write_ca_key(key) for key in ca_keys()])
    assert loaded.matching(aid.aid) == aid
    assert len(loaded.ca_keys) == len(ca_keys())
    assert loaded.matching(bytes.fromhex("A00000033301019999")) is not None
    assert loaded.matching(bytes.fromhex("A000000004101001")) is None
    for broken in (
        b"",
        record[:-1],
        b"\x9f\x06\x01\xa0",
        record.replace(bytes.fromhex("DF160199"), b"\xdf\x16\x01\xaa"),
    ):
        with pytest.raises(ParameterFault):
            read_aid(broken)
    flipped = bytearray(write_ca_key(next(key for key in ca_keys() if key.kind == "rsa" and key.checksum)))
    flipped[60] ^= 1
    for broken_key in (b"", bytes(flipped)):
        with pytest.raises(ParameterFault):
            read_ca_key(broken_key)
