"""AppendMemories: order, identity, conflicts, everything a memory carries."""

import math
import time

import grpc
import pytest
from google.protobuf import struct_pb2, timestamp_pb2

import pb
import wire
from harness import (
    duration,
    explain,
    is_uuid7,
    micros,
    plain,
    refused,
    struct,
)

pytestmark = pytest.mark.asan


def ids(answer):
    return [each.id for each in answer.memories]


def test_sequences_are_consecutive_from_one(client):
    one = client.append("s", "a", "b", "c")
    two = client.append("s", "d")
    assert [m.sequence for m in one.memories] == [1, 2, 3]
    assert [m.sequence for m in two.memories] == [4]
    assert all(m.created for m in one.memories)
    assert all(is_uuid7(m.id) for m in one.memories)
    assert len(set(ids(one))) == 3
    assert [m.revision for m in one.memories] == [1, 1, 1]
    assert two.memories[0].revision == 2
    assert one.session.session == "s"
    assert one.session.memory_count == 3
    assert two.session.memory_count == 4
    assert two.session.last_sequence == 4
    assert two.session.uid == one.session.uid
    assert (one.evicted_count, one.deleted_count) == (0, 0)
    assert not one.deduplicated
    assert client.texts("s") == ["a", "b", "c", "d"]


def test_made_ids_sort_in_the_order_of_append(client):
    made = []
    for n in range(5):
        made += ids(client.append("s", *["x"] * 20))
    assert made == sorted(made)


def full_memory():
    return pb.Memory(
        id="caller's own",
        key="profile/name",
        kind="semantic",
        role="user",
        author="Bob",
        source="mail",
        tier=pb.TIER_LONG_TERM,
        content="My name is Bob.\n\tReally; naïve 🐦 \"quoted\" \\ %s",
        parts=[
            pb.Part(mime_type="image/png", data=bytes(range(256)), caption="x"),
            pb.Part(mime_type="text/html", uri="https://example.org/?a=1&b"),
            pb.Part(
                mime_type="application/json",
                json='{"z":1.0,  "a":null,\n"big":9007199254740993}',
            ),
            pb.Part(mime_type="image/jpeg", caption="only words"),
            pb.Part(mime_type="application/octet-stream", data=b""),
        ],
        metadata=struct(
            b=True, n=-1.5, s="text", l=[1, [2, {"x": None}]], o={"p": {}}
        ),
        importance=0.25,
        pinned=True,
        token_count=17,
        event_time=timestamp_pb2.Timestamp(seconds=-1, nanos=5000),
        ttl=duration(3600),
    )


def test_everything_a_memory_carries_comes_back(client):
    sent = full_memory()
    before = time.time() - 1
    ref = client.append("s", sent).memories[0]
    (got,) = client.list("s")
    assert got == client.GetMemories(session="s", ids=[sent.id]).memories[0]
    assert ref.id == sent.id
    for field in (
        "id key kind role author source tier content metadata importance"
        " pinned token_count event_time ttl"
    ).split():
        assert getattr(got, field) == getattr(sent, field), field
    assert list(got.parts) == list(sent.parts)
    assert got.parts[4].WhichOneof("value") == "data"
    assert got.parts[3].WhichOneof("value") is None
    assert got.sequence == 1
    assert got.revision == ref.revision == 1
    assert before * 1e6 < micros(got.create_time) < (time.time() + 1) * 1e6
    assert got.update_time == got.create_time
    assert not got.HasField("last_access_time")
    assert got.access_count == 0
    assert micros(got.expire_time) == micros(got.update_time) + 3600 * 10**6
    assert not got.embeddings


def test_what_is_not_given_stays_absent(client):
    client.append("s", "x")
    (got,) = client.list("s")
    for field in ("importance", "event_time", "ttl", "expire_time", "metadata"):
        assert not got.HasField(field), field
    assert (got.key, got.role, got.author, got.source) == ("", "", "", "")
    assert got.kind == "message"
    assert got.tier == pb.TIER_UNSPECIFIED
    assert not got.pinned
    assert got.token_count == 2


def test_importance_zero_is_not_absent(client):
    client.append("s", pb.Memory(content="x", importance=0.0, token_count=0))
    (got,) = client.list("s")
    assert got.HasField("importance") and got.importance == 0
    assert got.HasField("token_count") and got.token_count == 0


