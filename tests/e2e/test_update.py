"""UpdateMemory: masks, patches, guards."""

import pytest
from google.protobuf import struct_pb2, timestamp_pb2

import pb
from harness import duration, micros, plain, refused, struct
from test_append import full_memory

pytestmark = pytest.mark.asan


def get(client, name):
    return client.GetMemories(session="s", ids=[name]).memories[0]


@pytest.fixture
def memory(client):
    client.append("s", "before", full_memory(), "after")
    return get(client, full_memory().id)


# Name of a field -> another value for it.
NEW = dict(
    key="other/key",
    kind="plan",
    role="assistant",
    author="Eve",
    source="chat",
    tier=pb.TIER_SENSORY,
    content="four words are here",
    parts=[pb.Part(mime_type="text/plain", data=b"new")],
    metadata=struct(only="this"),
    importance=0.75,
    pinned=True,
    ttl=duration(60),
    token_count=99,
    event_time=timestamp_pb2.Timestamp(seconds=77),
)


def differences(one, two):
    return {
        f.name
        for f in pb.Memory.DESCRIPTOR.fields
        if getattr(one, f.name) != getattr(two, f.name)
        or (f.has_presence and one.HasField(f.name) != two.HasField(f.name))
    }


@pytest.mark.parametrize("field", sorted(set(NEW) - {"pinned"}))
def test_a_field_alone_with_and_without_a_mask(client, memory, field):
    for mask in (None, {"paths": [field]}):
        before = get(client, memory.id)
        value = NEW[field]
        if mask:  # the other way round
            value = getattr(memory, field)
        answer = client.UpdateMemory(
            session="s",
            id=memory.id,
            memory={field: value},
            update_mask=mask,
        )
        after = get(client, memory.id)
        expected = {field, "revision", "update_time"}
        if after.HasField("ttl"):
            expected.add("expire_time")  # ttl counts from the last write
        if field == "content":
            expected.add("token_count")
        assert differences(before, after) <= expected
        assert {field, "revision", "update_time"} <= differences(before, after)
        assert getattr(after, field) == value
        assert micros(after.update_time) > micros(before.update_time)
        assert after.revision == before.revision + 1
        assert answer.memory.revision == after.revision
        assert answer.session.revision == after.revision
        assert answer.memory.id == memory.id
        assert answer.memory.sequence == memory.sequence
        assert not answer.memory.created
    # The neighbours were left alone.
    assert [m.revision for m in client.list("s") if m.id != memory.id] == [1, 1]


@pytest.mark.parametrize(
    "field", sorted(set(NEW) - {"content", "token_count", "kind"})
)
def test_named_and_not_carried_is_cleared(client, memory, field):
    client.UpdateMemory(
        session="s", id=memory.id, update_mask={"paths": [field]}
    )
    after = get(client, memory.id)
    descriptor = pb.Memory.DESCRIPTOR.fields_by_name[field]
    if descriptor.has_presence:
        assert not after.HasField(field)
    else:
        assert getattr(after, field) == getattr(pb.Memory(), field)
    if field == "ttl":
        assert not after.HasField("expire_time")
    allowed = {field, "revision", "update_time", "expire_time"}
    assert differences(memory, after) <= allowed


def test_cleared_kind_is_the_default_one_again(client, memory):
    client.UpdateMemory(
        session="s", id=memory.id, update_mask={"paths": ["kind"]}
    )
    assert get(client, memory.id).kind == "message"


def test_a_mask_that_leaves_out_what_is_carried(client, memory):
    """Neither set nor dropped silently: refused."""
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", "update_mask"):
        client.UpdateMemory(
            session="s",
            id=memory.id,
            memory=pb.Memory(role="new", author="not this"),
            update_mask={"paths": ["role"]},
        )
    assert get(client, memory.id) == memory


def test_several_at_once_by_key(client, memory):
    client.UpdateMemory(
        session="s",
        key=memory.key,
        memory=pb.Memory(role="r", content="one two", importance=0),
    )
    after = get(client, memory.id)
    assert (after.role, after.content) == ("r", "one two")
    assert after.HasField("importance") and after.importance == 0
    assert after.token_count == (13 * 2 + 9) // 10


