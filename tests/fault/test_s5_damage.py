"""S5: flipped bits and truncated files. A memory whose bytes are damaged answers
DATA_LOSS, and its neighbours are served; a damaged database is NOT_SERVING while
other backends serve on. Nothing is ever returned that was not written."""

import random
import sqlite3

import grpc
import pytest

import faults
import harness
import pb
from clients import failure
from conftest import SEED, SOAK
from engines import check_sqlite
from harness import refused, struct
from store import ended_by, fails, outcome

COUNT = 40


def memory(n):
    return pb.Memory(
        id="id %d" % n,
        key="key/%d" % n,
        role="ROLE%04d" % n,
        author="AUTHOR%04d" % n,
        content="CONTENT%04d " % n + "word " * (40 + n),
        metadata=struct(mark="METADATA%04d" % n),
        parts=[pb.Part(mime_type="a/b", caption="CAPTION%04d" % n)],
    )


def fill(client, session="s"):
    for n in range(COUNT):
        client.append(session, memory(n))
    return {m.id: m for m in client.list(session, page_size=1000)}


@pytest.mark.asan
@pytest.mark.parametrize(
    "what", ["CONTENT", "ROLE", "AUTHOR", "METADATA", "CAPTION"]
)
def test_s5_a_damaged_memory_is_data_loss_and_others_are_served(store, what):
    made = store()
    client = made.start()
    written = fill(client)
    fill(client, "other")
    made.stop()
    text = "%s%04d" % (what, 17)
    chance = random.Random(what)
    # Of the first session only: its rows stand first in the file. Metadata is
    # there twice, once for filters.
    places = faults.find(made.file, text.encode())
    assert places, "%s is not in the file" % text
    for at in places[: len(places) // 2]:
        faults.flip(made.file, at + chance.randrange(len(text)), 0)
    client = made.start()
    damaged = []
    for session in ("s", "other"):
        _, why = outcome(client.GetMemories, session=session, ids=["id 17"])
        if why:
            damaged.append(session)
            assert (why.code, why.reason) == ("DATA_LOSS", "CORRUPT"), why
    (bad,) = damaged
    with refused("DATA_LOSS", "CORRUPT"):
        client.GetMemories(session=bad, keys=["key/17"])
    with refused("DATA_LOSS", "CORRUPT"):
        client.list(bad, page_size=1000)
    good = [name for name in written if name != "id 17"]
    got = client.GetMemories(session=bad, ids=good)
    assert {m.content for m in got.memories} == {
        written[name].content for name in good
    }
    # Pages that do not hold it.
    assert len(client.list(bad, page_size=COUNT - 18)) == COUNT - 18
    first = client.list(bad, anchor=pb.ANCHOR_OLDEST, page_size=17)
    assert [m.id for m in first] == good[:17]
    made.check_others_serve()
    assert client.append(bad, "more").memories[0].sequence == COUNT + 1
    # It can be removed, and then all is well.
    client.DeleteMemories(session=bad, ids=["id 17"])
    assert len(client.list(bad, page_size=1000)) == COUNT
    assert made.health("backend/store") == "SERVING"


def test_s5_metadata_that_a_filter_cannot_read(store):
    """What filters see stands beside the body. Where it is damaged nobody knows
    what matches, and that is said; all else is served."""
    made = store()
    client = made.start()
    fill(client)
    made.stop()
    (place,) = faults.find(made.file, b'{"mark":"METADATA0017"}')
    faults.flip(made.file, place)
    client = made.start()
    with refused("DATA_LOSS", "CORRUPT"):
        client.list("s", filter='metadata.mark = "METADATA0005"')
    assert len(client.list("s", filter='role = "ROLE0005"')) == 1
    found = client.list("s", page_size=1000)
    assert [m.content for m in found] == [
        memory(n).content for n in range(COUNT)
    ]
    assert made.health("backend/store") == "SERVING"
    assert client.append("s", "more").memories[0].sequence == COUNT + 1
    # Written anew it is whole again.
    client.append("s", memory(17), on_conflict=pb.ON_CONFLICT_REPLACE)
    assert len(client.list("s", filter='metadata.mark = "METADATA0005"')) == 1


def overwrite_page(file, number, size, what):
    with open(file, "r+b") as opened:
        opened.seek((number - 1) * size)
        opened.write(what)


def root_page(file, table):
    database = sqlite3.connect(file)
    (page,) = database.execute(
        "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
    ).fetchone()
    (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    return page, size


def damage_root(file):
    page, size = root_page(file, "memories")
    overwrite_page(file, page, size, b"\x5a" * size)


def damage_header(file):
    overwrite_page(file, 1, 4096, b"not a database, this")


def damage_schema(file):
    """One bit in a column's name: every page is well formed."""
    place = faults.find(file, b"sequence INTEGER NOT NULL")[0]
    faults.flip(file, place + 3)


def truncate_half(file):
    with open(file, "r+b") as opened:
        opened.truncate(file.stat().st_size // 2 // 4096 * 4096)


@pytest.mark.asan
@pytest.mark.parametrize(
    "damage",
    [damage_root, damage_header, damage_schema, truncate_half],
    ids=lambda each: each.__name__,
)
def test_s5_a_damaged_database_is_not_serving_and_others_are(store, damage):
    made = store()
    client = made.start()
    for n in range(20):
        fill(client, "s%d" % n)
    made.stop()
    damage(made.file)
    client = made.start()
    made.wait_health("NOT_SERVING")
    (info,) = [b for b in client.ListBackends().backends if b.name == "store"]
    assert info.health == pb.BACKEND_HEALTH_NOT_SERVING
    assert info.health_message
    for call in (
        lambda: client.append("s0", "x"),
        lambda: client.list("s0"),
        lambda: client.session("s0"),
        lambda: client.GetStats(),
    ):
        with fails() as why:
            call()
        assert why[0].reason in ("CORRUPT", "BACKEND_DOWN"), why[0]
    made.check_others_serve()
    made.stop()


def test_s5_damage_under_a_running_server(store):
    """A root page is overwritten while the server runs: it may serve from what
    it has in memory, but when it meets the damage it says so and does not end."""
    made = store()
    client = made.start()
    for n in range(20):
        fill(client, "s%d" % n)
    client = made.restart()
    page, size = root_page(made.file, "memories")
    overwrite_page(made.file, page, size, b"\x5a" * size)

    def met():
        for n in range(20):
            got, why = outcome(client.GetMemories, session="s%d" % n, ids=["id 3"])
            if why:
                assert why.reason in ("CORRUPT", "BACKEND_DOWN"), why
                return True
            assert [m.content for m in got.memories] == [memory(3).content]
            outcome(client.append, "s%d" % n, "x")
        return False

    harness.wait_for("the damage to be met", met)
    made.wait_health("NOT_SERVING")
    made.check_others_serve()


def log_of(made):
    return made.file.with_name(made.file.name + "-wal")


@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_s5_a_damaged_log_leaves_a_whole_beginning(store, how):
    """SQLite's log has a checksum over each commit and those before it: what
    follows the damage is gone, what stands before it is whole."""
    chance = random.Random(how)
    made = store()
    client = made.start()
    for n in range(60):
        client.append("s", memory(2 * n), memory(2 * n + 1))
    made.kill()
    log = log_of(made)
    size = log.stat().st_size
    assert size > 10000
    if how == "flip":
        faults.flip(log, chance.randrange(size // 4, size), chance.randrange(8))
    elif how == "truncate":
        with open(log, "r+b") as opened:
            opened.truncate(chance.randrange(size // 4, size))
    else:
        log.unlink()
    check_sqlite(made.file)
    client = made.start()
    found = client.all("s", page_size=1000)
    assert len(found) % 2 == 0 and len(found) < 120
    assert [m.content for m in found] == [
        memory(n).content for n in range(len(found))
    ]
    if found:
        header = client.session("s")
        assert header.revision == len(found) // 2
        assert header.last_sequence == len(found)
    assert client.append("s", "on").memories[0].sequence == len(found) + 1
    made.check_others_serve()


def random_damage(file, chance):
    """Some bits anywhere, or a stretch of the file."""
    size = file.stat().st_size
    if chance.random() < 0.5:
        for _ in range(chance.randrange(1, 30)):
            faults.flip(file, chance.randrange(size), chance.randrange(8))
    elif chance.random() < 0.5:
        with open(file, "r+b") as opened:
            opened.seek(chance.randrange(size))
            opened.write(chance.randbytes(chance.randrange(1, 9000)))
    else:
        with open(file, "r+b") as opened:
            opened.truncate(chance.randrange(size))


@pytest.mark.asan
@pytest.mark.parametrize("seed", range(SEED, SEED + (300 if SOAK else 12)))
def test_s5_any_damage_is_survived_and_nothing_false_is_returned(store, seed):
    chance = random.Random(seed)
    made = store()
    client = made.start()
    contents = {memory(n).content for n in range(COUNT)}
    for n in range(5):
        fill(client, "s%d" % n)
        client.PopMemories(session="s%d" % n, count=n)
    if chance.random() < 0.5:
        made.stop()
    else:
        made.kill()
    random_damage(made.file, chance)
    try:
        client = made.start()
    except AssertionError as why:
        # It may refuse a file that it cannot open at all, in so many words.
        raise AssertionError("seed %d: %s" % (seed, why))
    for n in range(5):
        name = "s%d" % n
        for call in (
            lambda: client.list(name, page_size=1000),
            lambda: client.list(name, page_size=7, anchor=pb.ANCHOR_OLDEST),
            lambda: client.GetMemories(session=name, ids=["id 3"]).memories,
            lambda: client.GetMemories(session=name, keys=["key/9"]).memories,
        ):
            try:
                found = call()
            except grpc.RpcError as error:
                why = failure(error)
                assert why.reason in ("CORRUPT", "BACKEND_DOWN"), (seed, str(why))
                continue
            assert {m.content for m in found} <= contents, seed
        outcome(client.append, name, memory(COUNT - 1))
        outcome(client.PopMemories, session=name, count=3)
        outcome(client.session, name)
        outcome(client.DeleteSession, session=name)
    made.check_others_serve()
    assert ended_by(made.server) is None
