"""Every limit of the contract at n, which is taken, and at n + 1, which is
refused and named. tests/scripts/check_limits.py compares the names and numbers
here with those of the server.

Where no other reason is given, what is too long, too deep or too numerous is
INVALID_ARGUMENT TOO_LARGE, and a number out of range INVALID_VALUE.
"""

import grpc
import pytest
from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2

import pb
import samples
import wire
from harness import (
    PATIENCE,
    explain,
    names_field,
    refused,
    request_type,
    struct,
)
from test_delete_sessions import make


def limit(name, number):
    """One row of a table: a field of a message, and the most it can hold."""
    return pytest.param(
        name, number, id=name, marks=pytest.mark.limit(name, number)
    )


def places_of(name):
    """Where a field, as Message.field, stands in the requests."""
    message, field = name.rsplit(".", 1)
    found = []
    for method in pb.served_methods():
        for place in samples.places(
            method.name, lambda f: not pb.not_served(f.full_name)
        ):
            owner = place.field.containing_type
            if owner.name == message and place.field.name == field:
                found.append(place)
    assert found, name
    return found


def send(client, method, request):
    """Calls with a request or its bytes; the outcome as (code, reason,
    fields), OK included. An item's error is an outcome like any other."""
    data = request if isinstance(request, bytes) else request.SerializeToString()
    if method == "IngestMemories":
        call = client.channel.stream_stream("/mneme.v1.MemoryBackend/" + method)
        (answer,) = call(iter([data]), timeout=PATIENCE)
        answer = pb.IngestMemoriesResponse.FromString(answer)
        if answer.WhichOneof("result") == "append":
            return "OK", None, []
        code = [
            c.name for c in grpc.StatusCode if c.value[0] == answer.error.code
        ]
        return code[0], answer.error.reason, [answer.error.field]
    try:
        client.raw(method, data)
    except grpc.RpcError as error:
        got = explain(error)
        return got.code, got.reason, got.fields
    return "OK", None, []


def taken(client, method, request, but=()):
    """Nothing is wrong with the request's own form; a session or memory that
    does not exist is no fault of it."""
    code, reason, fields = send(client, method, request)
    fine = ("OK", "NOT_FOUND") + tuple(but)
    assert code in fine or reason in but, (code, reason, fields)


def too_large(client, method, request, path, reason="TOO_LARGE"):
    code, got, fields = send(client, method, request)
    assert (code, got) == ("INVALID_ARGUMENT", reason), (code, got, fields)
    assert any(names_field(f, path) for f in fields), (fields, path)


def with_names(client, method):
    """A sample in the client's namespace and a session of its own, so that
    what is taken leaves nothing in the next one's way."""
    request = samples.base(method)
    holder = request.append if method == "IngestMemories" else request
    with_names.count += 1
    if hasattr(holder, "namespace"):
        holder.namespace = client.namespace
    if hasattr(holder, "session"):
        holder.session = "s%d" % with_names.count
    if method == "DeleteMemories":
        holder.ids.append("i")
    return request


with_names.count = 0


