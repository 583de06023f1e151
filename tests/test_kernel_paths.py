"""Every path of the kernel as a transcript: commands and answers, any deviation fails; and its outcome bit by bit."""

import json
from typing import Any

import cards
import pytest
from kernel_cards import (
    VECTORS,
    Mapped,
    Recorded,
    Scripted,
    complete,
    holder,
    kernel,
    present,
    recordings,
    request,
    run,
    tear,
)

from switch.crypto.oda import CaKey
from switch.crypto.script import Script, template
from switch.wire import apdu, tlv
from terminals.card.signing import ca_keys
from terminals.kernel import contact, inquire
from terminals.kernel.fallback import counts, swiped
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.tap import tap

NO_ODA = {"capabilities": "E0F900"}
PATHS: dict[str, tuple[str, str, int, dict[str, Any], dict[str, Any]]] = {
    # name: card profile, interface, minor units, changes to the terminal, changes to the request
    "contact_online_cda": ("debit", "contact", 150000, {}, {}),
    "contact_online_dda": ("debit", "contact", 150000, {"capabilities": "E0F9C0"}, {}),
    "contact_online_sda": ("debit", "contact", 150000, {"capabilities": "E0F980"}, {}),
    "contact_online_no_oda": ("debit", "contact", 150000, NO_ODA, {}),
    "contact_signature": ("credit", "contact", 5000, {}, {}),
    "contact_offline_pin": ("quasi_credit", "contact", 5000, {}, {}),
    "contact_sm2": ("sm", "contact", 150000, {}, {}),
    "contact_atm_cash": ("debit", "contact", 10000, {"terminal_type": 14}, {"type_9c": 0x01}),
    "contact_load": ("ecash", "contact", 10000, {}, {"type_9c": 0x60}),
    "e_cash_contact": ("dual", "contact", 500, {}, {}),
    "e_cash_contact_sm2": ("sm", "contact", 500, {}, {}),
    "e_cash_below_threshold": ("dual", "contact", 9500, {}, {}),
    "tap_offline_rsa": ("dual", "contactless", 500, {}, {}),
    "tap_offline_sm2": ("sm", "contactless", 500, {}, {}),
    "tap_online": ("debit", "contactless", 150000, {}, {}),
    "tap_small_free": ("debit", "contactless", 5000, {}, {"enrolled": True, "small_bins": "all"}),
    "tap_to_contact": ("dual", "contactless", 5_000_000, {}, {}),
}
EXPECTED: dict[str, tuple[str, str, str, str, str]] = {
    # outcome, method, TVR, TSI, 9F34
    "contact_online_cda": ("online", "online_pin", "0008048000", "E800", "420300"),
    "contact_online_dda": ("online", "online_pin", "0008048000", "E800", "420300"),
    "contact_online_sda": ("online", "online_pin", "0008048000", "E800", "420300"),
    "contact_online_no_oda": ("online", "online_pin", "8008048000", "6800", "420300"),
    "contact_signature": ("online", "signature", "0008008000", "E800", "1E0300"),
    "contact_sm2": ("online", "online_pin", "0008048000", "E800", "420300"),
    "contact_atm_cash": ("online", "online_pin", "0008048000", "E800", "020300"),
    "contact_load": ("online", "online_pin", "0008048000", "E800", "420300"),
    "e_cash_contact": ("approved", "none", "0000000000", "E800", "1F0002"),
    "e_cash_contact_sm2": ("approved", "none", "0000000000", "E800", "1F0002"),
    "e_cash_below_threshold": ("online", "online_pin", "0000040000", "E800", "020300"),
    "tap_offline_rsa": ("approved", "none", "0000000000", "0000", "3F0000"),
    "tap_offline_sm2": ("approved", "none", "0000000000", "0000", "3F0000"),
    "tap_online": ("online", "online_pin", "0000000000", "0000", "020300"),
    "tap_small_free": ("online", "none", "0000000000", "0000", "3F0000"),
    "tap_to_contact": ("try_other_interface", "none", "0000000000", "0000", "3F0000"),
}


