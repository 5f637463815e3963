"""CleanUpMemories: the conditions, what stays, pieces and tokens, backends."""

import json
import threading
import time

import grpc
import pytest

import pb
from harness import duration, refused, wait_for
from test_delete_sessions import make
from test_spread import Spread, spread  # noqa: F401

pytestmark = pytest.mark.asan

ALL = "sequence >= 1"


def fill(client, session, count, first=0, **fields):
    """count memories whose content is their number."""
    for start in range(first, first + count, 1000):
        end = min(first + count, start + 1000)
        client.append(
            session,
            *[pb.Memory(content=str(n), **fields) for n in range(start, end)],
        )


def clean(client, **fields):
    """Until there is no token; (how many, every answer)."""
    answers, token = [], ""
    while True:
        answers.append(client.CleanUpMemories(resume_token=token, **fields))
        token = answers[-1].resume_token
        if not token:
            return sum(a.deleted_count for a in answers), answers


def listed(answer):
    return list(zip(answer.sessions, answer.ids))


# ---- conditions -------------------------------------------------------------


def test_importance(client):
    client.append(
        "s",
        pb.Memory(content="low", importance=0.2),
        pb.Memory(content="edge", importance=0.3),
        pb.Memory(content="zero", importance=0),
        pb.Memory(content="unset"),
        pb.Memory(content="high", importance=0.9),
    )

    def would(**fields):
        return client.CleanUpMemories(
            session="s", dry_run=True, **fields
        ).deleted_count

    for name in ("min_importance", "max_importance"):
        assert would(**{name: 0.3}) == 2  # less than, not equal
        assert would(**{name: 0.31}) == 3
        assert would(**{name: 0.5}) == 3  # unset counts as 0.5
        assert would(**{name: 0.51}) == 4
        assert would(**{name: 0}) == 0
        assert would(**{name: 1}) == 5
    assert client.CleanUpMemories(session="s", min_importance=0.3) == (
        pb.CleanUpMemoriesResponse(deleted_count=2)
    )
    assert client.texts("s") == ["edge", "unset", "high"]


def later(client, than, by):
    """Waits for the server's clock to be `by` seconds past a time."""

    def passed():
        client.append("clock", "tick")
        now = client.list("clock", page_size=1)[0].create_time
        return now.ToMicroseconds() >= than.ToMicroseconds() + by * 1e6

    wait_for("time to pass", passed)


def test_age(client):
    client.append("s", "old")
    old = client.list("s")[0]
    later(client, old.create_time, 1)
    client.append("s", "new")
    began = time.monotonic()
    new = client.list("s")[1]
    between = duration(
        (
            new.create_time.ToMicroseconds()
            - old.create_time.ToMicroseconds()
        )
        / 1e6
    )
    answer = client.CleanUpMemories(session="s", min_age=between, dry_run=True)
    # The new one is not as old unless this test was halted for a second.
    expected = [old.id]
    if time.monotonic() - began > 0.9:
        expected = list(answer.ids)
    assert list(answer.ids) == expected and old.id in expected
    assert client.CleanUpMemories(session="s", max_age_days=1).deleted_count == 0
    assert (
        client.CleanUpMemories(session="s", min_age=duration(3600)).deleted_count
        == 0
    )
    tiny = duration(0.000001)
    assert client.CleanUpMemories(session="s", min_age=tiny).deleted_count == 2


def test_an_update_makes_nothing_younger(client):
    client.append("s", pb.Memory(id="a", content="x"))
    first = client.list("s")[0]
    later(client, first.create_time, 0.2)
    client.UpdateMemory(session="s", id="a", memory=pb.Memory(content="y"))
    age = duration(0.2)
    assert client.CleanUpMemories(session="s", min_age=age).deleted_count == 1


def test_idle(client):
    client.append("s", pb.Memory(id="never", content="x"))
    client.append("s", pb.Memory(id="long_ago", content="x"))
    client.append("s", pb.Memory(id="lately", content="x"))
    client.GetMemories(session="s", ids=["long_ago"], touch=pb.TOUCH_ACCESS)
    (touched,) = client.GetMemories(session="s", ids=["long_ago"]).memories
    later(client, touched.last_access_time, 1)
    client.GetMemories(session="s", ids=["lately"], touch=pb.TOUCH_ACCESS)
    began = time.monotonic()
    answer = client.CleanUpMemories(
        session="s", min_idle=duration(1), dry_run=True
    )
    if time.monotonic() - began < 0.9:
        assert list(answer.ids) == ["never", "long_ago"]
    # Reading it without a touch is no access.
    tiny = duration(0.000001)
    answer = client.CleanUpMemories(session="s", min_idle=tiny, dry_run=True)
    assert list(answer.ids) == ["never", "long_ago", "lately"]


