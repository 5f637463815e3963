"""Sessions: create, read, list, update, and what a session is a unit of."""

import contextlib
import json
import sqlite3
import uuid

import pytest

import pb
from harness import (
    duration,
    is_uuid7,
    micros,
    plain,
    refused,
    struct,
)

pytestmark = pytest.mark.asan


def test_create_then_get(client):
    made = client.CreateSession(
        session="chat/1",
        policy=pb.SessionPolicy(max_memories=7, keep_system=True),
        labels={"app": "demo", "lang": "de"},
        metadata=struct(topic="birds", depth={"a": [1, None, True]}),
    )
    assert not made.deduplicated
    assert made.session.session == "chat/1"
    assert is_uuid7(made.session.uid)
    assert made.session.revision == 1
    assert made.session.settings_revision == 1
    assert made.session.last_sequence == 0
    assert made.session.memory_count == 0

    got = client.session("chat/1")
    assert got.namespace == client.namespace
    assert got.id == "chat/1"
    assert got.uid == made.session.uid
    assert got.backend
    assert got.policy == pb.SessionPolicy(max_memories=7, keep_system=True)
    assert dict(got.labels) == {"app": "demo", "lang": "de"}
    assert plain(got.metadata) == {
        "topic": "birds",
        "depth": {"a": [1, None, True]},
    }
    assert got.effective_policy.max_memories == 7
    assert got.effective_policy.keep_system
    assert (got.memory_count, got.token_count, got.last_sequence) == (0, 0, 0)
    assert (got.revision, got.settings_revision) == (1, 1)
    assert micros(got.create_time) > 0
    assert got.create_time == got.update_time
    assert not got.HasField("expire_time")


def test_effective_policy_without_any_rule(client):
    """What nobody has set is unset, or named with its default."""
    client.append("s", "x")
    got = client.session("s")
    assert got.policy == pb.SessionPolicy()
    assert got.effective_policy.default_kind in ("", "message")
    assert not got.effective_policy.HasField("max_memories")
    assert not got.effective_policy.HasField("ttl")


def test_create_twice_is_refused(client):
    client.CreateSession(session="s")
    with refused("ALREADY_EXISTS", "SESSION_EXISTS"):
        client.CreateSession(session="s")
    client.append("appended", "x")
    with refused("ALREADY_EXISTS", "SESSION_EXISTS"):
        client.CreateSession(session="appended")


def test_create_without_a_name_makes_a_uuid(client):
    one = client.CreateSession().session
    two = client.CreateSession().session
    assert is_uuid7(one.session) and is_uuid7(two.session)
    assert one.session != two.session
    assert client.session(one.session).uid == one.uid


def test_create_without_a_name_repeated_returns_the_same(client):
    one = client.CreateSession(request_id="r1")
    two = client.CreateSession(request_id="r1")
    assert not one.deduplicated and two.deduplicated
    assert one.session == two.session
    # Made from namespace and request_id: a UUID of version 8.
    assert uuid.UUID(one.session.session).version == 8
    other = client.CreateSession(request_id="r2").session
    assert other.session != one.session.session
    client.DeleteSession(session=other.session)
    listed = client.ListSessions().sessions
    assert [each.id for each in listed] == [one.session.session]


def test_get_absent(client):
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="nobody")


def test_absent_session_field_means_default(client):
    client.append("", "x")
    assert client.GetSession().session.id == "default"
    assert client.texts("default") == ["x"]
    assert client.texts("") == ["x"]


def test_absent_namespace_means_default(server, channel, namespace):
    nowhere = server.client("", channel)
    nowhere.append(namespace, "x")
    got = nowhere.session(namespace)
    assert got.namespace == "default"
    assert server.client("default", channel).texts(namespace) == ["x"]
    nowhere.DeleteSession(session=namespace)


def test_namespace_must_not_hold_a_slash(client):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "namespace"):
        client.GetSession(namespace="a/b")
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "namespace"):
        client.append("s", "x", namespace="/")


@pytest.mark.parametrize(
    "name", ["a/b/c", "/", "ünï/çödé 🐦", "a b\tc\nd", "..", "%s%n", "'; --"]
)
def test_any_utf8_is_a_session_id(client, name):
    client.append(name, "x")
    assert client.session(name).id == name
    assert client.texts(name) == ["x"]
    assert [s.id for s in client.ListSessions().sessions] == [name]


def test_namespaces_are_apart(server, channel, namespace):
    one = server.client(namespace + "-1", channel)
    two = server.client(namespace + "-2", channel)
    one.append("s", "mine")
    assert two.texts("s") == []
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        two.GetSession(session="s")
    assert not two.ListSessions().sessions
    two.DeleteSession(session="s")
    assert one.texts("s") == ["mine"]