def test_content_counts_the_tokens_anew_unless_they_are_given(client, memory):
    assert memory.token_count == 17
    client.UpdateMemory(
        session="s", id=memory.id, memory=pb.Memory(content="a b c")
    )
    assert get(client, memory.id).token_count == (13 * 3 + 9) // 10
    client.UpdateMemory(
        session="s",
        id=memory.id,
        memory=pb.Memory(content="a", token_count=50),
    )
    assert get(client, memory.id).token_count == 50
    client.UpdateMemory(
        session="s", id=memory.id, update_mask={"paths": ["token_count"]}
    )
    assert get(client, memory.id).token_count == 2
    assert client.session("s").token_count == sum(
        m.token_count for m in client.list("s")
    )


def test_role_alone_leaves_given_tokens(client, memory):
    client.UpdateMemory(
        session="s", id=memory.id, memory=pb.Memory(role="new")
    )
    assert get(client, memory.id).token_count == 17


def test_metadata_patch(client):
    client.append(
        "s",
        pb.Memory(
            id="i",
            content="x",
            metadata=struct(keep=1, drop=2, deep={"a": 1, "b": 2}, l=[1, 2]),
        ),
    )
    client.UpdateMemory(
        session="s",
        id="i",
        metadata_patch=struct(
            drop=None,
            absent=None,
            deep={"b": None, "c": {"d": 1, "e": None}},
            l=[{"x": None}],
            new={"only": None},
        ),
    )
    got = get(client, "i")
    assert plain(got.metadata) == {
        "keep": 1,
        "deep": {"a": 1, "c": {"d": 1}},
        "l": [{"x": None}],  # inside a list a null is a null
        "new": {},
    }
    assert got.content == "x"


def test_metadata_patch_turns_values_into_objects(client):
    client.append("s", pb.Memory(id="i", content="x", metadata=struct(a="t")))
    client.UpdateMemory(
        session="s", id="i", metadata_patch=struct(a={"b": 1, "c": None})
    )
    assert plain(get(client, "i").metadata) == {"a": {"b": 1}}
    client.UpdateMemory(session="s", id="i", metadata_patch=struct(a=3))
    assert plain(get(client, "i").metadata) == {"a": 3}


def test_metadata_patch_on_none(client):
    client.append("s", pb.Memory(id="i", content="x"))
    client.UpdateMemory(session="s", id="i", metadata_patch=struct(a=1))
    assert plain(get(client, "i").metadata) == {"a": 1}


def test_metadata_patch_keeps_to_the_limits_of_what_comes_out(client):
    """Each patch is small enough; what they would add up to is not."""
    client.append("s", pb.Memory(id="i", content="x"))

    def patch(first, last):
        made = struct_pb2.Struct()
        made.update({"k%03d" % n: n for n in range(first, last)})
        client.UpdateMemory(session="s", id="i", metadata_patch=made)

    patch(0, 200)
    patch(200, 256)
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "metadata_patch"):
        patch(256, 257)
    assert len(get(client, "i").metadata.fields) == 256


def test_metadata_and_its_patch_exclude_each_other(client, memory):
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS"):
        client.UpdateMemory(
            session="s",
            id=memory.id,
            memory=pb.Memory(metadata=struct(a=1)),
            metadata_patch=struct(b=1),
        )
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS"):
        client.UpdateMemory(
            session="s",
            id=memory.id,
            update_mask={"paths": ["metadata"]},
            metadata_patch=struct(b=1),
        )


@pytest.mark.parametrize(
    "path",
    ["id", "sequence", "revision", "metadata.a", "content ", "nonsense", ""],
)
def test_mask_takes_only_what_it_may(client, memory, path):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "update_mask"):
        client.UpdateMemory(
            session="s",
            id=memory.id,
            memory=pb.Memory(role="x"),
            update_mask={"paths": ["role", path]},
        )
    assert get(client, memory.id) == memory


def test_exactly_one_of_id_and_key(client, memory):
    change = pb.Memory(role="x")
    with refused("INVALID_ARGUMENT", "REQUIRED"):
        client.UpdateMemory(session="s", memory=change)
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS"):
        client.UpdateMemory(
            session="s", id=memory.id, key=memory.key, memory=change
        )


