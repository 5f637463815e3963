"""DeleteSessions: by prefix, by filter, in pieces, over several backends."""

import threading

import pytest

import pb
from harness import refused
from test_spread import Spread, spread  # noqa: F401

pytestmark = pytest.mark.asan


def sessions(client, prefix=""):
    found, token = [], ""
    while True:
        answer = client.ListSessions(
            prefix=prefix, page_size=1000, page_token=token
        )
        found += [each.id for each in answer.sessions]
        token = answer.next_page_token
        if not token:
            return found


def delete_all(client, **fields):
    """Until there is no token; (how many, every answer)."""
    answers, token = [], ""
    while True:
        answers.append(client.DeleteSessions(resume_token=token, **fields))
        token = answers[-1].resume_token
        if not token:
            return sum(a.deleted_count for a in answers), answers


def make(client, names, **fields):
    """Empty sessions would do, but a memory shows what went with them."""
    requests = (
        pb.AppendMemoriesRequest(
            namespace=client.namespace,
            session=name,
            memories=[pb.Memory(content="x")],
        )
        for name in names
    )
    assert all(
        answer.WhichOneof("result") == "append"
        for answer in client.ingest(requests)
    )


def test_by_prefix(client):
    for name in ("a", "a/1", "a/2", "a0", "b"):
        client.append(name, "x", "y")
    client.CreateSession(session="a/empty")
    answer = client.DeleteSessions(prefix="a/")
    assert answer == pb.DeleteSessionsResponse(deleted_count=3)
    assert sessions(client) == ["a", "a0", "b"]
    assert client.DeleteSessions(prefix="a/").deleted_count == 0
    assert client.DeleteSessions(prefix="none").deleted_count == 0
    # A session of the same name is another one.
    assert client.append("a/1", "z").session.last_sequence == 1
    assert client.DeleteSessions(prefix="a").deleted_count == 3
    assert sessions(client) == ["b"]


def test_other_namespaces_stay(server, client, namespace):
    other = server.client(namespace + "-other")
    client.append("s", "x")
    other.append("s", "x")
    assert client.DeleteSessions(prefix="s").deleted_count == 1
    assert sessions(other) == ["s"]


def test_dry_run_counts_and_lists_the_first_hundred(client):
    names = ["d%03d" % n for n in range(103)]
    make(client, names)
    client.append("other", "x")
    answer = client.DeleteSessions(prefix="d", dry_run=True)
    assert answer.deleted_count == 103
    assert list(answer.sessions) == names[:100]
    assert not answer.resume_token
    assert len(sessions(client)) == 104
    gone = client.DeleteSessions(prefix="d")
    assert gone.deleted_count == 103
    assert not gone.sessions
    assert sessions(client) == ["other"]


def test_prefix_or_filter_is_required(client):
    client.append("s", "x")
    for filter in ("", "  "):
        with refused("INVALID_ARGUMENT", "REQUIRED", "prefix"):
            client.DeleteSessions(filter=filter)
    assert sessions(client) == ["s"]
    assert client.DeleteSessions(filter="id:*").deleted_count == 1
    assert sessions(client) == []


def test_by_filter(client):
    for n in range(10):
        client.CreateSession(
            session="f%d" % n,
            labels={"env": "prod" if n % 2 else "test", "n": str(n)},
        )
    client.append("plain", "x")
    dry = client.DeleteSessions(filter='labels.env = "test"', dry_run=True)
    assert list(dry.sessions) == ["f0", "f2", "f4", "f6", "f8"]
    assert (
        client.DeleteSessions(
            prefix="f", filter='labels.env = "test" AND NOT labels.n = "4"'
        ).deleted_count
        == 4
    )
    left = ["f1", "f3", "f4", "f5", "f7", "f9", "plain"]
    assert sessions(client) == left
    with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
        client.DeleteSessions(filter="labels.env = test")
    with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
        client.DeleteSessions(prefix="f", filter='role = "user"')
    assert sessions(client) == left
    assert client.DeleteSessions(filter="NOT labels.env:*").deleted_count == 1
    assert client.DeleteSessions(filter="labels.env:*").deleted_count == 6


def test_sessions_with_settings_go(client):
    """The commit has to name the settings, and a policy may be in force."""
    client.CreateSession(
        session="s1",
        policy=pb.SessionPolicy(max_memories=1, keep_system=True),
        labels={"a": "b"},
    )
    client.append("s1", pb.Memory(content="x", pinned=True))
    client.append("s2", "x")
    client.UpdateSession(session="s2", labels={"a": "b"})
    assert client.DeleteSessions(prefix="s").deleted_count == 2
    assert sessions(client) == []


