"""Policies: which memories survive, exactly."""

import time

import pytest
from google.protobuf import field_mask_pb2

import pb
from harness import duration, micros, refused, timestamp, wait_for

pytestmark = pytest.mark.asan


def create(client, **policy):
    client.CreateSession(session="s", policy=pb.SessionPolicy(**policy))


def survivors(client):
    found = client.texts("s", page_size=1000)
    session = client.session("s")
    assert session.memory_count == len(found)
    assert session.token_count == sum(
        m.token_count for m in client.list("s", page_size=1000)
    )
    return found


def numbered(first, last):
    return ["Message %d" % n for n in range(first, last)]


# ---- memories ---------------------------------------------------------------


def test_ten_appends_at_five_leave_the_newest_five(client):
    create(client, max_memories=5)
    evicted = [
        client.append("s", "Message %d" % n).evicted_count for n in range(10)
    ]
    assert evicted == [0] * 5 + [1] * 5
    found = survivors(client)
    assert found == numbered(5, 10)
    assert found[-1] == "Message 9"
    assert client.session("s").last_sequence == 10


def test_evicted_is_gone_from_every_read(client):
    create(client, max_memories=1)
    one = client.append("s", pb.Memory(id="i", key="k", content="a"))
    client.append("s", "b")
    got = client.GetMemories(session="s", ids=["i"], keys=["k"])
    assert not got.memories
    assert client.GetStats(session="s").memory_count == 1
    # Its id and key are free again.
    two = client.append("s", pb.Memory(id="i", key="k", content="c"))
    assert two.memories[0].created
    assert two.memories[0].sequence == 3
    assert one.memories[0].sequence == 1


def test_trigger_and_target(client):
    """More than evict_above evicts down to evict_to, in one commit."""
    create(client, evict_above=10, evict_to=6)
    for n in range(10):
        assert client.append("s", "Message %d" % n).evicted_count == 0
    answer = client.append("s", "Message 10")
    assert answer.evicted_count == 5
    assert answer.session.memory_count == 6
    assert survivors(client) == numbered(5, 11)
    for n in range(11, 15):
        assert client.append("s", "Message %d" % n).evicted_count == 0
    assert client.append("s", "Message 15").evicted_count == 5
    assert survivors(client) == numbered(10, 16)


def test_evict_above_alone_is_its_own_target(client):
    create(client, evict_above=3)
    for n in range(6):
        client.append("s", "Message %d" % n)
    assert survivors(client) == numbered(3, 6)


def test_a_batch_above_the_limit(client):
    """Every memory gets its sequence, the oldest go in the same commit."""
    create(client, max_memories=5)
    client.append("s", "before")
    answer = client.append("s", *numbered(0, 10))
    assert [m.sequence for m in answer.memories] == list(range(2, 12))
    assert answer.evicted_count == 6
    assert answer.session.revision == 3
    assert survivors(client) == numbered(5, 10)
    assert [m.sequence for m in client.list("s")] == [7, 8, 9, 10, 11]


def test_a_replaced_memory_counts_once(client):
    create(client, max_memories=2)
    client.append("s", pb.Memory(key="k", content="a"), "b")
    answer = client.append("s", pb.Memory(key="k", content="A"))
    assert answer.evicted_count == 0
    assert survivors(client) == ["A", "b"]


def test_deleted_memories_do_not_count(client):
    create(client, max_memories=3)
    client.append("s", *numbered(0, 3))
    client.PopMemories(session="s", count=2)
    assert client.append("s", "x", "y").evicted_count == 0
    assert survivors(client) == ["Message 0", "x", "y"]


# ---- tokens -----------------------------------------------------------------


def test_token_trigger_1200_target_1000(client):
    """Sixty tokens each: the 21st passes 1,200, and 16 fit into 1,000."""
    create(client, evict_above_tokens=1200, evict_to_tokens=1000)
    for n in range(20):
        made = pb.Memory(content="Message %d" % n, token_count=60)
        assert client.append("s", made).evicted_count == 0
    assert client.session("s").token_count == 1200
    made = pb.Memory(content="Message 20", token_count=60)
    assert client.append("s", made).evicted_count == 5
    assert client.session("s").token_count == 960
    assert survivors(client) == numbered(5, 21)


