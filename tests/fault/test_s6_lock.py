"""S6: somebody else holds a lock on the file. Calls answer UNAVAILABLE within
their deadline, and go on when the lock is gone, without a restart."""

import random
import sqlite3
import subprocess
import time

import pytest

import harness
from harness import wait_for
from store import Store, outcome

DEADLINE_S = 3


def lock(file):
    """A transaction of somebody else's, as the sqlite3 shell would hold it."""
    database = sqlite3.connect(file, isolation_level=None, timeout=5)
    database.execute("BEGIN EXCLUSIVE")
    return database


@pytest.mark.asan
def test_s6_a_lock_from_outside(store):
    made = store(faults=False)
    client = made.start()
    client.append("s", "before")
    holder = lock(made.file)
    begin = time.monotonic()
    _, why = outcome(
        client.append, "s", "meanwhile", request_id="r", timeout=DEADLINE_S
    )
    took = time.monotonic() - begin
    assert took < DEADLINE_S + 0.1, took
    assert why and why.code == "UNAVAILABLE", why
    assert why.reason == "BACKEND_DOWN" and why.retry, why
    # Reads need no lock, and others nothing at all.
    assert client.texts("s") == ["before"]
    assert client.session("s").revision == 1
    made.check_others_serve()
    holder.execute("ROLLBACK")
    holder.close()

    def again():
        answer, why = outcome(client.append, "s", "meanwhile", request_id="r")
        assert why is None or why.reason == "BACKEND_DOWN", why
        return answer

    answer = wait_for("the lock to be gone", again)
    assert not answer.deduplicated
    assert answer.memories[0].sequence == 2
    assert client.texts("s") == ["before", "meanwhile"]
    made.wait_health("SERVING")


@pytest.mark.asan
def test_s6_a_lock_when_the_server_starts(store):
    """It starts all the same, and serves the file when the lock is gone."""
    made = store(faults=False)
    made.start().append("s", "before")
    made.stop()
    database = sqlite3.connect(made.file, isolation_level=None)
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("BEGIN EXCLUSIVE")
    client = made.start()
    _, why = outcome(client.append, "s", "x", timeout=DEADLINE_S)
    assert why.reason == "BACKEND_DOWN", why
    made.wait_health("NOT_SERVING")
    made.check_others_serve()
    database.execute("ROLLBACK")
    database.close()
    made.wait_health("SERVING")
    assert client.texts("s") == ["before"]
    assert client.append("s", "after").memories[0].sequence == 2


def second(made, path):
    """Another mnemed on the file, under that name."""
    return subprocess.run(
        [str(harness.MNEMED), "--listen", "127.0.0.1:0", "-c", str(path)],
        capture_output=True,
        text=True,
        timeout=harness.PATIENCE,
        env=harness.environment(made.folder),
    )


@pytest.mark.parametrize("through", ["name", "link", "folder link", "dots"])
def test_s6_one_server_to_a_file(store, tmp_path, through):
    """Whatever the second one calls it."""
    made = store(faults=False)
    client = made.start()
    client.append("s", "x")
    name = made.file
    if through == "link":
        name = tmp_path / "link.db"
        name.symlink_to(made.file)
    if through == "folder link":
        (tmp_path / "folder").symlink_to(made.file.parent)
        name = tmp_path / "folder" / made.file.name
    if through == "dots":
        name = made.file.parent / ".." / made.file.parent.name / made.file.name
    config = tmp_path / "second.yaml"
    config.write_text(
        "backends: { other: { type: sqlite, path: '%s' } }\n" % name
    )
    found = second(made, config)
    assert found.returncode == 1, found
    assert "is in use by process" in found.stdout + found.stderr, found
    assert client.append("s", "y").memories[0].sequence == 2


def test_s6_a_killed_server_leaves_no_lock(sqlite, tmp_path):
    made = Store(sqlite(tmp_path, random.Random(1)), faults=False)
    try:
        made.start().append("s", "x")
        for _ in range(3):
            assert made.crash().texts("s") == ["x"]
    finally:
        made.close()
