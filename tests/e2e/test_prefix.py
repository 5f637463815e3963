"""ListMemories over all sessions that begin alike: order, pages, what it takes
and refuses, limits, backends."""

import random
import threading

import pytest

import pb
from harness import refused, wait_for
from test_clean_up import fill
from test_spread import Spread, spread  # noqa: F401

pytestmark = pytest.mark.asan


def key(m):
    return -m.update_time.ToMicroseconds(), m.session, m.sequence


def whole(client, prefix):
    """What the list should be, from lists of each session."""
    found = []
    for session in client.ListSessions(prefix=prefix, page_size=1000).sessions:
        found += client.all(session.id)
    return sorted(found, key=key)


def pages(client, prefix, **fields):
    token = ""
    for _ in range(10000):
        answer = client.ListMemories(
            session_prefix=prefix, page_token=token, **fields
        )
        yield answer
        fields.pop("offset", None)
        token = answer.next_page_token
        if not token:
            return
    raise AssertionError("the pages never end")


def listed(client, prefix, **fields):
    return [m for page in pages(client, prefix, **fields) for m in page.memories]


@pytest.fixture
def three(client):
    """Three sessions, filled in turns and in batches, and others beside."""
    rng = random.Random(7)
    for n in range(60):
        session = "p/%d" % rng.randrange(3)
        client.append(
            session,
            *[
                pb.Memory(
                    id="%d-%d" % (n, k),
                    content="%d" % n,
                    role=rng.choice(["user", "tool"]),
                    kind=rng.choice(["fact", "message"]),
                    importance=n / 60,
                    key=rng.choice(["", "k/%d" % n]) if k == 0 else "",
                    token_count=1 + n % 5,
                )
                for k in range(rng.choice([1, 1, 3]))
            ],
        )
    for n in range(10):
        client.UpdateMemory(
            session="p/1", id=client.list("p/1")[-n - 1].id,
            memory=pb.Memory(content="updated"),
        )  # fmt: skip
    client.append("p", "not one of them")
    client.append("q/1", "nor this")
    return client


def test_order_and_pages(three):
    client = three
    want = whole(client, "p/")
    assert len(want) > 70
    assert [m.content for m in want[:10]] == ["updated"] * 10
    for size in (1, 2, 7, 50, 1000):
        assert listed(client, "p/", page_size=size) == want
    answers = list(pages(client, "p/", page_size=7))
    assert [len(a.memories) for a in answers[:-1]] == [7] * (len(answers) - 1)
    # A page of exactly what there is has no token.
    (only,) = pages(client, "p/", page_size=len(want))
    assert len(only.memories) == len(want)
    assert {m.session for m in want} == {"p/0", "p/1", "p/2"}


def test_prefixes(three):
    client = three
    assert listed(client, "p/1") == whole(client, "p/1")
    assert len(listed(client, "p")) == len(whole(client, "p/")) + 1
    assert listed(client, "p/7") == []
    assert client.ListMemories(session_prefix="none") == pb.ListMemoriesResponse()
    # The answer names the session of each, and they can be got by it.
    for m in listed(client, "p/")[:5]:
        (got,) = client.GetMemories(session=m.session, ids=[m.id]).memories
        assert got == m


def test_filters(three):
    client = three
    want = whole(client, "p/")

    def check(wanted, **fields):
        expected = [m for m in want if wanted(m)]
        assert 0 < len(expected) < len(want)
        for size in (3, 1000):
            assert listed(client, "p/", page_size=size, **fields) == expected

    check(lambda m: m.role == "user", roles=["user"])
    check(lambda m: m.kind == "fact", kinds=["fact"])
    check(lambda m: m.key.startswith("k/1"), key_prefix="k/1")
    check(lambda m: m.importance > 0.5, filter="importance > 0.5")
    check(lambda m: "upd" in m.content, filter='content ~ "UPD"')
    check(
        lambda m: m.role == "tool" and m.importance <= 0.3 and m.kind == "fact",
        roles=["tool"],
        kinds=["fact"],
        filter='importance <= 0.3 AND NOT content = "updated"',
    )
    with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
        client.ListMemories(session_prefix="p/", filter="role = user")


