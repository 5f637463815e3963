"""GetStats and ListBackends."""

import pytest

import pb
from harness import refused

pytestmark = pytest.mark.asan


def test_stats_of_an_empty_namespace(client):
    assert client.GetStats() == pb.GetStatsResponse()
    assert client.GetStats(session="nobody") == pb.GetStatsResponse()


def test_stats_count(client):
    client.append("a", "one two", "three")
    client.append("b", pb.Memory(content="x", token_count=100))
    client.CreateSession(session="empty")
    whole = client.GetStats()
    assert whole.session_count == 3
    assert whole.memory_count == 3
    assert whole.token_count == 3 + 2 + 100
    assert whole.byte_count > len("one twothreex")
    assert not whole.unavailable_backends
    one = client.GetStats(session="a")
    assert (one.session_count, one.memory_count, one.token_count) == (1, 2, 5)
    two = client.GetStats(session="b")
    assert one.byte_count + two.byte_count == whole.byte_count


def test_stats_byte_count_follows_what_is_stored(client):
    client.append("s", "x")
    base = client.GetStats().byte_count
    client.append("s", "x" * 100000)
    grown = client.GetStats().byte_count
    assert 100000 <= grown - base <= 100000 + 400
    client.PopMemories(session="s")
    assert client.GetStats().byte_count == base
    client.DeleteSession(session="s")
    assert client.GetStats() == pb.GetStatsResponse()


def test_stats_of_the_default_session_is_not_the_namespace(client):
    client.append("", "x")
    client.append("other", "y")
    assert client.GetStats(session="default").memory_count == 1
    assert client.GetStats(session="").memory_count == 2


def test_backends_without_a_config(client):
    (only,) = client.ListBackends().backends
    assert only.type == "sqlite"
    assert only.name and only.description
    assert only.durability == pb.DURABILITY_FULL
    assert only.health == pb.BACKEND_HEALTH_SERVING
    assert not only.health_message
    assert "NB_COMMIT" in only.capabilities
    assert "DURABLE" in only.capabilities
    assert client.append("s", "x").session.session == "s"
    assert client.session("s").backend == only.name


def test_backends_in_the_order_of_the_config(start_server):
    server = start_server(
        """
backends:
  zebra: { type: dict }
  alpha: { type: dict }
  middle: { type: dict }
sessions:
  - { match: "*/z-*", backend: zebra }
  - { match: "a/*", backend: alpha }
  - { match: "*/*", backend: middle }
"""
    )
    client = server.client("n")
    listed = client.ListBackends().backends
    assert [each.name for each in listed] == ["zebra", "alpha", "middle"]
    client.append("z-1", "x")
    client.append("y", "x")
    server.client("a").append("y", "x")
    server.client("a").append("z-2", "x")
    homes = {
        (s.namespace, s.id): s.backend
        for ns in ("n", "a")
        for s in server.client(ns).ListSessions().sessions
    }
    assert homes == {
        ("n", "z-1"): "zebra",
        ("n", "y"): "middle",
        ("a", "y"): "alpha",
        ("a", "z-2"): "zebra",
    }
    # What spans backends is one answer.
    assert [s.id for s in client.ListSessions().sessions] == ["y", "z-1"]
    stats = client.GetStats()
    assert (stats.session_count, stats.memory_count) == (2, 2)


def test_lists_merge_backends_by_pages(start_server):
    server = start_server(
        """
backends:
  one: { type: dict }
  two: { type: dict }
sessions:
  - { match: "*/a-*", backend: one }
  - { match: "*/c-*", backend: one }
  - { match: "*/*", backend: two }
"""
    )
    client = server.client("n")
    names = ["%s-%d" % (letter, n) for n in range(5) for letter in "dcba"]
    for name in names:
        client.append(name, "x")
    assert len({s.backend for s in client.ListSessions().sessions}) == 2

    def listed(**fields):
        found, token = [], ""
        while True:
            answer = client.ListSessions(page_token=token, **fields)
            found += [s.id for s in answer.sessions]
            token = answer.next_page_token
            if not token:
                return found

    for size in (1, 3, 7, 20, 50):
        assert listed(page_size=size) == sorted(names)
        by_time = listed(
            page_size=size, order_by=pb.SESSION_ORDER_UPDATE_TIME
        )
        assert by_time == names[::-1]
    assert listed(prefix="c-", page_size=2) == ["c-%d" % n for n in range(5)]


def test_stats_refuse_a_slash_in_the_namespace(client):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "namespace"):
        client.GetStats(namespace="a/b")
