"""`shoudan keys`: the key ceremony (密钥仪式) for the key files of the software HSM. Nothing here shows a clear key."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from switch.app.ceremony import (
    BAD_USAGE,
    COMPONENTS_MAX,
    REFUSED,
    CeremonyError,
    alone,
    at_a_terminal,
    combined,
    looks_secret,
    make_keys,
    open_keys,
    read_components,
    tell,
    write_keys,
)
from switch.app.config import ConfigError
from switch.app.preset import prepare_centre, prepare_switch
from switch.crypto.block import kcv as check_value
from switch.crypto.block import suite_of
from switch.crypto.errors import CryptoError, KcvMismatch, KeyNotFound
from switch.crypto.hsm import CARRIES, USAGES, Hsm

keys = typer.Typer(
    no_args_is_help=True, help="Key files (密钥仪式): make, import, wrap and list the keys of switch and centre."
)

_OUT_OF_NOTHING: Final = frozenset({"store", "hash", "pvk"})
"""Keys that nobody else has: without them what they sealed or hashed is lost."""
_KCV_DIGITS: Final = (6, 16)

KeyFile = Annotated[Path, typer.Argument(metavar="KEYFILE", help="The key file.")]
Label = Annotated[str, typer.Argument(metavar="LABEL", help="The key's label, as tmk/10000001.")]
Lmk = Annotated[
    Path | None,
    typer.Option("--lmk", help="File with the local master key; KEYFILE with the ending .lmk if not given."),
]
Usage = Annotated[str, typer.Option("--usage", help=f"What the key may do: {' '.join(sorted(USAGES))}.")]
SuiteName = Annotated[str, typer.Option("--suite", help="Its algorithm: 3des, sm4 or aes.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace a key that stands under this label.")]
Kcv = Annotated[str, typer.Option("--kcv", help="Check value the key must have, 6 to 16 hexadecimal digits.")]
Count = Annotated[
    str, typer.Option("--components", metavar="1|2|3", help="How many components; without it prompts ask for 2.")
]
Zmk = Annotated[
    list[str] | None,
    typer.Option("--zmk", metavar="NAME=FILE", help="A file with a component of zmk/NAME; again for its others."),
]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The process's TOML file.")]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except CeremonyError as error:
        tell(str(error))
        raise typer.Exit(error.code) from None
    except KeyNotFound as error:
        tell(f"{error}; `shoudan keys list` tells what there is")
        raise typer.Exit(REFUSED) from None
    except CryptoError as error:
        tell(f"{error}; nothing was written")
        raise typer.Exit(REFUSED) from None
    except ConfigError as error:
        tell(str(error))
        raise typer.Exit(BAD_USAGE) from None
    except OSError as error:
        tell(f"{error.filename}: {error.strerror}")
        raise typer.Exit(BAD_USAGE) from None


@contextmanager
def _opened(keyfile: Path, lmk: Path | None) -> Iterator[Hsm]:
    """The key file, nobody else's meanwhile, with errors told in one line."""
    with _one_line_errors(), alone(keyfile):
        yield open_keys(keyfile, _lmk_of(keyfile, lmk))


def _lmk_of(keyfile: Path, lmk: Path | None) -> Path:
    return keyfile.with_suffix(".lmk") if lmk is None else lmk


def _told(hsm: Hsm, label: str) -> str:
    record = hsm.record(label)
    return f"{label}  {record.usage}  {record.suite}  check value {record.kcv.hex().upper()}"


def _may_become(hsm: Hsm, label: str, usage: str, suite: str, replace: bool) -> None:
    """Refuse what cannot be before anybody types a component."""
    if usage not in USAGES:
        raise CeremonyError(f"--usage: one of {' '.join(sorted(USAGES))}")
    suites = ("aes",) if usage == "store" else ("3des", "sm4", "aes") if usage in _OUT_OF_NOTHING else ("3des", "sm4")
    if suite not in suites:
        raise CeremonyError(f"--suite: for a {usage} one of {' '.join(suites)}")
    # Somebody's slip of the hand must not become a label that is listed for ever.
    if looks_secret(label):
        raise CeremonyError("LABEL: this looks like a key; keys never stand on a command line")
    if label not in hsm:
        return
    if usage in _OUT_OF_NOTHING:
        raise CeremonyError(
            f"{label}: is there already; `shoudan keys forget --force` first if it may be lost", REFUSED
        )
    if not replace:
        raise CeremonyError(f"{label}: is there already; replace it with --replace", REFUSED)
    if hsm.record(label).usage != usage:
        raise CeremonyError(f"{label}: is a {hsm.record(label).usage}; forget it before it becomes a {usage}", REFUSED)


