"""The files of a journal: one, or one for each worker beside each other, `switch-1of2.db` and `switch-2of2.db`.

A merchant's rows stand in the file of the worker it belongs to, so the number of workers is part of the name: with
another number the merchants would belong to others, who know nothing of their batches.
"""

import re
from pathlib import Path

from switch.app.config import ConfigError
from switch.engine.share import Share


def journal_of(path: Path, share: Share) -> Path:
    """The file that a worker writes; `path` itself where there is one process only."""
    return path if share.alone else path.with_name(f"{path.stem}-{share.place + 1}of{share.of}{path.suffix}")


def journals_of(path: Path) -> list[Path]:
    """The files of a journal, to be read as one; `path` itself where it is there, or nothing else is. Raises
    ConfigError where one of several is missing."""
    found = {} if path.is_file() else _parts(path)
    if not found:
        return [path]
    of = max(found)
    wanted = [journal_of(path, Share(place, of)) for place in range(of)]
    for one in wanted:
        if one not in found[of]:
            raise ConfigError(f"{one}: no such file, and the others of its workers are there")
    return wanted


def refuse_others(path: Path, of: int) -> None:
    """ConfigError where there is a journal of another number of workers."""
    there = {1} if path.is_file() else set()
    for other in (there | _parts(path).keys()) - {of}:
        raise ConfigError(
            f"{path}: the journal there is of {other} worker{'s' if other > 1 else ''}, not of {of}: "
            f"start with --workers {other}, or name another journal"
        )


def _parts(path: Path) -> dict[int, list[Path]]:
    """The workers' files of a journal, by the number of workers."""
    found: dict[int, list[Path]] = {}
    for one in path.parent.glob(f"{path.stem}-*of*{path.suffix}"):
        match = re.fullmatch(rf"{re.escape(path.stem)}-[1-9]\d*of([1-9]\d*){re.escape(path.suffix)}", one.name)
        if match:
            found.setdefault(int(match[1]), []).append(one)
    return found