# ---- lengths of strings -----------------------------------------------------


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("CreateSessionRequest.namespace", 128),
        limit("CreateSessionRequest.session", 512),
        limit("CreateSessionRequest.request_id", 128),
        limit("GetSessionRequest.namespace", 128),
        limit("GetSessionRequest.session", 512),
        limit("ListSessionsRequest.namespace", 128),
        limit("ListSessionsRequest.prefix", 512),
        limit("UpdateSessionRequest.namespace", 128),
        limit("UpdateSessionRequest.session", 512),
        limit("UpdateSessionRequest.request_id", 128),
        limit("ClearSessionRequest.namespace", 128),
        limit("ClearSessionRequest.session", 512),
        limit("ClearSessionRequest.request_id", 128),
        limit("DeleteSessionRequest.namespace", 128),
        limit("DeleteSessionRequest.session", 512),
        limit("DeleteSessionRequest.request_id", 128),
        limit("DeleteSessionsRequest.namespace", 128),
        limit("DeleteSessionsRequest.prefix", 512),
        limit("CleanUpMemoriesRequest.namespace", 128),
        limit("CleanUpMemoriesRequest.session", 512),
        limit("CleanUpMemoriesRequest.session_prefix", 512),
        limit("AppendMemoriesRequest.namespace", 128),
        limit("AppendMemoriesRequest.session", 512),
        limit("AppendMemoriesRequest.request_id", 128),
        limit("AppendMemoriesRequest.delete_keys", 512),
        limit("GetMemoriesRequest.namespace", 128),
        limit("GetMemoriesRequest.session", 512),
        limit("GetMemoriesRequest.ids", 128),
        limit("GetMemoriesRequest.keys", 512),
        limit("ListMemoriesRequest.namespace", 128),
        limit("ListMemoriesRequest.session", 512),
        limit("ListMemoriesRequest.session_prefix", 512),
        limit("ListMemoriesRequest.roles", 128),
        limit("ListMemoriesRequest.kinds", 128),
        limit("ListMemoriesRequest.key_prefix", 512),
        limit("UpdateMemoryRequest.namespace", 128),
        limit("UpdateMemoryRequest.session", 512),
        limit("UpdateMemoryRequest.id", 128),
        limit("UpdateMemoryRequest.key", 512),
        limit("UpdateMemoryRequest.request_id", 128),
        limit("DeleteMemoriesRequest.namespace", 128),
        limit("DeleteMemoriesRequest.session", 512),
        limit("DeleteMemoriesRequest.ids", 128),
        limit("DeleteMemoriesRequest.keys", 512),
        limit("DeleteMemoriesRequest.request_id", 128),
        limit("ReplaceMemoriesRequest.namespace", 128),
        limit("ReplaceMemoriesRequest.session", 512),
        limit("ReplaceMemoriesRequest.request_id", 128),
        limit("PopMemoriesRequest.namespace", 128),
        limit("PopMemoriesRequest.session", 512),
        limit("PopMemoriesRequest.request_id", 128),
        limit("GetStatsRequest.namespace", 128),
        limit("GetStatsRequest.session", 512),
        limit("GetStatsRequest.session_prefix", 512),
        limit("Memory.id", 128),
        limit("Memory.key", 512),
        limit("Memory.kind", 128),
        limit("Memory.role", 128),
        limit("Memory.author", 128),
        limit("Memory.source", 128),
        limit("Memory.content", 1048576),
        limit("Part.mime_type", 128),
        limit("Part.uri", 8192),
        limit("Part.caption", 65536),
        limit("SessionPolicy.default_kind", 128),
    ],
)
def test_length(client, name, number):
    """In bytes, not characters, and wherever the field stands."""
    for place in places_of(name):
        # UpdateMemory takes one of id and key; memory.id is no field to set.
        in_update = place.method == "UpdateMemory"
        for filler in ("x", "é"):
            text = filler * (number // len(filler.encode()))
            text += "x" * (number - len(text.encode()))
            for value in (text, text + "x"):
                request = with_names(client, place.method)
                if in_update and place.path == "key":
                    request.ClearField("id")
                if place.field.containing_type is pb.Part.DESCRIPTOR:
                    holder = place.parent(request)
                    holder.mime_type = "a/b"
                if name.endswith("MemoriesRequest.ids"):
                    request.ClearField("ids")
                if name.endswith(".session_prefix"):
                    request.ClearField("session")
                place.put(request, value)
                if value is text:
                    renamed = in_update and place.path == "memory.id"
                    but = ("CONFLICTING_FIELDS",) if renamed else ()
                    taken(client, place.method, request, but)
                else:
                    path = place.path
                    if place.field.is_repeated:
                        path += "[0]"
                    too_large(client, place.method, request, path)


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("CreateSessionRequest.LabelsEntry.key", 128),
        limit("CreateSessionRequest.LabelsEntry.value", 128),
        limit("UpdateSessionRequest.LabelsEntry.key", 128),
        limit("UpdateSessionRequest.LabelsEntry.value", 128),
        limit("ListSessionsRequest.LabelsEntry.key", 128),
        limit("ListSessionsRequest.LabelsEntry.value", 128),
    ],
)
def test_length_of_labels(client, name, number):
    method = name.split("Request")[0]
    for size in (number, number + 1):
        text = "x" * size
        labels = {text: "v"} if name.endswith("key") else {"k": text}
        request = with_names(client, method)
        request.ClearField("labels")
        request.labels.update(labels)
        if size == number:
            taken(client, method, request)
        else:
            too_large(client, method, request, "labels")


