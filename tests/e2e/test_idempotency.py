"""request_id: a repeat returns the first answer and changes nothing."""

import time

import pytest

import pb
from harness import duration, refused, struct, wait_for

pytestmark = pytest.mark.asan


def once_and_again(client, method, **fields):
    """Calls twice; the second answer is the first one, marked."""
    first = getattr(client, method)(request_id="r", **fields)
    assert not first.deduplicated
    before = client.ListSessions().sessions
    second = getattr(client, method)(request_id="r", **fields)
    assert second.deduplicated
    second.deduplicated = False
    assert second == first
    assert client.ListSessions().sessions == before
    return first


def fill(client):
    client.append(
        "s",
        pb.Memory(id="i", key="k", content="a"),
        pb.Memory(id="j", content="b"),
        pb.Memory(id="l", content="c"),
    )


def test_create_session(client):
    once_and_again(client, "CreateSession", session="s", labels={"a": "b"})


def test_append(client):
    answer = once_and_again(
        client,
        "AppendMemories",
        session="s",
        memories=[pb.Memory(content="x"), pb.Memory(key="k", content="y")],
    )
    assert [m.sequence for m in answer.memories] == [1, 2]
    assert client.texts("s") == ["x", "y"]


def test_append_with_all_that_rides_along(client):
    fill(client)
    client.UpdateSession(
        session="s", policy=pb.SessionPolicy(max_memories=3)
    )
    answer = once_and_again(
        client,
        "AppendMemories",
        session="s",
        memories=[pb.Memory(content="x"), pb.Memory(content="y")],
        delete_keys=["k"],
        session_metadata_patch=struct(a=1),
        expected_revision=2,
    )
    assert (answer.deleted_count, answer.evicted_count) == (1, 1)
    assert client.texts("s") == ["c", "x", "y"]


def test_update_session(client):
    client.CreateSession(session="s")
    once_and_again(
        client,
        "UpdateSession",
        session="s",
        labels={"a": "b"},
        expected_settings_revision=1,
    )


def test_update_memory(client):
    fill(client)
    once_and_again(
        client,
        "UpdateMemory",
        session="s",
        id="i",
        memory={"role": "x"},
        metadata_patch=struct(a=1),
        expected_revision=1,
    )


def test_update_memory_after_it_has_gone(client):
    """The first answer comes, though the memory that it is about does not
    exist any more."""
    fill(client)
    request = client.request(
        "UpdateMemory",
        session="s",
        key="k",
        memory={"role": "x"},
        request_id="r",
    )
    first = client.call("UpdateMemory", request)
    client.DeleteMemories(session="s", ids=["i"])
    second = client.call("UpdateMemory", request)
    assert second.deduplicated
    assert second.memory == first.memory
    assert second.session == first.session


def test_delete_memories(client):
    fill(client)
    answer = once_and_again(
        client, "DeleteMemories", session="s", ids=["i", "none"], keys=["k"]
    )
    assert answer.deleted_count == 1


def test_replace(client):
    fill(client)
    answer = once_and_again(
        client,
        "ReplaceMemories",
        session="s",
        from_sequence=2,
        memories=[pb.Memory(content="x")],
    )
    assert answer.deleted_count == 2
    assert client.texts("s") == ["a", "x"]


def test_pop_returns_the_memories_again(client):
    fill(client)
    before = client.list("s")
    answer = once_and_again(client, "PopMemories", session="s", count=2)
    assert list(answer.memories) == before[1:]
    assert client.texts("s") == ["a"]


def test_clear(client):
    fill(client)
    assert once_and_again(client, "ClearSession", session="s").deleted_count == 3


def test_delete_session(client):
    fill(client)
    answer = once_and_again(client, "DeleteSession", session="s")
    assert answer.existed and answer.deleted_count == 3


def test_another_body_is_refused(client):
    client.append("s", "x", request_id="r")
    for change in (
        dict(memories=[pb.Memory(content="y")]),
        dict(memories=[pb.Memory(content="x", role="user")]),
        dict(memories=[pb.Memory(content="x"), pb.Memory(content="x")]),
        dict(memories=[pb.Memory(content="x", importance=0)]),
        dict(
            memories=[pb.Memory(content="x")],
            on_conflict=pb.ON_CONFLICT_REPLACE,
        ),
        dict(memories=[pb.Memory(content="x")], expected_revision=0),
        dict(memories=[pb.Memory(content="x")], delete_keys=["k"]),
        dict(memories=[pb.Memory(content="x")], session_must_exist=True),
    ):
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED", "request_id"):
            client.AppendMemories(session="s", request_id="r", **change)
    assert client.texts("s") == ["x"]
    assert client.session("s").revision == 1


def test_another_method_is_another_body(client):
    fill(client)
    client.append("s", "x", request_id="r")
    calls = dict(
        ClearSession={},
        PopMemories={},
        DeleteSession={},
        ReplaceMemories=dict(memories=[pb.Memory(content="x")]),
        DeleteMemories=dict(ids=["i"]),
        UpdateMemory=dict(id="i", memory={"role": "x"}),
        UpdateSession=dict(labels={"a": "b"}),
    )
    for method, fields in calls.items():
        with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED", "request_id"):
            getattr(client, method)(session="s", request_id="r", **fields)
    assert client.texts("s") == ["a", "b", "c", "x"]


