"""The key ceremony's files and components: how a key file is opened, kept and written, where components come from.

A key file is changed by one ceremony at a time and replaced whole (a new file, then a rename), mode 0600. Components
are read from files, from prompts that show nothing, or from standard input, never from a command line. No text made
here, an error's least of all, repeats what was read.
"""

import fcntl
import getpass
import os
import secrets
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import hexdigits
from tempfile import TemporaryDirectory
from typing import Final

import typer
from rich.console import Console

from switch.app.compose import open_hsm
from switch.crypto.block import kcv, suite_of
from switch.crypto.hsm import Hsm

REFUSED, BAD_USAGE = 1, 2
COMPONENTS_MAX: Final = 3
_ATTEMPTS: Final = 3
_COMPONENT_FILE_MAX: Final = 4096


class CeremonyError(Exception):
    """What ends a ceremony, in one line that tells place and fix; `code` is the exit code."""

    def __init__(self, text: str, code: int = BAD_USAGE) -> None:
        super().__init__(text)
        self.code = code


def tell(text: str, style: str = "red") -> None:
    """A line on standard error."""
    Console(stderr=True, highlight=False).print(f"shoudan: {text}", style=style, markup=False, soft_wrap=True)


# Files


def open_keys(keys: Path, lmk: Path) -> Hsm:
    """The key file, opened. Raises ConfigError, CeremonyError."""
    if not lmk.exists():
        raise CeremonyError(
            f"{lmk}: no local master key there; name it with --lmk, or make one with `shoudan keys new`"
        )
    if not keys.exists():
        raise CeremonyError(f"{keys}: no key file there; make one with `shoudan keys new`")
    warn_if_open(lmk)
    return open_hsm(lmk, keys, secrets.token_bytes)


def warn_if_open(path: Path) -> None:
    """Say so where others than the owner may read a secret file."""
    if path.is_file() and path.stat().st_mode & 0o077:
        tell(f"{path}: others than its owner may read it; chmod 600 {path}", "yellow")