@pytest.mark.parametrize(
    "text, words",
    [
        ("one", 1),
        ("one two", 2),
        ("  a \t b\n\nc\r\n d ", 4),
        ("a,b;c", 1),
        (" ".join(["w"] * 10), 10),
        (" ".join(["w"] * 999), 999),
        ("   ", 0),
        ("a\u00a0b\u2003c\u3000d", 1),  # only ASCII white space separates
        ("a\vb\fc", 3),
    ],
)
def test_tokens_are_words_times_thirteen_tenths(client, text, words):
    client.append("s", text)
    (got,) = client.list("s")
    assert got.token_count == (13 * words + 9) // 10
    assert client.session("s").token_count == got.token_count


def test_times_are_cut_to_microseconds(client):
    client.append(
        "s",
        pb.Memory(
            content="x",
            event_time=timestamp_pb2.Timestamp(seconds=5, nanos=123456789),
        ),
    )
    (got,) = client.list("s")
    assert got.event_time == timestamp_pb2.Timestamp(seconds=5, nanos=123456000)


def test_create_time_never_falls(client):
    for n in range(20):
        client.append("s", *["x"] * 5)
    times = [micros(m.create_time) for m in client.list("s", page_size=200)]
    assert times == sorted(times)


def test_default_kind_comes_from_the_policy(client):
    client.CreateSession(
        session="s", policy=pb.SessionPolicy(default_kind="episodic")
    )
    client.append("s", "a", pb.Memory(content="b", kind="plan"))
    assert [m.kind for m in client.list("s")] == ["episodic", "plan"]


def test_metadata_is_sorted_and_the_last_of_two_wins(client):
    def value(text):
        return wire.data(3, text)

    def entry(key, made):
        return wire.data(1, wire.data(1, key) + wire.data(2, made))

    nested = entry("y", value("1")) + entry("x", value("2")) + entry(
        "y", value("3")
    )
    metadata = (
        entry("b", value("first"))
        + entry("a", wire.data(5, nested))
        + entry("b", value("last"))
    )
    memory = wire.data(9, "text") + wire.data(11, metadata)
    client.raw(
        "AppendMemories",
        wire.data(1, client.namespace)
        + wire.data(2, "s")
        + wire.data(3, memory),
    )
    # The bytes themselves say in which order the keys come.
    answer = client.raw(
        "ListMemories", wire.data(1, client.namespace) + wire.data(2, "s")
    )
    wanted = entry(
        "a", wire.data(5, entry("x", value("2")) + entry("y", value("3")))
    ) + entry("b", value("last"))
    assert wire.data(11, wanted) in answer
    (got,) = client.list("s")
    assert plain(got.metadata) == {"a": {"x": "2", "y": "3"}, "b": "last"}


def test_content_may_be_empty_beside_a_part_or_a_key(client):
    client.append("s", pb.Memory(key="k"))
    client.append("s", pb.Memory(parts=[pb.Part(mime_type="image/png")]))
    for wanting in (pb.Memory(), pb.Memory(role="user"), pb.Memory(id="i")):
        with refused("INVALID_ARGUMENT", "REQUIRED", "memories[0].content"):
            client.append("s", wanting)
    assert len(client.list("s")) == 2


def test_part_needs_a_media_type(client):
    with refused(
        "INVALID_ARGUMENT", "REQUIRED", "memories[1].parts[1].mime_type"
    ):
        client.append(
            "s",
            "a",
            pb.Memory(
                parts=[pb.Part(mime_type="a/b"), pb.Part(caption="what?")]
            ),
        )


def test_empty_append_is_refused(client):
    with refused("INVALID_ARGUMENT", "REQUIRED", "memories"):
        client.append("s")


# ---- atomicity --------------------------------------------------------------


def test_a_refused_batch_stores_nothing_and_burns_no_sequence(client):
    client.append("s", pb.Memory(id="taken", content="a"))
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append("s", "b", "c", pb.Memory(id="taken", content="d"))
    with refused("INVALID_ARGUMENT", "REQUIRED"):
        client.append("s", "e", pb.Memory())
    assert client.texts("s") == ["a"]
    after = client.append("s", "f")
    assert after.memories[0].sequence == 2
    assert after.session.revision == 2


def test_session_must_exist(client):
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.append("s", "a", session_must_exist=True)
    assert not client.ListSessions().sessions
    client.append("s", "a")
    client.append("s", "b", session_must_exist=True)
    assert client.texts("s") == ["a", "b"]


