"""The bus validator: who passes, what is written down, and one debit a ride wherever card or power goes away."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cards import entropy, icc, portfolio

from switch.wire import tlv
from terminals.card.card import Icc
from terminals.card.profile import shipped
from terminals.card.signing import ca_keys
from terminals.device import validator
from terminals.device.taps import FileFault, Lists, Tap, TapFile, read_file, read_lists, write_file
from terminals.device.validator import EXCHANGES_MAX, READ_MS, Tapped, ValidatorMemory
from terminals.drive.pump import pump
from terminals.fleet import memory_of, mint_operators, validator_of
from terminals.flow import Apdu, Ask, CardRemoved, Flow, PowerOff
from terminals.kernel.parameters import demo_parameters
from terminals.kernel.session import Kernel

NOON = datetime(2026, 11, 22, 12, 0, 0)
LISTS = Lists(1, frozenset(), (("302", "1", 200), ("302", "2", 350)), 5)
STEPS = 8
"""Commands of a ride with the card `dual`."""
PURSES = {"dual": 10000, "sm": 10000, "dual_algorithm": 10000, "social": 10000, "ecash": 20000}


def bus(lists: Lists = LISTS, zone: str = "1") -> tuple[ValidatorMemory, Kernel]:
    memory = ValidatorMemory("70000001", "999290041110001", "江北公交", "302", zone, lists)
    return memory, validator.reader(demo_parameters(ca_keys()), entropy)


def pan_of(n: int = 3) -> str:
    return portfolio().card(0, n).pan


class Field:
    """A card in the field, which may leave, or the power with it, at one command: before it is heard or after."""

    def __init__(self, card: Icc, at: int = -1, heard: bool = False, why: type[Exception] = CardRemoved) -> None:
        self.card, self.at, self.heard, self.why = card, at, heard, why
        self.back = True
        self.steps = 0
        card.reset("contactless")

    def __call__(self, effect: Any) -> Any:
        if isinstance(effect, Ask):
            assert effect.what == "tap_again"
            if self.back:
                self.card.reset("contactless")
            return self.back
        assert isinstance(effect, Apdu)
        self.steps += 1
        if self.steps - 1 != self.at:
            return self.card.transmit(effect.command)
        if self.heard:
            self.card.transmit(effect.command)
        self.card.tear()
        raise self.why


def ride(memory: ValidatorMemory, kernel: Kernel, field: Callable[[Any], Any], now: datetime = NOON) -> Tapped:
    flow: Flow[Tapped] = validator.tap(memory, kernel, now)
    told: Tapped = pump(flow, field)
    return told


@pytest.mark.parametrize("profile", sorted(PURSES))
def test_a_ride_is_paid_offline_within_its_time(profile: str) -> None:
    memory, kernel = bus()
    card = icc(profile, "contactless")
    field = Field(card)
    told = ride(memory, kernel, field)
    assert told.open
    assert (told.reason, told.amount_minor, told.balance_minor) == ("", 200, PURSES[profile] - 200)
    assert card.state.balance == PURSES[profile] - 200
    assert field.steps <= EXCHANGES_MAX
    assert EXCHANGES_MAX * 25 <= READ_MS
    [tap] = memory.taps
    assert (tap.number, tap.atc, tap.amount_minor, tap.at, tap.state) == (1, 1, 200, "20261122120000", "paid")
    values = dict(tlv.read(tap.icc_data))
    assert values["9F27"] == b"\x40"
    assert values["8A"] == b"Y1"
    assert values["9F02"] == bytes.fromhex("000000000200")
    assert values["9F35"] == b"\x26"
    assert tap.certificate == values["9F26"]
    assert memory.intent is None


@pytest.mark.parametrize("profile", [name for name in shipped() if name not in PURSES and name != "composite"])
def test_a_card_without_electronic_cash_does_not_pass(profile: str) -> None:
    memory, kernel = bus()
    told = ride(memory, kernel, Field(icc(profile, "contactless")))
    assert not told.open
    assert (memory.taps, memory.intent, memory.doubts) == ([], None, [])


def test_the_fare_is_the_zones() -> None:
    memory, kernel = bus(zone="2")
    assert ride(memory, kernel, Field(icc("dual", "contactless"))).amount_minor == 350
    memory.zone = "3"
    assert ride(memory, kernel, Field(icc("dual", "contactless"))) == Tapped(False, "no_fare")


def test_a_blacklisted_card_is_refused_and_keeps_its_money() -> None:
    card = icc("dual", "contactless")
    memory, kernel = bus(LISTS._replace(blacklist=frozenset((pan_of(),))))
    told = ride(memory, kernel, Field(card))
    assert (told.open, told.reason, memory.taps, memory.refused) == (False, "exception_file", [], 1)
    assert card.state.balance == 10000


def test_the_same_card_again_is_refused_until_the_minutes_are_over() -> None:
    memory, kernel = bus()
    card, other = icc("dual", "contactless"), icc("dual", "contactless", 4)
    assert ride(memory, kernel, Field(card)).open
    soon = ride(memory, kernel, Field(card), NOON + timedelta(minutes=4, seconds=59))
    assert (soon.open, soon.reason, card.state.balance) == (False, "too_soon", 9800)
    assert ride(memory, kernel, Field(other), NOON + timedelta(minutes=1)).open
    assert ride(memory, kernel, Field(card), NOON + timedelta(minutes=5)).open
    assert card.state.balance == 9600
    assert len(memory.taps) == 3


@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
def test_a_card_torn_away_comes_back_and_pays_once(step: int, heard: bool) -> None:
    memory, kernel = bus()
    card = icc("dual", "contactless")
    told = ride(memory, kernel, Field(card, step, heard))
    assert told.open
    assert card.state.balance == 9800
    assert [tap.state for tap in memory.taps] == ["paid"]


@pytest.mark.parametrize("why", [CardRemoved, PowerOff])
@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("step", range(STEPS))
def test_one_debit_a_ride_wherever_card_or_power_goes(step: int, heard: bool, why: type[Exception]) -> None:
    memory, kernel = bus()
    card = icc("dual", "contactless")
    field = Field(card, step, heard, why)
    field.back = False
    if why is PowerOff:
        with pytest.raises(PowerOff):
            ride(memory, kernel, field)
    else:
        assert not ride(memory, kernel, field).open
    told = ride(memory, kernel, Field(card), NOON + timedelta(seconds=20))
    assert told.open
    assert card.state.balance == 9800
    [tap] = memory.taps
    assert tap.certificate == dict(tlv.read(tap.icc_data))["9F26"]
    assert (memory.intent, memory.doubts == [] or memory.doubts[0].atc != tap.atc) == (None, True)
    memory.wake(NOON + timedelta(hours=1))
    listed = [tap for tap in memory.taps if tap.state == "listed"]
    assert sum(tap.amount_minor for tap in memory.taps if tap.state == "paid") == 200
    assert all(tap.reason == "torn" for tap in listed)


def test_a_torn_ride_that_nobody_clears_up_is_listed() -> None:
    memory, kernel = bus()
    card = icc("dual", "contactless")
    whole = Field(icc("dual", "contactless"))
    ride(*bus(), whole)
    assert whole.steps == STEPS
    field = Field(card, STEPS - 1, True)
    field.back = False
    assert ride(memory, kernel, field).reason == "torn"
    assert card.state.balance == 9800
    assert [tap.atc for tap in memory.doubts] == [1]
    assert ride(memory, kernel, Field(icc("dual", "contactless", 4)), NOON + timedelta(minutes=10)).open
    assert [(tap.state, tap.reason) for tap in memory.taps] == [("listed", "torn"), ("paid", "")]


def test_a_full_memory_takes_no_more() -> None:
    memory, kernel = bus()
    memory.taps_max = 1
    assert ride(memory, kernel, Field(icc("dual", "contactless"))).open
    card = icc("dual", "contactless", 4)
    assert ride(memory, kernel, Field(card)) == Tapped(False, "full")
    assert card.state.balance == 10000


def test_no_repr_shows_a_card() -> None:
    memory, kernel = bus(LISTS._replace(blacklist=frozenset((pan_of(9),))))
    told = ride(memory, kernel, Field(icc("dual", "contactless")))
    file = memory.close_file()
    for shown in (repr(told), repr(memory), repr(file), repr(memory.lists)):
        assert pan_of() not in shown


def file_of_one() -> TapFile:
    memory, kernel = bus()
    ride(memory, kernel, Field(icc("dual", "contactless")))
    file = memory.close_file()
    assert file is not None
    return file


def test_a_file_reads_back_whole_or_not_at_all() -> None:
    file = file_of_one()
    body = write_file(file)
    assert read_file(body) == file
    for size in range(len(body)):
        with pytest.raises(FileFault):
            read_file(body[:size])
    for at in range(0, len(body), 7):
        with pytest.raises(FileFault):
            read_file(body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :])


@pytest.mark.parametrize(
    "change",
    [{"pan": "12"}, {"at": "2026"}, {"atc": 70000}, {"icc_data": b""}, {"expiry": "1"}, {"state": "lost"}],
)
def test_a_file_with_one_wrong_tap_is_refused_whole(change: dict[str, Any]) -> None:
    file = file_of_one()
    wrong = Tap(**(file.taps[0]._asdict() | change))
    with pytest.raises(FileFault, match="line 3"):
        read_file(write_file(file._replace(taps=(file.taps[0], wrong))))


@pytest.mark.parametrize("entry", ["", "X|1", "B|12a", "F|302|1", "N|-1"])
def test_a_list_with_one_wrong_entry_is_refused(entry: str) -> None:
    with pytest.raises(FileFault, match="entry 2"):
        read_lists(2, ["N|5", entry])


def test_a_card_on_the_kernels_exception_file_keeps_its_money() -> None:
    memory, kernel = bus()
    card = icc("dual", "contactless")
    kernel.exceptions = (f"{pan_of()}-01",)
    told = ride(memory, kernel, Field(card))
    assert (told.reason, card.state.balance, memory.intent, memory.taps) == ("exception_file", 10000, None, [])


def test_operators_come_from_the_seed() -> None:
    whole = mint_operators(5, 3, 40)
    assert mint_operators(5, 2, 40) == whole[:2]
    assert mint_operators(6, 3, 40) != whole
    gates = [gate.tid for operator in whole for gate in operator.validators]
    office = [terminal.tid for operator in whole for terminal in operator.terminals]
    assert len(set(gates + office)) == 126
    for operator in whole:
        assert (len(operator.mid), operator.mid[7:11]) == (15, "4111")
        fares = {(line, zone): minor for line, zone, minor in operator.lists.fares}
        assert len(fares) == len(operator.lists.fares) == 33
        for gate in operator.validators:
            assert gate.capabilities == ("contactless",)
            memory = validator_of(operator, gate)
            assert memory.fare == fares[gate.line, gate.zone] >= 100
        assert {terminal.suite for terminal in operator.terminals} <= {"3des", "sm4"}
        assert memory_of(operator.terminals[0]).reads == "6"


@pytest.mark.parametrize("wrong", [(-1, 1), (100, 1), (1, -1), (1, 10_000)])
def test_more_operators_than_there_are_numbers_for(wrong: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="up to 99 operators"):
        mint_operators(1, *wrong)
