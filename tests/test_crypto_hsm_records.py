"""What the Hsm keeps and gives back: records, the key file, bounded contexts; and that no clear key is in reach."""

import copy
import gc
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest

from switch.crypto import errors, pinblock
from switch.crypto.block import cipher
from switch.crypto.errors import CryptoError, KcvMismatch, KeyBlockError, KeyNotFound, MacMismatch, PinFormatError
from switch.crypto.hsm import Hsm, KeyRecord

LMK = bytes(range(32))
TMK = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
PIK = bytes.fromhex("1A2B3C4D5E6F70818293A4B5C6D7E8F9")
MAK = bytes.fromhex("C24A8FB57AA20123")
TDK = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
PAN = "6212142000000000012"


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


@pytest.fixture
def hsm() -> Hsm:
    """Keys of known values, and a few of the Hsm's own."""
    box = Hsm(LMK, seeded())
    box.import_clear("tmk", "tmk", "3des", TMK)
    box.import_clear("pik", "pik", "3des", PIK)
    box.import_clear("mak8", "mak", "3des", MAK)
    box.import_clear("tdk", "tdk", "3des", TDK)
    box.generate("mak", "mak", "3des")
    box.generate("zpk.sm4", "zpk", "sm4")
    box.generate("store", "store", "aes", 32)
    return box


# Records and files


def test_records_move_and_open_only_as_what_they_are(hsm: Hsm) -> None:
    record = hsm.record("mak")
    other = Hsm(LMK, seeded(9))
    other.restore(tuple(record))
    assert other.mac("mak", "cup-ecb", b"x") == hsm.mac("mak", "cup-ecb", b"x")
    for wrong in (
        record._replace(label="mak2"),
        record._replace(usage="zak"),
        record._replace(suite="sm4"),
        record._replace(suite="rc4"),
        record._replace(wrapped=record.wrapped[:-1]),
        record._replace(wrapped=b""),
        record._replace(kcv=b"\x00\x00\x00\x00"),
        (record.label, record.usage),
        (*record[:3], record.wrapped.hex(), record.kcv),
    ):
        with pytest.raises(KeyBlockError):
            other.restore(wrong)
    with pytest.raises(KeyBlockError, match="key 'mak' does not open under this local master key"):
        Hsm(bytes(32), seeded()).restore(record)


def test_save_and_load(hsm: Hsm, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    hsm.save(path)
    hsm.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys"]
    text = path.read_text()
    for key in (TMK, PIK, MAK, TDK, LMK):
        assert key.hex() not in text.lower()
    again = Hsm.load(path, LMK, seeded(5))
    assert list(again.labels()) == list(hsm.labels())
    assert [again.record(label) for label in again.labels()] == [hsm.record(label) for label in hsm.labels()]
    assert again.mac("mak8", "cup-ecb", b"0200") == hsm.mac("mak8", "cup-ecb", b"0200")
    with pytest.raises(KeyBlockError, match="line 1 of the key file: key 'tmk' does not open"):
        Hsm.load(path, bytes(32), seeded())


@pytest.mark.parametrize("line", ["{", "[]", "{}", "null", '{"label": 1, "wrapped": "00", "kcv": "00"}', "\x00", "1"])
def test_a_damaged_key_file_names_its_line(hsm: Hsm, tmp_path: Path, line: str) -> None:
    path = tmp_path / "keys"
    hsm.save(path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(KeyBlockError, match=f"line {len(hsm) + 1} of the key file"):
        Hsm.load(path, LMK, seeded())


def test_a_key_file_that_is_no_text_names_its_line(hsm: Hsm, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    hsm.save(path)
    path.write_bytes(path.read_bytes() + b'{"label": "\xff\xfe"}\n')
    with pytest.raises(KeyBlockError, match=f"line {len(hsm) + 1} is no text: not a key file"):
        Hsm.load(path, LMK, seeded())


def test_a_key_file_with_swapped_labels_is_refused(hsm: Hsm, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    hsm.save(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["label"], rows[1]["label"] = rows[1]["label"], rows[0]["label"]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(KeyBlockError, match="line 1"):
        Hsm.load(path, LMK, seeded())


def test_many_terminals_share_few_contexts() -> None:
    box = Hsm(LMK, seeded(), contexts_max=16)
    for number in range(200):
        box.generate(f"t{number}", "mak", "3des" if number % 2 else "sm4")
    roomy = Hsm(LMK, seeded())
    for label in box.labels():
        roomy.restore(box.record(label))
    order = random.Random(7)
    for _ in range(600):
        label = f"t{order.randrange(200)}"
        message = order.randbytes(40)
        assert box.mac(label, "cup-ecb", message) == roomy.mac(label, "cup-ecb", message)
        assert len(box._contexts) <= 16
    box.forget("t1")
    assert "t1" not in box
    assert len(box) == 199
    with pytest.raises(KeyNotFound, match="t1"):
        box.mac("t1", "cup-ecb", b"")


# Nothing comes out


def reachable_bytes(root: object) -> set[bytes]:
    """Every bytes object that can be reached from `root` without entering a module."""
    seen: set[int] = set()
    found: set[bytes] = set()
    todo: list[object] = [root]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if isinstance(thing, bytes):
            found.add(thing)
        elif isinstance(thing, FunctionType):
            todo.extend(cell.cell_contents for cell in thing.__closure__ or ())
        else:
            todo.extend(gc.get_referents(thing))
    return found


def test_no_clear_key_is_within_reach(hsm: Hsm) -> None:
    hsm.translate_pin(
        "pik", "iso0", "zpk.sm4", "sm4", PAN, cipher("3des", PIK).encrypt(pinblock.encode("iso0", "123456", PAN))
    )
    hsm.mac("mak8", "cup-ecb", b"x")
    hsm.mac("mak8", "x9.9", b"x")
    hsm.export("tdk", "tmk")
    hsm.decrypt_track("tdk", "6226090000000154D4911DE92AC345BC4C9B0")
    held = reachable_bytes(hsm)
    assert hsm.record("pik").wrapped in held
    assert any(PIK in piece for piece in reachable_bytes(cipher("3des", PIK))), "the search finds what is there"
    for key in (LMK, TMK, PIK, MAK, TDK):
        for secret in (key, key[:8], key * 2, key * 3, key + key[:8]):
            assert not any(secret in piece for piece in held)


def test_an_hsm_shows_and_gives_away_nothing(hsm: Hsm) -> None:
    assert repr(hsm) == f"Hsm({len(hsm)} keys)"
    assert not hasattr(hsm, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not to be pickled or copied"):
            attempt(hsm)
    assert isinstance(hsm.record("tmk"), KeyRecord)
    assert TMK.hex() not in repr(hsm.record("tmk")).lower()


def test_a_local_master_key_has_32_bytes() -> None:
    for wrong in (b"", bytes(16), bytes(33)):
        with pytest.raises(CryptoError, match="32 bytes"):
            Hsm(wrong, seeded())
    with pytest.raises(CryptoError, match="one context at least"):
        Hsm(LMK, seeded(), contexts_max=0)


@pytest.mark.parametrize(
    "error",
    [
        errors.CryptoError("a"),
        KeyNotFound("label"),
        KcvMismatch("label"),
        PinFormatError("a"),
        errors.TrackFormatError("a"),
        MacMismatch("a"),
        KeyBlockError("a"),
    ],
)
def test_errors_survive_pickling(error: CryptoError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert isinstance(again, CryptoError)