def test_filter(client):
    client.append(
        "s",
        pb.Memory(content="a", role="tool"),
        pb.Memory(content="Straße", role="user"),
        pb.Memory(content="c", role="user", metadata={"done": True}),
    )
    with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
        client.CleanUpMemories(session="s", filter="role = tool")
    assert (
        client.CleanUpMemories(
            session="s", filter='role = "user" AND content ~ "strasse"'
        ).deleted_count
        == 0
    )
    assert (
        client.CleanUpMemories(
            session="s", filter='content ~ "STRAßE" OR metadata.done = true'
        ).deleted_count
        == 2
    )
    assert client.texts("s") == ["a"]


def test_every_condition_must_hold(client):
    client.append(
        "s",
        pb.Memory(content="1", importance=0.1, role="user"),
        pb.Memory(content="2", importance=0.1, role="tool"),
        pb.Memory(content="3", importance=0.9, role="tool"),
    )
    tiny = duration(0.000001)
    answer = client.CleanUpMemories(
        session="s",
        filter='role = "tool"',
        min_importance=0.5,
        min_age=tiny,
        min_idle=tiny,
    )
    assert answer.deleted_count == 1
    assert client.texts("s") == ["1", "3"]
    assert (
        client.CleanUpMemories(
            session="s", min_importance=0.5, max_age_days=30
        ).deleted_count
        == 0
    )


def test_one_condition_is_required(client):
    client.append("s", "x")
    for fields in (dict(), dict(filter=" "), dict(dry_run=True)):
        with refused("INVALID_ARGUMENT", "REQUIRED", "min_age"):
            client.CleanUpMemories(session="s", **fields)
    assert client.texts("s") == ["x"]


def test_conditions_that_exclude_each_other(client):
    day = duration(86400)
    for fields, field in (
        (dict(min_age=day, max_age_days=1), "max_age_days"),
        (dict(min_importance=0.5, max_importance=0.5), "min_importance"),
        (dict(session="s", session_prefix="s", max_age_days=1), "session_prefix"),
    ):
        with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", field):
            client.CleanUpMemories(**fields)


# ---- what stays -------------------------------------------------------------


def test_pinned_stay_unless_the_filter_names_them(client):
    client.append(
        "s", pb.Memory(content="pin", pinned=True), pb.Memory(content="loose")
    )
    assert client.CleanUpMemories(session="s", filter=ALL).deleted_count == 1
    assert client.texts("s") == ["pin"]
    for fields in (
        dict(filter=ALL),
        dict(min_importance=1),
        dict(min_age=duration(0.000001)),
    ):
        assert client.CleanUpMemories(session="s", **fields).deleted_count == 0
    assert (
        client.CleanUpMemories(session="s", filter="pinned = false").deleted_count
        == 0
    )
    assert (
        client.CleanUpMemories(
            session="s", filter='NOT (content = "x" OR NOT pinned = true)'
        ).deleted_count
        == 1
    )


def test_keep_system_is_kept(client):
    for name, policy in (
        ("keeps", pb.SessionPolicy(keep_system=True)),
        ("plain", pb.SessionPolicy()),
    ):
        client.CreateSession(session=name, policy=policy)
        client.append(
            name,
            pb.Memory(content="rule", role="system"),
            pb.Memory(content="word", role="user"),
        )
    dry = client.CleanUpMemories(filter=ALL, dry_run=True)
    assert list(dry.sessions) == ["keeps", "plain", "plain"]
    assert client.CleanUpMemories(filter=ALL).deleted_count == 3
    assert client.texts("keeps") == ["rule"]
    named = 'role = "system" AND (pinned = true OR pinned = false)'
    assert client.CleanUpMemories(filter=named).deleted_count == 1


def test_the_session_goes_on(client):
    uid = client.append("s", "a", "b").session.uid
    assert client.CleanUpMemories(session="s", filter=ALL).deleted_count == 2
    after = client.append("s", "c").session
    assert (after.uid, after.last_sequence, after.memory_count) == (uid, 3, 1)


def test_expired_ones_are_not_counted(client):
    client.append("s", pb.Memory(content="x", ttl=duration(0.001)))
    client.append("s", "y")
    wait_for("it to expire", lambda: client.texts("s") == ["y"])
    assert client.CleanUpMemories(session="s", filter=ALL).deleted_count == 1


