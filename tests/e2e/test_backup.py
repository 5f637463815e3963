"""mnemed --backup: a copy of the store beside the server that has it open."""

import os
import sqlite3
import threading

import pytest

from harness import LATE, run, wait_for

pytestmark = [
    pytest.mark.asan,
    pytest.mark.skipif(LATE, reason="the store of late is memory"),
]


def check(path):
    with sqlite3.connect("file:%s?mode=ro" % path, uri=True) as store:
        (found,) = store.execute("PRAGMA integrity_check").fetchone()
    assert found == "ok"


def contents(start_server, folder, session):
    return [m.content for m in start_server(folder=folder).client("n").all(session)]


def test_a_backup_under_load(start_server, tmp_path):
    """Each session is there up to some append, without a gap; what was
    acknowledged before the backup began is in it; the server goes on."""
    server = start_server()
    writers = 4
    counts = [0] * writers
    over = threading.Event()

    def write(n):
        client = server.client("n")
        while not over.is_set():
            client.append("s%d" % n, "%d" % counts[n])
            counts[n] += 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    for each in threads:
        each.start()
    try:
        for number in range(3):
            goal = [count + 50 for count in counts]
            wait_for(
                "appends", lambda: all(c >= g for c, g in zip(counts, goal))
            )
            before = list(counts)
            ended = run(
                "--backup", "copy.db", folder=server.folder
            )
            assert ended.returncode == 0, ended.stderr
            assert "copy.db" in ended.stdout
            os.rename(server.folder / "copy.db", tmp_path / ("%d.db" % number))
            (tmp_path / ("%d.before" % number)).write_text(repr(before))
    finally:
        over.set()
        for each in threads:
            each.join()
    assert not list(server.folder.glob("*.tmp-*"))
    for number in range(3):
        copy = tmp_path / ("%d.db" % number)
        check(copy)
        before = eval((tmp_path / ("%d.before" % number)).read_text())
        folder = tmp_path / ("restored-%d" % number)
        folder.mkdir()
        os.rename(copy, folder / "mneme.db")
        client = start_server(folder=folder).client("n")
        for n in range(writers):
            found = [m.content for m in client.all("s%d" % n)]
            assert found == ["%d" % i for i in range(len(found))]
            assert before[n] <= len(found) <= counts[n]


def test_a_backup_of_a_store_that_nobody_has_open(start_server):
    server = start_server()
    server.client("n").append("s", "kept")
    server.stop()
    copy = server.folder / "copy.db"
    copy.write_text("an older one")  # is replaced
    assert run("--backup", copy, folder=server.folder).returncode == 0
    check(copy)
    os.rename(copy, server.folder / "mneme.db")
    assert contents(start_server, server.folder, "s") == ["kept"]


def test_what_cannot_be_backed_up(start_server, tmp_path):
    def refuse(*args, status=1):
        ended = run(*args, folder=tmp_path)
        assert ended.returncode == status, (ended.stdout, ended.stderr)
        assert not list(tmp_path.rglob("*.tmp-*"))
        return ended.stderr

    assert "No such file" in refuse("--backup", "x.db")
    run("--backup", "x.db", folder=tmp_path)
    assert not (tmp_path / "x.db").exists()
    server = start_server(folder=tmp_path)
    server.client("n").append("s", "x")
    assert "itself" in refuse("--backup", "mneme.db")
    assert "No such file" in refuse("--backup", "no/such/folder.db")
    (tmp_path / "folder").mkdir()
    assert "no regular file" in refuse("--backup", "folder")
    assert "beside it" in refuse("--backend", "default", status=2)
    assert 'no backend "b"' in refuse(
        "--backup", "x.db", "--backend", "b", status=2
    )
    both = tmp_path / "both.yaml"
    both.write_text(
        "backends: { a: { type: sqlite, path: a.db }, "
        "b: { type: sqlite, path: b.db }, c: { type: dict } }\n"
    )
    assert "--backend NAME" in refuse(
        "-c", both, "--backup", "x.db", status=2
    )
    assert "cannot be copied" in refuse(
        "-c", both, "--backup", "x.db", "--backend", "c"
    )


def test_a_damaged_store_gives_no_copy(start_server, tmp_path):
    server = start_server(folder=tmp_path)
    client = server.client("n")
    for i in range(50):
        client.append("s%d" % i, *["x" * 900] * 20)
    server.stop()
    path = tmp_path / "mneme.db"
    with open(path, "r+b") as file:
        for page in range(3, os.path.getsize(path) // 4096, 7):
            file.seek(page * 4096)
            file.write(b"\xff" * 64)
    copy = tmp_path / "copy.db"
    copy.write_text("the last good one")
    ended = run("--backup", copy, folder=tmp_path)
    assert ended.returncode == 1
    assert "damaged" in ended.stderr or "malformed" in ended.stderr
    assert copy.read_text() == "the last good one"
    assert not list(tmp_path.glob("*.tmp-*"))
