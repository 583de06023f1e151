"""Chips at machines: cash on contacts and in the field, the PIN always, an approval the card refuses, loads."""

from collections.abc import Callable
from typing import Any

import pytest
from house import House
from test_atm import FULL, Street

from switch.issuer.portfolio import Card
from switch.wire import apdu, tlv
from terminals.card.card import Icc
from terminals.card.mint import Minter
from terminals.card.signing import ca_keys
from terminals.device import atm, atm_chip
from terminals.device.atm_chip import CONTACT, CONTACTLESS
from terminals.device.cash import Fault
from terminals.drive.instant import cut_at, run
from terminals.flow import Ask, CardRemoved, PowerOff
from terminals.kernel.parameters import demo_parameters

TODAY = ("261028", "101500")


class Branch(Street):
    """A street whose machine reads chips, and a card of a profile in it; `bend` changes what the card answers."""

    def __init__(self, profile: str = "debit", issuer: int = 0, rules: list[dict[str, Any]] | None = None) -> None:
        super().__init__(rules)
        house = self.house
        self.machine.reader = atm_chip.reader_of(demo_parameters(ca_keys()), house.entropy, lambda: TODAY)
        self.minter = Minter(house.portfolio, 7)
        self.card = house.card(issuer, 1, profile)
        self.icc = self.chip(self.card)
        self.chips: dict[str, Icc] = {}
        self.bend: Callable[[int, bytes, bytes], bytes] = lambda step, command, response: response
        self.said: list[Any] = []
        self.commands: list[bytes] = []
        self.pin: str | None = None
        self.changes_card = True

    def chip(self, card: Card) -> Icc:
        return self.minter.icc(card, self.house.entropy)

    def person(self, asked: Ask) -> Any:
        if asked.what in ("application", "tap_again", "load_card"):
            self.asked.append(asked.what)
            return {"application": 0, "tap_again": True, "load_card": self.changes_card}[asked.what]
        if asked.what == "pin" and self.pin is not None:
            self.asked.append("pin")
            return self.pin
        return super().person(asked)

    def put(self, flow: Any, interface: str = CONTACT, host: Callable[[bytes], bytes | None] | None = None) -> Any:
        """A dialogue with the card put in, or held to the field, anew."""
        self.icc.reset(interface)
        self.commands.clear()

        def reader(command: bytes) -> bytes:
            if not self.icc.on:
                raise CardRemoved
            self.commands.append(command)
            return self.bend(len(self.commands) - 1, command, self.icc.transmit(command))

        def ask(body: bytes) -> bytes | None:
            self.said.append(self.house.line.codec.decode(body))
            return (host or self.house.ask)(body)

        return run(flow, ask, self.person, reader)

    def cash_by_chip(self, interface: str = CONTACT, amount: int = 50_000, **more: Any) -> Any:
        flow = atm_chip.withdraw(self.machine, self.house.line, self.card, amount, interface=interface)
        return self.put(flow, interface, **more)

    def request(self) -> Any:
        """The last request for money or a balance."""
        return [message for message in self.said if message.mti == "0200"][-1]

    def balance_of(self, card: Card) -> int:
        """The account of another card, asked for with its own chip."""
        mine, self.card = (self.icc, self.card), card
        self.icc = self.chips.setdefault(card.pan, self.chip(card))
        told = self.chip_balance()
        self.icc, self.card = mine
        self.said.clear()
        return told

    def chip_balance(self) -> int:
        flow = atm_chip.inquire(self.machine, self.house.line, self.card)
        return self.put(flow).balance_minor or 0


@pytest.mark.parametrize("issuer", [0, 1], ids=["own bank", "another"])
@pytest.mark.parametrize("profile", ["debit", "sm"])
def test_cash_by_a_chip_in_the_slot(profile: str, issuer: int) -> None:
    branch = Branch(profile, issuer)
    before = branch.chip_balance()
    outcome = branch.cash_by_chip()
    assert outcome.approved
    assert outcome.reason == ""
    request = branch.request()
    assert (request[3], request[22], request[23], request[25]) == ("010000", "051", "001", "02")
    assert request[60][11:13] == "60"
    assert 52 in request.fields
    values = dict(tlv.read(request[55]))
    assert (values["9C"], values["9F35"], values["9F27"]) == (b"\x01", b"\x14", b"\x80")
    assert values["9F02"] == bytes.fromhex("000000050000")
    assert outcome.item.chip.certificate == "TC"
    assert not outcome.item.chip.arpc_failed
    assert branch.asked.count("pin") == 2
    assert branch.chip_balance() == before - 50_000
    assert branch.close().amounts["dispensed"] == 50_000


