"""Framing: any split of a stream gives the same frames, every broken prefix is named, headers keep their bytes."""

import pickle
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import FrameError
from switch.wire.framing import (
    FRAMINGS,
    REJECT_CODES,
    Deframer,
    Frame,
    Framing,
    NetworkHeader,
    PosHeader,
    pos_header,
    reply_header,
    reply_tpdu,
)

POS = FRAMINGS["len2+tpdu+hdr6"]
NETWORK = FRAMINGS["len4+hdr46"]
TPDU = bytes.fromhex("6000030000")
STREAMS = {
    "pos": POS,
    "no-header": FRAMINGS["len2+tpdu"],
    "network": NETWORK,
    "counts-itself": Framing("ascii4", tpdu=False, header=0, counts_itself=True),
    "small": Framing("bin2", tpdu=True, header=6, counts_itself=True, frame_max=40),
}


def framed(framing: Framing, body: bytes) -> tuple[bytes, Frame]:
    tpdu = TPDU if framing.tpdu else b""
    header = {0: b"", 6: pos_header(), 46: NetworkHeader(source="04384530").build(len(body))}[framing.header]
    return framing.wrap(body, header, tpdu), Frame(tpdu, header, body)


def outcome(framing: Framing, segments: list[bytes]) -> tuple[list[Frame], str, int]:
    """Everything a stream gives: frames, the fault that ends it, keep-alives."""
    deframer = Deframer(framing)
    frames: list[Frame] = []
    fault = ""
    try:
        for segment in segments:
            frames += deframer.feed(segment)
        deframer.feed(b"")
    except FrameError as error:
        fault = str(error)
    return frames, fault, deframer.keepalives


