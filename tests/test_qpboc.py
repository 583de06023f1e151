"""The decision of a contactless card, rule by rule; the default profile of the vectors unless a case says otherwise."""

import pytest

from switch.wire import qpboc
from switch.wire.qpboc import AAC, ARQC, TC, USE_OTHER_INTERFACE, Tap

DEFAULT = Tap(
    ttq=bytes.fromhex("26000000"),
    amount_minor=500,
    balance_minor=10_000,
    single_max=1_000,
    reset_threshold=1_500,
    cvm_limit=1_100,
    processing=bytes.fromhex("9900F000"),
)


def hexed(**given: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in given.items()}


@pytest.mark.parametrize(
    ("changes", "result", "ctq", "velocity", "why"),
    [
        ({}, TC, 0, False, "offline"),
        ({"amount_minor": 1_000}, TC, 0, False, "offline"),
        ({"amount_minor": 1_001}, ARQC, 0, True, "balance or limit"),
        ({"amount_minor": 1_000, "balance_minor": 2_500}, TC, 0, False, "offline"),
        ({"amount_minor": 1_000, "balance_minor": 2_499}, ARQC, 0, True, "balance or limit"),
        ({"amount_minor": 0}, ARQC, 0, False, "no amount"),
        ({"status_check": True}, ARQC, 0, False, "status check"),
        ({"last_online_atc": 0}, ARQC, 0, False, "new card"),
        ({"pin_tries_exceeded": True}, ARQC, 0, False, "PIN tries exceeded"),
        ({"pin_tries_exceeded": True, **hexed(processing="8100F000")}, TC, 0, False, "offline"),
        # The reader's word.
        (hexed(ttq="26800000"), ARQC, 0, False, "reader asks online"),
        ({**hexed(ttq="2A000000"), "amount_minor": 900, "balance_minor": 900}, TC, 0, False, "offline"),
        ({**hexed(ttq="2A000000"), "amount_minor": 901, "balance_minor": 900}, AAC, 0, False, "balance or limit"),
        ({**hexed(ttq="2A000000"), "amount_minor": 1_001}, AAC, 0, False, "balance or limit"),
        ({**hexed(ttq="2A000000"), "pin_tries_exceeded": True}, AAC, 0, False, "PIN tries exceeded"),
        ({**hexed(ttq="2A000000"), "last_online_atc": 0}, TC, 0, False, "offline"),
        ({**hexed(ttq="2A000000", processing="9920F000"), "last_online_atc": 0}, AAC, 0, False, "new card"),
        (hexed(ttq="2A000000", processing="00000000"), AAC, 0, False, "no offline check"),
        (hexed(processing="00000000"), ARQC, 0, False, "no offline check"),
        # The holder: PIN before signature; neither ends on this interface.
        (hexed(ttq="26400000"), ARQC, 0x80, False, "online PIN"),
        (hexed(ttq="22400000"), TC, 0x40, False, "offline"),
        (hexed(ttq="2E400000"), TC, 0x40, False, "offline"),
        (hexed(ttq="22C00000"), ARQC, 0x40, False, "reader asks online"),
        (hexed(ttq="20400000"), USE_OTHER_INTERFACE, 0, False, "no CVM in common"),
        (hexed(ttq="24400000", processing="99001000"), USE_OTHER_INTERFACE, 0, False, "no CVM in common"),
        ({"amount_minor": 1_101}, ARQC, 0x80, False, "online PIN"),
        ({"amount_minor": 1_100}, ARQC, 0, True, "balance or limit"),
        # Another currency.
        ({**hexed(processing="9940F000"), "currency_matches": False}, AAC, 0, False, "currency refused"),
        ({"currency_matches": False}, ARQC, 0x80, False, "online PIN"),
        ({**hexed(processing="9900D000"), "currency_matches": False}, ARQC, 0, False, "currency online only"),
        ({**hexed(processing="9D00D000"), "currency_matches": False}, TC, 0, False, "offline"),
        (
            {**hexed(ttq="2A000000", processing="9900D000"), "currency_matches": False},
            AAC, 0, False, "currency online only",
        ),
        # The total spent offline, with the balance or instead of it.
        (
            {**hexed(processing="C0000000"), "total_minor": 6_600, "total_max": 7_000},
            ARQC, 0, True, "offline total",
        ),
        ({**hexed(processing="C0000000"), "total_minor": 6_500, "total_max": 7_000}, TC, 0, False, "offline"),
        (
            {**hexed(processing="C0000000"), "total_minor": 6_600, "total_max": 7_000, "total_upper_max": 8_000},
            TC, 0, False, "offline",
        ),
        ({**hexed(processing="40000000"), "balance_minor": 0, "total_max": 7_000}, ARQC, 0, True, "balance or limit"),
        ({**hexed(processing="20000000"), "amount_minor": 1_050, "total_max": 7_000}, TC, 0, False, "offline"),
        (
            {**hexed(processing="20000000"), "amount_minor": 1_050, "total_max": 1_000},
            ARQC, 0, True, "balance and offline total",
        ),
        (
            {**hexed(processing="20000000"), "balance_minor": 400, "total_max": 7_000},
            ARQC, 0, True, "balance and offline total",
        ),
        # Contact before anything else; a prepaid card pays as it goes online.
        (
            {**hexed(ttq="36000000", processing="9B00F000"), "amount_minor": 0},
            USE_OTHER_INTERFACE, 0, False, "card prefers contact",
        ),
        (hexed(processing="9B00F000"), TC, 0, False, "offline"),
        ({**hexed(processing="9980F000"), "amount_minor": 0}, AAC, 0, False, "prepaid: no amount"),
        ({**hexed(ttq="26800000", processing="9980F000"), "balance_minor": 499}, AAC, 0, False, "prepaid: balance"),
        (hexed(ttq="26800000", processing="9980F000"), ARQC, 0, False, "prepaid: reader asks online"),
    ],
)  # fmt: skip
def test_rules(changes: dict[str, object], result: str, ctq: int, velocity: bool, why: str) -> None:
    decision = qpboc.decide(DEFAULT._replace(**changes))
    assert decision[:3] == (result, ctq, velocity)
    assert decision.why == why
    assert decision.debit == (result == TC or why == "prepaid: reader asks online")


def test_qualifiers_of_another_length() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        qpboc.decide(DEFAULT._replace(ttq=b""))
    with pytest.raises(ValueError, match="4 bytes"):
        qpboc.decide(DEFAULT._replace(processing=bytes(3)))
