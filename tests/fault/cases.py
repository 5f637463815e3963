"""The kinds of rounds that tests and tests/fault/run share, and their sums."""

import contextlib
import pathlib
import random
import subprocess
import tempfile

import harness
from faults import Faults
from rounds import Round


class Calm(Round):
    """A round without a crash: everything is written, then the server ends well
    (under a sanitizer: without a leak)."""

    def run(self):
        self.engine.prepare()
        try:
            self.start()
            self.patience(harness.PATIENCE)
            self.write()
            assert not any(each.cut for each in self.workers), self.errors()
            self.repeat_acknowledged()
            self.read_everything()
            self.check()
            self.stop()
        finally:
            self.close()
        self.result.acknowledged = self.count
        return self.result


class Stopped(Round):
    """SIGTERM under load instead of a crash: the server ends well, and has
    everything when it is back."""

    def crash(self):
        self.server.signal()
        assert self.server.wait() == 0, self.server.output()


class PowerCut(Round):
    """The process dies at a write or a sync, or is killed; then whatever was not
    synced is lost, wholly or in part. The next start may end the same way."""

    ways = ("die_at_write", "die_at_sync", "die_after_sync", None)

    def crash(self):
        if self.arm(12):
            with contextlib.suppress(subprocess.TimeoutExpired):
                # The others go on writing, and one of them brings it about.
                self.server.process.wait(1)
                return
        self.engine.kill(self.server)

    def arm(self, most):
        """Whether it will die by itself, at one of so many operations."""
        way = self.chance.choice(self.ways)
        if way is not None:
            nth = self.chance.randrange(1, most)
            setattr(self.faults.control, way, nth)
        return way is not None

    def cut_power(self):
        self.faults.control.calm()
        chance = self.chance.choice([None, self.chance])
        folder = self.engine.file.parent
        self.result.lost += self.faults.power_cut(folder, chance)

    def restart(self):
        for _ in range(self.chance.choice([0, 0, 1, 2])):
            self.cut_power()
            self.arm(6)
            try:
                self.start()
            except AssertionError as why:
                assert "mnemed ended" in str(why), why
            else:
                self.engine.kill(self.server)
        self.cut_power()
        super().restart()


class SlowSyncs(PowerCut):
    """Syncs take long, and clients read meanwhile. Then it dies at one, so that a
    whole transaction goes that a careless engine would have shown."""

    ways = ("die_at_sync",)

    def start(self):
        super().start()
        if self.crashed is None:
            self.faults.control.sync_delay_us = 40000


class Failing(Round):
    """For a while in the middle of the round something fails, and clients repeat
    what they may. Then it stops, and later comes the crash."""

    failing = {}
    enough = 12  # injected failures

    def write(self):
        total = self.work.total
        self.fail_at = self.chance.randrange(total // 10, total // 4)
        self.calm_at = total // 2
        self.on = False
        self.patience(harness.PATIENCE)
        super().write()
        control = self.faults.control
        assert control.injected, "nothing was made to fail"
        assert control.alloc_in, "SQLite does not allocate through us"

    def progress(self):
        control = self.faults.control
        if self.count >= self.fail_at and not self.on:
            self.on = True
            for name, every in self.failing.items():
                setattr(control, name, every)
        # Some kinds do not come up often.
        if control.injected >= self.enough or self.count >= self.calm_at:
            control.calm()

    def run_until_crash(self):
        total = self.work.total
        self.crash_at = self.chance.randrange(total * 2 // 3, total * 9 // 10)
        self.write()
        self.after_crash()


class FailingThenPower(Failing, PowerCut):
    """The crash is a power cut, and what a failed sync was to write is lost with
    it, though reads and later syncs do not tell (Linux marks such pages clean)."""

    ways = (None,)


class FailingOnly(Failing, Calm):
    """Without a crash: the server must end well, and a sanitizer finds no leak."""


def failing(what, base=Failing):
    return type("Failing", (base,), dict(failing=what))


CRASHES = {"kill": Round, "power": PowerCut, "stop": Stopped}


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
        made.vary()
        faults = None
        if kind not in (Round, Stopped):
            malloc = not harness.SANITIZED
            faults = Faults(folder, shadow=True, malloc=malloc)
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