def test_expected_revision(client):
    client.append("s", "a", expected_revision=0)
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.append("s", "b", expected_revision=0)
    assert why.metadata["current_revision"] == "1"
    client.append("s", "b", expected_revision=1)
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.append("s", "c", expected_revision=1)
    assert why.metadata["current_revision"] == "2"
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.append("absent", "c", expected_revision=4)
    assert why.metadata["current_revision"] == "0"
    assert client.texts("s") == ["a", "b"]
    assert client.texts("absent") == []


@pytest.mark.parametrize("wrong", [-1, -(2**63)])
def test_negative_expected_revision_is_refused(client, wrong):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "expected_revision"):
        client.append("s", "a", expected_revision=wrong)


# ---- conflicts --------------------------------------------------------------


def test_an_id_that_is_there_fails_by_default(client):
    client.append("s", pb.Memory(id="i", content="a"))
    for how in (pb.ON_CONFLICT_UNSPECIFIED, pb.ON_CONFLICT_FAIL):
        with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
            client.append(
                "s", pb.Memory(id="i", content="b"), on_conflict=how
            )
    # An id beside a key: the id decides what the default is.
    client.append("s", pb.Memory(key="k", content="c"))
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append("s", pb.Memory(id="j", key="k", content="d"))
    assert client.texts("s") == ["a", "c"]


def test_a_key_that_is_there_is_replaced_by_default(client):
    one = client.append("s", pb.Memory(key="k", content="a", role="user"), "z")
    before = client.list("s")[0]
    two = client.append("s", "between", pb.Memory(key="k", content="b"))
    assert [m.created for m in two.memories] == [True, False]
    ref = two.memories[1]
    assert (ref.id, ref.sequence) == (one.memories[0].id, 1)
    assert ref.revision == two.session.revision == 2
    assert two.memories[0].sequence == 3  # the replaced one took none
    assert two.session.last_sequence == 3
    assert two.session.memory_count == 3
    got = client.list("s")[0]
    assert got.content == "b"
    assert got.role == ""  # replaced as a whole
    assert got.create_time == before.create_time
    assert micros(got.update_time) > micros(before.update_time)
    assert got.revision == 2


def test_key_fails_when_told_to(client):
    client.append("s", pb.Memory(key="k", content="a"))
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append(
            "s",
            pb.Memory(key="k", content="b"),
            on_conflict=pb.ON_CONFLICT_FAIL,
        )


def test_skip_keeps_what_is_there(client):
    one = client.append(
        "s",
        pb.Memory(id="i", content="a"),
        pb.Memory(key="k", content="b"),
    )
    two = client.append(
        "s",
        pb.Memory(id="i", content="A"),
        "new",
        pb.Memory(key="k", content="B"),
        on_conflict=pb.ON_CONFLICT_SKIP,
    )
    assert [m.created for m in two.memories] == [False, True, False]
    assert [m.sequence for m in two.memories] == [1, 3, 2]
    assert two.memories[0].revision == one.memories[0].revision
    assert two.memories[2].id == one.memories[1].id
    assert client.texts("s") == ["a", "b", "new"]
    # A commit that skips everything is none that a reader could see.
    three = client.append(
        "s",
        pb.Memory(id="i", content="A"),
        on_conflict=pb.ON_CONFLICT_SKIP,
    )
    assert three.session.revision == two.session.revision
    assert client.session("s").revision == two.session.revision


def test_replace_by_id(client):
    client.append("s", pb.Memory(id="i", key="old", content="a"))
    before = client.list("s")[0]
    ref = client.append(
        "s",
        pb.Memory(id="i", key="new", content="b"),
        on_conflict=pb.ON_CONFLICT_REPLACE,
    ).memories[0]
    assert not ref.created and ref.sequence == 1
    got = client.GetMemories(session="s", keys=["new", "old"])
    assert [m.content for m in got.memories] == ["b"]
    assert list(got.missing_keys) == ["old"]
    assert got.memories[0].create_time == before.create_time


@pytest.mark.parametrize(
    "how",
    [
        pb.ON_CONFLICT_UNSPECIFIED,
        pb.ON_CONFLICT_FAIL,
        pb.ON_CONFLICT_SKIP,
        pb.ON_CONFLICT_REPLACE,
    ],
)
def test_an_id_and_a_key_that_name_two_memories(client, how):
    client.append("s", pb.Memory(id="i", content="a"))
    client.append("s", pb.Memory(key="k", content="b"))
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append(
            "s", pb.Memory(id="i", key="k", content="c"), on_conflict=how
        )
    assert client.texts("s") == ["a", "b"]