def test_cash_by_a_chip_in_the_field() -> None:
    branch = Branch("debit")
    branch.takes_card = False
    outcome = branch.cash_by_chip(CONTACTLESS)
    assert outcome.approved
    request = branch.request()
    assert (request[22], request[60][11:13]) == ("071", "60")
    assert (branch.asked.count("pin"), branch.asked.count("card")) == (1, 0)
    assert branch.machine.retained == []
    assert branch.close().amounts["dispensed"] == 50_000


@pytest.mark.parametrize("interface", [CONTACT, CONTACTLESS])
def test_electronic_cash_pays_no_withdrawal(interface: str) -> None:
    branch = Branch("dual")
    outcome = branch.cash_by_chip(interface, 5_000)
    assert outcome.approved
    assert outcome.item.chip.e_cash is False
    assert branch.icc.state.balance == 10_000
    branch.close()


@pytest.mark.parametrize("interface", [CONTACT, CONTACTLESS])
def test_no_pin_no_question_to_the_host(interface: str) -> None:
    branch = Branch()
    branch.pin = ""
    outcome = branch.cash_by_chip(interface)
    assert (outcome.state, outcome.reason) == ("unsent", "no PIN")
    assert [message.mti for message in branch.said] == ["0800"]
    branch.close()


@pytest.mark.parametrize("how", ["aac", "torn"])
def test_an_approval_the_card_refuses_is_reversed_before_anything_is_paid(how: str) -> None:
    branch = Branch()
    before = branch.chip_balance()
    generated = 0

    def bend(step: int, command: bytes, response: bytes) -> bytes:
        nonlocal generated
        generated += command[1] == 0xAE
        if command[1] != 0xAE or generated != 2:
            return response
        if how == "torn":
            branch.icc.tear()
            raise CardRemoved
        data = apdu.split(response)[0]
        return data[:2] + b"\x00" + data[3:] + b"\x90\x00"

    branch.bend = bend
    outcome = branch.cash_by_chip()
    branch.bend = lambda step, command, response: response
    assert (outcome.state, outcome.response_code) == ("declined", "00")
    assert outcome.item.reversal == "done"
    assert branch.machine.dispensing is None
    assert "cash" not in branch.asked
    [reversal] = [message for message in branch.said if message.mti == "0400"]
    assert reversal[39] == "06"
    assert "9F36" in dict(tlv.read(reversal[55]))
    branch.house.pass_time(5)
    assert branch.chip_balance() == before
    assert branch.close().amounts["dispensed"] == 0


def test_nothing_came_out_is_reversed_with_the_chips_data() -> None:
    branch = Branch()
    branch.machine.vault.faults.append(Fault("none"))
    assert branch.cash_by_chip().reason == "not dispensed"
    [reversal] = [message for message in branch.said if message.mti == "0400"]
    assert reversal[23] == "001"
    assert branch.close().amounts["dispensed"] == 0


@pytest.mark.parametrize("after", [False, True])
def test_silence_pays_nothing_and_is_reversed(after: bool) -> None:
    branch = Branch()

    def deaf(body: bytes) -> bytes | None:
        if branch.house.line.codec.decode(body).mti != "0200":
            return branch.house.ask(body)
        if after:
            branch.house.ask(body)
        return None

    outcome = branch.cash_by_chip(host=deaf)
    assert (outcome.state, outcome.reason) == ("unknown", "timed out")
    assert "cash" not in branch.asked
    assert branch.close().amounts["dispensed"] == 0


@pytest.mark.parametrize(("interface", "kept"), [(CONTACT, ["host"]), (CONTACTLESS, [])])
def test_a_card_is_kept_only_where_it_is_inside(interface: str, kept: list[str]) -> None:
    branch = Branch(rules=[{"action": "code", "kind": "atm_withdrawal", "code": "41"}])
    outcome = branch.cash_by_chip(interface)
    assert (outcome.state, outcome.response_code) == ("declined", "41")
    assert [one.cause for one in branch.machine.retained] == kept
    branch.close()