def test_list_by_id_is_bytewise(client):
    names = ["b", "a/2", "a", "B", "é", "a/10", "zz", "a b"]
    for name in names:
        client.CreateSession(session=name)
    listed = [each.id for each in client.ListSessions().sessions]
    assert listed == sorted(names, key=str.encode)
    same = client.ListSessions(order_by=pb.SESSION_ORDER_ID).sessions
    assert [each.id for each in same] == listed


def test_list_tells_all_of_a_session(client):
    client.CreateSession(session="s", labels={"k": "v"})
    client.append("s", "one two three", "four")
    (listed,) = client.ListSessions().sessions
    assert listed == client.session("s")
    assert listed.memory_count == 2
    assert listed.token_count == (13 * 3 + 9) // 10 + (13 * 1 + 9) // 10


def test_list_by_prefix(client):
    for name in ["team/a", "team/b", "teapot", "other"]:
        client.append(name, "x")

    def listed(prefix):
        return [s.id for s in client.ListSessions(prefix=prefix).sessions]

    assert listed("team/") == ["team/a", "team/b"]
    assert listed("tea") == ["team/a", "team/b", "teapot"]
    assert listed("team/a") == ["team/a"]
    assert listed("x") == []


def test_list_by_labels(client):
    client.CreateSession(session="1", labels={"app": "x", "env": "prod"})
    client.CreateSession(session="2", labels={"app": "x", "env": "test"})
    client.CreateSession(session="3", labels={"app": "y"})
    client.CreateSession(session="4")

    def listed(**labels):
        return [s.id for s in client.ListSessions(labels=labels).sessions]

    assert listed() == ["1", "2", "3", "4"]
    assert listed(app="x") == ["1", "2"]
    assert listed(app="x", env="prod") == ["1"]
    assert listed(app="x", env="none") == []
    assert listed(other="x") == []


def test_list_pages(client):
    names = ["s%03d" % n for n in range(23)]
    for name in names:
        client.CreateSession(session=name)
    for size in (1, 5, 22, 23, 24):
        found, token, pages = [], "", 0
        while True:
            answer = client.ListSessions(page_size=size, page_token=token)
            assert len(answer.sessions) <= size
            found += [each.id for each in answer.sessions]
            token = answer.next_page_token
            pages += 1
            assert pages < 50
            if not token:
                break
        assert found == names, size


def test_list_by_update_time(client):
    for name in ["a", "b", "c"]:
        client.append(name, "x")
    client.append("a", "y")
    by_time = client.ListSessions(order_by=pb.SESSION_ORDER_UPDATE_TIME)
    assert [s.id for s in by_time.sessions] == ["a", "c", "b"]
    times = [micros(s.update_time) for s in by_time.sessions]
    assert times == sorted(times, reverse=True)

    found, token = [], ""
    while True:
        answer = client.ListSessions(
            order_by=pb.SESSION_ORDER_UPDATE_TIME,
            page_size=1,
            page_token=token,
        )
        found += [s.id for s in answer.sessions]
        token = answer.next_page_token
        if not token:
            break
    assert found == ["a", "c", "b"]


def test_list_token_is_bound_to_the_arguments(client):
    for n in range(4):
        client.CreateSession(session="p%d" % n, labels={"k": "v"})
    base = dict(prefix="p", labels={"k": "v"}, page_size=2)
    token = client.ListSessions(**base).next_page_token
    assert token
    for change in (
        dict(prefix="p1"),
        dict(labels={}),
        dict(labels={"k": "w"}),
        dict(order_by=pb.SESSION_ORDER_UPDATE_TIME),
        dict(namespace=client.namespace + "-other"),
    ):
        with refused(
            "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"
        ):
            client.ListSessions(page_token=token, **dict(base, **change))
    more = client.ListSessions(page_token=token, **base)
    assert [s.id for s in more.sessions] == ["p2", "p3"]


def test_list_survives_a_session_that_goes(client):
    for n in range(6):
        client.CreateSession(session="p%d" % n)
    first = client.ListSessions(page_size=3)
    client.DeleteSession(session="p2")
    client.DeleteSession(session="p3")
    rest = client.ListSessions(
        page_size=3, page_token=first.next_page_token
    )
    assert [s.id for s in rest.sessions] == ["p4", "p5"]


# ---- UpdateSession ----------------------------------------------------------


def test_update_sets_what_the_request_carries(client):
    client.CreateSession(
        session="s",
        policy=pb.SessionPolicy(max_memories=5),
        labels={"a": "1", "b": "2"},
        metadata=struct(x=1),
    )
    answer = client.UpdateSession(session="s", labels={"c": "3"})
    assert not answer.deduplicated
    assert (answer.session.revision, answer.session.settings_revision) == (2, 2)
    got = client.session("s")
    assert dict(got.labels) == {"c": "3"}  # as a whole
    assert got.policy.max_memories == 5
    assert plain(got.metadata) == {"x": 1}

    client.UpdateSession(
        session="s",
        policy=pb.SessionPolicy(keep_system=True),
        metadata=struct(y=2),
    )
    got = client.session("s")
    assert got.policy == pb.SessionPolicy(keep_system=True)
    assert plain(got.metadata) == {"y": 2}
    assert dict(got.labels) == {"c": "3"}
    assert got.settings_revision == got.revision == 3