# A token is the service's own: at its full length it is no valid one.
@pytest.mark.parametrize(
    "name, number",
    [
        limit("ListSessionsRequest.page_token", 2048),
        limit("ListMemoriesRequest.page_token", 2048),
        limit("DeleteSessionsRequest.resume_token", 2048),
        limit("CleanUpMemoriesRequest.resume_token", 2048),
    ],
)
def test_length_of_tokens(client, name, number):
    kind, field = name.split(".")
    method = kind[: -len("Request")]
    request = with_names(client, method)
    setattr(request, field, "x" * number)
    too_large(client, method, request, field, "PAGE_TOKEN_INVALID")
    setattr(request, field, "x" * (number + 1))
    too_large(client, method, request, field)


@pytest.mark.asan
def test_longest_names_all_at_once_work(client):
    """Not only taken: stored, found, listed, and used in tokens."""
    session = "s" * 512
    whole = dict(namespace="n" * 128, session=session)
    for n in range(3):
        made = pb.Memory(
            id="%d" % n + "i" * 127,
            key="%d" % n + "k" * 511,
            kind="k" * 128,
            role="r" * 128,
            author="a" * 128,
            source="o" * 128,
            content="x",
        )
        client.AppendMemories(
            memories=[made], request_id="%d" % n + "r" * 127, **whole
        )
    found, token = [], ""
    while True:
        answer = client.ListMemories(
            page_size=1,
            page_token=token,
            roles=["r" * 128],
            kinds=["k" * 128],
            order_by=pb.MEMORY_ORDER_KEY,
            **whole,
        )
        found += list(answer.memories)
        token = answer.next_page_token
        if not token:
            break
    assert len(found) == 3
    listed = client.ListSessions(namespace="n" * 128, prefix=session)
    assert [s.id for s in listed.sessions] == [session]
    client.DeleteSession(**whole)


# ---- numbers of elements ----------------------------------------------------


def memories(count):
    return [pb.Memory(content="x") for _ in range(count)]


def texts(count):
    return ["t%d" % n for n in range(count)]


def labels(count):
    return {"k%d" % n: "v" for n in range(count)}


COUNTED = {
    "memories": memories,
    "delete_keys": texts,
    "ids": texts,
    "keys": texts,
    "roles": texts,
    "kinds": texts,
    "labels": labels,
}


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("AppendMemoriesRequest.memories", 1000),
        limit("AppendMemoriesRequest.delete_keys", 1000),
        limit("ReplaceMemoriesRequest.memories", 10000),
        limit("GetMemoriesRequest.ids", 1000),
        limit("GetMemoriesRequest.keys", 1000),
        limit("DeleteMemoriesRequest.ids", 1000),
        limit("DeleteMemoriesRequest.keys", 1000),
        limit("ListMemoriesRequest.roles", 64),
        limit("ListMemoriesRequest.kinds", 64),
        limit("CreateSessionRequest.labels", 64),
        limit("UpdateSessionRequest.labels", 64),
        limit("ListSessionsRequest.labels", 64),
    ],
)
def test_count(client, name, number):
    for place in places_of(name):
        for count in (number, number + 1):
            request = with_names(client, place.method)
            holder = place.parent(request)
            for field in ("ids", "keys", place.field.name):
                if field in holder.DESCRIPTOR.fields_by_name:
                    holder.ClearField(field)
            made = COUNTED[place.field.name](count)
            if isinstance(made, dict):
                getattr(holder, place.field.name).update(made)
            else:
                getattr(holder, place.field.name).extend(made)
            if count == number:
                taken(client, place.method, request)
            else:
                too_large(client, place.method, request, place.path)


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("GetMemoriesRequest.ids+keys", 1000),
        limit("DeleteMemoriesRequest.ids+keys", 1000),
    ],
)
def test_ids_and_keys_together(client, name, number):
    method = name.split("Request")[0]
    half = number // 2

    def request(ids, keys):
        return client.request(
            method, session="s", ids=texts(ids), keys=texts(keys)
        )

    taken(client, method, request(half, half))
    code, reason, fields = send(client, method, request(half, half + 1))
    assert (code, reason) == ("INVALID_ARGUMENT", "TOO_LARGE")
    assert fields in (["keys"], ["ids"], ["ids", "keys"])