def test_request_ids_survive(client):
    """A late retry brings nothing back."""
    first = client.append("s", "x", request_id="r")
    client.DeleteSessions(prefix="s")
    again = client.append("s", "x", request_id="r")
    assert again.deduplicated
    assert again.session.uid == first.session.uid
    assert sessions(client) == []


# ---- in pieces --------------------------------------------------------------


@pytest.mark.limit("DeleteSessions.deleted", 1000)
def test_a_call_deletes_a_thousand(client):
    make(client, ["p%04d" % n for n in range(1000)])
    count, answers = delete_all(client, prefix="p")
    assert [a.deleted_count for a in answers] == [1000]
    make(client, ["p%04d" % n for n in range(1001)])
    count, answers = delete_all(client, prefix="p")
    assert [a.deleted_count for a in answers] == [1000, 1]
    assert sessions(client, "p") == []


@pytest.mark.limit("DeleteSessions.examined", 10000)
def test_a_call_looks_at_ten_thousand(start_server):
    client = start_server().client("n")
    make(client, ["e%05d" % n for n in range(10001)])
    client.UpdateSession(session="e09999", labels={"here": "yes"})
    client.UpdateSession(session="e10000", labels={"here": "yes"})
    here = 'labels.here = "yes"'
    for dry_run in (True, False):
        count, answers = delete_all(client, filter=here, dry_run=dry_run)
        assert [a.deleted_count for a in answers] == [1, 1]
        if dry_run:
            assert [list(a.sessions) for a in answers] == [
                ["e09999"],
                ["e10000"],
            ]
    assert client.GetStats().session_count == 9999


@pytest.mark.limit("DeleteSessions.memories", 100000)
def test_a_call_ends_after_a_hundred_thousand_memories(client):
    """The session that brings it there still goes."""
    batch = [pb.Memory(content="x")] * 1000
    for name, batches in (("m1", 99), ("m2", 1), ("m3", 1)):
        for _ in range(batches):
            client.append(name, *batch)
    client.append("m4", "x")
    count, answers = delete_all(client, prefix="m")
    assert [a.deleted_count for a in answers] == [2, 2]
    for _ in range(99):
        client.append("m1", *batch)
    client.append("m2", *batch[:999])
    client.append("m3", "x")
    count, answers = delete_all(client, prefix="m")
    assert [a.deleted_count for a in answers] == [3]


def test_what_is_made_meanwhile_stays(client):
    make(client, ["w%04d" % n for n in range(1500)])
    first = client.DeleteSessions(prefix="w")
    assert first.deleted_count == 1000
    client.append("w1400-new", "x")
    client.append("w0001", "x")  # another incarnation, before the token
    client.DeleteSession(session="w1200")
    client.append("w1200", "x")  # and one behind it
    client.append("w1300", "another one")  # not new
    second = client.DeleteSessions(
        prefix="w", resume_token=first.resume_token
    )
    assert second.deleted_count == 499
    assert sessions(client, "w") == ["w0001", "w1200", "w1400-new"]


def test_tokens_are_bound_to_their_request(client):
    make(client, ["t%04d" % n for n in range(1001)])
    token = client.DeleteSessions(prefix="t").resume_token
    assert token
    for fields in (
        dict(prefix="t0"),
        dict(prefix=""),
        dict(filter="id:*"),
        dict(dry_run=True),
        dict(allow_partial=True),
        dict(namespace="another"),
        dict(resume_token=token[:-1]),
        dict(resume_token="x"),
    ):
        asked = dict(dict(prefix="t", resume_token=token), **fields)
        with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "resume_token"):
            client.DeleteSessions(**asked)
    with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
        client.ListSessions(prefix="t", page_token=token)
    assert len(sessions(client, "t")) == 1
    # The same token does no harm twice.
    for expected in (1, 0):
        answer = client.DeleteSessions(prefix="t", resume_token=token)
        assert answer.deleted_count == expected


