"""Wrong order, length, class, instruction and parameters, each with its status word; and any bytes whatever."""

import pytest
from cards import aid_of, ask, cdol1, first, icc, selected, started, tap_values
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.wire import apdu
from terminals.card.card import Icc
from terminals.card.profile import shipped
from terminals.card.state import ROW_BYTES

AC = "80AE80003100" + "00" * 48
WRONG = [
    # before anything is selected
    ("fresh", "00B2010C00", 0x6985),
    ("fresh", "80A8000002830000", 0x6985),
    ("fresh", "80CA9F3600", 0x6985),
    ("fresh", "0084000000", 0x6985),
    ("fresh", "805A000002000100", 0x6985),
    ("fresh", "00A4", 0x6700),
    ("fresh", "", 0x6700),
    ("fresh", "00A40400", 0x6700),
    ("fresh", "00A4000002A000", 0x6B00),
    ("fresh", "00A4040102A000", 0x6B00),
    ("fresh", "00A4040005A000000334", 0x6A82),
    ("fresh", "00A4040008A0000003330101", 0x6700),
    ("fresh", "00A4040011" + "A0" * 17, 0x6700),
    ("fresh", "FFA4040000", 0x6E00),
    ("fresh", "80A4040000", 0x6E00),
    ("fresh", "00FF000000", 0x6D00),
    ("fresh", "00C0000000", 0x6D00),
    # selected
    ("selected", "00B2010C00", 0x6985),
    ("selected", "80AE80000101", 0x6985),
    ("selected", "0088000004112233440000"[:20], 0x6985),
    ("selected", "00820000081122334455667788", 0x6985),
    ("selected", "0020008008" + "00" * 8, 0x6985),
    ("selected", "80A8010002830000", 0x6B00),
    ("selected", "80A800000183", 0x6700),
    ("selected", "80A8000003830100", 0x6700),
    ("selected", "80A8000002840000", 0x6A80),
    ("selected", "80CADF0100", 0x6A88),
    ("selected", "80CA005700", 0x6A88),
    ("selected", "80CA9F3601AA", 0x6700),
    ("selected", "0084010000", 0x6B00),
    ("selected", "805A00000101", 0x6700),
    ("selected", "805A0100020001", 0x6B00),
    ("selected", "805A0000020001", 0x9406),
    ("selected", "04DA9F790A0000000160002B5A0920", 0x6985),
    # after GPO
    ("started", "80A8000002830000", 0x6985),
    ("started", "00B2070C00", 0x6A83),
    ("started", "00B2010400", 0x6A82),
    ("started", "00B2000C00", 0x6A83),
    ("started", "00B2010D00", 0x6B00),
    ("started", "00B2010C01FF", 0x6700),
    ("started", "80AEC0003100" + "00" * 48, 0x6B00),
    ("started", "80AE80013100" + "00" * 48, 0x6B00),
    ("started", "80AE8000020000", 0x6700),
    ("started", "80AE800034" + "0A" * 52, 0x6A80),
    ("started", "008800000411223344", 0x9000),
    ("started", "0088000003112233", 0x6700),
    ("started", "008801000411223344", 0x6B00),
    ("started", "0020008108" + "00" * 8, 0x6B00),
    ("started", "002000800100", 0x6700),
    ("started", "0082000008" + "00" * 8, 0x6985),
    ("started", "04DC010C04" + "00" * 4, 0x6985),
    # after an ARQC
    ("online", "00820000081122334455667788", 0x6700),
    ("online", "008201000A" + "00" * 10, 0x6B00),
    ("online", "008200000A" + "00" * 10, 0x6300),
    ("online", "008800000411223344", 0x6985),
    ("online", "0020008008" + "00" * 8, 0x6985),
    ("online", "04DA9F790A0000000160002B5A0920", 0x6988),
    ("online", "841E0000020000", 0x6700),
    ("online", "84DA9F790A0000000160002B5A0920", 0x6E00),
    ("online", "80AE400002" + "3030", 0x6700),
]


def brought(phase: str) -> Icc:
    card = icc("debit")
    if phase == "selected":
        selected(card)
    elif phase in ("started", "online"):
        started(card)
    if phase == "online":
        first(card, apdu.AC_ARQC)
    return card


@pytest.mark.parametrize(("phase", "command", "sw"), WRONG)
def test_the_status_word_of_the_specification(phase: str, command: str, sw: int) -> None:
    assert apdu.split(brought(phase).transmit(bytes.fromhex(command)))[1] == sw


def test_once_means_once() -> None:
    card = brought("started")
    ask(card, apdu.internal_auth(b"\x11\x22\x33\x44"))
    ask(card, apdu.internal_auth(b"\x11\x22\x33\x44"), 0x6985)
    assert first(card, apdu.AC_ARQC)[3][6] == 0x02  # CVR: dynamic authentication done


def test_contact_commands_in_the_field() -> None:
    card = icc("dual", "contactless")
    selected(card)
    ask(card, apdu.gpo(tap_values(100)))
    ask(card, apdu.generate_ac(0x80, cdol1(100)), 0x6985)
    ask(card, apdu.internal_auth(bytes(4)), 0x6985)
    ask(card, apdu.verify(bytes(8)), 0x6985)
    ask(card, apdu.external_auth(bytes(10)), 0x6985)
    assert icc("composite", "contactless").transmit(apdu.select(apdu.PPSE)) == b""


def bend(command: bytes, place: int, value: int) -> bytes:
    """A good command with one byte changed."""
    place %= len(command)
    return command[:place] + bytes((value,)) + command[place + 1 :]


@pytest.mark.parametrize("profile", shipped())
@pytest.mark.parametrize("t0", [False, True])
def test_no_bytes_whatever_raise(profile: str, t0: bool) -> None:
    heads = st.sampled_from([bytes.fromhex(command)[:4] for _, command, _ in WRONG if len(command) >= 8])
    tails = st.binary(max_size=64)
    good = st.sampled_from(
        [
            apdu.select(apdu.PSE),
            apdu.select(apdu.PPSE),
            apdu.select(aid_of(icc(profile))),
            apdu.gpo(),
            apdu.gpo(tap_values(100)),
            apdu.gpo(bytes(9)),
            apdu.gpo(bytes(10)),
            apdu.generate_ac(0x90, cdol1(100)),
            apdu.generate_ac(0x40, b"00" + cdol1(100)[:-20]),
            apdu.get_challenge(),
            *(apdu.read_record(sfi, number) for sfi in (1, 2, 3, 11) for number in (0, 1, 3)),
        ]
    )
    bent = st.builds(bend, good, st.integers(0, 70), st.integers(0, 255))
    sent = good | bent | st.binary(max_size=300) | st.builds(bytes.__add__, heads, tails)
    # gmssl takes milliseconds a signature: SM2 certificates are read in other tests.
    quick = profile not in ("sm", "dual_algorithm")

    @settings(max_examples=60 if quick else 20, deadline=None)
    @given(st.lists(sent, max_size=12), st.sampled_from(["contact", "contactless"]))
    def run(commands: list[bytes], interface: str) -> None:
        card = icc(profile, t0=t0)
        card.reset(interface)
        for command in commands:
            answer = card.transmit(command)
            assert len(answer) >= 2 or not card.on
            assert len(answer) <= 258
            assert 0 <= card.state.balance <= 20000
            assert len(card.state.pack()) == ROW_BYTES

    run()
