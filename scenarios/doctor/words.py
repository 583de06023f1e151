"""An assessment in words, and the profile that fits: one that is shipped, the user's own, or the lines to write."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from scenarios.doctor.shape import SPOKEN, Assessment, Shape
from switch.wire.codec import codec_of
from switch.wire.errors import DecodeError, FrameError
from switch.wire.framing import NetworkHeader
from switch.wire.profile import SHIPPED, NetworkProfile, PosProfile, Profile, dialect_of, framing_of, load_profile

LENGTHS: Final = {
    "none": "no length prefix 无长度",
    "bin2": "length in two bytes, high byte first 两字节长度",
    "ascii4": "length in four ASCII digits 四位数字长度",
    "bcd2": "length in two bytes of BCD 两字节BCD长度",
    "bin4": "length in four bytes 四字节长度",
    "low2": "length in two bytes, low byte first 两字节长度(低位在前)",
}
HEADERS: Final = {0: "no header 无报文头", 6: "6-byte POS header POS报文头", 46: "46-byte network header 银联报文头"}
SPEAKS: Final = {
    "pos": "the terminals' dialect: BCD, 64 fields 终端报文",
    "network": "the network's dialect: ASCII, 128 fields 联机报文",
}
_NOTHING: Final = "nothing here fits: no length, header or dialect known makes sense of these bytes 无法识别"


class Fitting(NamedTuple):
    """Profiles whose framing and dialect are those, and where none is, the text of one that would be."""

    names: tuple[str, ...]
    written: str


def sentences(one: Assessment | None) -> list[str]:
    """What the peer speaks, a sentence each."""
    if one is None:
        return [_NOTHING]
    shape = one.shape
    length = LENGTHS[shape.length]
    if shape.length != "none":
        length += ", counting itself too 含自身" if shape.counts_itself else ", not counting itself 不含自身"
    said = [
        length,
        "TPDU of five bytes" if shape.tpdu else "no TPDU 无TPDU",
        HEADERS[shape.header],
        SPEAKS[shape.dialect],
    ]
    if one.mti:
        said.append(f"the first message is a {one.mti}")
    if one.cut:
        said.append("the last frame is not whole 末帧不完整")
    return said


def shipped_profiles() -> dict[str, Profile]:
    """The profiles that come with the switch, by name."""
    names = sorted((path.stem for path in SHIPPED.glob("*.toml") if path.stem != "chips"), key=_usual_first)
    return {name: load_profile(name) for name in names}


def _usual_first(name: str) -> tuple[int, str]:
    return {"unionpay-pos": 0, "cups": 1}.get(name, 2), name


def fitting(one: Assessment, profiles: Mapping[str, Profile]) -> Fitting:
    """Which of some profiles fit: same framing, same dialect, every message decodes, the header's parties are its own
    where any profile has them. Of several, those with the parties of the header come alone."""
    found = [name for name, profile in profiles.items() if _fits(one, profile)]
    named = [name for name in found if _parties(one, profiles[name])]
    return Fitting(tuple(named or found), "" if found else _written(one.shape))


def _fits(one: Assessment, profile: Profile) -> bool:
    shape = one.shape
    framing = shape.framing()
    kind = "pos" if isinstance(profile, PosProfile) else "network"
    if framing is None or kind != shape.dialect:
        return False
    own = framing_of(profile)
    if shape.length == "none":  # a file has no length; all else must agree
        own = replace(own, length="none", counts_itself=False)
    if replace(own, frame_max=framing.frame_max) != framing:
        return False
    codec = codec_of(dialect_of(profile))
    for message in one.messages:
        try:
            codec.decode(message.raw)
        except DecodeError:
            return False
    return True


def _parties(one: Assessment, profile: Profile) -> bool:
    """Whether the header's destination or source is whom this profile speaks to."""
    if not isinstance(profile, NetworkProfile):
        return False
    try:
        header = NetworkHeader.parse(one.header)
    except FrameError:
        return False
    return profile.header.destination in (header.destination, header.source)


def _written(shape: Shape) -> str:
    if shape.length not in SPOKEN:
        return ""
    parent = {"pos": "unionpay-pos", "network": "cups"}[shape.dialect]
    lines = [f'extends = "{parent}"', f'name = "my-{shape.dialect}"', "", "[framing]"]
    if shape.length != "none":
        lines.append(f'length = "{shape.length}"')
    lines.append(f"tpdu = {str(shape.tpdu).lower()}")
    lines.append(f"header = {shape.header}")
    if shape.counts_itself:
        lines.append("counts_itself = true")
    return "\n".join(lines) + "\n"
