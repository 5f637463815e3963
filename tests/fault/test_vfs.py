"""The faults themselves, on a program that only inserts: what they say that they
do is what SQLite meets."""

import random
import signal
import sqlite3
import subprocess
import sys

import pytest

from engines import check_sqlite
from faults import Faults

INSERTS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = " + sys.argv[2])
database.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, x)")
for n in range(200):
    line = sys.stdin.readline()
    if not line:
        break
    try:
        database.execute("INSERT INTO t VALUES (?, zeroblob(600))", (n,))
        print("ok", n, flush=True)
    except sqlite3.Error as why:
        print("no", n, why, flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


class Program:
    """The program step by step."""

    def __init__(self, folder, synchronous="FULL", **more):
        self.faults = Faults(folder, **more)
        self.control = self.faults.control
        self.folder = folder / "store"
        self.folder.mkdir()
        self.file = self.folder / "t.db"
        self.synchronous = synchronous
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", INSERTS, str(self.file), self.synchronous],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.faults.environment(),
        )

    def insert(self, count):
        """The answers, until the program ends."""
        found = []
        for _ in range(count):
            try:
                self.process.stdin.write("\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                break
            line = self.process.stdout.readline()
            if not line:
                break
            found.append(line.strip())
        return found

    def kill(self):
        self.process.kill()
        self.process.communicate()
        return self.process.returncode

    def there(self):
        check_sqlite(self.file)
        database = sqlite3.connect(self.file)
        try:
            return [n for (n,) in database.execute("SELECT n FROM t")]
        except sqlite3.OperationalError as why:
            assert "no such table" in str(why), why
            return []
        finally:
            database.close()


def ok(count, first=0):
    return ["ok %d" % n for n in range(first, first + count)]


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_vfs_what_was_synced_survives_a_power_cut(tmp_path, seed):
    made = Program(tmp_path, shadow=True)
    assert made.insert(50) == ok(50)
    assert made.control.vfs_in and made.control.writes and made.control.syncs
    made.kill()
    made.faults.power_cut(made.folder, seed and random.Random(seed))
    assert made.there() == list(range(50))


def test_vfs_what_was_not_synced_does_not(tmp_path):
    made = Program(tmp_path, "NORMAL", shadow=True)
    assert made.insert(50) == ok(50)
    made.kill()
    assert made.faults.power_cut(made.folder) > 0
    assert len(made.there()) < 50


def test_vfs_or_only_a_part(tmp_path):
    """Whatever it is, it is a whole beginning: the log has checksums."""
    lengths = set()
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        made = Program(folder, shadow=True)
        assert made.insert(1) == ok(1)  # the log has a name
        made.kill()
        made.synchronous = "NORMAL"
        made.start()
        assert made.insert(20)[1:] == ok(19, 1)
        made.kill()
        made.faults.power_cut(made.folder, random.Random(seed))
        found = made.there()
        assert found == list(range(len(found))) and found
        lengths.add(len(found))
    assert len(lengths) > 3, lengths


def test_vfs_a_killed_process_leaves_what_the_kernel_has(tmp_path):
    """Not synced, but written: it is there for the next process, whose sync then
    makes it durable."""
    made = Program(tmp_path, "NORMAL", shadow=True)
    assert made.insert(20) == ok(20)
    made.kill()
    made.synchronous = "FULL"
    made.start()
    assert made.insert(30)[20:] == ok(10, 20)
    made.kill()
    made.faults.power_cut(made.folder)
    assert made.there() == list(range(30))


def test_vfs_what_a_failed_sync_was_to_write_is_lost(tmp_path):
    """Though a later one says nothing. SQLite answers no success after it that
    depends on it."""
    made = Program(tmp_path, shadow=True)
    assert made.insert(5) == ok(5)
    made.control.sync_every = 1
    (answer,) = made.insert(1)
    assert answer.startswith("no 5 disk I/O error"), answer
    made.control.calm()
    made.kill()
    assert made.control.injected == 1
    made.faults.power_cut(made.folder)
    assert made.there() == list(range(5))


@pytest.mark.parametrize("what", ["die_at_write", "die_at_sync", "die_after_sync"])
def test_vfs_it_dies_where_it_is_told_to(tmp_path, what):
    made = Program(tmp_path, shadow=True)
    assert made.insert(5) == ok(5)
    setattr(made.control, what, 3)
    found = made.insert(20)
    assert found == ok(len(found), 5) and len(found) < 3
    assert made.kill() == -signal.SIGKILL
    made.faults.power_cut(made.folder)
    done = 5 + len(found)
    # After the sync it is there, though nobody was told.
    assert made.there() == list(range(done + (what == "die_after_sync")))


def test_vfs_the_disk_is_full_and_has_room_again(tmp_path):
    made = Program(tmp_path)
    assert made.insert(5) == ok(5)
    made.control.space = 10000
    made.control.full = 1
    found = made.insert(20)
    full = [each for each in found if not each.startswith("ok")]
    assert full and "disk is full" in full[0], found
    assert made.control.fulls >= 1
    made.control.full = 0
    assert made.insert(2) == ok(2, 25)
    made.kill()
    wanted = [n for n in range(27) if "no %d " % n not in " ".join(full)]
    assert made.there() == wanted


@pytest.mark.parametrize("what", ["write_every", "sync_every"])
def test_vfs_every_nth_fails(tmp_path, what):
    made = Program(tmp_path)
    assert made.insert(5) == ok(5)
    setattr(made.control, what, 4)
    found = made.insert(40)
    made.control.calm()
    bad = [each for each in found if not each.startswith("ok")]
    assert len(found) == 40 and len(bad) > 5, found
    assert made.control.injected >= len(bad)
    made.kill()
    there = made.there()
    for each in found:
        if each.startswith("ok"):
            assert int(each.split()[1]) in there
