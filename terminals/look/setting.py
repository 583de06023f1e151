"""What terminal a card is shown to: a preset or a TOML file, with single keys set over it."""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from terminals.card.signing import ca_keys
from terminals.kernel.parameters import Parameters, demo_parameters
from terminals.kernel.session import Kernel


class SettingFault(ValueError):
    """A terminal that cannot be; the text names the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A terminal. Bit strings are hex, amounts in minor units; the same keys in a file.

    `capabilities` 9F33, `terminal_type` 9F35, `additional` 9F40, `ttq` 9F66, `tac_*` action codes; `sm`: speaks
    SM2/3/4; `floor_minor` 9F1B; `e_cash_minor` 9F7B; `tap_floor_minor`, `tap_max_minor`, `tap_cvm_minor` DF19, DF20,
    DF21; `target` and `target_max` of random selection; `ca_keys`: whether the test CAs' keys are loaded.
    """

    capabilities: str = "E0F9C8"
    terminal_type: int = 22
    additional: str = "FF80F0B001"
    ttq: str = "36000080"
    sm: bool = True
    cda_mode: int = 1
    ca_keys: bool = True
    online_pin: bool = True
    floor_minor: int = 1
    threshold_minor: int = 0
    target: int = 0
    target_max: int = 0
    e_cash_minor: int = 100_000
    tap_floor_minor: int = 100_000
    tap_max_minor: int = 5_000_000
    tap_cvm_minor: int = 100_000
    tac_default: str = "D84000A800"
    tac_online: str = "D84004F800"
    tac_denial: str = "0010000000"
    merchant: str = "SHOUDAN SHOP"


PRESETS: Final = {
    "shop": Setting(),
    "offline": Setting(terminal_type=23, ttq="3A000080", floor_minor=50_000),
    "bus": Setting(terminal_type=26, capabilities="2008C8", ttq="28000080"),
    "atm": Setting(terminal_type=14, capabilities="6040C8", ttq="34000080"),
    "no-oda": Setting(capabilities="E0F900", ttq="36000000"),
    "3des": Setting(sm=False),
}
"""An attended terminal that does everything; one that never goes online; a validator in a bus; a cash machine; one
without offline data authentication; one that does not speak SM."""

_HEX: Final = {"capabilities": 3, "additional": 5, "ttq": 4, "tac_default": 5, "tac_online": 5, "tac_denial": 5}
_KINDS: Final = {field.name: type(field.default) for field in fields(Setting)}


def read_setting(name: str, over: Iterable[str] = ()) -> Setting:
    """A preset by name or a TOML file, with `KEY=VALUE` put over it. Raises SettingFault."""
    setting = PRESETS.get(name)
    if setting is None:
        try:
            tree = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            names = ", ".join(PRESETS)
            raise SettingFault(f"terminal {name}: neither {names} nor a TOML file ({type(error).__name__})") from None
        setting = _over(PRESETS["shop"], tree)
    return _over(setting, dict(_pair(text) for text in over))


def _pair(text: str) -> tuple[str, Any]:
    key, _, value = (part.strip() for part in text.partition("="))
    kind = _KINDS.get(key)
    if kind is bool and value in ("true", "false"):
        return key, value == "true"
    return key, int(value) if kind is int and value.isascii() and value.isdigit() else value


def _over(setting: Setting, values: dict[str, Any]) -> Setting:
    for key, value in values.items():
        kind = _KINDS.get(key)
        if kind is None:
            raise SettingFault(f"{key}: no such key; one of {', '.join(_KINDS)}")
        if type(value) is not kind:
            raise SettingFault(f"{key}: {kind.__name__} is needed")
        size = _HEX.get(key)
        if size is not None and not _is_hex(str(value), size):
            raise SettingFault(f"{key}: {2 * size} hexadecimal digits")
        if isinstance(value, int) and not 0 <= value < 10**12:
            raise SettingFault(f"{key}: 0 to {10**12 - 1}")
    made = replace(setting, **values)
    if made.terminal_type > 99 or not 1 <= made.cda_mode <= 4 or max(made.target, made.target_max) > 99:
        raise SettingFault("terminal_type, target and target_max have two digits, cda_mode is 1 to 4")
    return made


def _is_hex(text: str, size: int) -> bool:
    try:
        return len(bytes.fromhex(text)) == size and len(text) == 2 * size
    except ValueError:
        return False


def kernel_of(setting: Setting, entropy: Callable[[int], bytes]) -> Kernel:
    """The kernel of such a terminal, with the demo's applications and the test CAs' keys."""
    return Kernel(
        _parameters(setting),
        entropy,
        capabilities=setting.capabilities,
        terminal_type=setting.terminal_type,
        additional=setting.additional,
        ttq=setting.ttq,
        sm=setting.sm,
        cda_mode=setting.cda_mode,
    )


def _parameters(setting: Setting) -> Parameters:
    demo = demo_parameters(ca_keys() if setting.ca_keys else ())
    aids = tuple(
        replace(
            aid,
            tac_default=int(setting.tac_default, 16),
            tac_online=int(setting.tac_online, 16),
            tac_denial=int(setting.tac_denial, 16),
            floor_minor=setting.floor_minor,
            threshold_minor=setting.threshold_minor,
            target=setting.target,
            target_max=setting.target_max,
            online_pin=setting.online_pin,
            e_cash_max=setting.e_cash_minor,
            tap_floor=setting.tap_floor_minor,
            tap_max=setting.tap_max_minor,
            tap_cvm=setting.tap_cvm_minor,
        )
        for aid in demo.aids
    )
    return replace(demo, aids=aids)