@pytest.mark.asan
@pytest.mark.parametrize("name, number", [limit("Memory.parts", 16)])
def test_parts(client, name, number):
    made = pb.Memory(parts=[pb.Part(mime_type="a/b", caption="c")] * number)
    client.append("s", made)
    assert len(client.list("s")[0].parts) == number
    made.parts.add(mime_type="a/b")
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "memories[1].parts"):
        client.append("s", "x", made)


@pytest.mark.parametrize("name, number", [limit("FieldMask.paths", 32)])
def test_paths_of_a_mask(client, name, number):
    """Only fifteen names exist, but a name may stand twice."""
    client.append("s", pb.Memory(id="i", content="x"))
    request = client.request(
        "UpdateMemory",
        session="s",
        id="i",
        memory={"role": "new"},
        update_mask={"paths": ["role"] * number},
    )
    taken(client, "UpdateMemory", request)
    request.update_mask.paths.append("role")
    too_large(client, "UpdateMemory", request, "update_mask")


# ---- metadata ---------------------------------------------------------------

METADATA = [
    "Memory.metadata",
    "CreateSessionRequest.metadata",
    "UpdateSessionRequest.metadata",
    "UpdateSessionRequest.metadata_patch",
    "UpdateMemoryRequest.metadata_patch",
    "AppendMemoriesRequest.session_metadata_patch",
]


def of_size(size):
    """A Struct of exactly so many bytes."""
    made = struct(k="")
    text = size - made.ByteSize()
    while True:
        made = struct(k="x" * text)
        if made.ByteSize() <= size:
            break
        text -= made.ByteSize() - size
    assert made.ByteSize() == size
    return made


def of_keys(count):
    return struct(**{"k%d" % n: True for n in range(count)})


def of_nested_keys(count):
    """The keys of every level count: 1 + 2 + the rest inside a list."""
    inner = {"n%d" % n: True for n in range(count - 3)}
    return struct(a={"b": [inner], "c": True})


def of_depth(levels):
    """A Struct within a Struct ...: itself is the first level."""
    made = struct(x=True)
    for _ in range(levels - 1):
        outer = struct_pb2.Struct()
        outer.fields["s"].struct_value.CopyFrom(made)
        made = outer
    return made


def of_list_depth(levels):
    """Lists are levels too."""
    value = struct_pb2.Value(bool_value=True)
    for _ in range(levels - 1):
        outer = struct_pb2.Value()
        outer.list_value.values.append(value)
        value = outer
    made = struct_pb2.Struct()
    made.fields["s"].CopyFrom(value)
    return made


def metadata_case(client, name, number, makers):
    for place in places_of(name):
        for make in makers:
            for count in (number, number + 1):
                request = with_names(client, place.method)
                place.put(request, make(count))
                if count == number:
                    taken(client, place.method, request)
                else:
                    too_large(client, place.method, request, place.path)


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("Memory.metadata", 65536),
        limit("CreateSessionRequest.metadata", 65536),
        limit("UpdateSessionRequest.metadata", 65536),
        limit("UpdateSessionRequest.metadata_patch", 65536),
        limit("UpdateMemoryRequest.metadata_patch", 65536),
        limit("AppendMemoriesRequest.session_metadata_patch", 65536),
    ],
)
def test_size_of_metadata(client, name, number):
    metadata_case(client, name, number, [of_size])


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("Memory.metadata", 256),
        limit("CreateSessionRequest.metadata", 256),
        limit("UpdateSessionRequest.metadata", 256),
        limit("UpdateSessionRequest.metadata_patch", 256),
        limit("UpdateMemoryRequest.metadata_patch", 256),
        limit("AppendMemoriesRequest.session_metadata_patch", 256),
        limit("Struct.fields", 256),
    ],
)
def test_keys_of_metadata(client, name, number):
    if name == "Struct.fields":
        name = "Memory.metadata"
    metadata_case(client, name, number, [of_keys, of_nested_keys])


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("Memory.metadata", 16),
        limit("CreateSessionRequest.metadata", 16),
        limit("UpdateSessionRequest.metadata", 16),
        limit("UpdateSessionRequest.metadata_patch", 16),
        limit("UpdateMemoryRequest.metadata_patch", 16),
        limit("AppendMemoriesRequest.session_metadata_patch", 16),
    ],
)
def test_depth_of_metadata(client, name, number):
    metadata_case(client, name, number, [of_depth, of_list_depth])


