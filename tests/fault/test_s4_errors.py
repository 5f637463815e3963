"""S4: every n-th write, sync, read, truncation, open or allocation fails. No
crash, no leak (the sanitizer build runs these too), and what was answered with OK
is there afterwards; what was not is wholly there or not at all."""

import pytest

import cases
import harness
from rounds import Round

# What fails, and how often, so that some operations still go through. Files are
# opened and cut only when the engine mends itself.
FAILURES = {
    "a write of 3": dict(write_every=3),
    "a write of 50": dict(write_every=50),
    "a sync of 2": dict(sync_every=2),
    "a sync of 9": dict(sync_every=9),
    "a read of 4": dict(read_every=4, sync_every=7),
    "truncations": dict(truncate_every=1, sync_every=7),
    "an opening of 2": dict(open_every=2, sync_every=7),
    "an allocation of SQLite's of 7": dict(alloc_every=7),
    "an allocation of SQLite's of 40": dict(alloc_every=40),
    "everything now and then": dict(
        write_every=31, sync_every=17, read_every=29, alloc_every=211
    ),
}
if not harness.SANITIZED:  # which has an allocator of its own
    FAILURES["an allocation of ours of 3"] = dict(malloc_every=3)


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


class FailingThenPower(Failing, cases.PowerCut):
    """The crash is a power cut, and what a failed sync was to write is lost with
    it, though reads and later syncs do not tell (Linux marks such pages clean)."""

    ways = (None,)


class FailingOnly(Failing, cases.Calm):
    """Without a crash: the server must end well, and a sanitizer finds no leak."""


def failing(what, base=Failing):
    return type("Failing", (base,), dict(failing=what))


@pytest.mark.asan
@pytest.mark.parametrize("what", FAILURES.values(), ids=FAILURES)
def test_s4_no_crash_and_no_leak(sqlite, what):
    print(cases.one_round(sqlite, 1, crash=failing(what, FailingOnly)))


@pytest.mark.parametrize("what", FAILURES.values(), ids=FAILURES)
def test_s4_what_was_answered_ok_is_there(sqlite, what):
    print(cases.one_round(sqlite, 1, crash=failing(what)))


@pytest.mark.rounds(3, soak=200, of=1)
@pytest.mark.parametrize("every", [2, 5])
def test_s4_a_sync_that_failed_and_then_a_power_cut(
    sqlite, seeds, totals, every
):
    for seed in seeds:
        kind = failing(dict(sync_every=every), FailingThenPower)
        result = cases.one_round(sqlite, seed, crash=kind)
        print(result)
        totals.add(result)


@pytest.mark.rounds(1, soak=200, of=1)
@pytest.mark.parametrize("what", FAILURES.values(), ids=FAILURES)
def test_s4_failures_and_then_a_power_cut(sqlite, seeds, totals, what):
    for seed in seeds:
        kind = failing(what, FailingThenPower)
        result = cases.one_round(sqlite, seed, crash=kind)
        print(result)
        totals.add(result)