# ---- scope ------------------------------------------------------------------


def test_scopes(server, client, namespace):
    other = server.client(namespace + "-other")
    names = ["a", "a/1", "a/2", "b"]
    for name in names:
        client.append(name, "x")
    other.append("a", "x")

    def would(**fields):
        return client.CleanUpMemories(filter=ALL, dry_run=True, **fields)

    assert [s for s, _ in listed(would())] == names
    assert [s for s, _ in listed(would(session="a"))] == ["a"]
    assert [s for s, _ in listed(would(session_prefix="a"))] == names[:3]
    assert [s for s, _ in listed(would(session_prefix="a/"))] == names[1:3]
    assert would(session="none").deleted_count == 0
    assert would(session="a/").deleted_count == 0
    assert client.CleanUpMemories(filter=ALL, session="a").deleted_count == 1
    assert (
        client.CleanUpMemories(filter=ALL, session_prefix="a").deleted_count == 2
    )
    assert client.CleanUpMemories(filter=ALL).deleted_count == 1
    assert other.texts("a") == ["x"]


def test_dry_run_lists_the_first_hundred(client):
    fill(client, "s1", 60, role="user")
    fill(client, "s2", 45, role="user")
    fill(client, "s3", 1200, role="user")
    client.append("s1", pb.Memory(content="stays", role="tool"))
    answer = client.CleanUpMemories(filter='role = "user"', dry_run=True)
    assert answer.deleted_count == 1305
    assert not answer.resume_token
    first = [("s1", m.id) for m in client.all("s1")][:60]
    first += [("s2", m.id) for m in client.all("s2")][:40]
    assert listed(answer) == first
    assert client.GetStats().memory_count == 1306
    real = client.CleanUpMemories(filter='role = "user"')
    assert real.deleted_count == 1305
    assert not real.ids and not real.sessions


# ---- in pieces --------------------------------------------------------------


def test_commits_of_a_thousand(client):
    fill(client, "s", 2500)
    before = client.session("s").revision
    assert client.CleanUpMemories(session="s", filter=ALL).deleted_count == 2500
    assert client.session("s").revision == before + 3


@pytest.mark.limit("CleanUpMemories.deleted", 10000)
def test_a_call_removes_ten_thousand(client):
    for count, pieces in ((10000, ([10000], [10000, 0])), (10001, ([10000, 1],))):
        fill(client, "s", count)
        client.append("s", pb.Memory(content="stays", pinned=True))
        removed, answers = clean(client, session="s", filter=ALL)
        assert [a.deleted_count for a in answers] in pieces
        assert client.session("s").memory_count == 1
        client.ClearSession(session="s")


@pytest.mark.limit("CleanUpMemories.examined", 100000)
def test_a_call_looks_at_a_hundred_thousand(client):
    fill(client, "s", 100000)
    client.append("s", pb.Memory(content="last", role="user"))
    mine = 'role = "user"'
    removed, answers = clean(client, session="s", filter=mine)
    assert [a.deleted_count for a in answers] == [0, 1]
    client.PopMemories(session="s")
    client.append("s", pb.Memory(content="last", role="user"))
    assert client.session("s").memory_count == 100000


@pytest.mark.limit("CleanUpMemories.sessions", 10000)
def test_a_call_looks_at_ten_thousand_sessions(start_server):
    client = start_server().client("n")
    make(client, ["e%05d" % n for n in range(10001)])
    for name in ("e09999", "e10000"):
        client.append(name, pb.Memory(content="y", role="user"))
    for dry_run in (True, False):
        count, answers = clean(client, filter='role = "user"', dry_run=dry_run)
        assert [a.deleted_count for a in answers] == [1, 1]


def test_what_is_appended_meanwhile_stays(client):
    fill(client, "s", 12000)
    fill(client, "t", 10)
    first = client.CleanUpMemories(filter=ALL)
    assert first.deleted_count == 10000 and first.resume_token
    client.append("s", "new")
    client.append("t", "new")
    client.append("t0", "new")
    second = client.CleanUpMemories(
        filter=ALL, resume_token=first.resume_token
    )
    assert second.deleted_count == 2010
    assert not second.resume_token
    assert client.texts("s") == client.texts("t") == ["new"]
    assert client.texts("t0") == ["new"]


def test_a_session_that_is_made_again_meanwhile_stays(client):
    fill(client, "s", 10001)
    first = client.CleanUpMemories(session="s", filter=ALL)
    client.DeleteSession(session="s")
    client.append("s", "new")
    second = client.CleanUpMemories(
        session="s", filter=ALL, resume_token=first.resume_token
    )
    assert second == pb.CleanUpMemoriesResponse()
    assert client.texts("s") == ["new"]