@pytest.mark.asan
def test_metadata_at_its_limits_comes_back(client):
    for made in (of_size(65536), of_keys(256), of_depth(16), of_list_depth(16)):
        client.append("s", pb.Memory(content="x", metadata=made))
        assert client.list("s")[-1].metadata == made


def laid_over(first, patch):
    merged = struct_pb2.Struct()
    merged.CopyFrom(first)
    for key, value in patch.fields.items():
        merged.fields[key].CopyFrom(value)
    return merged


def patch_to_size(first, size):
    """A patch that makes first exactly so many bytes."""
    text = size
    while True:
        made = struct(k="x" * text)
        over = laid_over(first, made).ByteSize() - size
        if over <= 0:
            break
        text -= over
    assert over == 0
    return made


# What is there, a patch that just fits beside it, and one that is one too much.
MERGED = {
    "merged_metadata.size": lambda number: (
        struct(j="x" * 30000),
        patch_to_size(struct(j="x" * 30000), number),
        patch_to_size(struct(j="x" * 30000), number + 1),
    ),
    "merged_metadata.keys": lambda number: (
        of_keys(number - 2),
        struct(x=True, y=True),
        struct(x=True, y=True, z=True),
    ),
}


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("merged_metadata.size", 65536),
        limit("merged_metadata.keys", 256),
    ],
)
@pytest.mark.parametrize(
    "method", ["UpdateSession", "UpdateMemory", "AppendMemories"]
)
def test_metadata_after_a_merge(client, method, name, number):
    """A patch that fits by itself may add up to what does not."""
    first, fits, more = MERGED[name](number)
    patch, own = "metadata_patch", {}
    if method == "UpdateMemory":
        client.append("s", pb.Memory(id="i", content="x", metadata=first))
        own = {"id": "i"}
    else:
        client.CreateSession(session="s", metadata=first)
    if method == "AppendMemories":
        patch, own = "session_metadata_patch", {"memories": memories(1)}

    def change(by):
        getattr(client, method)(session="s", **own, **{patch: by})

    with refused("INVALID_ARGUMENT", "TOO_LARGE", patch):
        change(more)
    change(fits)
    if method == "UpdateMemory":
        got = client.list("s")[0].metadata
    else:
        got = client.session("s").metadata
    assert got == laid_over(first, fits)
    if name.endswith("size"):
        assert got.ByteSize() == number


# ---- sizes of whole messages ------------------------------------------------


def memory_of(size):
    """A Memory of exactly so many bytes: content and a part."""
    made = pb.Memory(content="c" * (1 << 20))
    part = made.parts.add(mime_type="a/b")
    part.data = b"d" * (size - made.ByteSize())
    while made.ByteSize() > size:
        part.data = part.data[: len(part.data) - (made.ByteSize() - size)]
    assert made.ByteSize() == size
    return made


@pytest.mark.asan
@pytest.mark.parametrize(
    "name, number",
    [
        limit("AppendMemoriesRequest.memories", 1572864),
        limit("ReplaceMemoriesRequest.memories", 1572864),
        limit("UpdateMemoryRequest.memory", 1572864),
    ],
)
def test_size_of_a_memory(client, name, number):
    for place in places_of(name):
        for size in (number, number + 1):
            request = with_names(client, place.method)
            made = memory_of(size)
            path = place.path
            if place.method == "UpdateMemory":
                request.memory.CopyFrom(made)
            else:
                holder = place.parent(request)
                del holder.memories[:]
                holder.memories.append(made)
                path += "[0]"
            if size == number:
                taken(client, place.method, request)
            else:
                too_large(client, place.method, request, path)


@pytest.mark.asan
def test_the_largest_memory_comes_back(client):
    made = memory_of(1572864)
    client.append("s", made)
    (got,) = client.list("s")
    assert got.content == made.content and got.parts == made.parts
    # What the service adds (id, times) does not count against the caller, nor
    # does it keep it from being read or popped.
    (popped,) = client.PopMemories(session="s").memories
    assert popped.parts == made.parts