def play(name: str, reader: Any) -> Any:
    profile, interface, minor, terminal, changes = PATHS[name]
    del profile
    if changes.get("small_bins") == "all":
        changes = changes | {"small_bins": {cards.icc("debit").image.personal.pan[:6]}}
    person = holder(offline_pin=cards.icc("quasi_credit").image.personal.pin)
    presented = present(reader, minor, interface, terminal=kernel(**terminal), person=person, **changes)
    done = complete(presented, reader) if presented.session is not None else None
    return presented, done


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_what_was_recorded_to_the_last_command(name: str) -> None:
    recorded = recordings()[name]
    card = Scripted(recorded["transcript"])
    presented, done = play(name, card)
    card.end()
    seen = (presented.outcome, presented.cvm, f"{presented.tvr:010X}", f"{presented.tsi:04X}")
    assert [*seen, f"{presented.cvm_results:06X}", done and done.outcome] == recorded["outcome"]
    if name in EXPECTED:
        assert tuple(recorded["outcome"][:5]) == EXPECTED[name]


@pytest.mark.parametrize("name", PATHS)
def test_the_cards_of_the_house_still_say_what_was_recorded(name: str) -> None:
    profile, interface, *_ = PATHS[name]
    card = Recorded(cards.icc(profile, interface))
    play(name, card)
    assert [[c.hex().upper(), r.hex().upper()] for c, r in card.said] == recordings()[name]["transcript"]


def test_a_published_contact_card_with_a_real_chain_of_certificates() -> None:
    trace = json.loads((VECTORS / "apdu_traces.json").read_text(encoding="utf-8"))
    key = trace["ca_key"]
    ca = CaKey(bytes.fromhex(key["rid"]), 9, "rsa", bytes.fromhex(key["modulus"]), bytes.fromhex(key["exponent"]))
    card = Mapped(trace["contact"], p80AE8000=trace["contact"][-3][1], p80AE4000=trace["contact"][-1][1])
    terminal = kernel(
        parameters=demo_parameters([ca]), entropy=lambda size: bytes.fromhex("7863AFC6")[:size], capabilities="E0F9C8"
    )
    presented = present(card, 6580, terminal=terminal, date="150316", currency="0360", country="0360")
    assert presented.outcome == "online"
    assert presented.aid.hex().upper() == "A000000333010102"
    assert bytes.fromhex("00880000047863AFC600") in card.heard
    # The signature over this very number verifies; signature is the first method; over the floor.
    assert f"{presented.tvr:010X}" == "0000008000"
    assert f"{presented.tsi:04X}" == "E800"
    assert presented.values["9F4C"].hex().upper().startswith("0006")
    done = complete(presented, card)
    assert done.outcome == "approved"
    assert done.ac.hex().upper() == "E5869B494D460AB4"


def test_a_published_contactless_card() -> None:
    trace = json.loads((VECTORS / "apdu_traces.json").read_text(encoding="utf-8"))["tap"]
    select_ppse, select_aid, options = trace
    account = "6299999999999999D20112010123456789"
    # The published answer masks the account in digits that are no track; one of ours stands in its place.
    fields = {"82": "7C00", "9F36": "0ADC", "57": account, "9F10": "07010103A00000010A010000038787868FD1FC"}
    fields |= {"9F26": "AD03EE811AFAD484", "5F34": "00", "9F6C": "0200", "9F5D": "000000038787"}
    body = tlv.write([(tag, bytes.fromhex(value)) for tag, value in fields.items()])
    answer = (tlv.write([("77", body)]) + b"\x90\x00").hex()
    card = Scripted([select_ppse, select_aid, (options[0], answer)])
    terminal = kernel(entropy=lambda size: bytes.fromhex("2B29EBE4")[:size], ttq="36000000")
    presented = present(card, 1, "contactless", terminal=terminal, date="170601", force_online=True)
    card.end()
    assert (presented.outcome, presented.balance_minor, presented.atc) == ("online", 38787, 0x0ADC)
    shown = dict(tlv.read(presented.icc_data))
    assert shown["9F27"] == b"\x80"
    assert shown["9F26"].hex().upper() == "AD03EE811AFAD484"
    assert list(shown)[:7] == ["9F26", "9F27", "9F10", "9F37", "9F36", "95", "9A"]


