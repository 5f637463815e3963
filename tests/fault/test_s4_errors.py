"""S4: every n-th write, sync, read, truncation, open or allocation fails. No
crash, no leak (the sanitizer build runs these too), and what was answered with OK
is there afterwards; what was not is wholly there or not at all."""

import sqlite3

import pytest

import cases
import harness
from cases import FailingOnly, FailingThenPower, failing
from store import outcome

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


@pytest.mark.rounds(1, soak=50, of=1)
@pytest.mark.parametrize("what", FAILURES.values(), ids=FAILURES)
def test_s4_failures_and_then_a_power_cut(sqlite, seeds, totals, what):
    for seed in seeds:
        kind = failing(what, FailingThenPower)
        result = cases.one_round(sqlite, seed, crash=kind)
        print(result)
        totals.add(result)


def test_s4_a_sync_that_failed_while_somebody_reads(store):
    """A reader from outside keeps the log from being moved to the database, so the
    engine cannot get rid of what a failed sync has left in it. What is acknowledged
    afterwards must stand on something that is on the disk."""
    made = store(shadow=True)
    client = made.start()
    client.append("s", "first")
    reader = sqlite3.connect(made.file, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM memories").fetchone() == (1,)
    client.append("s", "second")
    made.control.sync_every = 1
    _, why = outcome(client.append, "s", "third", request_id="r")
    assert why.reason == "OUTCOME_UNKNOWN", why
    made.control.calm()

    def again():
        answer, why = outcome(client.append, "s", "third", request_id="r")
        assert why is None or why.reason in ("BACKEND_DOWN", "OUTCOME_UNKNOWN")
        return answer

    harness.wait_for("the store to serve again", again)
    client.append("s", "fourth")
    made.kill()
    reader.close()
    made.faults.power_cut(made.file.parent)
    assert made.start().texts("s") == ["first", "second", "third", "fourth"]