def test_appends_that_race(client):
    """Every session is deleted once, and what was acknowledged after that is
    there."""
    names = ["r%02d" % n for n in range(40)]
    make(client, names)
    after = {}
    stop = threading.Event()

    def append():
        while not stop.is_set():
            for name in names:
                answer = client.append(name, "y")
                after[name] = answer.session.uid, answer.session.last_sequence

    thread = threading.Thread(target=append)
    thread.start()
    try:
        uids = {name: client.session(name).uid for name in names}
        assert client.DeleteSessions(prefix="r").deleted_count == len(names)
    finally:
        stop.set()
        thread.join()
    for name, (uid, last) in after.items():
        if uid != uids[name]:
            found = client.session(name)
            assert (found.uid, found.last_sequence) == (uid, last)


# ---- several backends -------------------------------------------------------


def test_on_all_backends(spread):  # noqa: F811
    client = spread.client
    names = ["%s-%d" % (b, n) for b in ("three", "one", "two") for n in (1, 2)]
    make(client, names)
    dry = client.DeleteSessions(filter="id:*", dry_run=True)
    # In the order of the config.
    assert list(dry.sessions) == [
        "one-1", "one-2", "two-1", "two-2", "three-1", "three-2",
    ]  # fmt: skip
    assert client.DeleteSessions(prefix="t").deleted_count == 4
    assert sessions(client) == ["one-1", "one-2"]


def test_backends_that_are_down(spread):  # noqa: F811
    client = spread.client
    names = ["%s-%d" % (b, n) for b in ("one", "two", "three") for n in (1, 2)]
    make(client, names)
    spread.take_down("two", "three")
    for dry_run in (True, False):
        with refused("UNAVAILABLE", "BACKEND_DOWN") as error:
            client.DeleteSessions(filter="id:*", dry_run=dry_run)
        assert error.metadata["backends"] == "two,three"
    spread.take_down()
    assert len(sessions(client)) == 6  # nothing was begun
    spread.take_down("two")
    answer = client.DeleteSessions(filter="id:*", allow_partial=True)
    assert answer.deleted_count == 4
    assert list(answer.unavailable_backends) == ["two"]
    spread.take_down()
    assert sessions(client) == ["two-1", "two-2"]


def test_resumed_answers_still_name_what_was_left_out(spread):  # noqa: F811
    client = spread.client
    make(client, ["one-1", "two-1"] + ["three-%04d" % n for n in range(1001)])
    spread.take_down("one", "two")
    first = client.DeleteSessions(filter="id:*", allow_partial=True)
    assert first.deleted_count == 1000
    assert list(first.unavailable_backends) == ["one", "two"]
    spread.take_down()
    second = client.DeleteSessions(
        filter="id:*", allow_partial=True, resume_token=first.resume_token
    )
    assert second.deleted_count == 1
    assert list(second.unavailable_backends) == ["one", "two"]
    assert sessions(client) == ["one-1", "two-1"]


def test_resuming_begins_where_it_was(spread):  # noqa: F811
    """The backends before the one at work are not looked at again."""
    client = spread.client
    make(client, ["one-1"] + ["two-%04d" % n for n in range(1001)])
    first = client.DeleteSessions(filter="id:*")
    assert first.deleted_count == 1000
    client.append("one-2", "x")
    second = client.DeleteSessions(
        filter="id:*", resume_token=first.resume_token
    )
    assert second.deleted_count == 2
    assert sessions(client) == ["one-2"]


def test_a_backend_that_goes_down_on_the_way(spread):  # noqa: F811
    """What has been deleted is told, and a token says where to go on."""
    client = spread.client
    names = ["one-%d" % n for n in range(8)] + ["two-1"]
    make(client, names)
    spread.take_down("one", after=3)
    first = client.DeleteSessions(filter="id:*")
    assert first.deleted_count == 3 and first.resume_token
    assert not first.unavailable_backends
    with refused("UNAVAILABLE", "BACKEND_DOWN"):
        client.DeleteSessions(filter="id:*", resume_token=first.resume_token)
    spread.take_down()
    second = client.DeleteSessions(
        filter="id:*", resume_token=first.resume_token
    )
    assert second.deleted_count == 6
    assert sessions(client) == []


def test_a_backend_that_goes_down_on_the_way_is_left_out(spread):  # noqa: F811
    client = spread.client
    make(client, ["one-%d" % n for n in range(8)] + ["two-1", "three-1"])
    spread.take_down("one", after=3)
    answer = client.DeleteSessions(filter="id:*", allow_partial=True)
    assert answer.deleted_count == 5
    assert list(answer.unavailable_backends) == ["one"]
    assert not answer.resume_token
    spread.take_down()
    assert sessions(client) == ["one-%d" % n for n in range(3, 8)]