def test_update_keeps_to_the_size_of_a_memory(client):
    """Each change is small enough; what it would add up to is not."""
    client.append("s", pb.Memory(id="i", content="x" * (1 << 20)))
    half = pb.Part(mime_type="a/b", data=b"x" * (600 << 10))
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "memory"):
        client.UpdateMemory(session="s", id="i", memory={"parts": [half]})
    assert not client.list("s")[0].parts


def request_of(client, size):
    request = client.request(
        "AppendMemories",
        session="s",
        memories=[pb.Memory(content="x" * (1 << 20)) for _ in range(3)],
    )
    last = request.memories.add(content="x")
    last.content = "x" * (size - request.ByteSize())
    while request.ByteSize() > size:
        last.content = last.content[: -(request.ByteSize() - size)]
    assert request.ByteSize() == size
    return request


@pytest.mark.asan
@pytest.mark.limit("request.size", 4194304)
def test_size_of_a_request(client):
    """4 MiB is taken, a byte more is not."""
    client.call("AppendMemories", request_of(client, 4 << 20))
    assert client.session("s").memory_count == 4
    with pytest.raises(grpc.RpcError) as caught:
        client.call("AppendMemories", request_of(client, (4 << 20) + 1))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert client.session("s").memory_count == 4


@pytest.mark.asan
def test_ten_thousand_replaced_within_four_mebibytes(client):
    answer = client.ReplaceMemories(session="s", memories=memories(10000))
    assert answer.session.memory_count == 10000
    assert [m.sequence for m in answer.memories] == list(range(1, 10001))
    assert answer.ByteSize() <= 3584 * 1024


# ---- numbers ----------------------------------------------------------------

BIG = 2**31 - 1


def policy(**fields):
    return "CreateSession", {"policy": fields}, "policy." + list(fields)[-1]


def one_memory(**fields):
    return (
        "AppendMemories",
        {"memories": [dict(content="x", **fields)]},
        "memories[0]." + list(fields)[0],
    )


def seconds(count, nanos=0):
    return duration_pb2.Duration(seconds=count, nanos=nanos)


CENTURY = 100 * 365 * 86400


def clean_up(**fields):
    return "CleanUpMemories", dict(session="none", **fields), next(iter(fields))


def ranged(name, number, make, good, bad):
    """One row: a field, its largest number, and what is taken and refused."""
    return pytest.param(
        make, good, bad, id=name, marks=pytest.mark.limit(name, number)
    )


