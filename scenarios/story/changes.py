"""A link's profile with single values set otherwise for one story."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec

from switch.wire.profile import NetworkProfile, PosProfile, ProfileError, profile_from

P = TypeVar("P", PosProfile, NetworkProfile)


def told_otherwise(profile: P, changes: Mapping[str, str]) -> P:
    """The profile with values set by their place ("timers.reply_s"); lists are written with commas.

    Raises ProfileError for a place or a value that cannot be.
    """
    return cast(P, _changed(profile, changes)) if changes else profile


def _changed(profile: Any, changes: Mapping[str, str]) -> Any:
    tree: dict[str, Any] = {
        "dialect": "pos" if isinstance(profile, PosProfile) else "network",
        **msgspec.to_builtins(profile),
    }
    for place, value in changes.items():
        *tables, key = place.split(".")
        table: Any = tree
        for name in tables:
            table = table.get(name) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise ProfileError(f"profile {profile.name}", None, f"{place}: there is no such place")
        table[key] = _like(table.get(key), value)
    return profile_from(tree, profile.name)


def _like(old: Any, value: str) -> Any:
    """A value as the kind of the one before."""
    if isinstance(old, bool):
        return value == "true"
    if isinstance(old, int | float):
        try:
            return int(value) if isinstance(old, int) and value.isdecimal() else float(value)
        except ValueError:
            return value
    if isinstance(old, list | tuple):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