def test_age_counts_from_the_first_call(client):
    """A memory that becomes old enough between two calls stays."""
    fill(client, "s", 10000)
    client.append("s", "at the edge")
    edge = client.list("s", page_size=1)[0].create_time
    fill(client, "a", 1)
    filter = "age(create_time) >= 0s AND create_time <= 2999-01-01T00:00:00Z"
    first = client.CleanUpMemories(session="s", filter=filter)
    client.append("s", "younger than the start")
    later(client, edge, 0.1)
    second = client.CleanUpMemories(
        session="s", filter=filter, resume_token=first.resume_token
    )
    assert first.deleted_count + second.deleted_count == 10001
    assert client.texts("s") == ["younger than the start"]


def test_tokens_are_bound_to_their_request(client):
    fill(client, "s", 10001)
    given = dict(session="s", filter=ALL, min_importance=0.6)
    token = client.CleanUpMemories(**given).resume_token
    assert token
    given["resume_token"] = token
    for fields in (
        dict(session="t"),
        dict(session="", session_prefix="s"),
        dict(filter=ALL + " "),
        dict(min_importance=0.7),
        dict(min_importance=None),
        dict(max_age_days=3),
        dict(min_idle=duration(1)),
        dict(dry_run=True),
        dict(allow_partial=True),
        dict(resume_token=token + "A"),
    ):
        with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "resume_token"):
            client.CleanUpMemories(**{**given, **fields})
    # The other name of the same condition is the same request.
    given["max_importance"] = given.pop("min_importance")
    for expected in (1, 0):
        assert client.CleanUpMemories(**given).deleted_count == expected


def test_appends_and_updates_that_race(client):
    """What is acknowledged after the call began is there when it has ended."""
    fill(client, "s", 5000)
    kept, stop = [], threading.Event()

    def write():
        while not stop.is_set():
            answer = client.append("s", pb.Memory(content="new"))
            kept.append(answer.memories[0].id)

    first = client.append("s", "first new").memories[0].id
    start = client.list("s", page_size=1)[0].create_time
    thread = threading.Thread(target=write)
    thread.start()
    try:
        before = start.ToJsonString()
        removed, _ = clean(
            client, session="s", filter='create_time < "%s"' % before
        )
    finally:
        stop.set()
        thread.join()
    assert removed == 5000
    assert [m.id for m in client.all("s")] == [first] + kept


def test_a_caller_that_leaves_stops_it(client):
    fill(client, "s", 20000)
    request = client.request("CleanUpMemories", session="s", filter=ALL)
    with pytest.raises(grpc.RpcError) as error:
        client.stub.CleanUpMemories(request, timeout=0.000001)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    clean(client, session="s", filter=ALL)
    assert client.texts("s") == []


# ---- several backends -------------------------------------------------------


def test_on_all_backends(spread):  # noqa: F811
    client = spread.client
    names = ["%s-%d" % (b, n) for b in ("one", "two", "three") for n in (1, 2)]
    make(client, reversed(names))
    dry = client.CleanUpMemories(filter=ALL, dry_run=True)
    assert list(dry.sessions) == names  # in the order of the config
    assert (
        client.CleanUpMemories(filter=ALL, session_prefix="t").deleted_count == 4
    )
    assert client.CleanUpMemories(filter=ALL).deleted_count == 2


def test_backends_that_are_down(spread):  # noqa: F811
    client = spread.client
    names = ["%s-%d" % (b, n) for b in ("one", "two", "three") for n in (1, 2)]
    make(client, names)
    spread.take_down("one", "three")
    for dry_run in (True, False):
        with refused("UNAVAILABLE", "BACKEND_DOWN") as error:
            client.CleanUpMemories(filter=ALL, dry_run=dry_run)
        assert error.metadata["backends"] == "one,three"
    # One session needs its own only.
    assert client.CleanUpMemories(filter=ALL, session="two-1").deleted_count == 1
    with refused("UNAVAILABLE", "BACKEND_DOWN") as error:
        client.CleanUpMemories(filter=ALL, session="one-1")
    assert error.metadata["backends"] == "one"
    answer = client.CleanUpMemories(
        filter=ALL, session="one-1", allow_partial=True
    )
    assert list(answer.unavailable_backends) == ["one"]
    answer = client.CleanUpMemories(filter=ALL, allow_partial=True)
    assert answer.deleted_count == 1
    assert list(answer.unavailable_backends) == ["one", "three"]
    spread.take_down()
    assert client.GetStats().memory_count == 4


