"""Where cards come from: the portfolio and one seed, the user's file, profiles, wallets."""

from pathlib import Path

import pytest
from cards import VECTORS, entropy, icc, minter, online, portfolio

from switch.crypto.cryptogram import card_key
from switch.wire import apdu
from terminals.card import mint as mint_keys
from terminals.card import profile as profile_keys
from terminals.card.mint import CardFault, Minter, read_cards
from terminals.card.pool import pool
from terminals.card.profile import ProfileFault, load, parse, shipped
from terminals.card.signing import ca_keys
from terminals.card.state import ROW_BYTES, Wallet


def test_every_chip_of_the_portfolio_has_a_profile() -> None:
    issuers = portfolio()
    chips = {issuers.card(bank, n).chip for bank in range(5) for n in range(400)}
    assert chips == set(shipped()) | {""}
    for bank in range(5):
        for n in range(400):
            card = issuers.card(bank, n)
            assert card.track2[card.track2.index("=") + 5 :][:3] == ("220" if card.chip else "120")
            assert card.psn == ("01" if card.chip else "00")


def test_master_keys_differ_by_bank_suite_and_use() -> None:
    issuers = portfolio()
    keys = {
        issuers.master_key(bank.institution, suite, use)
        for bank in issuers.issuers
        for suite in ("3des", "sm4")
        for use in ("ac", "mac", "enc")
    }
    assert len(keys) == 30
    assert {len(key) for key in keys} == {16}
    assert issuers.master_key("04384531", "sm4", "ac") == portfolio().master_key("04384531", "sm4", "ac")


def test_a_cards_keys_are_its_issuers() -> None:
    issuers = portfolio()
    card = next(issuers.card(0, n) for n in range(100) if issuers.card(0, n).chip == "dual")
    image = Minter(issuers, 7).image(card)
    for suite, use in (("3des", "ac"), ("sm4", "mac")):
        udk = card_key(suite, issuers.master_key("04384531", suite, use), card.pan, "01")
        assert image.card_key(suite, use).pin_part == udk[4:8]
    assert card.pan not in repr(image) + repr(image.personal)
    with pytest.raises(ValueError, match="stripe alone"):
        minter().image(next(issuers.card(0, n) for n in range(100) if not issuers.card(0, n).chip))


def test_images_are_kept_within_bounds() -> None:
    issuers = portfolio()
    made = Minter(issuers, 7, images_max=3)
    chips = [card for card in (issuers.card(0, n) for n in range(20)) if card.chip][:5]
    images = [made.image(card) for card in chips]
    assert made.image(chips[4]) is images[4]
    assert made.image(chips[0]) is not images[0]


def test_a_ready_card_from_the_minter() -> None:
    issuers = portfolio()
    card = next(issuers.card(0, n) for n in range(100) if issuers.card(0, n).chip == "dual")
    made = Minter(issuers, 7).icc(card, entropy, interface="contactless")
    assert made.transmit(apdu.select(apdu.PPSE))[-2:] == b"\x90\x00"
    assert made.state.balance == 10000


def test_the_pool_is_what_it_says() -> None:
    keys = pool()
    assert [key.n.bit_length() for key in keys.ca] == [1408, 1408]
    assert [key.n.bit_length() for key in keys.issuer] == [1152] * 3 + [1280] * 3
    assert {key.n.bit_length() for key in keys.icc} == {1024}
    assert len({key.n for part in keys for key in part}) == 2 + 6 + 24
    assert [key.index for key in ca_keys()] == [0xF1, 0xF2, 0xF9]


def test_a_wallet_gives_back_what_was_put() -> None:
    wallet = Wallet(10)
    assert wallet.take(3) is None
    card = icc("dual")
    online(card)
    card.state.more().pin = "4711"
    card.state.ctta2, card.state.proof = 12345, b"12345678"
    wallet.put(3, card.state)
    back = wallet.take(3)
    assert back is not None
    for name in type(back).__slots__:
        assert getattr(back, name) == getattr(card.state, name), name
    assert wallet.balance_minor(3) == 10000
    assert wallet.balance_minor(4) is None
    for n in (-1, 10):
        with pytest.raises(IndexError):
            wallet.take(n)
        with pytest.raises(IndexError):
            wallet.put(n, card.state)


def test_a_million_cards_fit() -> None:
    assert ROW_BYTES * 1_000_000 / 2**20 < 51


def test_the_users_cards() -> None:
    cards = read_cards(VECTORS / "card_perso_cards.toml")
    assert [card.personal.psn for card in cards] == ["00", "01"]
    assert cards[0].udk("3des", "ac") == bytes.fromhex("11223344006677881122334455007788")
    assert cards[1].udk("sm4", "mac") == card_key(
        "sm4", bytes.fromhex("8B4F854F0831FBF2635A212E4DDDB92A"), "6228000000000019", "01"
    )
    assert cards[1].personal.track2 == "6228000000000019=301222000000"
    assert cards[1].personal.pan not in repr(cards)
    assert Minter(None, 1).icc(cards[1], entropy).transmit(apdu.select(apdu.PSE))[-2:] == b"\x90\x00"


