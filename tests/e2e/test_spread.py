"""What spans backends: answers of several, and what happens when some are down.

mneme_down.so (tests/conform/down_plugin.c) is dict that is down while a file
exists."""

import json

import pytest

import pb
from harness import BUILD, PATIENCE, refused, wait_for

pytestmark = pytest.mark.asan

NAMES = ("one", "two", "three")


class Spread:
    """A server on three backends; sessions of backend X are named X-..."""

    def __init__(self, start_server, folder):
        self.files = {name: folder / ("down-" + name) for name in NAMES}
        backends = "".join(
            "  %s: { plugin: %s, while: %s }\n"
            % (
                name,
                json.dumps(str(BUILD / "mneme_down.so")),
                json.dumps(str(self.files[name])),
            )
            for name in NAMES
        )
        rules = "".join(
            '  - { match: "*/%s-*", backend: %s }\n' % (name, name)
            for name in NAMES
        )
        self.server = start_server(
            "backends:\n%ssessions:\n%s" % (backends, rules)
        )
        self.client = self.server.client("n")

    def take_down(self, *names, after=""):
        """These are down and the others up; with `after` only for commits, and
        after so many more."""
        if after != "":
            self.take_down()
            self.client.GetStats()  # seen without a file, they count anew
        for name in NAMES:
            if name in names:
                self.files[name].write_text(str(after))
            else:
                self.files[name].unlink(missing_ok=True)


@pytest.fixture
def spread(start_server, tmp_path):
    made = Spread(start_server, tmp_path)
    yield made
    made.take_down()


READS = {
    "ListSessions": dict(),
    "GetStats": dict(),
    "GetStats of a prefix": dict(session_prefix="t"),
}


@pytest.mark.parametrize("name", READS)
def test_all_that_are_down_are_named(spread, name):
    method, fields = name.split()[0], READS[name]
    client = spread.client
    for each in NAMES:
        client.append(each + "-1", "x")
    call = getattr(client, method)
    whole = call(**fields)
    for down in (("one",), ("two", "three"), ("one", "three"), NAMES):
        spread.take_down(*down)
        with refused("UNAVAILABLE", "BACKEND_DOWN") as error:
            call(**fields)
        assert error.metadata["backends"] == ",".join(down)
        assert error.retry
        for each in down:
            assert each in error.message
        answer = call(allow_partial=True, **fields)
        assert list(answer.unavailable_backends) == list(down)
        if method == "ListSessions":
            assert [s.id for s in answer.sessions] == sorted(
                each + "-1" for each in NAMES if each not in down
            )
        else:
            there = [
                each
                for each in NAMES
                if each not in down and each.startswith(fields.get("session_prefix", ""))
            ]
            assert answer.session_count == answer.memory_count == len(there)
    spread.take_down()
    assert call(**fields) == whole


def test_one_session_needs_its_own_backend_only(spread):
    client = spread.client
    client.append("one-1", "x")
    client.append("two-1", "x")
    spread.take_down("two", "three")
    assert client.GetStats(session="one-1").memory_count == 1
    with refused("UNAVAILABLE", "BACKEND_DOWN"):
        client.GetStats(session="two-1")
    answer = client.GetStats(session="two-1", allow_partial=True)
    assert list(answer.unavailable_backends) == ["two"]
    assert answer.memory_count == 0


def test_stats_of_a_prefix(client):
    client.append("a/1", "one two", "three")
    client.append("a/2", pb.Memory(content="x", token_count=100))
    client.append("b", "y")
    client.append("a", "z")
    client.CreateSession(session="a/empty")
    got = client.GetStats(session_prefix="a/")
    assert (got.session_count, got.memory_count) == (3, 3)
    assert got.token_count == 3 + 2 + 100
    assert got.byte_count == sum(
        client.GetStats(session=s).byte_count for s in ("a/1", "a/2")
    )
    assert client.GetStats(session_prefix="a").session_count == 4
    assert client.GetStats(session_prefix="a/1").memory_count == 2
    assert client.GetStats(session_prefix="c") == pb.GetStatsResponse()
    assert client.GetStats(session_prefix="a/").memory_count == 3
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", "session_prefix"):
        client.GetStats(session="a", session_prefix="a")


def test_stats_of_a_prefix_go_on_behind_a_page(client):
    """A backend is asked for a thousand sessions at a time."""
    for n in range(2001):
        client.append("p%04d" % n, "x")
    client.append("q", "x")
    got = client.GetStats(session_prefix="p")
    assert (got.session_count, got.memory_count) == (2001, 2001)


def test_a_backend_that_is_down_at_the_start_is_served_when_it_answers(
    start_server, tmp_path
):
    """Its page-token key is asked for then: a page goes on, and what was signed
    before, for other backends, is still read."""
    (tmp_path / "down-two").touch()
    spread = Spread(start_server, tmp_path)
    client = spread.client
    client.append("one-1", *"abc")
    with refused("UNAVAILABLE", "BACKEND_DOWN"):
        client.append("two-1", "x")
    before = client.ListMemories(session="one-1", page_size=2)
    spread.take_down()
    check = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    name = b"backend/two"
    request = b"\x0a" + bytes([len(name)]) + name
    wait_for(
        "two serves",
        lambda: check(request, timeout=PATIENCE) == b"\x08\x01",
    )
    client.append("two-1", *"abc")
    after = client.ListMemories(session="two-1", page_size=2)
    for session, page in (("two-1", after), ("one-1", before)):
        rest = client.ListMemories(
            session=session, page_size=2, page_token=page.next_page_token
        )
        assert [each.content for each in rest.memories] == ["a"]
