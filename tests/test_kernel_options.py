"""Answers to GET PROCESSING OPTIONS: one that is laid out like an earlier one is read as if it were the first."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from kernel_cards import kernel, request

from switch.wire.errors import TlvError
from terminals.kernel import read
from terminals.kernel.session import CONTACTLESS, Ended, Session

TAGS = st.sampled_from(("82", "94", "57", "9F36", "9F10", "9F26", "9A"))
ELEMENTS = st.lists(st.tuples(TAGS, st.binary(max_size=3), st.sampled_from(("", "", "", "81", "82"))), max_size=4)
USUAL = "820280009F36020001"


def written(tag: str, value: bytes, form: str = "") -> bytes:
    return bytes.fromhex(tag + form) + len(value).to_bytes(2 if form == "82" else 1, "big") + value


def initiated(answer: bytes) -> tuple[str, dict[str, bytes], bytes, int]:
    session = Session(kernel(entropy=bytes), request(100), CONTACTLESS)
    flow = read.initiate(session, b"")
    next(flow)
    try:
        flow.send(answer)
    except StopIteration as end:
        outcome = f"{end.value:04X}"
    except (Ended, TlvError) as error:
        outcome = repr(error)
    return outcome, session.values, session.afl, session.aip


@given(st.lists(st.tuples(ELEMENTS, st.sampled_from((0, 0, 0, 1, 3))), min_size=1, max_size=8))
def test_what_was_read_before_changes_nothing(answers: Any) -> None:
    whole = []
    for elements, lost in answers:
        body = b"".join(written(*element) for element in elements)
        whole.append(written("77", body[: max(0, len(body) - lost)]) + b"\x90\x00")
    read._layouts().clear()
    seen = [initiated(answer) for answer in whole]
    for answer, before in zip(whole, seen, strict=True):
        read._layouts().clear()
        assert initiated(answer) == before


def test_an_answer_with_the_same_heads_is_cut_at_once() -> None:
    read._layouts().clear()
    first = initiated(written("77", bytes.fromhex(USUAL)) + b"\x90\x00")
    assert (first[0], first[3], first[1]["9F36"]) == ("9000", 0x8000, b"\x00\x01")
    assert read._layouts()[11].heads == (bytes.fromhex("77098202"), bytes.fromhex("9F3602"))
    other = initiated(written("77", bytes.fromhex("8202A0009F36020002")) + b"\x90\x00")
    assert (other[0], other[3], other[1]["9F36"]) == ("9000", 0xA000, b"\x00\x02")
    renamed = initiated(written("77", bytes.fromhex("820280009F26020003")) + b"\x90\x00")
    assert (renamed[0], renamed[1]["9F26"], "9F36" in renamed[1]) == ("9000", b"\x00\x03", False)


def test_answers_that_are_not_laid_out_plainly_are_not_remembered() -> None:
    read._layouts().clear()
    for body in ("82028000820280009F36020001", "820280009A03261122", "828102800094009F360101", ""):
        initiated(written("77", bytes.fromhex(body)) + b"\x90\x00")
    initiated(bytes.fromhex("800680000801010090009000")[:8] + b"\x90\x00")
    assert not read._layouts()