@given(
    name=st.sampled_from(sorted(STREAMS)),
    bodies=st.lists(st.binary(min_size=1, max_size=24), max_size=6),
    tail=st.binary(max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    keepalives=st.booleans(),
)
def test_any_split_gives_the_same_frames(
    name: str, bodies: list[bytes], tail: bytes, cuts: list[int], keepalives: bool
) -> None:
    framing = STREAMS[name]
    idle = b"0000" if keepalives and framing.length == "ascii4" else b""
    built = [framed(framing, body) for body in bodies]
    stream = b"".join(idle + data for data, _ in built) + tail
    at = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    segments = [stream[start:stop] for start, stop in pairwise(at)]
    whole = outcome(framing, [stream])
    assert outcome(framing, segments) == whole
    assert outcome(framing, [stream[i : i + 1] for i in range(len(stream))]) == whole
    assert whole[0][: len(built)] == [frame for _, frame in built]
    assert whole[2] >= len(built) * bool(idle)


@given(st.binary(max_size=300), st.sampled_from(sorted(STREAMS)))
def test_noise_gives_frames_or_one_fault(noise: bytes, name: str) -> None:
    deframer = Deframer(STREAMS[name])
    with suppress(FrameError):
        deframer.feed(noise)
    if deframer.error is not None:
        with pytest.raises(FrameError) as caught:
            deframer.feed(b"more")
        assert caught.value is deframer.error


@pytest.mark.parametrize(
    ("framing", "data", "fault"),
    [
        (POS, "0000", "length prefix at offset 0: 0 bytes are too few for TPDU, header and a body"),
        (
            POS,
            "000B6000030000603100310000",
            "length prefix at offset 0: 11 bytes are too few for TPDU, header and a body",
        ),
        (POS, "FFFF60", "length prefix at offset 0: 65535 bytes exceed the link's maximum of 4096"),
        (POS, "1001", "length prefix at offset 0: 4097 bytes exceed the link's maximum of 4096"),
        (NETWORK, b"+046".hex(), "length prefix at offset 0: not four ASCII digits"),
        (NETWORK, b" 050".hex(), "length prefix at offset 0: not four ASCII digits"),
        (NETWORK, "B2B2B2B2", "length prefix at offset 0: not four ASCII digits"),
        (NETWORK, b"0046".hex(), "length prefix at offset 0: 46 bytes are too few for TPDU, header and a body"),
        (NETWORK, b"9999".hex(), "length prefix at offset 0: 9999 bytes exceed the link's maximum of 4096"),
    ],
)
def test_broken_prefixes(framing: Framing, data: str, fault: str) -> None:
    with pytest.raises(FrameError) as caught:
        Deframer(framing).feed(bytes.fromhex(data))
    assert str(caught.value) == fault
    assert str(pickle.loads(pickle.dumps(caught.value))) == fault


def test_frames_before_a_fault_are_delivered() -> None:
    data, frame = framed(POS, b"body")
    deframer = Deframer(POS)
    assert deframer.feed(data + b"\x00\x00") == [frame]
    assert deframer.error is not None
    with pytest.raises(FrameError):
        deframer.feed(data)


def test_half_frames_and_several_in_one_segment() -> None:
    data, frame = framed(POS, b"body")
    deframer = Deframer(POS)
    assert deframer.feed(data[:1]) == []
    assert deframer.feed(data[1:9]) == []
    assert deframer.feed(data[9:] + data + data[:3]) == [frame, frame]
    assert deframer.feed(data[3:]) == [frame]


def test_a_deframer_needs_a_length() -> None:
    with pytest.raises(FrameError):
        Deframer(FRAMINGS["body"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: POS.wrap(b"x", pos_header(), b""),
        lambda: POS.wrap(b"x", b"", TPDU),
        lambda: NETWORK.wrap(b"x", pos_header()),
        lambda: FRAMINGS["body"].wrap(b"x", b"", TPDU),
        lambda: POS.wrap(bytes(5000), pos_header(), TPDU),
        lambda: Framing("ascii4", tpdu=False, header=0, frame_max=100_000).wrap(bytes(10_000)),
        lambda: Framing("bin2", tpdu=False, header=0, frame_max=100_000).wrap(bytes(65_536)),
    ],
)
def test_wrap_refuses_what_the_link_does_not_carry(wrap: Callable[[], bytes]) -> None:
    with pytest.raises(FrameError):
        wrap()


def test_unwrap_takes_exactly_one_frame() -> None:
    data, frame = framed(POS, b"body")
    assert POS.unwrap(data) == frame
    assert FRAMINGS["tpdu+hdr6"].unwrap(data[2:]) == frame
    for wrong in (b"", b"\x00", data[:-1], data + b"\x00", data[:5]):
        with pytest.raises(FrameError):
            POS.unwrap(wrong)
    with pytest.raises(FrameError, match="TPDU at offset 0"):
        FRAMINGS["tpdu+hdr6"].unwrap(b"\x60\x00")
    with pytest.raises(FrameError, match="header at offset 5"):
        FRAMINGS["tpdu+hdr6"].unwrap(TPDU + b"\x60")


def test_pos_header_and_tpdu_of_a_reply() -> None:
    assert reply_tpdu(bytes.fromhex("6000030000")) == bytes.fromhex("6000000003")
    header = bytes.fromhex("60320032FFF1")
    assert PosHeader.parse(header) == PosHeader("60", "32", "0", "0", "32FFF1")
    assert PosHeader.parse(header).build() == header
    assert reply_header(header, "3") == bytes.fromhex("60320332FFF1")
    for broken in (b"", header[:5]):
        with pytest.raises(FrameError):
            PosHeader.parse(broken)
    for part in ({"version": "3"}, {"reserved": "31000G"}, {"processing": "10"}):
        with pytest.raises(FrameError):
            pos_header(**part)


def test_network_header_keeps_its_bytes() -> None:
    header = bytes.fromhex(
        "2E02 30333636 3034333834353330202020 3030303130303030202020 435550 01 3030303030303030 00 3030303030"
    )
    parsed = NetworkHeader.parse(header)
    assert (parsed.version, parsed.length, parsed.destination, parsed.source) == (2, 366, "04384530", "00010000")
    assert (parsed.reserved, parsed.batch, parsed.info, parsed.reject) == (b"CUP", 1, "00000000", "00000")
    assert parsed.build(366 - 46) == header


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ((0, b"\x2f"), "header length"),
        ((1, b"\x03"), "header version"),
        ((2, b"+060"), "header total length"),
        ((2, b"0061"), "header total length"),
        ((6, b"           "), "header destination"),
        ((17, b"0438\xff530   "), "header source"),
    ],
)
def test_network_header_faults_have_reject_codes(change: tuple[int, bytes], where: str) -> None:
    header = bytearray(NetworkHeader(source="04384530").build(14))
    header[change[0] : change[0] + len(change[1])] = change[1]
    with pytest.raises(FrameError) as caught:
        NetworkHeader.parse(bytes(header), 60)
    assert caught.value.where == where
    assert caught.value.offset == change[0]
    assert caught.value.where in REJECT_CODES


@pytest.mark.parametrize(
    "header",
    [
        NetworkHeader(source="123456789012"),
        NetworkHeader(source="银联"),
        NetworkHeader(reserved=b""),
        NetworkHeader(reject="0"),
        NetworkHeader(info="", reserved=bytes(11)),
        NetworkHeader(batch=256),
    ],
)
def test_network_header_parts_must_fit(header: NetworkHeader) -> None:
    with pytest.raises(FrameError):
        header.build(10)


@given(st.binary(min_size=40, max_size=50))
def test_any_header_is_read_or_refused(data: bytes) -> None:
    for candidate in (data, b"\x2e\x02" + data[2:46]):
        try:
            parsed = NetworkHeader.parse(candidate)
        except FrameError:
            continue
        assert parsed.build(parsed.length - 46) == candidate