def _count(text: str) -> int | None:
    if text and text not in [str(count) for count in range(1, COMPONENTS_MAX + 1)]:
        raise CeremonyError(f"--components: 1 to {COMPONENTS_MAX}")
    return int(text) if text else None


def _hexadecimal(option: str, text: str, least: int, most: int) -> bytes:
    try:
        value = bytes.fromhex("".join(text.split()))
    except ValueError:
        value = b""
    if not least <= 2 * len(value) <= most:
        raise CeremonyError(f"{option}: {least} to {most} hexadecimal digits are needed")
    return value


@keys.command()
def new(
    lmk: Annotated[Path, typer.Option("--lmk", help="File to write a fresh local master key to.")],
    keyfile: Annotated[Path, typer.Option("--keys", help="Key file to make, empty.")],
) -> None:
    """Make a local master key and an empty key file under it. Overwrites nothing."""
    with _one_line_errors():
        make_keys(lmk, keyfile)
    typer.echo(f"{lmk}: a fresh local master key; keep it from everybody\n{keyfile}: no keys yet")


@keys.command()
def generate(
    keyfile: KeyFile,
    label: Label,
    usage: Usage,
    suite: SuiteName,
    length: Annotated[int | None, typer.Option(help="Bytes: 3des 8 16 24, sm4 16, aes 16 24 32; 16 (aes: 32).")] = None,
    lmk: Lmk = None,
    replace: Replace = False,
) -> None:
    """Make a random key inside the HSM. Tells its check value."""
    with _opened(keyfile, lmk) as hsm:
        _may_become(hsm, label, usage, suite, replace)
        length = length or (32 if suite == "aes" else 16)
        if length not in suite_of(suite).lengths:
            raise CeremonyError(f"--length: for {suite} one of {' '.join(map(str, suite_of(suite).lengths))}")
        hsm.generate(label, usage, suite, length)
        write_keys(hsm, keyfile)
        typer.echo(_told(hsm, label))


@keys.command("import", context_settings={"allow_extra_args": True})
def import_key(
    context: typer.Context,
    keyfile: KeyFile,
    label: Label,
    usage: Usage,
    suite: SuiteName,
    lmk: Lmk = None,
    component_file: Annotated[
        list[Path] | None, typer.Option("--component-file", help="A file with one component; again for the others.")
    ] = None,
    components: Count = "",
    kcv: Kcv = "",
    replace: Replace = False,
) -> None:
    """Import a key of one to three components: from files, from prompts, or from standard input, one a line.

    The key is their exclusive-or. Tells the check value of each component and of the key. Without --kcv, prompts end
    with the question whether the key's check value is right.
    """
    with _opened(keyfile, lmk) as hsm:
        if context.args:
            raise CeremonyError(
                "a component never stands on the command line: --component-file, or wait for the prompt"
            )
        _may_become(hsm, label, usage, suite, replace)
        sent = _hexadecimal("--kcv", kcv, *_KCV_DIGITS) if kcv else b""
        take(hsm, label, usage, suite, component_file or [], _count(components), sent)
        write_keys(hsm, keyfile)


def take(
    hsm: Hsm, label: str, usage: str, suite: str, files: Sequence[Path], count: int | None = None, sent: bytes = b""
) -> None:
    """Read components into a key of the HSM, telling check values. Raises CeremonyError; then nothing is to be kept."""
    components = read_components(suite, files, count)
    key = combined(components)
    value = check_value(suite, key, 8)
    if sent and value[: len(sent)] != sent:
        raise CeremonyError(
            f"{label}: the key's check value is {value[:4].hex().upper()}, not what --kcv says; nothing was written, "
            "compare the components' check values",
            REFUSED,
        )
    if suite == "3des" and len(key) > 8 and check_value(suite, key[:8]) == check_value(suite, key[8:16]):
        tell(f"{label}: the key's halves are alike: it is worth no more than single DES", "yellow")
    hsm.import_clear(label, usage, suite, *components)
    typer.echo(_told(hsm, label))
    if not sent and not files and at_a_terminal() and not typer.confirm("Is its check value right?", err=True):
        raise CeremonyError(f"{label}: nothing was written; compare the components' check values", REFUSED)