def load_answer(card: Recorded, presented: Any, balance: int) -> bytes:
    ac = presented.values["9F26"]
    script = Script(card.icc.session("mac"), presented.atc, ac)
    auth = cards.arpc(card.icc, ac)
    return tlv.write([("91", auth)]) + template([script.put_data("9F79", cards.bcd(balance))], bytes(4))


def loading(bend: Any = None) -> tuple[Recorded, Any]:
    card = Recorded(cards.icc("ecash"))
    presented = present(card, 10000, type_9c=0x60)
    assert presented.outcome == "online"
    assert not presented.e_cash
    card.bend = bend
    return card, presented


def test_a_load_is_written_and_read_again() -> None:
    card, presented = loading()
    done = complete(presented, card, icc_data=load_answer(card, presented, 30000))
    assert (done.outcome, done.load, done.balance_minor, done.reversal_needed) == ("approved", "done", 30000, False)
    assert done.script_results.hex() == "2000000000"
    assert done.issuer_authenticated
    assert f"{done.tvr:010X} {done.tsi:04X}" == "0008048000 FC00"
    assert "DF31" in dict(tlv.read(done.notice_data))


def on(ins: int, change: Any) -> Any:
    return lambda n, command, response: change() if command[1] == ins else response


def test_a_load_whose_script_is_refused_is_reversed() -> None:
    card, presented = loading(on(0xDA, lambda: b"\x69\x88"))
    done = complete(presented, card, icc_data=load_answer(card, presented, 30000))
    assert (done.outcome, done.reason, done.load) == ("declined", "script_failed", "failed")
    assert done.reversal_needed
    assert done.script_results.hex() == "1100000000"
    assert done.tvr & 0x10
    assert dict(tlv.read(done.reversal_data))["DF31"].hex() == "1100000000"


def test_a_load_torn_at_its_script_is_in_doubt_and_not_reversed() -> None:
    card, presented = loading(on(0xDA, tear))
    done = complete(presented, card, icc_data=load_answer(card, presented, 30000))
    assert (done.load, done.reversal_needed, done.reason) == ("doubt", False, "card_removed")


def test_a_load_that_reads_back_another_balance_is_reversed() -> None:
    card, presented = loading(lambda n, c, r: bytes.fromhex("9F79060000000099999000") if c[1] == 0xCA else r)
    done = complete(presented, card, icc_data=load_answer(card, presented, 30000))
    assert (done.load, done.outcome, done.reversal_needed) == ("failed", "declined", True)


def test_issuer_authentication_that_fails_is_told_to_the_card() -> None:
    card = Recorded(cards.icc("debit"))
    presented = present(card, 150000)
    done = complete(presented, card, icc_data=tlv.write([("91", bytes(8) + b"00")]))
    assert done.issuer_authenticated is False
    assert done.tvr & 0x40
    assert done.tsi & 0x1000
    assert done.outcome == "approved"  # this card leaves it to the next transaction


def test_a_card_that_declines_after_the_host_approved_is_reversed() -> None:
    refusal = bytes.fromhex("80130000010011223344556677070101036000000190" + "00")
    card = Recorded(cards.icc("debit"), lambda n, c, r: refusal if c[:3] == b"\x80\xae\x40" or c[2] == 0x50 else r)
    done = complete(present(card, 150000), card)
    assert (done.outcome, done.reason, done.reversal_needed) == ("declined", "card_declined", True)
    assert [tag for tag, _ in tlv.read(done.reversal_data)] == ["95", "9F1E", "9F10", "9F36"]


def test_no_answer_of_the_host_is_decided_by_the_default_codes() -> None:
    for terminal, outcome, arc in ((NO_ODA, "declined", b"Z3"),):
        card = Recorded(cards.icc("debit"))
        presented = present(card, 150000, terminal=kernel(**terminal))
        done = complete(presented, card, arc=None)
        assert (done.outcome, done.reason, done.values["8A"]) == (outcome, "unable_online", arc)
        assert done.cid & 0xC0 == apdu.AC_AAC
        assert not done.reversal_needed