def test_resuming_over_backends(spread):  # noqa: F811
    client = spread.client
    fill(client, "one-1", 3)
    fill(client, "two-1", 10001)
    fill(client, "three-1", 3)
    spread.take_down("one")
    first = client.CleanUpMemories(filter=ALL, allow_partial=True)
    assert first.deleted_count == 10000
    assert list(first.unavailable_backends) == ["one"]
    spread.take_down()
    second = client.CleanUpMemories(
        filter=ALL, allow_partial=True, resume_token=first.resume_token
    )
    assert second.deleted_count == 4
    assert list(second.unavailable_backends) == ["one"]
    assert client.GetStats().memory_count == 3


def test_a_backend_that_goes_down_on_the_way(spread):  # noqa: F811
    """Nothing that was found and not removed is passed over."""
    client = spread.client
    fill(client, "one-1", 2500)
    fill(client, "one-2", 2500)
    fill(client, "two-1", 5)
    for after, removed in ((1, 1000), (3, 2500)):
        spread.take_down("one", after=after)
        first = client.CleanUpMemories(filter=ALL)
        assert first.deleted_count == removed and first.resume_token
        spread.take_down("one")
        with refused("UNAVAILABLE", "BACKEND_DOWN"):
            client.CleanUpMemories(
                filter=ALL, resume_token=first.resume_token
            )
        spread.take_down()
    second = client.CleanUpMemories(filter=ALL, resume_token=first.resume_token)
    assert second.deleted_count == 5 + 5000 - 1000 - 2500
    assert client.GetStats().memory_count == 0


def test_a_backend_that_goes_down_on_the_way_is_left_out(spread):  # noqa: F811
    client = spread.client
    fill(client, "one-1", 2500)
    fill(client, "two-1", 5)
    spread.take_down("one", after=2)
    answer = client.CleanUpMemories(filter=ALL, allow_partial=True)
    assert answer.deleted_count == 2005
    assert list(answer.unavailable_backends) == ["one"]
    assert not answer.resume_token
    spread.take_down()
    assert client.session("one-1").memory_count == 500


def test_holes_cost_nothing(client):
    """A session that has evicted very many: its few memories stand behind them."""
    client.CreateSession(session="s", policy=pb.SessionPolicy(max_memories=2))
    client.append("s", pb.Memory(content="first", pinned=True))
    fill(client, "s", 130000)
    client.UpdateSession(session="s", policy=pb.SessionPolicy(max_memories=50))
    fill(client, "s", 20)
    one = client.CleanUpMemories(session="s", filter='content = "7"')
    assert (one.deleted_count, one.resume_token) == (1, "")
    one = client.CleanUpMemories(session="s", filter=ALL)
    assert (one.deleted_count, one.resume_token) == (20, "")


# ---- a crash ----------------------------------------------------------------


def test_a_token_outlives_a_crash(start_server, tmp_path):
    """The server is killed between two commits of a call; the token that was
    there before goes on where its own call had stopped."""
    config = "backends: { store: { type: sqlite, path: %s } }" % json.dumps(
        str(tmp_path / "m.db")
    )
    server = start_server(config)
    client = server.client("n")
    fill(client, "s", 30000)
    client.append("s", pb.Memory(content="stays", pinned=True))
    first = client.CleanUpMemories(session="s", filter=ALL)
    assert first.deleted_count == 10000
    before = client.session("s").revision
    call = client.stub.CleanUpMemories.future(
        client.request(
            "CleanUpMemories",
            session="s",
            filter=ALL,
            resume_token=first.resume_token,
        )
    )
    other = server.client("n")
    wait_for(
        "its first commits", lambda: other.session("s").revision >= before + 2
    )
    server.process.kill()
    assert server.wait() == -9
    server.stopped = True
    with pytest.raises(grpc.RpcError):
        call.result()
    client = start_server(config).client("n")
    left = client.session("s")
    # Whole commits of a thousand, and at least those that were seen.
    assert left.memory_count % 1000 == 1
    assert left.memory_count <= 20000 - 2000 + 1
    second = client.CleanUpMemories(
        session="s", filter=ALL, resume_token=first.resume_token
    )
    third = client.CleanUpMemories(
        session="s", filter=ALL, resume_token=second.resume_token
    ) if second.resume_token else pb.CleanUpMemoriesResponse()
    assert not third.resume_token
    removed = second.deleted_count + third.deleted_count
    assert removed == left.memory_count - 1
    assert client.texts("s") == ["stays"]