def test_update_by_mask(client):
    client.CreateSession(
        session="s",
        policy=pb.SessionPolicy(max_memories=5),
        labels={"a": "1"},
        metadata=struct(x=1),
    )
    # What the request carries and the mask leaves out is not dropped silently.
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", "update_mask"):
        client.UpdateSession(
            session="s",
            labels={"b": "2"},
            metadata=struct(z=9),
            update_mask={"paths": ["labels"]},
        )
    client.UpdateSession(
        session="s", labels={"b": "2"}, update_mask={"paths": ["labels"]}
    )
    got = client.session("s")
    assert dict(got.labels) == {"b": "2"}
    assert plain(got.metadata) == {"x": 1}
    # What it names and the request does not carry is cleared.
    client.UpdateSession(
        session="s", update_mask={"paths": ["labels", "policy", "metadata"]}
    )
    got = client.session("s")
    assert not got.labels
    assert got.policy == pb.SessionPolicy()
    assert plain(got.metadata) == {}


@pytest.mark.parametrize(
    "path", ["nonsense", "metadata.x", "session", "uid", ""]
)
def test_update_mask_takes_only_what_it_may(client, path):
    client.CreateSession(session="s")
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "update_mask"):
        client.UpdateSession(
            session="s", labels={"a": "b"}, update_mask={"paths": [path]}
        )


def test_update_merges_a_metadata_patch(client):
    client.CreateSession(
        session="s",
        metadata=struct(keep=1, drop=2, deep={"a": 1, "b": 2}, list=[1, 2]),
    )
    client.UpdateSession(
        session="s",
        metadata_patch=struct(
            drop=None, deep={"b": None, "c": {"d": 3, "e": None}}, list=[3]
        ),
    )
    assert plain(client.session("s").metadata) == {
        "keep": 1,
        "deep": {"a": 1, "c": {"d": 3}},
        "list": [3],
    }


def test_update_refuses_metadata_beside_its_patch(client):
    client.CreateSession(session="s")
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS"):
        client.UpdateSession(
            session="s", metadata=struct(a=1), metadata_patch=struct(b=2)
        )


def test_update_guards_on_settings_revision(client):
    client.CreateSession(session="s")
    client.append("s", "x")  # revision 2, settings_revision still 1
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.UpdateSession(
            session="s", labels={"a": "1"}, expected_settings_revision=2
        )
    assert why.metadata["current_revision"] == "1"
    answer = client.UpdateSession(
        session="s", labels={"a": "1"}, expected_settings_revision=1
    )
    assert answer.session.revision == 3
    assert answer.session.settings_revision == 3
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.UpdateSession(
            session="s", labels={"a": "2"}, expected_settings_revision=0
        )
    assert why.metadata["current_revision"] == "3"
    assert dict(client.session("s").labels) == {"a": "1"}


def test_update_absent(client):
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.UpdateSession(session="nobody", labels={"a": "1"})
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="nobody")


def test_update_policy_is_in_force_at_the_next_commit(client):
    for n in range(10):
        client.append("s", "Message %d" % n)
    client.UpdateSession(
        session="s", policy=pb.SessionPolicy(max_memories=3)
    )
    assert client.session("s").effective_policy.max_memories == 3
    client.append("s", "Message 10")
    assert client.texts("s") == ["Message 8", "Message 9", "Message 10"]


# ---- incarnations -----------------------------------------------------------


def test_a_session_made_again_is_another(client):
    one = client.append("s", "x", "y").session
    client.DeleteSession(session="s")
    two = client.append("s", "z").session
    assert one.uid != two.uid
    assert two.revision == 1
    assert two.last_sequence == 1
    assert client.texts("s") == ["z"]


def test_revision_rises_by_one_with_each_commit(client):
    client.CreateSession(session="s")  # 1
    assert client.append("s", "a", "b", "c").session.revision == 2
    made = client.append("s", "d")
    assert made.session.revision == 3
    assert made.memories[0].revision == 3
    client.UpdateSession(session="s", labels={"k": "v"})
    client.UpdateMemory(id=made.memories[0].id, session="s", memory={"role": "x"})
    client.DeleteMemories(session="s", ids=[made.memories[0].id])
    client.PopMemories(session="s")
    assert client.ReplaceMemories(
        session="s", memories=[pb.Memory(content="e")]
    ).session.revision == 8
    assert client.ClearSession(session="s").session.revision == 9
    assert client.session("s").revision == 9