@pytest.mark.parametrize("seen", [False, True])
def test_power_lost_at_every_step_of_a_withdrawal(seen: bool) -> None:
    whole = Branch()
    assert whole.cash_by_chip().approved
    steps = len(whole.commands)
    assert steps > 8
    for step in range(steps):
        branch = Branch()

        def bend(at: int, command: bytes, response: bytes, step: int = step, branch: Branch = branch) -> bytes:
            if at == step:
                branch.icc.tear()
                raise PowerOff
            return response

        branch.bend = bend
        with pytest.raises(PowerOff):
            branch.cash_by_chip()
        branch.bend = lambda at, command, response: response
        branch.machine.wake()
        assert [one.cause for one in branch.machine.retained] == ["power lost"]
        if seen:
            assert branch.cash_by_chip().approved
        assert branch.close().amounts["dispensed"] == (50_000 if seen else 0)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", [0, 1])
def test_power_lost_at_the_host(call: int, after: bool) -> None:
    branch = Branch()
    with pytest.raises(PowerOff):
        branch.cash_by_chip(host=cut_at(call, branch.house.ask, after))
    branch.icc.tear()
    branch.machine.wake()
    assert branch.machine.dispensing is None
    assert branch.cash_by_chip().approved
    assert branch.close().amounts["dispensed"] == 50_000


@pytest.mark.parametrize("lost", [False, True])
def test_a_load_torn_at_its_script_is_never_reversed(lost: bool) -> None:
    branch = Branch("dual")

    def bend(step: int, command: bytes, response: bytes) -> bytes:
        if command[1] == 0xDA:
            branch.icc.tear()
            raise CardRemoved
        return response

    if lost:
        branch.bend = bend
        outcome = branch.put(atm_chip.load_designated(branch.machine, branch.house.line, branch.card, 20_000))
        assert (outcome.state, outcome.reason) == ("unknown", "load_doubt")
        assert branch.machine.doubts == [outcome.item]
        assert "0400" not in [message.mti for message in branch.said]
    else:
        branch.bend = lambda step, command, response: b"\x69\x82" if command[1] == 0xDA else response
        outcome = branch.put(atm_chip.load_designated(branch.machine, branch.house.line, branch.card, 20_000))
        assert (outcome.state, outcome.reason) == ("declined", "script_failed")
        assert outcome.item.reversal == "done"
        assert [message.mti for message in branch.said][-2:] == ["0620", "0400"]


def test_the_stripe_of_a_chip_card_is_refused() -> None:
    branch = Branch()
    outcome = branch.put(atm.withdraw(branch.machine, branch.house.line, branch.card, 50_000))
    assert (outcome.state, outcome.reason) == ("unsent", "insert_card")


@pytest.mark.parametrize("issuer", [0, 1], ids=["own bank", "another"])
def test_a_load_from_the_cards_own_account(issuer: int) -> None:
    branch = Branch("dual", issuer)
    before = branch.chip_balance()
    outcome = branch.put(atm_chip.load_designated(branch.machine, branch.house.line, branch.card, 20_000))
    assert (outcome.approved, outcome.balance_minor) == (True, 30_000)
    assert branch.icc.state.balance == 30_000
    assert branch.chip_balance() == before - 20_000
    assert "0620" in [message.mti for message in branch.said]
    branch.close()


def test_a_load_across_banks() -> None:
    branch = Branch("dual", 1)
    payer = branch.house.card(3, 1, "debit")
    before = branch.balance_of(payer)
    flow = atm_chip.load_other(branch.machine, branch.house.line, payer, branch.card, 15_000)
    outcome = branch.put(flow)
    request = branch.request()
    assert (request[3], request[22]) == ("620000", "021")
    assert request[62].rstrip() == branch.card.pan.encode()
    assert branch.asked.count("load_card") == 1
    assert outcome.approved
    assert branch.icc.state.balance == 25_000
    assert branch.balance_of(payer) == before - 15_000
    branch.close()


def test_whoever_does_not_change_cards_is_not_asked_for_money() -> None:
    branch = Branch("dual", 1)
    branch.changes_card = False
    payer = branch.house.card(0, 1, "debit")
    outcome = branch.put(atm_chip.load_other(branch.machine, branch.house.line, payer, branch.card, 15_000))
    assert (outcome.state, outcome.reason, branch.said) == ("unsent", "cancelled", [])
    assert branch.machine.card_in == ""


def test_a_machine_without_reader_takes_no_chip() -> None:
    street = Street()
    card = street.house.card(0, 1)
    with pytest.raises(ValueError, match="reads no chips"):
        street.run(atm_chip.withdraw(street.machine, street.house.line, card, 50_000))
    assert House(0, machines=2).fleet[0].capabilities == ("stripe", "contact", "contactless")
    assert street.machine.vault.stock() == FULL
