"""Change under load: what a running process takes from a changed configuration, all or nothing, and what it refuses.

A change that only a restart would bring into force refuses the whole reload: passed over in silence it would be
believed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic

import msgspec

from switch.app.compose import centre_rules, read_parts
from switch.app.config import C, CentreConfig, ConfigError, SwitchConfig, network_profile
from switch.crypto.errors import CryptoError
from switch.engine.engine import Engine
from switch.engine.office import HASH, STORE
from switch.issuer.centre import Centre
from switch.issuer.rules import RuleBook
from switch.machine import Entropy
from switch.wire.profile import NetworkProfile, PosProfile

SWITCH_TAKES: Final = frozenset(("keys", "terminals", "profile", "routes", "tariff", "chips", "ca_keys"))
"""Keys of switch.toml whose change is taken; all others need a restart."""
CENTRE_TAKES: Final = frozenset(("rules",))
"""The same of centre.toml."""


@dataclass(frozen=True, slots=True)
class Began(Generic[C]):
    """What a process began with: its file, what stood in it, the profiles of its lines by line, and the digests of the
    files that are read once."""

    source: Path
    config: C
    profiles: dict[str, NetworkProfile]
    files: dict[Path, str]


def began(source: Path, config: C) -> Began[C]:
    """To be kept from the start of a process. Raises ConfigError."""
    return Began(source, config, _line_profiles(source, config), _digests(config))


def reload_engine(engine: Engine, start: Began[SwitchConfig], fresh: SwitchConfig, entropy: Entropy) -> str:
    """Give a running engine what a changed configuration names; a bad one changes nothing. Raises ConfigError.

    Returns what was taken, in words.
    """
    office = engine.office
    _check(start, fresh, SWITCH_TAKES)
    parts = read_parts(fresh, start.source.parent, entropy, office.books.share)
    _pos_stays(fresh.profile, office.pos, parts.pos)
    for label in (STORE, HASH):
        if parts.hsm.kcv(label) != office.hsm.kcv(label):
            raise _refused(fresh.keys, label)
    try:
        office.hsm.restore(parts.hsm.record(STORE))
    except CryptoError:
        raise _refused(fresh.lmk, "the local master key") from None
    before = {tid for tid, terminal in office.books.terminals.items() if terminal.status == "active"}
    changed = parts.chips.versions != office.chips.versions
    engine.reload(parts.terminals, parts.routes, parts.pos, parts.hsm, parts.chips)
    engine.tariff = parts.tariff
    after = {terminal.tid for terminal in parts.terminals}
    return (
        f"{len(after)} terminals ({len(after - before)} new, {len(before - after)} closed), "
        f"{len(fresh.routes.bins)} BINs" + (", chip table changed" if changed else "")
    )


def reload_centre(centre: Centre, start: Began[CentreConfig], fresh: CentreConfig) -> str:
    """Give a running centre the rules of a changed configuration; bad ones change nothing. Raises ConfigError."""
    _check(start, fresh, CENTRE_TAKES)
    rules = centre_rules(fresh)
    centre.rules = RuleBook(rules)
    return f"{len(rules)} rules"


def _refused(where: object, what: str) -> ConfigError:
    return ConfigError(f"{where}: {what} has changed: that needs a restart, nothing was reloaded")


def _check(start: Began[C], fresh: C, takes: frozenset[str]) -> None:
    """That nothing differs but what may: keys of the file, the lines' profiles, the files that are read once."""
    for name in fresh.__struct_fields__:
        if name not in takes:
            for path in _differences(getattr(start.config, name), getattr(fresh, name), name):
                raise _refused(start.source, path)
    profiles = _line_profiles(start.source, fresh)
    for line, profile in profiles.items():
        for path in _differences(start.profiles[line], profile, ""):
            raise _refused(f"the profile of {line}", path)
    for file, digest in _digests(fresh).items():
        if digest != start.files.get(file):
            raise _refused(file, "the file")


def _pos_stays(name: str, running: PosProfile, fresh: PosProfile) -> None:
    """Connections were made with the framing and these timers; how long a terminal waits is its own affair."""
    framing = _differences(running.framing, fresh.framing, "framing")
    timers = _differences(running.timers, fresh.timers, "timers")
    for path in (*framing, *(path for path in timers if path != "timers.reply_s")):
        raise _refused(f"profile {name}", path)


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    """The dotted keys in which two values of a configuration differ."""
    inner = _parts(old), _parts(new)
    if old == new:
        return
    if not all(inner) or inner[0].keys() != inner[1].keys():
        yield path
        return
    for name, value in inner[0].items():
        yield from _differences(value, inner[1][name], f"{path}.{name}" if path else name)


def _parts(value: Any) -> dict[str, Any]:
    """What a value consists of, by name; nothing for a plain one."""
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {getattr(part, "name", str(number)): part for number, part in enumerate(value, 1)}
    return {}


def _line_profiles(source: Path, config: SwitchConfig | CentreConfig) -> dict[str, NetworkProfile]:
    sections = [config] if isinstance(config, CentreConfig) else config.counterparts
    return {section.name: network_profile(section.profile, source.parent) for section in sections}


def _digests(config: SwitchConfig | CentreConfig) -> dict[Path, str]:
    """Files that are read once, with a digest of what is in them; "" for one that cannot be read."""
    sections = [config.tls]
    if isinstance(config, SwitchConfig):
        sections += [section.tls for section in config.counterparts]
        files: list[Path | None] = []
    else:
        files = [config.lmk, config.keys, config.cards]
    for section in sections:
        if section is not None:
            files += [section.cert, section.key, section.ca]
    return {file: _digest(file) for file in files if file is not None}


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