@pytest.mark.asan
@pytest.mark.parametrize(
    "make, good, bad",
    [
        ranged(
            "SessionPolicy.max_memories",
            2147483647,
            lambda n: policy(max_memories=n),
            [1, BIG],
            [0, BIG + 1],
        ),
        ranged(
            "SessionPolicy.max_tokens",
            2147483647,
            lambda n: policy(max_tokens=n),
            [1, BIG],
            [0, BIG + 1],
        ),
        ranged(
            "SessionPolicy.evict_above",
            2147483647,
            lambda n: policy(evict_above=n),
            [1, BIG],
            [0, BIG + 1],
        ),
        ranged(
            "SessionPolicy.evict_to",
            2147483647,
            lambda n: policy(evict_above=BIG, evict_to=n),
            [1, BIG],
            [0, BIG + 1],
        ),
        ranged(
            "SessionPolicy.evict_above_tokens",
            2147483647,
            lambda n: policy(evict_above_tokens=n),
            [1, BIG],
            [0, BIG + 1],
        ),
        ranged(
            "SessionPolicy.evict_to_tokens",
            2147483647,
            lambda n: policy(evict_above_tokens=BIG, evict_to_tokens=n),
            [1, BIG],
            [0, BIG + 1],
        ),
        ranged(
            "SessionPolicy.max_age",
            3153600000,
            lambda n: policy(max_age=seconds(*n)),
            [(0, 1000), (CENTURY, 0)],
            [(0, 0), (CENTURY, 1000)],
        ),
        ranged(
            "SessionPolicy.ttl",
            3153600000,
            lambda n: policy(ttl=seconds(*n)),
            [(1, 0), (CENTURY, 0)],
            [(0, 0), (CENTURY, 1000)],
        ),
        ranged(
            "SessionPolicy.idempotency_window",
            604800,
            lambda n: policy(idempotency_window=seconds(*n)),
            [(1, 0), (7 * 86400, 0)],
            [(0, 999999000), (7 * 86400, 1000)],
        ),
        ranged(
            "SessionPolicy.cleanup_interval",
            604800,
            lambda n: policy(cleanup_interval=seconds(*n)),
            [(1, 0), (7 * 86400, 0)],
            [(0, 999999000), (7 * 86400, 1000)],
        ),
        ranged(
            "Memory.ttl",
            3153600000,
            lambda n: one_memory(ttl=seconds(*n)),
            [(1, 0), (CENTURY, 0)],
            [(0, 0), (CENTURY, 1000)],
        ),
        ranged(
            "Memory.token_count",
            2147483647,
            lambda n: one_memory(token_count=n),
            [0, BIG],
            [-1, BIG + 1],
        ),
        ranged(
            "ListMemoriesRequest.offset",
            10000,
            lambda n: ("ListMemories", {"offset": n}, "offset"),
            [0, 10000],
            [-1, 10001],
        ),
        ranged(
            "PopMemoriesRequest.count",
            1000,
            lambda n: ("PopMemories", {"count": n}, "count"),
            [0, 1000],
            [-1, 1001],
        ),
        ranged(
            "CleanUpMemoriesRequest.min_age",
            3153600000,
            lambda n: clean_up(min_age=seconds(*n)),
            [(0, 1000), (CENTURY, 0)],
            [(0, 0), (CENTURY, 1000)],
        ),
        ranged(
            "CleanUpMemoriesRequest.min_idle",
            3153600000,
            lambda n: clean_up(min_idle=seconds(*n)),
            [(0, 1000), (CENTURY, 0)],
            [(0, 0), (CENTURY, 1000)],
        ),
        ranged(
            "CleanUpMemoriesRequest.max_age_days",
            36500,
            lambda n: clean_up(max_age_days=n),
            [1, 36500],
            [0, -1, 36501],
        ),
        (lambda n: clean_up(max_importance=n), [0.0, 1.0], [-1e-9, 1 + 1e-9]),
        (lambda n: clean_up(min_importance=n), [0.0, 1.0], [-1e-9, 1 + 1e-9]),
        (lambda n: one_memory(importance=n), [0.0, 1.0], [-1e-9, 1 + 1e-9]),
        (
            lambda n: ("ListMemories", {"max_tokens": n}, "max_tokens"),
            [1, BIG],
            [0, BIG + 1],
        ),
        (
            lambda n: ("ListMemories", {"page_size": n}, "page_size"),
            [0, BIG],
            [-1],
        ),
        (
            lambda n: ("ListSessions", {"page_size": n}, "page_size"),
            [0, BIG],
            [-1],
        ),
        (
            lambda n: (
                "ReplaceMemories",
                {"from_sequence": n},
                "from_sequence",
            ),
            [1, 2**63 - 1],
            [0, -1],
        ),
    ],
)
def test_ranges(client, make, good, bad):
    for number, fine in [(n, True) for n in good] + [(n, False) for n in bad]:
        method, fields, path = make(number)
        request = with_names(client, method)
        holder = request_type(method)(**fields)
        for name in fields:
            request.ClearField(name)
        request.MergeFrom(holder)
        if fine:
            taken(client, method, request)
        else:
            too_large(client, method, request, path, "INVALID_VALUE")


@pytest.mark.asan
@pytest.mark.limit("ListMemoriesRequest.page_size", 1000)
def test_pages_of_more_than_a_thousand_are_coerced(client):
    client.append("s", *memories(1000))
    client.append("s", *memories(100))
    for size in (1001, BIG):
        answer = client.ListMemories(session="s", page_size=size)
        assert len(answer.memories) == 1000
        assert answer.next_page_token
    assert len(client.list("s", page_size=1000)) == 1000
    assert len(client.list("s", page_size=0)) == 50


@pytest.mark.limit("ListSessionsRequest.page_size", 1000)
def test_pages_of_sessions_of_more_than_a_thousand_are_coerced(client):
    items = [client.item("s%04d" % n, "x") for n in range(1001)]
    assert len(list(client.ingest(items))) == 1001
    answer = client.ListSessions(page_size=BIG)
    assert len(answer.sessions) == 1000
    assert answer.next_page_token
    assert len(client.ListSessions().sessions) == 50