def test_tokens_are_counted_from_words(client):
    """Ten words are 13 tokens; four of them are 52."""
    create(client, max_tokens=52)
    text = " ".join(["word"] * 10)
    for _ in range(4):
        assert client.append("s", text).evicted_count == 0
    assert client.session("s").token_count == 52
    assert client.append("s", "one").evicted_count == 1  # 54 tokens before
    assert survivors(client) == [text] * 3 + ["one"]


def test_the_newest_stays_whatever_it_costs(client):
    create(client, max_tokens=10)
    client.append("s", "a", "b")
    answer = client.append("s", pb.Memory(content="huge", token_count=999))
    assert answer.evicted_count == 2
    assert survivors(client) == ["huge"]
    client.append("s", "next")
    assert survivors(client) == ["next"]


def test_both_limits_are_independent(client):
    create(
        client,
        evict_above=10,
        evict_to=8,
        evict_above_tokens=50,
        evict_to_tokens=20,
    )
    client.append(
        "s",
        *[pb.Memory(content="Message %d" % n, token_count=1) for n in range(10)],
    )
    # Memories: 11 > 10, down to 8. Tokens: 11 <= 50.
    client.append("s", pb.Memory(content="Message 10", token_count=1))
    assert survivors(client) == numbered(3, 11)
    # Tokens: 8 + 45 > 50, down to 20, which only the newest itself prevents.
    client.append("s", pb.Memory(content="Message 11", token_count=45))
    assert survivors(client) == ["Message 11"]
    client.append("s", pb.Memory(content="Message 12", token_count=15))
    assert survivors(client) == ["Message 12"]


# ---- who goes first ---------------------------------------------------------


def test_least_important_goes_first(client):
    create(client, max_memories=3, eviction=pb.EVICTION_LEAST_IMPORTANT)

    def add(text, importance=None):
        client.append("s", pb.Memory(content=text, importance=importance))

    add("a", 0.9)
    add("b", 0.1)
    add("c")  # counts as 0.5
    add("d", 0.3)
    assert survivors(client) == ["a", "c", "d"]
    add("e", 0.5)
    assert survivors(client) == ["a", "c", "e"]
    add("f", 0.7)  # c and e are equal: the lower sequence goes
    assert survivors(client) == ["a", "e", "f"]
    add("g", 0.0)  # the newest stays
    assert survivors(client) == ["a", "f", "g"]
    add("h", 1.0)
    assert survivors(client) == ["a", "f", "h"]


def test_reject_refuses_what_does_not_fit(client):
    create(client, max_memories=3, eviction=pb.EVICTION_REJECT)
    client.append("s", "a", "b")
    with refused("RESOURCE_EXHAUSTED", "SESSION_FULL"):
        client.append("s", "c", "d")
    assert survivors(client) == ["a", "b"]
    last = client.append("s", "c")
    with refused("RESOURCE_EXHAUSTED", "SESSION_FULL"):
        client.append("s", "d")
    assert client.session("s").revision == last.session.revision
    client.PopMemories(session="s")
    assert client.append("s", "e").memories[0].sequence == 4


def test_reject_by_tokens(client):
    create(client, max_tokens=10, eviction=pb.EVICTION_REJECT)
    client.append("s", pb.Memory(content="a", token_count=10))
    with refused("RESOURCE_EXHAUSTED", "SESSION_FULL"):
        client.append("s", pb.Memory(content="b", token_count=1))
    client.append("s", pb.Memory(content="c", token_count=0))
    assert survivors(client) == ["a", "c"]


def test_pinned_stays(client):
    create(client, max_memories=3)
    client.append("s", pb.Memory(content="pin", pinned=True))
    for n in range(6):
        client.append("s", "Message %d" % n)
    assert survivors(client) == ["pin", "Message 4", "Message 5"]


def test_all_pinned_is_full(client):
    create(client, max_memories=2)
    client.append(
        "s",
        pb.Memory(content="a", pinned=True),
        pb.Memory(content="b", pinned=True),
    )
    for more in (pb.Memory(content="c"), pb.Memory(content="d", pinned=True)):
        with refused("RESOURCE_EXHAUSTED", "SESSION_FULL"):
            client.append("s", more)
    assert survivors(client) == ["a", "b"]


