"""Done-when 3: the five conversations go in with their own ids, the server is
killed in the middle, the import is repeated with on_conflict SKIP, and everything
comes back byte for byte, once, in order."""

import random
import threading

import grpc
import pytest

import pb
import test_conversations as told
from conftest import SOAK
from store import Store

pytestmark = pytest.mark.skipif(
    not told.FILE.exists(), reason="no evaluation data here"
)


class Import:
    """One stream per conversation, all at once; how many items of each were
    acknowledged. After `most` acknowledgements in all, killed() is called."""

    def __init__(self, server, stores, most=None, killed=None):
        self.done = dict.fromkeys(stores, 0)
        self.count = 0
        self.lock = threading.Lock()
        self.most, self.killed = most, killed
        self.errors = []
        threads = [
            threading.Thread(target=self.run, args=(server, name, turns))
            for name, turns in stores.items()
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    def run(self, server, name, turns):
        client = server.client(name)
        items = told.items(client, turns, on_conflict=pb.ON_CONFLICT_SKIP)
        try:
            for answer in client.ingest(items):
                assert answer.WhichOneof("result") == "append", answer
                with self.lock:
                    self.done[name] += 1
                    self.count += 1
                    due = self.count == self.most
                if due:
                    self.killed()
        except grpc.RpcError as error:
            self.errors.append(error.code())


def check_prefix(client, turns, done):
    """What was acknowledged is there, and of the rest nothing out of turn."""
    found = {
        m.id: m
        for s in client.ListSessions(page_size=1000).sessions
        for m in client.all(s.id, page_size=1000)
    }
    for turn in turns[:done]:
        told.same(found.pop(turn["id"]), told.memory(turn))
    later = {turn["id"]: at for at, turn in enumerate(turns)}
    for each, memory in found.items():
        told.same(memory, told.memory(turns[later[each]]))
    by_session = {}
    for turn in turns:
        by_session.setdefault(told.session_of(turn), []).append(turn["id"])
    for session, ids in by_session.items():
        stored = [m.id for m in client.all(session, page_size=1000)]
        assert stored == ids[: len(stored)], session


@pytest.mark.parametrize("seed", range(1, 31 if SOAK else 3))
def test_done_when_3_killed_in_the_middle_of_the_import(sqlite, tmp_path, seed):
    chance = random.Random(seed)
    stores = told.conversations()
    total = sum(map(len, stores.values()))
    most = chance.randrange(total // 10, total * 9 // 10)
    made = Store(sqlite(tmp_path, chance), faults=False)
    try:
        made.start()
        first = Import(made.server, stores, most, made.kill)
        assert 0 < most <= first.count < total
        assert set(first.errors) == {grpc.StatusCode.UNAVAILABLE}
        made.start()
        for name, turns in stores.items():
            check_prefix(made.client(name), turns, first.done[name])
        again = Import(made.server, stores)
        assert (again.count, again.errors) == (total, [])
        for name, turns in stores.items():
            told.check(made.client(name), turns)
        assert total == told.total(made.client, stores) == 2760
        made.crash()
        for name, turns in stores.items():
            told.check(made.client(name), turns)
        made.stop()
        made.engine.check_offline()
    finally:
        made.close()
    print("seed %d: %d of %d acknowledged before the kill" % (seed, first.count, total))