@pytest.mark.limit("ListMemories.examined", 10000)
def test_memories_examined_for_a_page(client):
    """A page looks at 10,000 memories; where it finds none, the next goes on."""
    made = memories(10001)
    made[9999].role = "tenth"  # the 10,000th
    made[10000].role = "late"  # one more
    client.ReplaceMemories(session="s", memories=made[:9000])
    client.append("s", *made[9000:9999])
    client.append("s", *made[9999:])
    base = dict(session="s", anchor=pb.ANCHOR_OLDEST)
    found = client.ListMemories(roles=["tenth"], **base)
    assert [m.sequence for m in found.memories] == [10000]
    short = client.ListMemories(roles=["late"], **base)
    assert not short.memories and short.next_page_token
    rest = client.ListMemories(
        roles=["late"], page_token=short.next_page_token, **base
    )
    assert [m.sequence for m in rest.memories] == [10001]
    assert not rest.next_page_token


@pytest.mark.limit("ListSessions.examined", 1000)
def test_sessions_examined_for_a_page(client):
    items = [client.item("s%04d" % n, "x") for n in range(1001)]
    assert len(list(client.ingest(items))) == 1001
    client.UpdateSession(session="s0999", labels={"k": "thousandth"})
    client.UpdateSession(session="s1000", labels={"k": "late"})
    found = client.ListSessions(labels={"k": "thousandth"})
    assert [s.id for s in found.sessions] == ["s0999"]
    short = client.ListSessions(labels={"k": "late"})
    assert not short.sessions and short.next_page_token
    rest = client.ListSessions(
        labels={"k": "late"}, page_token=short.next_page_token
    )
    assert [s.id for s in rest.sessions] == ["s1000"]


@pytest.mark.asan
@pytest.mark.limit("reply.size", 3670016)
@pytest.mark.parametrize("method", ["ListMemories", "PopMemories"])
def test_size_of_a_reply(client, method):
    """Four memories of 0.9 MiB do not fit into 3.5 MiB, four of 0.8 do."""
    for tenths, fitting in ((8, 4), (9, 3)):
        session = "s%d" % tenths
        client.append(session, *["x" * ((1 << 20) * tenths // 10)] * 2)
        client.append(session, *["x" * ((1 << 20) * tenths // 10)] * 2)
        fields = {"count": 4} if method == "PopMemories" else {}
        answer = getattr(client, method)(session=session, **fields)
        assert len(answer.memories) == fitting
        assert answer.ByteSize() <= 3670016


@pytest.mark.asan
def test_pop_of_a_thousand(client):
    client.append("s", *memories(1000))
    client.append("s", "one more")
    answer = client.PopMemories(session="s", count=1000)
    assert len(answer.memories) == 1000
    assert answer.session.memory_count == 1


@pytest.mark.asan
def test_an_empty_batch_and_names_are_no_less_than_one(client):
    for method in ("GetMemories", "DeleteMemories"):
        with refused("INVALID_ARGUMENT", "REQUIRED"):
            getattr(client, method)(session="s")
    with refused("INVALID_ARGUMENT", "REQUIRED", "memories"):
        client.AppendMemories(session="s")


@pytest.mark.asan
def test_expire_time_far_away(client):
    stamp = timestamp_pb2.Timestamp(seconds=253402300799)
    client.append("s", pb.Memory(content="x", expire_time=stamp))
    assert client.list("s")[0].expire_time == stamp


@pytest.mark.asan
def test_number_of_unread_bytes_is_no_way_around(client):
    """A field's length on the wire that runs beyond the message."""
    for size in (2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1):
        data = wire.tag(9, wire.BYTES) + wire.varint(size) + b"x"
        with refused("INVALID_ARGUMENT", "MALFORMED"):
            client.raw(
                "AppendMemories", wire.data(2, "s") + wire.data(3, data)
            )


# Not on the sanitizer build: it takes as many sessions.
@pytest.mark.limit("ListMemories.sessions_of_many", 100000)
def test_a_hundred_thousand_sessions(start_server):
    client = start_server().client("n")
    make(client, ["s%06d" % n for n in range(100000)])
    got = client.ListMemories(session_prefix="s", page_size=2)
    assert len(got.memories) == 2
    client.CreateSession(session="s-one-too-many")
    with refused("FAILED_PRECONDITION", "LIST_TOO_LARGE"):
        client.ListMemories(session_prefix="s", page_size=2)
    assert client.ListMemories(session_prefix="s0", page_size=2).memories
