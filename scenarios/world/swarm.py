"""Many seeds, on as many processes as wanted; what they found, what fired, and what was never reached."""

import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from scenarios.world.faults import KINDS, Fault
from scenarios.world.invariants import RARE
from scenarios.world.world import Result, play

AUTHORIZATIONS_MIN = 300


@dataclass
class Swarm:
    """What a run of seeds came to."""

    seeds: int = 0
    first: int = 0
    seconds: float = 0.0
    processes: int = 1
    cpu_s: float = 0.0
    events: int = 0
    authorizations: int = 0
    fewest: int = 1 << 30
    kinds: list[int] = field(default_factory=list)
    fired: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    failed: list[Result] = field(default_factory=list)

    def take(self, result: Result, took_s: float) -> None:
        """One seed more."""
        self.seeds += 1
        self.cpu_s += took_s
        self.events += result.events
        self.authorizations += result.authorizations
        self.fewest = min(self.fewest, result.authorizations)
        self.kinds.append(len(result.fired))
        self.fired.update(result.fired)
        self.reached.update(dict.fromkeys(result.reached, 1))
        self.virtual_s += result.virtual_s
        if result.violations:
            self.failed.append(result)

    @property
    def unreached(self) -> list[str]:
        """Rare branches that no seed took."""
        return [branch for branch in RARE if not self.reached[branch]]

    @property
    def unfired(self) -> list[str]:
        """Kinds of fault that never happened."""
        return [kind.name for kind in KINDS if not self.fired[kind.name]]

    @property
    def good(self) -> bool:
        """No violation, and nothing listed that never happened. A few seeds cannot reach everything: see `enough`."""
        return not self.failed and not (self.enough and (self.unreached or self.unfired))

    @property
    def enough(self) -> bool:
        """Whether there were seeds enough to expect every rare branch."""
        return self.seeds >= 500

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seeds": self.seeds,
            "first": self.first,
            "violations": sum(len(result.violations) for result in self.failed),
            "failed_seeds": [result.seed for result in self.failed],
            "unreached": self.unreached,
            "unfired": self.unfired,
            "seconds": round(self.seconds, 1),
            "processes": self.processes,
            "events": self.events,
            "events_per_s": round(self.events / max(self.seconds, 1e-9)),
            "events_per_s_core": round(self.events / max(self.cpu_s, 1e-9)),
            "authorizations": self.authorizations,
            "authorizations_fewest": self.fewest if self.seeds else 0,
            "kinds_median": median(self.kinds) if self.kinds else 0,
            "virtual_s": round(self.virtual_s),
            "fired": dict(sorted(self.fired.items())),
            "reached": dict(sorted(self.reached.items())),
            "found": [
                {"seed": result.seed, "violations": [one._asdict() for one in result.violations[:5]]}
                for result in self.failed[:20]
            ],
        }


def _one(seed: int) -> tuple[Result, float]:
    return play(seed)


def swarm(
    seeds: Iterable[int],
    processes: int = 2,
    tell: Callable[[Swarm], None] = lambda so_far: None,
) -> Swarm:
    """Run seeds; `tell` is told after each. Results are the same for any number of processes."""
    wanted = list(seeds)
    found = Swarm(first=wanted[0] if wanted else 0, processes=processes)
    began = time.perf_counter()
    if processes == 1 or len(wanted) == 1:
        results: Iterable[tuple[Result, float]] = map(_one, wanted)
        _collect(found, results, tell, began)
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            _collect(found, pool.imap(_one, wanted, chunksize=4), tell, began)
    found.seconds = time.perf_counter() - began
    return found


def _collect(
    found: Swarm, results: Iterable[tuple[Result, float]], tell: Callable[[Swarm], None], began: float
) -> None:
    for result, took in results:
        found.take(result, took)
        found.seconds = time.perf_counter() - began
        tell(found)


# stories


def keep_story(directory: Path, seed: int, faults: Iterable[Fault], broken: str, note: str = "") -> Path:
    """Write a seed with its fewest faults as a story that can be played again."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"seed-{seed}.json"
    story = {
        "seed": seed,
        "broken": broken,
        "note": note,
        "faults": [
            {name: getattr(fault, name) for name in fault.__struct_fields__ if getattr(fault, name) not in ("", 0, 0.0)}
            for fault in faults
        ],
    }
    path.write_text(json.dumps(story, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_story(path: Path) -> tuple[int, list[Fault]]:
    """A story's seed and faults. Raises KeyError, ValueError or TypeError for a file that is none."""
    story = json.loads(path.read_text(encoding="utf-8"))
    return int(story["seed"]), [Fault(**fault) for fault in story["faults"]]