def test_offset(three):
    client = three
    want = whole(client, "p/")
    for offset in (1, 10, len(want) - 1, len(want), len(want) + 5):
        for size in (4, 1000):
            got = listed(client, "p/", page_size=size, offset=offset)
            assert got == want[offset:]
    users = [m for m in want if m.role == "user"]
    assert listed(client, "p/", roles=["user"], offset=3, page_size=2) == users[3:]


def test_max_tokens(three):
    client = three
    want = whole(client, "p/")
    for budget in (1, 5, 17, 100, 10**6):
        expected, left = [], budget
        for m in want:
            if m.token_count > left:
                break
            left -= m.token_count
            expected.append(m)
        for size in (2, 1000):
            assert (
                listed(client, "p/", max_tokens=budget, page_size=size)
                == expected
            )


def test_what_a_prefix_cannot_do(three):
    client = three
    for fields, field in (
        (dict(session="p/1"), "session_prefix"),
        (dict(anchor=pb.ANCHOR_OLDEST), "anchor"),
        (dict(order_by=pb.MEMORY_ORDER_KEY), "order_by"),
        (dict(order_by=pb.MEMORY_ORDER_SEQUENCE), "order_by"),
        (dict(touch=pb.TOUCH_ACCESS), "touch"),
        (dict(touch=pb.TOUCH_TTL), "touch"),
    ):
        with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", field):
            client.ListMemories(session_prefix="p/", **fields)
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", "allow_partial"):
        client.ListMemories(session="p/1", allow_partial=True)
    assert client.ListMemories(
        session_prefix="p/", anchor=pb.ANCHOR_NEWEST, touch=pb.TOUCH_NONE
    ).memories


def test_tokens_are_bound_to_their_list(three):
    client = three
    token = client.ListMemories(
        session_prefix="p/", page_size=5, filter="sequence > 0"
    ).next_page_token
    given = dict(
        session_prefix="p/", filter="sequence > 0", page_token=token
    )
    assert client.ListMemories(page_size=7, **given).memories
    for fields in (
        dict(session_prefix="p"),
        dict(session_prefix="", session="p/1"),
        dict(filter="sequence > 1"),
        dict(roles=["user"]),
        dict(kinds=["fact"]),
        dict(key_prefix="k"),
        dict(max_tokens=10),
        dict(page_token=token[:-2]),
    ):
        with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
            client.ListMemories(**{**given, **fields})
    # It does not belong to a session that may have gone.
    client.DeleteSession(session="p/0")
    assert client.ListMemories(**given).memories


def test_not_a_snapshot(three):
    """What is deleted leaves the pages, what is updated moves to the front."""
    client = three
    want = whole(client, "p/")
    first = client.ListMemories(session_prefix="p/", page_size=10)
    gone, moved = want[12], want[14]
    client.DeleteMemories(session=gone.session, ids=[gone.id])
    client.UpdateMemory(
        session=moved.session, id=moved.id, memory=pb.Memory(content="moved")
    )
    client.append("p/new", "new")
    rest = list(first.memories)
    token = first.next_page_token
    while token:
        answer = client.ListMemories(
            session_prefix="p/", page_size=10, page_token=token
        )
        rest += answer.memories
        token = answer.next_page_token
    expected = [m.id for m in want if m.id not in (gone.id, moved.id)]
    assert [m.id for m in rest] == expected
    assert [m.content for m in listed(client, "p/")[:2]] == ["new", "moved"]


def test_expired_and_gone(client):
    client.append("p1", "a", pb.Memory(content="b", ttl={"nanos": 1000000}))
    client.append("p2", "c")
    wait_for(
        "it to expire",
        lambda: [m.content for m in listed(client, "p")] == ["c", "a"],
    )
    client.DeleteSession(session="p2")
    assert [m.content for m in listed(client, "p")] == ["a"]