GOOD = (VECTORS / "card_perso_cards.toml").read_text(encoding="utf-8").replace('"card_perso.toml"', '"dual"')


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('pan = "6228000000183117"', 'pan = "62280"', "card 1: pan: 12 to 19 digits"),
        ('pan = "6228000000183117"', "", "card 1: pan is missing"),
        ('expiry = "3012"', 'expiry = "3013"', "card 1: expiry: YYMM"),
        ('udk = "test"', 'udk = "prod"', "card 1: udk: there is no such label"),
        ('pin = "1234"', 'pin = "12x4"', "card 1: pin: 4 to 12 digits"),
        ('pin_key = "enc"', 'pin_key = "mac"', "card 1: pin_key: ac or enc"),
        ('pin_key = "enc"', 'colour = "red"', "card 1: unknown key colour"),
        ('ac = "11', 'ac = "', "card 1: ac has 32 hexadecimal digits"),
        ("D3012", "D3011", "card 1: track2"),
        ('psn = "01"', 'psn = "1"', "card 2: psn: 2 digits"),
        ('profile = "dual"\nimk', 'profile = "nope"\nimk', "card 2: nope: FileNotFoundError"),
    ],
)
def test_faults_of_the_users_cards(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in GOOD
    path = tmp_path / "cards.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(CardFault, match=reason) as caught:
        read_cards(path)
    assert "6228000" not in str(caught.value)


def tree() -> dict:
    return {
        "zh": "卡",
        "en": "card",
        "interfaces": ["contact"],
        "application": {
            "main": {
                "aid": "A000000333010101",
                "label": "X",
                "data": {"8C": "9F02069F3704", "8D": "8A029F0206"},
                "path": {"contact": {"aip": "7C00", "afl": "08010100"}},
                "records": {"1.1": ["57"]},
            }
        },
    }


def test_a_small_profile_reads() -> None:
    profile = parse("own", tree())
    assert profile.applications[0].paths["contact"].records == (0x101,)
    assert not profile.stripe


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        (("colour",), "red", "unknown key colour"),
        (("interfaces",), ["air"], "interfaces"),
        (("application", "main", "aid"), None, "aid is missing"),
        (("application", "main", "aid"), "A000", "5 to 16 bytes"),
        (("application", "main", "priority"), 256, "priority is one byte"),
        (("application", "main", "log"), [11], "not enough values"),
        (("application", "main", "log"), [11, 99], "up to 30"),
        (("application", "main", "pdol_contact"), "9F4E7F9F3704", "127 bytes at most"),
        (("application", "main", "cvn"), "55", "cvn: one of 01, 17"),
        (("application", "main", "idd"), "09", "idd is 00 to 05"),
        (("application", "main", "shape"), "x", "unknown key shape"),
        (("application", "main", "path", "contact", "afl"), "080101", "afl four"),
        (("application", "main", "path", "contact", "afl"), "08010102", "afl entry"),
        (("application", "main", "path", "contact", "afl"), "08010200", "record 1.2, which is not there"),
        (("application", "main", "path", "contact", "suite"), "des", "suite is 3des or sm4"),
        (("application", "main", "path", "wave"), {"aip": "7C00"}, "path wave"),
        (("application", "main", "path"), {}, "a path contact or tap"),
        (("application", "main", "records", "1.1"), ["9F99"], "names 9F99, which has no value"),
        (("application", "main", "records", "x"), ["57"], "invalid literal"),
        (("application", "main", "records", "40.1"), ["57"], "is not SFI.record"),
        (("application", "main", "data", "8D"), "9F02068A02", "begins with 8A02"),
        (("application", "main", "data", "8C"), "9F0205", "asks for 5 bytes of 9F02"),
        (("application", "main", "data", "8C"), "9F", "tag"),
        (("application", "main", "objects"), {"9F79": "0100"}, "objects.9F79 is twelve digits"),
        (("application", "main", "objects"), {"9F68": "0100"}, "objects.9F68 has 2 bytes"),
        (("application", "main", "path", "tap"), {"aip": "7C00"}, "pdol_tap asks for"),
    ],
)
def test_faults_of_profiles(place: tuple[str, ...], value: object, reason: str) -> None:
    profile = tree()
    table = profile
    for key in place[:-1]:
        table = table[key]
    if value is None:
        del table[place[-1]]
    else:
        table[place[-1]] = value
    with pytest.raises(ProfileFault, match=reason):
        parse("own", profile)


def test_a_ring_of_profiles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ring.toml"
    path.write_text(f'like = "{path}"\n', encoding="utf-8")
    with pytest.raises(ProfileFault, match="ring"):
        load(str(path))


def test_the_page_tells_every_key_and_profile() -> None:
    page = (Path(__file__).parent.parent / "docs" / "cards.md").read_text(encoding="utf-8")
    keys = profile_keys._PROFILE_KEYS | profile_keys._APPLICATION_KEYS | mint_keys._CARD_KEYS
    for key in sorted(keys | set(shipped())):
        assert f"`{key}`" in page or f"[{key}" in page or f"[[{key}]]" in page or f"\n    {key} =" in page, key