def test_keep_system(client):
    create(client, max_memories=3, keep_system=True)
    client.append("s", pb.Memory(content="rules", role="system"))
    for n in range(5):
        client.append("s", pb.Memory(content="Message %d" % n, role="user"))
    assert survivors(client) == ["rules", "Message 3", "Message 4"]


def test_without_keep_system_it_goes_like_any_other(client):
    create(client, max_memories=2)
    client.append("s", pb.Memory(content="rules", role="system"))
    client.append("s", *numbered(0, 2))
    assert survivors(client) == numbered(0, 2)


def test_unpinning_makes_room(client):
    create(client, max_memories=2)
    client.append(
        "s",
        pb.Memory(id="a", content="a", pinned=True),
        pb.Memory(id="b", content="b", pinned=True),
    )
    client.UpdateMemory(
        session="s", id="a", update_mask={"paths": ["pinned"]}
    )
    client.append("s", "c")
    assert survivors(client) == ["b", "c"]


def test_the_rule_of_the_config_and_the_override_of_the_session(start_server):
    server = start_server(
        """
backends:
  scratch: { type: dict }
sessions:
  - { match: "*/small-*", backend: scratch, policy: { max_memories: 3 } }
  - { match: "team/*", backend: scratch, policy: { evict_above: 6, evict_to: 2 } }
  - { match: "*/*", backend: scratch }
"""
    )
    client = server.client("team")

    def left(session, **policy):
        if policy:
            client.CreateSession(
                session=session, policy=pb.SessionPolicy(**policy)
            )
        for n in range(10):
            client.append(session, "Message %d" % n)
        return client.texts(session)

    assert left("small-a") == numbered(7, 10)
    assert left("other") == numbered(5, 10)  # 7 > 6: 2 left; then 3, 4, 5
    # max_memories stands for both: it takes the rule's place as a whole.
    assert left("own", max_memories=4) == numbered(6, 10)
    assert left("small-b", evict_above=8) == numbered(2, 10)
    effective = client.session("own").effective_policy
    assert effective.max_memories == 4 or (
        effective.evict_above == effective.evict_to == 4
    )
    assert client.session("small-a").policy == pb.SessionPolicy()
    elsewhere = server.client("elsewhere")
    for n in range(10):
        elsewhere.append("other", "Message %d" % n)
    assert len(elsewhere.list("other")) == 10
    assert {s.backend for s in client.ListSessions().sessions} == {"scratch"}


# ---- time -------------------------------------------------------------------
#
# What has expired is gone at the next read, by the server's clock, which is
# this machine's. A test reads until that happens, and looks whether it
# happened too early.


def gone_at(client, *contents):
    """Waits until the memories are gone; returns the time it was seen."""

    def gone():
        return not set(contents) & set(client.texts("s"))

    wait_for("expiry", gone, 15)
    return time.time()


def test_a_memorys_ttl(client):
    client.append(
        "s", pb.Memory(content="short", ttl=duration(0.5)), "stays"
    )
    expires = micros(client.list("s")[0].expire_time) / 1e6
    assert gone_at(client, "short") >= expires
    assert client.texts("s") == ["stays"]
    session = client.session("s")
    assert (session.memory_count, session.last_sequence) == (1, 2)
    assert session.revision == 1  # readers could not see it any more
    assert client.GetStats(session="s").memory_count == 1


def test_an_explicit_expire_time_even_when_pinned(client):
    at = time.time() + 0.5
    client.append(
        "s",
        pb.Memory(content="x", pinned=True, expire_time=timestamp(at)),
        pb.Memory(id="i", content="y", pinned=True, ttl=duration(0.5)),
    )
    assert gone_at(client, "x") >= at
    gone_at(client, "y")
    assert client.texts("s") == []
    # An expired id is free.
    client.append("s", pb.Memory(id="i", content="again"))
    assert client.texts("s") == ["again"]
    assert client.list("s")[0].sequence == 3


def test_touch_ttl_keeps_alive(client):
    client.append("s", pb.Memory(id="i", content="x", ttl=duration(1)))
    first = micros(client.list("s")[0].expire_time)

    def outlived():
        client.GetMemories(session="s", ids=["i"], touch=pb.TOUCH_TTL)
        return time.time() * 1e6 > first + 200000

    wait_for("the first expire_time to pass", outlived)
    assert client.texts("s") == ["x"]
    gone_at(client, "x")