@contextmanager
def alone(keys: Path) -> Iterator[None]:
    """No second ceremony in the key file's directory meanwhile: the later one would undo what the first has written."""
    room = os.open(_directory(keys), os.O_RDONLY)
    try:
        fcntl.flock(room, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(room)
        raise CeremonyError(
            f"{keys}: another ceremony is at work in its directory; wait for its end", REFUSED
        ) from None
    try:
        yield
    finally:
        os.close(room)


def write_keys(hsm: Hsm, keys: Path) -> None:
    """Replace a key file, whole or not at all."""
    # A link to the key file stays a link.
    _place(keys.resolve(), hsm.save, os.replace)


def make_keys(lmk: Path, keys: Path) -> None:
    """A fresh local master key and an empty key file. Raises CeremonyError where either is there already."""
    if lmk.resolve() == keys.resolve():
        raise CeremonyError(f"{lmk}: the local master key and the key file are two files")
    for path in (lmk, keys):
        if os.path.lexists(path):
            raise CeremonyError(f"{path}: is there already and is not overwritten; name another file", REFUSED)
    _directory(keys)
    master = secrets.token_bytes(32)
    _place(lmk, lambda fresh: _write_private(fresh, master.hex() + "\n"), os.link)
    try:
        _place(keys, Hsm(master, secrets.token_bytes).save, os.link)
    except OSError:
        lmk.unlink()
        raise


def make_key_file(lmk: Path, keys: Path) -> None:
    """An empty key file, and its local master key where that is missing too."""
    if lmk.exists():
        _place(keys, lambda fresh: _write_private(fresh, ""), os.link)
    else:
        make_keys(lmk, keys)


def _directory(path: Path) -> Path:
    room = path.resolve().parent
    if not room.is_dir():
        raise CeremonyError(f"{room}: no such directory; make it first")
    return room


def _place(target: Path, write: Callable[[Path], None], move: Callable[[Path, Path], None]) -> None:
    """Write beside the target, where only the owner sees it, then move it there; `os.link` refuses to overwrite."""
    room = _directory(target)
    with TemporaryDirectory(dir=room, prefix=".ceremony-") as beside:
        fresh = Path(beside) / target.name
        write(fresh)
        move(fresh, target)
    handle = os.open(room, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


# Components


def at_a_terminal() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty()


def looks_secret(text: str) -> bool:
    """Whether a word of the command line could be a key or a component typed in the wrong place."""
    return len(text) >= 16 and all(digit in hexdigits for digit in text)


def component_of(text: str, suite: str, place: str) -> bytes:
    """A component of hexadecimal digits, in groups if wanted. CeremonyError names `place`, never the text."""
    lengths = suite_of(suite).lengths
    try:
        value = bytes.fromhex("".join(text.split()))
    except ValueError:
        value = b""
    if len(value) not in lengths:
        sizes = " or ".join(str(2 * length) for length in lengths)
        raise CeremonyError(f"{place}: {sizes} hexadecimal digits are needed for {suite}")
    return value


def read_components(suite: str, files: Sequence[Path], count: int | None) -> list[bytes]:
    """One to three components of a key, each one's check value told on standard output as soon as it is read.

    Out of `files`, one each; else from prompts where somebody sits at a terminal (`count` of them, 2 unless given);
    else from standard input, one a line. Raises CeremonyError.
    """
    if files:
        source = _from_files(suite, files)
    elif at_a_terminal():
        source = _from_prompts(suite, count or 2)
    else:
        source = _from_standard_input(suite)
    components: list[bytes] = []
    for component in source:
        components.append(component)
        typer.echo(f"component {len(components)}  check value {kcv(suite, component).hex().upper()}")
        if len(components) > COMPONENTS_MAX:
            break
    if not 1 <= len(components) <= COMPONENTS_MAX or (count and len(components) != count):
        wanted = f"{count}" if count else f"1 to {COMPONENTS_MAX}"
        raise CeremonyError(f"{wanted} components are needed, {len(components)} came", REFUSED)
    return components


def combined(components: Sequence[bytes]) -> bytes:
    """The key of its components, their exclusive-or. CeremonyError where it would be none worth the name."""
    if len({len(component) for component in components}) != 1:
        raise CeremonyError("components: they are not of one length; each has the length of the key", REFUSED)
    if len(set(components)) != len(components):
        raise CeremonyError("components: two are the same and cancel out; each custodian brings another", REFUSED)
    value = 0
    for component in components:
        value ^= int.from_bytes(component, "big")
    if not value:
        raise CeremonyError("components: together they come to a key of zeros; make new ones", REFUSED)
    return value.to_bytes(len(components[0]), "big")


def _from_files(suite: str, files: Sequence[Path]) -> Iterator[bytes]:
    for number, path in enumerate(files, 1):
        # A component typed where its file's name belongs is not repeated.
        place = f"component file {number}" if looks_secret(path.name) else str(path)
        if not path.is_file():
            raise CeremonyError(f"{place}: no such file")
        warn_if_open(path)
        try:
            with path.open(encoding="ascii") as file:
                text = file.read(_COMPONENT_FILE_MAX)
        except UnicodeDecodeError:
            text = ""
        yield component_of(text, suite, place)


def _from_prompts(suite: str, count: int) -> Iterator[bytes]:
    for number in range(1, count + 1):
        place = f"component {number} of {count}"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                component = component_of(_asked(place), suite, place)
                break
            except CeremonyError as error:
                if attempt == _ATTEMPTS:
                    raise
                tell(str(error))
        yield component


def _asked(place: str) -> str:
    with warnings.catch_warnings():
        # Without this a terminal that cannot hide what is typed would show it after a mere warning.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            text: str = typer.prompt(f"{place} (hidden)", hide_input=True, err=True)
        except getpass.GetPassWarning:
            raise CeremonyError(f"{place}: this terminal cannot hide what is typed; use --component-file") from None
    return text


def _from_standard_input(suite: str) -> Iterator[bytes]:
    try:
        lines = [line for line in sys.stdin.read(COMPONENTS_MAX * _COMPONENT_FILE_MAX).splitlines() if line.strip()]
    except UnicodeDecodeError:
        lines = [""]
    for number, line in enumerate(lines, 1):
        yield component_of(line, suite, f"standard input, component {number}")