@keys.command()
def wrap(
    keyfile: KeyFile,
    label: Label,
    under: Annotated[str, typer.Option(help="Label of the tmk or zmk that carries it.")],
    lmk: Lmk = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show a key as cryptogram (ECB) under another, with its check value: as terminals.csv has its master keys."""
    with _opened(keyfile, lmk) as hsm:
        wrapped, value = hsm.export(label, under)
    shown = {"label": label, "under": under, "cryptogram": wrapped.hex().upper(), "kcv": value.hex().upper()}
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        typer.echo(f"{label} under {under}\ncryptogram   {shown['cryptogram']}\ncheck value  {shown['kcv']}")


@keys.command()
def unwrap(
    keyfile: KeyFile,
    label: Label,
    under: Annotated[str, typer.Option(help="Label of the tmk or zmk that carries it.")],
    usage: Usage,
    suite: SuiteName,
    cryptogram: Annotated[str, typer.Option(help="The key in ECB under that key, hexadecimal.")],
    kcv: Kcv,
    lmk: Lmk = None,
    replace: Replace = False,
) -> None:
    """Import a key that came as cryptogram under another; its check value must fit."""
    with _opened(keyfile, lmk) as hsm:
        _may_become(hsm, label, usage, suite, replace)
        carrier = hsm.record(under)
        if usage not in CARRIES.get(carrier.usage, ()):
            raise CeremonyError(f"{under}: is a {carrier.usage} and carries no {usage}", REFUSED)
        wrapped = _hexadecimal("--cryptogram", cryptogram, 16, 48)
        block = suite_of(carrier.suite).block
        if len(wrapped) % block or len(wrapped) not in suite_of(suite).lengths:
            raise CeremonyError(f"--cryptogram: has the length of no {suite} key under a {carrier.suite} key")
        try:
            hsm.import_key(label, usage, suite, wrapped, under, _hexadecimal("--kcv", kcv, *_KCV_DIGITS))
        except KcvMismatch:
            raise CeremonyError(
                f"{label}: under {under} the cryptogram has another check value; is --under the key it was wrapped "
                "with? nothing was written",
                REFUSED,
            ) from None
        write_keys(hsm, keyfile)
        typer.echo(_told(hsm, label))


@keys.command("list")
def list_keys(
    keyfile: KeyFile,
    lmk: Lmk = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
) -> None:
    """Labels, usages, suites and check values. Never a key."""
    with _opened(keyfile, lmk) as hsm:
        rows: list[dict[str, Any]] = [
            {"label": r.label, "usage": r.usage, "suite": r.suite, "kcv": r.kcv.hex().upper()}
            for r in map(hsm.record, sorted(hsm.labels()))
        ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    width = max((len(row["label"]) for row in rows), default=5)
    for row in [{"label": "label", "usage": "usage", "suite": "suite", "kcv": "check value"}, *rows]:
        typer.echo(f"{row['label']:{width}}  {row['usage']:5}  {row['suite']:5}  {row['kcv']}")


@keys.command()
def forget(
    keyfile: KeyFile,
    label: Label,
    lmk: Lmk = None,
    force: Annotated[bool, typer.Option("--force", help="Also a key that nobody else has: store, hash, pvk.")] = False,
) -> None:
    """Take a key out of the file."""
    with _opened(keyfile, lmk) as hsm:
        told = _told(hsm, label)
        usage = hsm.record(label).usage
        if usage in _OUT_OF_NOTHING and not force:
            raise CeremonyError(
                f"{label}: a {usage} key is in no other hands, and what was made with it is lost with it; "
                "--force if that is meant",
                REFUSED,
            )
        hsm.forget(label)
        write_keys(hsm, keyfile)
        typer.echo(f"forgot {told}")


@keys.command("for-switch")
def for_switch(config: ConfigFile, zmk: Zmk = None, components: Count = "") -> None:
    """Make all keys that a switch.toml needs, and name those that must still come. Exits 1 while any is missing.

    Makes the key file and its local master key where they are not there, and store/journal and hash/journal. Takes
    zmk/NAME of every counterpart from --zmk files, or from prompts. What is there already stays.
    """
    with _one_line_errors():
        _end(prepare_switch(config, zmk or [], _count(components), take))


@keys.command("for-centre")
def for_centre(config: ConfigFile, zmk: Zmk = None, components: Count = "") -> None:
    """The same for a centre.toml: hash/issuer, pvk/issuer and zmk/NAME. Exits 1 while any is missing."""
    with _one_line_errors():
        _end(prepare_centre(config, zmk or [], _count(components), take))


def _end(missing: list[str]) -> None:
    for line in missing:
        tell(line)
    if missing:
        raise typer.Exit(REFUSED)
    typer.echo("complete: nothing is missing")


def register(app: typer.Typer) -> None:
    """Add `shoudan keys`."""
    app.add_typer(keys, name="keys")