def test_the_same_said_otherwise_is_the_same(client):
    """Order of keys on the wire, and a default that is named, change nothing."""
    import wire

    def entry(key, text):
        return wire.data(
            1, wire.data(1, key) + wire.data(2, wire.data(3, text))
        )

    def request(session, *entries):
        memory = wire.data(9, "x") + wire.data(11, b"".join(entries))
        return (
            wire.data(1, client.namespace)
            + (wire.data(2, session) if session else b"")
            + wire.data(3, memory)
            + wire.data(4, "r")
        )

    client.raw(
        "AppendMemories", request("", entry("a", "1"), entry("b", "2"))
    )
    again = client.raw(
        "AppendMemories",
        request("default", entry("b", "2"), entry("a", "1")),
    )
    assert pb.AppendMemoriesResponse.FromString(again).deduplicated
    assert client.texts("") == ["x"]


def test_scope_is_the_session(server, channel, client):
    client.append("s", "x", request_id="r")
    client.append("t", "y", request_id="r")
    other = server.client(client.namespace + "-other", channel)
    other.append("s", "z", request_id="r")
    assert client.texts("s") == ["x"]
    assert client.texts("t") == ["y"]
    assert other.texts("s") == ["z"]


def test_only_successes_are_remembered(client):
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.append("s", "x", request_id="r", session_must_exist=True)
    client.append("s", pb.Memory(id="i", content="y"))
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append("s", pb.Memory(id="i", content="z"), request_id="r")
    answer = client.append("s", "now it works", request_id="r")
    assert not answer.deduplicated
    assert client.texts("s") == ["y", "now it works"]


def test_survives_what_comes_after(client):
    first = client.append("s", "x", request_id="r")
    for n in range(50):
        client.append("s", "y", request_id="other %d" % n)
    client.ClearSession(session="s")
    again = client.append("s", "x", request_id="r")
    assert again.deduplicated
    assert again.memories == first.memories
    assert again.session == first.session
    assert client.texts("s") == []


def test_survives_the_session(client):
    """A late retry does not bring a deleted session back."""
    first = client.append("s", "x", request_id="r")
    client.DeleteSession(session="s")
    again = client.append("s", "x", request_id="r")
    assert again.deduplicated
    assert again.memories == first.memories
    assert again.session == first.session
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="s")
    assert not client.ListSessions().sessions
    # It goes on in the next incarnation.
    client.append("s", "z")
    assert client.append("s", "x", request_id="r").deduplicated
    assert client.texts("s") == ["z"]
    with refused("INVALID_ARGUMENT", "REQUEST_ID_REUSED"):
        client.append("s", "other", request_id="r")


def test_repeat_of_a_delete_spares_the_successor(client):
    client.append("s", "x")
    client.DeleteSession(session="s", request_id="r")
    client.append("s", "successor")
    again = client.DeleteSession(session="s", request_id="r")
    assert again.deduplicated and again.existed
    assert client.texts("s") == ["successor"]


def test_repeat_comes_before_every_guard(client):
    client.append("s", "x", request_id="r", expected_revision=0)
    client.append("s", "y")
    assert client.append(
        "s", "x", request_id="r", expected_revision=0
    ).deduplicated
    client.UpdateSession(
        session="s",
        policy=pb.SessionPolicy(
            max_memories=1, eviction=pb.EVICTION_REJECT
        ),
    )
    assert client.append(
        "s", "x", request_id="r", expected_revision=0
    ).deduplicated


def test_a_given_expire_time_may_have_passed_at_the_repeat(client):
    from harness import timestamp

    made = pb.Memory(content="x", expire_time=timestamp(time.time() + 0.4))
    first = client.append("s", made, request_id="r")
    wait_for("expiry", lambda: not client.texts("s"))
    again = client.append("s", made, request_id="r")
    assert again.deduplicated
    assert again.memories == first.memories


def test_the_window_ends(client):
    client.CreateSession(
        session="s", policy=pb.SessionPolicy(idempotency_window=duration(1))
    )
    begin = time.monotonic()
    client.append("s", "x", request_id="r")

    def forgotten():
        return not client.append("s", "x", request_id="r").deduplicated

    wait_for("the end of the window", forgotten)
    assert time.monotonic() - begin > 0.99
    assert client.texts("s") == ["x", "x"]
    # From here on it is remembered anew.
    assert client.append("s", "x", request_id="r").deduplicated


def test_ingest_and_append_share_their_ids(client):
    item = client.item("s", "x", request_id="r")
    first = client.call("AppendMemories", item)
    (again,) = client.ingest([item])
    assert again.append.deduplicated
    assert again.append.memories == first.memories
    item = client.item("s", "y", request_id="r2")
    (first,) = client.ingest([item])
    assert not first.append.deduplicated
    assert client.call("AppendMemories", item).deduplicated
    assert client.texts("s") == ["x", "y"]


def test_a_callers_own_ids_repeat_for_ever(client):
    """Without a request_id: SKIP makes the same append harmless."""
    batch = [pb.Memory(id="i%d" % n, content="x%d" % n) for n in range(5)]
    for _ in range(3):
        answer = client.append(
            "s", *batch, on_conflict=pb.ON_CONFLICT_SKIP
        )
        assert [m.sequence for m in answer.memories] == [1, 2, 3, 4, 5]
    assert client.session("s").revision == 1