def test_a_page_ends_before_its_bytes(client):
    for n in range(5):
        client.append("big%d" % n, "x" * 1000000)
    want = whole(client, "big")
    answers = list(pages(client, "big"))
    assert [len(a.memories) for a in answers] == [3, 2]
    assert [m for a in answers for m in a.memories] == want


def test_pages_while_others_write(client):
    """What nobody touches is listed once, whatever happens around it, and every
    page is in order."""
    still = []
    for n in range(30):
        for session in ("r1", "r2"):
            client.append(session, pb.Memory(id="busy%d" % n, content="x"))
            answer = client.append(session, pb.Memory(content="still"))
            still.append((session, answer.memories[0].id))
    stop = threading.Event()

    def write():
        rng = random.Random(3)
        while not stop.is_set():
            session, n = rng.choice(["r1", "r2"]), rng.randrange(30)
            name = "busy%d" % n
            if rng.random() < 0.5:
                client.DeleteMemories(session=session, ids=[name])
            client.AppendMemories(
                session=session,
                memories=[pb.Memory(id=name, content="again")],
                on_conflict=pb.ON_CONFLICT_REPLACE,
            )

    threads = [threading.Thread(target=write) for _ in range(2)]
    for each in threads:
        each.start()
    try:
        for size in (1, 2, 3, 7, 50) * 3:
            seen = []
            for page in pages(client, "r", page_size=size):
                assert sorted(page.memories, key=key) == list(page.memories)
                assert len(page.memories) <= size
                seen += [
                    (m.session, m.id)
                    for m in page.memories
                    if m.content == "still"
                ]
            assert sorted(seen) == sorted(still)
    finally:
        stop.set()
        for each in threads:
            each.join()


# ---- limits -----------------------------------------------------------------


@pytest.mark.limit("ListMemories.examined_of_many", 100000)
def test_a_hundred_thousand_memories(client):
    fill(client, "s1", 60000)
    fill(client, "s2", 40000)
    got = client.ListMemories(session_prefix="s", page_size=2)
    assert [m.session for m in got.memories] == ["s2", "s2"]
    assert got.next_page_token
    client.append("s3", pb.Memory(content="one too many", role="user"))
    with refused("FAILED_PRECONDITION", "LIST_TOO_LARGE") as error:
        client.ListMemories(session_prefix="s", filter='content ~ "no such"')
    assert '"s"' in error.message and "no such" in error.message
    # What the backend rules out by itself is not looked at.
    mine = dict(session_prefix="s", filter='role = "user"')
    if "FILTER" in client.ListBackends().backends[0].capabilities:
        (found,) = client.ListMemories(**mine).memories
        assert found.content == "one too many"
    else:
        with refused("FAILED_PRECONDITION", "LIST_TOO_LARGE"):
            client.ListMemories(**mine)
    assert len(listed(client, "s3")) == 1
    client.PopMemories(session="s1")
    assert client.ListMemories(session_prefix="s", page_size=1).memories


# ---- several backends -------------------------------------------------------


def test_on_all_backends(spread):  # noqa: F811
    client = spread.client
    for n in range(20):
        for backend in ("two", "three", "one"):
            client.append("%s-%d" % (backend, n % 3), str(n))
    want = whole(client, "")
    assert len(want) == 60
    for prefix in ("t", "o", "two-1"):
        expected = [m for m in want if m.session.startswith(prefix)]
        for size in (1, 7, 1000):
            assert listed(client, prefix, page_size=size) == expected


def test_backends_that_are_down(spread):  # noqa: F811
    client = spread.client
    for name in ("one-a", "two-a", "three-a"):
        client.append(name, "x")
    spread.take_down("one", "three")
    with refused("UNAVAILABLE", "BACKEND_DOWN") as error:
        client.ListMemories(session_prefix="t")
    assert error.metadata["backends"] == "one,three"
    answer = client.ListMemories(session_prefix="t", allow_partial=True)
    assert [m.session for m in answer.memories] == ["two-a"]
    assert list(answer.unavailable_backends) == ["one", "three"]