def test_duplicates_within_a_batch(client):
    with refused("INVALID_ARGUMENT", "DUPLICATE", "memories[2].id"):
        client.append(
            "s",
            pb.Memory(id="i", content="a"),
            "b",
            pb.Memory(id="i", content="c"),
        )
    with refused("INVALID_ARGUMENT", "DUPLICATE", "memories[1].key"):
        client.append(
            "s",
            pb.Memory(key="k", content="a"),
            pb.Memory(key="k", content="b"),
        )
    assert client.texts("s") == []
    # An id is no key.
    client.append(
        "s", pb.Memory(id="x", content="a"), pb.Memory(key="x", content="b")
    )


def test_ids_are_unique_in_a_session_only(client):
    client.append("s", pb.Memory(id="i", content="a"))
    client.append("t", pb.Memory(id="i", content="b"))
    assert client.texts("s") == ["a"] and client.texts("t") == ["b"]


def test_equal_contents_are_two_memories(client):
    client.append("s", "same", "same")
    client.append("t", "same")
    assert client.texts("s") == ["same", "same"]


def test_an_id_deleted_can_be_used_again_with_a_new_sequence(client):
    client.append("s", pb.Memory(id="i", content="a"))
    client.DeleteMemories(session="s", ids=["i"])
    ref = client.append("s", pb.Memory(id="i", content="b")).memories[0]
    assert ref.created and ref.sequence == 2


# ---- what rides along -------------------------------------------------------


def test_delete_keys_in_the_same_commit(client):
    client.append(
        "s",
        pb.Memory(key="a", content="1"),
        pb.Memory(key="b", content="2"),
        "3",
    )
    answer = client.append(
        "s",
        pb.Memory(key="a", content="4"),
        delete_keys=["a", "b", "absent"],
    )
    assert answer.deleted_count == 2
    assert answer.session.revision == 2
    # Removed before the append: the key is new, at a new place.
    assert answer.memories[0].created
    assert answer.memories[0].sequence == 4
    assert client.texts("s") == ["3", "4"]


def test_delete_keys_alone(client):
    client.append("s", pb.Memory(key="a", content="1"), "2")
    answer = client.AppendMemories(session="s", delete_keys=["a"])
    assert answer.deleted_count == 1 and not answer.memories
    assert answer.session.revision == 2
    assert client.texts("s") == ["2"]


def test_refused_append_deletes_no_keys(client):
    client.append(
        "s", pb.Memory(key="a", content="1"), pb.Memory(id="i", content="2")
    )
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append(
            "s", pb.Memory(id="i", content="3"), delete_keys=["a"]
        )
    assert client.texts("s") == ["1", "2"]


def test_session_metadata_patch_in_the_same_commit(client):
    client.CreateSession(session="s", metadata=struct(a=1, b={"c": 2, "d": 3}))
    answer = client.append(
        "s",
        "x",
        session_metadata_patch=struct(a=None, b={"c": None}, e="new"),
    )
    assert (answer.session.revision, answer.session.settings_revision) == (2, 2)
    assert plain(client.session("s").metadata) == {"b": {"d": 3}, "e": "new"}
    alone = client.AppendMemories(
        session="s", session_metadata_patch=struct(f=True)
    )
    assert alone.session.revision == 3
    assert plain(client.session("s").metadata) == {
        "b": {"d": 3},
        "e": "new",
        "f": True,
    }
    assert client.texts("s") == ["x"]


def test_session_metadata_patch_on_a_new_session(client):
    client.append("s", "x", session_metadata_patch=struct(a=1, gone=None))
    assert plain(client.session("s").metadata) == {"a": 1}
    assert client.session("s").revision == 1


