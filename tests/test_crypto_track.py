"""Track encryption: the derived example, round trips of both parities, short tracks, separators."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.crypto.block import cipher
from switch.crypto.errors import TrackFormatError
from switch.crypto.track import cut, decrypt_track, encrypt_track

TDK = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
TRACK = "6226090000000154D49121200000000000000"


def test_example() -> None:
    assert cut(TRACK, 8).block == "2120000000000000"
    assert encrypt_track(cipher("3des", TDK), TRACK) == "6226090000000154D4911DE92AC345BC4C9B0"
    assert decrypt_track(cipher("3des", TDK), "6226090000000154D4911DE92AC345BC4C9B0") == TRACK


def test_place_of_the_run() -> None:
    digits = "".join(str(place % 10) for place in range(38))
    assert cut(digits[:37], 8) == (digits[:20], digits[20:36], digits[36])
    assert cut(digits, 8) == (digits[:20], digits[20:36], digits[36:])
    assert cut(digits[:37], 16) == (digits[:4], digits[4:36], digits[36])
    assert cut(digits, 16) == (digits[:4], digits[4:36], digits[36:])
    assert cut("12345=6789", 8) == ("", "FFFFFFF12345D678", "9")


@given(
    st.sampled_from(["3des", "sm4"]),
    st.text("0123456789", min_size=12, max_size=19),
    st.sampled_from("=D"),
    st.text("0123456789", min_size=0, max_size=40),
)
def test_round_trip(suite: str, pan: str, separator: str, rest: str) -> None:
    under, track = cipher(suite, TDK), f"{pan}{separator}{rest}"
    secret = encrypt_track(under, track)
    assert len(secret) == max(len(track), under.block * 2 + 1)
    hidden = "=" not in secret and separator == "="
    # Packed, both separators are the same digit; with the only one enciphered, its style is forgotten.
    assert decrypt_track(under, secret) == (track.replace("=", "D") if hidden else track)


def test_track_three_keeps_its_separators() -> None:
    track = "996212140000000000030=1561560000000000000003000000214000049121=000000000000=000000000000=0000000"
    for suite in ("3des", "sm4"):
        assert decrypt_track(cipher(suite, TDK), encrypt_track(cipher(suite, TDK), track)) == track


@pytest.mark.parametrize("track", ["", "6212 40000000000030=4912", "621214?000000000030=4912", "６２１２"])
def test_tracks_that_cannot_be_packed(track: str) -> None:
    with pytest.raises(TrackFormatError, match="digits and separators"):
        encrypt_track(cipher("3des", TDK), track)


def test_what_does_not_decipher_to_digits_is_refused() -> None:
    with pytest.raises(TrackFormatError, match="does not decipher to digits"):
        decrypt_track(cipher("3des", bytes(16)), "6226090000000154D4911DE92AC345BC4C9B0")
    with pytest.raises(TrackFormatError, match="too short"):
        decrypt_track(cipher("3des", TDK), "621214000000000")