def test_host_decline_ends_with_an_aac() -> None:
    card = Recorded(cards.icc("debit"))
    done = complete(present(card, 150000), card, arc="51")
    assert (done.outcome, done.reason, done.reversal_needed) == ("declined", "host_declined", False)
    assert done.cid & 0xC0 == apdu.AC_AAC


@pytest.mark.parametrize("enrolled", [False, True])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("minor", [99999, 100000, 100001])
def test_small_sales_without_pin(minor: int, enrolled: bool, listed: bool) -> None:
    card = Recorded(cards.icc("debit", "contactless"))
    table = {card.icc.image.personal.pan[:6]} if listed else {"999999"}
    presented = present(card, minor, "contactless", enrolled=enrolled, small_bins=table)
    free = minor <= 100000 and enrolled and listed
    assert (presented.outcome, presented.no_pin) == ("online", free)
    assert presented.cvm == ("none" if free else "online_pin")
    assert presented.pin == ("" if free else "123456")


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("place", range(8))
def test_a_flash_card_pays_once(place: int, heard: bool) -> None:
    """The card leaves at one command, before it heard it or before its answer arrived, and comes back."""
    icc = cards.icc("dual", "contactless")
    before = icc.state.balance

    class Field:
        """Where the card is torn at command `place`."""

        sent = 0

        def __call__(self, command: bytes) -> bytes:
            number, self.sent = self.sent, self.sent + 1
            if number != place:
                return icc.transmit(command)
            if heard:
                icc.transmit(command)
            icc.tear()
            icc.reset("contactless")
            return tear()

    presented = present(Field(), 500, "contactless")
    assert (presented.outcome, presented.torn) == ("approved", 1)
    assert icc.state.balance == before - 500
    assert presented.values["9F26"] == icc.state.proof
    assert presented.atc == icc.state.atc


def test_a_flash_card_that_does_not_come_back() -> None:
    icc = cards.icc("dual", "contactless")
    card = Recorded(icc, lambda n, command, response: tear() if n == 3 else response)
    presented = present(card, 500, "contactless", person=holder(tap_again=False))
    assert (presented.outcome, presented.reason, presented.torn) == ("ended", "card_removed", 1)


def test_reading_the_purse() -> None:
    card = Recorded(cards.icc("dual"))
    present(card, 500)
    card.icc.reset()
    told = run(inquire.purse(kernel(), logs=True), card)
    assert (told.reason, told.balance_minor, told.limit_minor) == ("", 9500, 100000)
    assert [entry["9F02"].hex() for entry in told.payments] == ["000000000500"]


def test_a_blocked_application_is_said_to_be_blocked() -> None:
    card = cards.icc("debit")
    card.state.blocked = 1
    directory = Recorded(card)
    listed = present(directory, 100)
    assert (listed.outcome, listed.reason, counts(listed)) == ("ended", "application_blocked", False)
    assert run(inquire.purse(kernel()), card.transmit).reason == "application_blocked"
    assert run(inquire.identify(kernel()), card.transmit).reason == "application_blocked"


def test_stripes_of_composite_cards() -> None:
    chip, stripe = "6228000000183117D30122010123456789", "6228000000183117=30121010123456789"
    assert swiped(stripe, reads_chips=True) == "accept"
    assert swiped(chip, reads_chips=False) == "accept"
    assert [swiped(chip, True, failures) for failures in (0, 2, 3)] == ["insert", "insert", "fallback"]
    assert swiped(chip, True, 3, allowed=False) == "refuse"
    mute = present(lambda command: b"", 100)
    assert (mute.outcome, mute.reason, counts(mute)) == ("fallback", "unreadable", True)
    nothing = present(lambda command: b"\x6a\x82", 100)
    assert (nothing.outcome, nothing.reason, counts(nothing)) == ("ended", "no_application", False)


def test_the_flows_leave_with_the_power_and_with_nothing_else() -> None:
    from terminals.flow import PowerOff

    def off(command: bytes) -> bytes:
        raise PowerOff

    for flow in (contact.start(kernel(), request(100)), tap(kernel(), request(100)), inquire.purse(kernel())):
        with pytest.raises(PowerOff):
            run(flow, off)
    assert ca_keys()
