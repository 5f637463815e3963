"""The kinds of rounds that tests and tests/fault/run share, and their sums."""

import contextlib
import pathlib
import random
import subprocess
import tempfile

from faults import Faults
from rounds import Round


class PowerCut(Round):
    """The process dies at a write or a sync, or is killed; then whatever was not
    synced is lost, wholly (half of the rounds) or in part."""

    dies_at = ("die_at_write", "die_at_sync", "die_after_sync", None)

    def crash(self):
        way = self.chance.choice(self.dies_at)
        if way is not None:
            nth = self.chance.randrange(1, 12)
            setattr(self.faults.control, way, nth)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # The others go on writing, and one of them brings it about.
                self.server.process.wait(1)
                return
        self.engine.kill(self.server)

    def restart(self):
        chance = self.chance.choice([None, self.chance])
        self.result.lost = self.faults.power_cut(
            self.engine.file.parent, chance
        )
        super().restart()


CRASHES = {"kill": Round, "power": PowerCut}


def one_round(engine, seed, crash="kill", keep=None, options=None, **more):
    """Runs a round on an engine's class in a folder of its own; its Result."""
    kind = CRASHES[crash] if isinstance(crash, str) else crash
    with contextlib.ExitStack() as stack:
        if keep:
            folder = pathlib.Path(keep) / ("%s-%s" % (engine.name, seed))
            folder.mkdir(parents=True)
        else:
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="mneme-fault-")
            )
        made = engine(folder, random.Random(seed), **options or {})
        faults = Faults(folder, shadow=True) if kind is not Round else None
        return kind(made, seed, faults, **more).run()


class Totals:
    """Of several rounds."""

    def __init__(self, what):
        self.what = what
        self.results = []

    def add(self, result):
        self.results.append(result)

    def sum(self, name):
        return sum(getattr(each, name) for each in self.results)

    def __str__(self):
        if not self.results:
            return "%s: no round" % self.what
        return (
            "%s: %d rounds, %d writes acknowledged before the crash, 0 lost; %d"
            " in flight, %d of them committed; %d repeats; ready again after at"
            " most %.2f s"
            % (
                self.what,
                len(self.results),
                self.sum("acknowledged"),
                self.sum("in_flight"),
                self.sum("applied"),
                self.sum("repeated"),
                max(each.ready_s for each in self.results),
            )
            + (
                "; %d sectors lost" % self.sum("lost") if self.sum("lost") else ""
            )
        )
