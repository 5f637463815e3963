"""X6: names that look like paths are names. They reach no file beside the store's
own, and those that are too long are refused."""

import os
import random

import pytest

import engines
import pb
from harness import refused
from store import Store

NAMES = [
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "//",
    "/etc/passwd",
    "a/../b",
    "./a",
    "~",
    "~root/.ssh",
    "%2e%2e%2f",
    "..\\..\\windows",
    "C:\\x",
    "file:///etc/passwd",
    "store/mneme.db",
    "mneme.db-wal",
    "a\nb",
    "a\tb\r",
    " ",
    "-rf",
    "--help",
    "$HOME",
    "`id`",
    "$(id)",
    "|",
    "con",
    "\u2024\u2024/x",
    "\u202e/cte",
    "x" * 128,
    ("../" * 43)[:128],
]


@pytest.fixture(params=["sqlite", "dict"])
def made(request, tmp_path):
    if request.param == "sqlite":
        engine = request.getfixturevalue("sqlite")
    else:
        engine = engines.Dict
    made = Store(engine(tmp_path, random.Random(1)), faults=False)
    yield made
    made.close()


def tree(folder):
    """Every path, and what kind of thing is there."""
    found = set()
    for root, folders, files in os.walk(folder):
        for each in folders + files:
            path = os.path.join(root, each)
            found.add((path, os.path.islink(path)))
    return found


@pytest.mark.asan
def test_x6_names_like_paths_are_names(made, tmp_path):
    client = made.start()
    client.append("first", "x")
    before = tree(tmp_path)
    for n, name in enumerate(NAMES):
        memory = pb.Memory(
            id=name, key=name, kind=name, source=name, content="%d" % n
        )
        client.append(name, memory, request_id=name)
        client.append("all", memory)
    for n, name in enumerate(NAMES):
        assert client.texts(name) == ["%d" % n], name
        assert client.session(name).id == name
        for names in ({"ids": [name]}, {"keys": [name]}):
            (got,) = client.GetMemories(session="all", **names).memories
            assert (got.content, got.source) == ("%d" % n, name)
        (page,) = [
            s for s in client.ListSessions(prefix=name).sessions if s.id == name
        ]
        assert page.memory_count == 1
    assert len(client.ListSessions(page_size=1000).sessions) == len(NAMES) + 2
    # A namespace has no "/", else it may be any of them.
    for n, name in enumerate(NAMES):
        if "/" in name:
            with refused("INVALID_ARGUMENT", "INVALID_VALUE", "namespace"):
                client.append("s", "x", namespace=name)
        else:
            client.append("s", "in %d" % n, namespace=name)
            assert client.texts("s", namespace=name) == ["in %d" % n]
    for name in NAMES:
        assert client.DeleteMemories(session="all", ids=[name]).deleted_count
        client.DeleteSession(session=name)
    assert {s.id for s in client.ListSessions().sessions} == {"first", "all"}
    extra = {
        path
        for path, _ in tree(tmp_path) - before
        if not path.endswith(("-wal", "-shm"))
    }
    assert not extra, extra


@pytest.mark.asan
@pytest.mark.parametrize("long", ["x" * 4096, "../" * 1366], ids=["x", "dots"])
def test_x6_names_of_4_kib_are_refused(made, long):
    client = made.start()
    append = client.append
    memory = pb.Memory
    for field, call in {
        "namespace": lambda: append("s", "x", namespace=long),
        "session": lambda: append(long, "x"),
        "request_id": lambda: append("s", "x", request_id=long),
        "memories[0].id": lambda: append("s", memory(id=long, content="x")),
        "memories[0].key": lambda: append("s", memory(key=long, content="x")),
        "ids[0]": lambda: client.GetMemories(session="s", ids=[long]),
        "prefix": lambda: client.ListSessions(prefix=long),
    }.items():
        with refused("INVALID_ARGUMENT", "TOO_LARGE", field):
            call()
    assert not client.ListSessions().sessions


def test_x6_the_file_behind_a_link_is_the_file(sqlite, tmp_path):
    """A path with a link in it, or with dots, leads to one and the same store; the
    files beside the database lie beside the real one."""
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    engine = sqlite(tmp_path, random.Random(1))
    names = [
        real / "mneme.db",
        tmp_path / "link" / "mneme.db",
        tmp_path / "link" / ".." / "real" / "mneme.db",
        tmp_path / "one.db",
    ]
    names[3].symlink_to(names[0])
    for n, name in enumerate(names):
        engine.template = "type: sqlite, path: '%s'" % name
        made = Store(engine, faults=False)
        try:
            client = made.start()
            client.append("s", "%d" % n)
            assert client.texts("s") == ["%d" % each for each in range(n + 1)]
            made.kill()
            # Not one.db-wal: the next to come by the real name would miss it.
            assert not (tmp_path / "one.db-wal").exists()
        finally:
            made.close()