def test_an_update_of_nothing_is_refused(client, memory):
    with refused("INVALID_ARGUMENT", "REQUIRED"):
        client.UpdateMemory(session="s", id=memory.id)
    assert get(client, memory.id).revision == memory.revision


def test_absent(client, memory):
    for name in (dict(id="none"), dict(key="none")):
        with refused("NOT_FOUND", "MEMORY_NOT_FOUND"):
            client.UpdateMemory(session="s", memory={"role": "x"}, **name)
    with refused("NOT_FOUND", "MEMORY_NOT_FOUND"):
        client.UpdateMemory(session="nobody", id="i", memory={"role": "x"})
    assert not [s for s in client.ListSessions().sessions if s.id == "nobody"]


def test_guards_on_the_memorys_revision(client, memory):
    client.append("s", "the session moves on")
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.UpdateMemory(
            session="s",
            id=memory.id,
            memory={"role": "x"},
            expected_revision=2,
        )
    assert why.metadata["current_revision"] == "1"
    client.UpdateMemory(
        session="s", id=memory.id, memory={"role": "x"}, expected_revision=1
    )
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.UpdateMemory(
            session="s",
            id=memory.id,
            memory={"role": "y"},
            expected_revision=1,
        )
    assert why.metadata["current_revision"] == "3"
    assert get(client, memory.id).role == "x"


def test_a_key_that_another_has(client):
    client.append(
        "s", pb.Memory(key="a", content="1"), pb.Memory(key="b", content="2")
    )
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.UpdateMemory(session="s", key="a", memory={"key": "b"})
    client.UpdateMemory(session="s", key="a", memory={"key": "c"})
    got = client.GetMemories(session="s", keys=["a", "b", "c"])
    assert [m.content for m in got.memories] == ["2", "1"]
    assert list(got.missing_keys) == ["a"]


def test_content_must_not_end_up_empty(client):
    client.append("s", pb.Memory(id="i", content="x"))
    with refused("INVALID_ARGUMENT", "REQUIRED"):
        client.UpdateMemory(
            session="s", id="i", update_mask={"paths": ["content"]}
        )
    client.append("s", pb.Memory(id="j", key="k", content="x"))
    client.UpdateMemory(
        session="s", id="j", update_mask={"paths": ["content"]}
    )
    assert get(client, "j").content == ""
    with refused("INVALID_ARGUMENT", "REQUIRED"):
        client.UpdateMemory(
            session="s", id="j", update_mask={"paths": ["key"]}
        )


def test_expire_time_takes_the_place_of_ttl_and_back(client):
    client.append("s", pb.Memory(id="i", content="x", ttl=duration(100)))
    later = timestamp_pb2.Timestamp(seconds=4000000000)
    client.UpdateMemory(
        session="s",
        id="i",
        memory={"expire_time": later},
        update_mask={"paths": ["expire_time", "ttl"]},
    )
    got = get(client, "i")
    assert got.expire_time == later and not got.HasField("ttl")
    client.UpdateMemory(
        session="s",
        id="i",
        memory={"ttl": duration(50)},
        update_mask={"paths": ["expire_time", "ttl"]},
    )
    got = get(client, "i")
    assert micros(got.expire_time) == micros(got.update_time) + 50 * 10**6
    client.UpdateMemory(
        session="s", id="i", update_mask={"paths": ["ttl"]}
    )
    got = get(client, "i")
    assert not got.HasField("ttl") and not got.HasField("expire_time")


def test_pinned_can_be_set_and_cleared(client):
    client.append("s", pb.Memory(id="i", content="x"))
    client.UpdateMemory(session="s", id="i", memory={"pinned": True})
    assert get(client, "i").pinned
    client.UpdateMemory(
        session="s", id="i", update_mask={"paths": ["pinned"]}
    )
    assert not get(client, "i").pinned


def test_update_refuses_output_only_fields(client, memory):
    with refused("INVALID_ARGUMENT", "OUTPUT_ONLY", "memory.sequence"):
        client.UpdateMemory(
            session="s", id=memory.id, memory={"role": "x", "sequence": 5}
        )


def test_update_refuses_another_id(client, memory):
    """memory.id is no field to set: the request's own id names the memory."""
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", "memory.id"):
        client.UpdateMemory(
            session="s", id=memory.id, memory={"id": "new", "role": "x"}
        )