def test_reads_change_no_revision(client):
    client.append("s", "a")
    before = client.session("s")
    client.list("s")
    client.list("s", touch=pb.TOUCH_ACCESS)
    client.ListSessions()
    client.GetStats(session="s")
    assert client.session("s") == before


def test_update_time_moves_with_commits(client):
    client.append("s", "a")
    one = client.session("s")
    client.append("s", "b")
    two = client.session("s")
    assert one.create_time == two.create_time
    assert micros(two.update_time) >= micros(one.update_time)
    assert two.revision == one.revision + 1


def test_empty_session_label_keys_are_refused(client):
    with refused("INVALID_ARGUMENT", "REQUIRED", "labels"):
        client.CreateSession(session="s", labels={"": "x"})


@pytest.mark.parametrize(
    "policy, reason, field",
    [
        (dict(max_memories=0), "INVALID_VALUE", "policy.max_memories"),
        (dict(max_memories=-1), "INVALID_VALUE", "policy.max_memories"),
        (dict(max_tokens=0), "INVALID_VALUE", "policy.max_tokens"),
        (dict(evict_above=0), "INVALID_VALUE", "policy.evict_above"),
        (
            dict(evict_above=5, evict_to=6),
            "CONFLICTING_FIELDS",
            "policy.evict_to",
        ),
        (
            dict(evict_above=5, evict_to=0),
            "INVALID_VALUE",
            "policy.evict_to",
        ),
        (dict(evict_to=5), "CONFLICTING_FIELDS", "policy.evict_to"),
        (
            dict(evict_to_tokens=5),
            "CONFLICTING_FIELDS",
            "policy.evict_to_tokens",
        ),
        (dict(max_memories=5, evict_above=5), "CONFLICTING_FIELDS", "policy"),
        (dict(max_memories=5, evict_to=5), "CONFLICTING_FIELDS", "policy"),
        (
            dict(max_tokens=5, evict_above_tokens=5),
            "CONFLICTING_FIELDS",
            "policy",
        ),
        (dict(max_tokens=5, evict_to_tokens=5), "CONFLICTING_FIELDS", "policy"),
        (
            dict(evict_above_tokens=10, evict_to_tokens=11),
            "CONFLICTING_FIELDS",
            "policy.evict_to_tokens",
        ),
        (dict(eviction=9), "INVALID_VALUE", "policy.eviction"),
        (dict(ttl=duration(0)), "INVALID_VALUE", "policy.ttl"),
        (dict(ttl=duration(-5)), "INVALID_VALUE", "policy.ttl"),
        (dict(max_age=duration(0)), "INVALID_VALUE", "policy.max_age"),
        (
            dict(idempotency_window=duration(0.5)),
            "INVALID_VALUE",
            "policy.idempotency_window",
        ),
    ],
    ids=str,
)
def test_policies_that_mean_nothing_are_refused(client, policy, reason, field):
    with refused("INVALID_ARGUMENT", reason, field):
        client.CreateSession(session="s", policy=pb.SessionPolicy(**policy))
    client.CreateSession(session="s")
    with refused("INVALID_ARGUMENT", reason, field):
        client.UpdateSession(session="s", policy=pb.SessionPolicy(**policy))
    assert client.session("s").revision == 1


def test_damaged_settings_are_data_loss(start_server, tmp_path):
    """Whoever needs to know them is told so; nothing is passed over in silence,
    and the session can be deleted."""
    path = tmp_path / "m.db"
    config = "backends: { store: { type: sqlite, path: %s } }" % json.dumps(
        str(path)
    )
    server = start_server(config)
    client = server.client("n")
    client.CreateSession(session="bad", labels={"a": "b"})
    client.CreateSession(session="good", labels={"a": "b"})
    server.stop()
    with contextlib.closing(sqlite3.connect(path)) as store:
        changed = store.execute(
            "UPDATE settings SET bytes = CAST(substr(bytes, 1, 5) || x'00' ||"
            " substr(bytes, 7) AS BLOB) WHERE slot ="
            " (SELECT slot FROM sessions WHERE session = 'bad')"
        ).rowcount
        store.commit()
    assert changed == 1
    client = start_server(config).client("n")
    for call in (
        lambda: client.GetSession(session="bad"),
        lambda: client.ListSessions(),
        lambda: client.ListSessions(labels={"a": "b"}),
        lambda: client.ListSessions(filter='labels.a = "b"'),
        lambda: client.DeleteSessions(filter='labels.a = "c"', prefix="b"),
    ):
        with refused("DATA_LOSS", "CORRUPT") as error:
            call()
        assert '"bad"' in error.message
    assert client.ListSessions(prefix="g").sessions[0].id == "good"
    assert client.DeleteSession(session="bad").existed
    assert len(client.ListSessions(labels={"a": "b"}).sessions) == 1
