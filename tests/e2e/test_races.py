"""Clients that race: who comes first is open, what is true afterwards is not."""

import random
import threading

import grpc
import pytest

import pb
from harness import PATIENCE, SANITIZED, explain

pytestmark = pytest.mark.asan


def together(*jobs):
    """Runs the jobs at the same time; their results, or the first failure."""
    results = [None] * len(jobs)
    failures = []
    barrier = threading.Barrier(len(jobs))

    def run(number, job):
        try:
            barrier.wait(PATIENCE)
            results[number] = job()
        except BaseException as why:  # raised again below
            failures.append(why)

    threads = [
        threading.Thread(target=run, args=each, daemon=True)
        for each in enumerate(jobs)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(2 * PATIENCE)
        assert not each.is_alive(), "a racer hangs"
    if failures:
        raise failures[0]
    return results


def outcome(call):
    """An answer, or the name of the code and reason."""
    try:
        return call()
    except grpc.RpcError as error:
        got = explain(error)
        return got.code, got.reason


UNKNOWN = (
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNAVAILABLE,
)


@pytest.mark.parametrize("seed", [1, 2])
def test_sixteen_appenders_to_one_session(server, namespace, seed):
    """Each repeats its calls at random with the same request_id: some had an
    answer already, some were cancelled, some ran out of time, some run twice at
    once. The order is gapless and holds each append exactly once."""
    appends = 15 if SANITIZED else 40
    appenders = 16
    print("seed %d" % seed)

    def appender(number):
        chance = random.Random("%d/%d" % (seed, number))
        client = server.client(namespace)

        def run():
            told = []
            for n in range(appends):
                item = client.item(
                    "s",
                    *["%d/%d/%d" % (number, n, k) for k in range(n % 3 + 1)],
                    request_id="%d/%d" % (number, n),
                )
                answer = None
                while answer is None:
                    how = chance.randrange(6)
                    call = client.stub.AppendMemories.future(
                        item,
                        timeout=(
                            chance.uniform(0.0001, 0.005)
                            if how == 0
                            else PATIENCE
                        ),
                    )
                    if how == 1:
                        call.cancel()
                    twin = None
                    if how == 2:
                        twin = client.stub.AppendMemories.future(
                            item, timeout=PATIENCE
                        )
                    try:
                        answer = call.result()
                    except grpc.FutureCancelledError:
                        pass
                    except grpc.RpcError as error:
                        assert error.code() in UNKNOWN, error
                    if twin is not None:
                        other = twin.result()
                        assert other.memories == answer.memories
                        assert other.deduplicated or answer.deduplicated
                    if answer is not None and how == 3:
                        again = client.call("AppendMemories", item)
                        assert again.deduplicated
                        assert again.memories == answer.memories
                told.append([m.sequence for m in answer.memories])
            return told

        return run

    told = together(*[appender(n) for n in range(appenders)])
    client = server.client(namespace)
    found = client.all("s", page_size=1000)
    assert [m.sequence for m in found] == list(range(1, len(found) + 1))
    wanted = {
        "%d/%d/%d" % (number, n, k)
        for number in range(appenders)
        for n in range(appends)
        for k in range(n % 3 + 1)
    }
    assert len(found) == len(wanted)
    assert {m.content for m in found} == wanted
    places = {m.content: m.sequence for m in found}
    for number in range(appenders):
        mine = sum(told[number], [])
        assert mine == sorted(mine)  # each appender's own order
        for n, sequences in enumerate(told[number]):
            # What each was told is where its memories are, side by side.
            assert sequences == [
                places["%d/%d/%d" % (number, n, k)] for k in range(n % 3 + 1)
            ]
    session = client.session("s")
    assert session.revision == appenders * appends
    assert session.memory_count == session.last_sequence == len(found)


def test_expected_revision_admits_one_of_two(server, namespace):
    """Many rounds: two hold the same revision, exactly one may write."""
    clients = [server.client(namespace), server.client(namespace)]
    for n in range(100):
        jobs = [
            lambda c=c, k=k: outcome(
                lambda: c.append(
                    "s", "%d by %d" % (n, k), expected_revision=n
                )
            )
            for k, c in enumerate(clients)
        ]
        results = together(*jobs)
        losers = [r for r in results if isinstance(r, tuple)]
        assert losers == [("ABORTED", "REVISION_MISMATCH")], results
    found = clients[0].all("s", page_size=1000)
    assert len(found) == 100
    for n, each in enumerate(found):
        assert each.content.startswith("%d by " % n)


def test_update_of_one_memory_by_two(server, namespace):
    clients = [server.client(namespace), server.client(namespace)]
    clients[0].append("s", pb.Memory(id="i", content="0"))
    for n in range(60):
        revision = clients[0].list("s")[0].revision
        jobs = [
            lambda c=c, k=k: outcome(
                lambda: c.UpdateMemory(
                    session="s",
                    id="i",
                    memory={"content": "%d" % k},
                    expected_revision=revision,
                )
            )
            for k, c in enumerate(clients)
        ]
        results = together(*jobs)
        won = [k for k, r in enumerate(results) if not isinstance(r, tuple)]
        assert len(won) == 1, results
        assert results[1 - won[0]] == ("ABORTED", "REVISION_MISMATCH")
        assert clients[0].texts("s") == ["%d" % won[0]]


def test_updates_without_a_guard_all_count(server, namespace):
    """No update is lost by reading and writing: patches of different keys."""
    clients = [server.client(namespace) for _ in range(8)]
    clients[0].append("s", pb.Memory(id="i", content="x"))
    rounds = 10

    def patch(client, number):
        from harness import struct

        def run():
            for n in range(rounds):
                name = "k%d_%d" % (number, n)
                while True:
                    got = outcome(
                        lambda: client.UpdateMemory(
                            session="s",
                            id="i",
                            metadata_patch=struct(**{name: n}),
                        )
                    )
                    if not isinstance(got, tuple):
                        break
                    assert got == ("ABORTED", "CONTENTION"), got

        return run

    together(*[patch(c, n) for n, c in enumerate(clients)])
    (memory,) = clients[0].list("s")
    assert len(memory.metadata.fields) == 8 * rounds
    assert memory.revision == 1 + 8 * rounds


def test_one_request_id_at_once(server, namespace):
    """Eight send the same append at the same time: one effect, one answer."""
    clients = [server.client(namespace) for _ in range(8)]
    for n in range(20):
        item = clients[0].item("s", "%d" % n, request_id="r%d" % n)
        answers = together(
            *[lambda c=c: c.call("AppendMemories", item) for c in clients]
        )
        assert sorted(a.deduplicated for a in answers) == [False] + [True] * 7
        assert len({a.memories[0].id for a in answers}) == 1
        assert {a.memories[0].sequence for a in answers} == {n + 1}
    assert len(clients[0].list("s")) == 20


def test_one_request_id_with_two_bodies(server, namespace):
    clients = [server.client(namespace), server.client(namespace)]
    for n in range(30):
        results = together(
            *[
                lambda c=c, k=k: outcome(
                    lambda: c.append("s", "%d" % k, request_id="r%d" % n)
                )
                for k, c in enumerate(clients)
            ]
        )
        losers = [r for r in results if isinstance(r, tuple)]
        assert losers == [("INVALID_ARGUMENT", "REQUEST_ID_REUSED")], results
    assert clients[0].session("s").last_sequence == 30


def test_one_session_is_created_once(server, namespace):
    clients = [server.client(namespace) for _ in range(8)]
    for n in range(10):
        results = together(
            *[
                lambda c=c: outcome(
                    lambda: c.CreateSession(session="s%d" % n)
                )
                for c in clients
            ]
        )
        losers = [r for r in results if isinstance(r, tuple)]
        assert losers == [("ALREADY_EXISTS", "SESSION_EXISTS")] * 7


def test_each_memory_is_popped_once(server, namespace):
    clients = [server.client(namespace) for _ in range(6)]
    clients[0].append("s", *["%d" % n for n in range(300)])

    def pop(client):
        def run():
            got = []
            while True:
                answer = client.PopMemories(session="s", count=7)
                if not answer.memories:
                    return got
                got += [m.content for m in answer.memories]

        return run

    popped = sum(together(*[pop(c) for c in clients]), [])
    assert sorted(popped, key=int) == ["%d" % n for n in range(300)]


def test_a_late_retry_does_not_bring_a_session_back(server, namespace):
    """Appenders repeat while others delete: at the end, after a last delete
    and a repeat of everything, nothing is there."""
    clients = [server.client(namespace) for _ in range(6)]
    items = [
        clients[0].item("s", "%d" % n, request_id="r%d" % n) for n in range(100)
    ]
    firsts = {}

    def append(client, mine):
        def run():
            for n in mine:
                answer = client.call("AppendMemories", items[n])
                firsts[n] = answer

        return run

    def delete(client):
        def run():
            for _ in range(30):
                client.DeleteSession(session="s")

        return run

    together(
        *[append(c, range(k, 100, 4)) for k, c in enumerate(clients[:4])],
        delete(clients[4]),
        delete(clients[5]),
    )
    clients[0].DeleteSession(session="s")
    for n, item in enumerate(items):
        again = clients[n % 6].call("AppendMemories", item)
        assert again.deduplicated
        assert again.memories == firsts[n].memories
        assert again.session == firsts[n].session
    assert not clients[0].ListSessions().sessions
    assert clients[0].texts("s") == []


def test_eviction_is_exact_under_load(server, namespace):
    clients = [server.client(namespace) for _ in range(8)]
    clients[0].CreateSession(
        session="s", policy=pb.SessionPolicy(max_memories=5)
    )

    def append(client, number):
        def run():
            evicted = 0
            for n in range(30):
                answer = client.append("s", "%d/%d" % (number, n))
                assert answer.session.memory_count <= 5
                evicted += answer.evicted_count
            return evicted

        return run

    evicted = together(*[append(c, n) for n, c in enumerate(clients)])
    assert sum(evicted) == 8 * 30 - 5
    found = clients[0].list("s")
    assert [m.sequence for m in found] == list(range(236, 241))


def test_appends_go_on_beside_a_long_scan(server, namespace):
    """A scan that examines everything and finds little; how much it slows
    appends is the benchmark's business."""
    client = server.client(namespace)
    thousands = 10 if SANITIZED else 60
    batch = [pb.Memory(content="x", role="many")] * 1000
    list(client.ingest([client.item("big", *batch)] * thousands))
    client.append("big", pb.Memory(content="last", role="few"))

    other = server.client(namespace)
    done = threading.Event()

    def scan():
        try:
            return [
                [
                    m.content
                    for m in client.all("big", roles=["few"], page_size=1000)
                ]
                for _ in range(3)
            ]
        finally:
            done.set()

    def append():
        count = 0
        while not done.is_set() or count < 20:
            other.append("small", "x")
            count += 1
        return count

    scanned, appended = together(scan, append)
    assert scanned == [["last"]] * 3
    assert other.session("small").last_sequence == appended
    client.DeleteSession(session="big")


def test_pages_during_writes_hold_what_lives_throughout(server, namespace):
    """A reader by pages, while another appends and deletes: of the memories
    that are there all the time, each once."""
    client, other = server.client(namespace), server.client(namespace)
    stay = ["stay %d" % n for n in range(200)]
    for n, text in enumerate(stay):
        client.append("s", text, pb.Memory(id="go %d" % n, content="go"))
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            other.DeleteMemories(session="s", ids=["go %d" % (n % 200)])
            other.append("s", pb.Memory(id="new %d" % n, content="new"))
            n += 1

    def read():
        try:
            for anchor in (pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST) * 3:
                found = client.all("s", anchor=anchor, page_size=17)
                texts = [m.content for m in found]
                assert [t for t in texts if t.startswith("stay")] == stay
                sequences = [m.sequence for m in found]
                assert sequences == sorted(set(sequences))
        finally:
            stop.set()

    together(write, read)