def test_max_age_spares_the_pinned(client):
    create(client, max_age=duration(1))
    client.append(
        "s", "old", pb.Memory(content="pinned", pinned=True)
    )
    made = micros(client.list("s")[0].create_time) / 1e6
    assert gone_at(client, "old") >= made + 1
    client.append("s", "new")
    assert survivors(client) == ["pinned", "new"]


def test_max_age_spares_the_system_with_keep_system(client):
    create(client, max_age=duration(1), keep_system=True)
    client.append("s", "old", pb.Memory(content="rules", role="system"))
    gone_at(client, "old")
    assert survivors(client) == ["rules"]


def test_a_sessions_ttl_counts_from_its_last_append(client):
    create(client, ttl=duration(1))
    first = client.session("s")
    assert micros(first.expire_time) == micros(first.create_time) + 10**6
    client.append("s", "x")
    session = client.session("s")
    assert micros(session.expire_time) > micros(first.expire_time)
    client.list("s", touch=pb.TOUCH_TTL)
    assert client.session("s").expire_time == session.expire_time

    def gone():
        return not client.ListSessions().sessions

    wait_for("the session's end", gone)
    assert time.time() * 1e6 >= micros(session.expire_time)
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="s")
    assert client.texts("s") == []
    again = client.append("s", "y").session
    assert again.uid != session.uid
    assert (again.revision, again.last_sequence) == (1, 1)


def test_a_ttl_is_in_force_from_the_commit_that_sets_it(client):
    """Not from the next one on: nothing might ever be appended again."""
    client.append("s", "x")
    assert not client.session("s").HasField("expire_time")
    client.UpdateSession(
        session="s", policy=pb.SessionPolicy(ttl=duration(1000))
    )
    session = client.session("s")
    (memory,) = client.list("s")
    assert micros(session.expire_time) == micros(memory.create_time) + 10**9
    client.UpdateSession(
        session="s", policy=pb.SessionPolicy(ttl=duration(2000))
    )
    session = client.session("s")
    assert (
        micros(session.expire_time) == micros(memory.create_time) + 2 * 10**9
    )
    # And without one the session lives on.
    client.UpdateSession(session="s", update_mask={"paths": ["policy"]})
    assert not client.session("s").HasField("expire_time")


def test_a_max_age_is_in_force_from_the_commit_that_sets_it(client):
    client.append("s", "old", pb.Memory(content="pinned", pinned=True))
    client.UpdateSession(
        session="s", policy=pb.SessionPolicy(max_age=duration(0.2))
    )
    gone_at(client, "old")
    assert survivors(client) == ["pinned"]


def test_expired_memories_make_room_before_others_are_evicted(client):
    create(client, max_memories=2)
    client.append("s", "keep", pb.Memory(content="x", ttl=duration(0.3)))
    gone_at(client, "x")
    answer = client.append("s", "new")
    assert answer.evicted_count == 0
    assert survivors(client) == ["keep", "new"]


def test_cleanup_interval_is_kept_and_changes_nothing_that_is_seen(start_server):
    server = start_server(
        """
sweep: { interval: 10ms }
sessions:
  - { match: "n/slow", backend: default, policy: { cleanup_interval: 7d } }
"""
    )
    client = server.client("n")
    hour = duration(3600)
    client.CreateSession(
        session="own", policy=pb.SessionPolicy(cleanup_interval=hour)
    )
    assert client.session("own").policy.cleanup_interval == hour
    assert client.session("own").effective_policy.cleanup_interval == hour
    client.append("slow", "first")
    assert not client.session("slow").HasField("policy")
    effective = client.session("slow").effective_policy
    assert effective.cleanup_interval.seconds == 7 * 86400
    for session in ("own", "slow", "plain"):
        for n in range(3):
            client.append(
                session,
                pb.Memory(id="a%d" % n, content="x", ttl=duration(0.05)),
                pb.Memory(id="b%d" % n, content="y"),
            )
            # Removed or not, it has gone, and its id is free.
            wait_for(
                "it to expire",
                lambda: "x" not in client.texts(session),
            )
        client.append(session, pb.Memory(id="a0", content="z"))
        assert client.session(session).memory_count == len(client.texts(session))
    client.UpdateSession(
        session="own", update_mask=field_mask_pb2.FieldMask(paths=["policy"])
    )
    assert not client.session("own").effective_policy.HasField(
        "cleanup_interval"
    )