# ---- values -----------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, reason, field",
    [
        (dict(importance=1.5), "INVALID_VALUE", "importance"),
        (dict(importance=-0.1), "INVALID_VALUE", "importance"),
        (dict(importance=math.nan), "NOT_FINITE", "importance"),
        (dict(importance=math.inf), "NOT_FINITE", "importance"),
        (dict(token_count=-1), "INVALID_VALUE", "token_count"),
        (dict(tier=7), "INVALID_VALUE", "tier"),
        (dict(ttl=duration(0)), "INVALID_VALUE", "ttl"),
        (dict(ttl=duration(-1)), "INVALID_VALUE", "ttl"),
        (
            dict(expire_time=timestamp_pb2.Timestamp(seconds=1000)),
            "INVALID_VALUE",
            "expire_time",
        ),
        (
            dict(
                ttl=duration(5),
                expire_time=timestamp_pb2.Timestamp(seconds=4000000000),
            ),
            "CONFLICTING_FIELDS",
            "",
        ),
        (
            dict(event_time=timestamp_pb2.Timestamp(seconds=5, nanos=-1)),
            "INVALID_VALUE",
            "event_time",
        ),
        (
            dict(event_time=timestamp_pb2.Timestamp(nanos=10**9)),
            "INVALID_VALUE",
            "event_time",
        ),
        (
            dict(event_time=timestamp_pb2.Timestamp(seconds=253402300800)),
            "INVALID_VALUE",
            "event_time",
        ),
        (
            dict(event_time=timestamp_pb2.Timestamp(seconds=-62135596801)),
            "INVALID_VALUE",
            "event_time",
        ),
    ],
    ids=lambda each: str(each).replace("\n", " "),
)
def test_values_out_of_range(client, fields, reason, field):
    path = "memories[1]" + ("." + field if field else "")
    with refused("INVALID_ARGUMENT", reason, path):
        client.append("s", "fine", pb.Memory(content="x", **fields))
    assert client.texts("s") == []


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_metadata_numbers_are_finite(client, number):
    for made in (struct(a=number), struct(a=[1, {"b": number}])):
        with refused("INVALID_ARGUMENT", "NOT_FINITE", "memories[0].metadata"):
            client.append("s", pb.Memory(content="x", metadata=made))
        with refused("INVALID_ARGUMENT", "NOT_FINITE", "metadata"):
            client.CreateSession(session="s", metadata=made)


def test_event_time_reaches_from_year_1_to_9999(client):
    for seconds in (-62135596800, 253402300799):
        stamp = timestamp_pb2.Timestamp(seconds=seconds)
        client.append("s", pb.Memory(content="x", event_time=stamp))
        assert client.list("s")[-1].event_time == stamp


def test_unknown_on_conflict_is_refused(client):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "on_conflict"):
        client.append("s", "x", on_conflict=17)


def test_a_metadata_value_of_no_kind_is_refused_or_null(client):
    """google.protobuf.Value without a kind is an error by its own definition:
    what is taken must come back as something that a client can read."""
    made = struct_pb2.Struct()
    made.fields["a"].SetInParent()
    try:
        client.append("s", pb.Memory(content="x", metadata=made))
    except grpc.RpcError as error:
        got = explain(error)
        assert (got.code, got.reason) == ("INVALID_ARGUMENT", "INVALID_VALUE")
    else:
        (memory,) = client.list("s")
        assert plain(memory.metadata) == {"a": None}


def test_one_memory_by_its_id_and_by_its_key(client):
    """Two of a batch may mean one memory: they are taken one after the other."""
    first = client.append("s", pb.Memory(id="a", key="k", content="1"))
    replace = dict(on_conflict=pb.ON_CONFLICT_REPLACE)
    both = client.append(
        "s",
        pb.Memory(id="a", content="2"),  # and has no key any more
        pb.Memory(key="k", content="3"),
        **replace,
    )
    assert [m.created for m in both.memories] == [False, True]
    assert [(m.key, m.content) for m in client.list("s")] == [
        ("", "2"),
        ("k", "3"),
    ]
    again = client.append(
        "s",
        pb.Memory(key="k", content="4"),
        pb.Memory(id=both.memories[1].id, content="5"),
        **replace,
    )
    assert {m.id for m in again.memories} == {both.memories[1].id}
    assert [m.content for m in client.list("s")] == ["2", "5"]
    assert client.list("s")[0].id == first.memories[0].id
    # Taken for new by the one and for taken by the other: all or nothing.
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.append(
            "s",
            pb.Memory(id="n", key="kn", content="6"),
            pb.Memory(id="m", key="kn2", content="7"),
            pb.Memory(id="a", content="8"),
            on_conflict=pb.ON_CONFLICT_FAIL,
        )
    assert len(client.list("s")) == 2
