"""Errors: every one says code, reason, field, and what to do."""

import grpc
import pytest

import pb
import wire
from harness import PATIENCE, explain, path, refused, struct, wait_for

pytestmark = pytest.mark.asan


def test_text_reason_and_field_of_an_argument(client):
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "memories[1].id") as why:
        client.append("s", "x", pb.Memory(id="i" * 129, content="y"))
    assert "128" in why.message
    assert why.retry is None


def test_conflicts_carry_the_current_revision(client):
    client.append("s", "x")
    client.append("s", "y")
    calls = dict(
        AppendMemories=dict(memories=[pb.Memory(content="z")]),
        ClearSession={},
        DeleteSession={},
        PopMemories={},
        ReplaceMemories={},
        DeleteMemories=dict(ids=["i"]),
    )
    for method, fields in calls.items():
        with refused("ABORTED", "REVISION_MISMATCH") as why:
            getattr(client, method)(
                session="s", expected_revision=1, **fields
            )
        assert why.metadata["current_revision"] == "2", method
    del calls["PopMemories"]  # the session's absence comes first there
    for method, fields in calls.items():
        with refused("ABORTED", "REVISION_MISMATCH") as why:
            getattr(client, method)(
                session="absent", expected_revision=1, **fields
            )
        assert why.metadata["current_revision"] == "0", method


@pytest.mark.parametrize("method", [m.name for m in pb.served_methods()])
def test_garbage_is_refused_with_details(client, method):
    """Whatever the bytes are: an answer with a reason, never INTERNAL."""
    if method == "IngestMemories":
        call = client.channel.stream_stream(path(method))
    garbage = [
        b"\xff",
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x08\x01",  # field 1 as a number
        b"\x0d\x00\x00\x00\x00",  # field 1 as fixed32
        b"\x00\x00",  # field 0
        b"\x0b\x0c",  # field 1 as a group
        b"\x0c",  # the end of a group
        b"\x0e\x00",  # wire type 6
        b"\x80" * 11,
    ]
    for data in garbage:
        if method == "IngestMemories":
            # An item that can't be read: its own error, or the stream's.
            try:
                answers = [
                    pb.IngestMemoriesResponse.FromString(each)
                    for each in call(iter([data]), timeout=PATIENCE)
                ]
            except grpc.RpcError as error:
                got = explain(error)
                assert got.code in ("INVALID_ARGUMENT", "UNIMPLEMENTED")
            else:
                assert len(answers) == 1
                assert answers[0].error.code in (3, 12), (data, answers)
                assert answers[0].error.reason in ("MALFORMED", "UNKNOWN_FIELD")
            continue
        try:
            client.raw(method, data)
        except grpc.RpcError as error:
            got = explain(error)
            assert (got.code, got.reason) in (
                ("INVALID_ARGUMENT", "MALFORMED"),
                ("UNIMPLEMENTED", "UNKNOWN_FIELD"),
            ), (data, got.code, got.reason)
        else:
            raise AssertionError("%s took %r" % (method, data))


def test_malformed_deep_inside_says_where(client):
    bad = wire.data(11, wire.data(1, b"\x0a\x7fx"))
    with refused("INVALID_ARGUMENT", "MALFORMED") as why:
        client.raw(
            "AppendMemories",
            wire.data(2, "s")
            + wire.data(3, wire.data(9, "fine"))
            + wire.data(3, wire.data(9, "x") + bad),
        )
    assert "Struct" in why.message or "memories[1]" in why.fields


def test_unknown_method_of_the_service(client):
    call = client.channel.unary_unary("/%s/NoSuch" % pb.SERVICE_NAME)
    with refused("UNIMPLEMENTED", "UNKNOWN_METHOD") as why:
        call(b"", timeout=PATIENCE)
    assert "NoSuch" in why.message


@pytest.mark.parametrize(
    "name",
    [
        "/other.Service/Method",
        "/",
        "/x",
        "/mneme.v1.MemoryBackend/",
        "/mneme.v1.MemoryBackend/appendMemories",
        "/mneme.v2.MemoryBackend/AppendMemories",
        "/" + "long" * 500,
    ],
    ids=lambda each: each[:40],
)
def test_unknown_methods_answer_at_once(client, name):
    """The core leaves them hanging unless somebody answers them."""
    with refused("UNIMPLEMENTED", "UNKNOWN_METHOD"):
        client.channel.unary_unary(name)(b"", timeout=PATIENCE)
    with pytest.raises(grpc.RpcError) as caught:
        list(
            client.channel.stream_stream(name)(
                iter([b"", b""]), timeout=PATIENCE
            )
        )
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_texts_stay_small_and_whole(client):
    """What a client sends comes back in a text cut, but not within a character
    (see harness.explain: text and details must be the same valid UTF-8)."""
    evil = "\x1b[31m\r\nfake: line\"'\\" + "é" * 40
    long = "é" * 250
    for send in (
        lambda: client.UpdateSession(session=evil, labels={"a": "b"}),
        lambda: client.append(
            "s", pb.Memory(id=evil, content="x"), pb.Memory(id=evil, content="y")
        ),
        lambda: client.append("s", "x", namespace="a/" + evil),
        lambda: client.ListMemories(session="s", page_token=evil),
        lambda: client.GetSession(session=long),
        lambda: client.GetSession(session="\x01" * 512),
        lambda: client.UpdateMemory(
            session=long, key=long, memory={"role": "x"}
        ),
        lambda: client.UpdateMemory(
            session="x" + long, key=long, memory={"role": "x"}
        ),
        lambda: client.CreateSession(labels={evil: "x" * 129}),
        lambda: client.append(
            "s", pb.Memory(content="x", metadata=struct(**{evil: float("nan")}))
        ),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            send()
        got = explain(caught.value)
        texts = [got.message] + list(got.fields) + list(got.metadata.values())
        for text in texts:
            assert len(text.encode()) <= 2048


def test_not_found_names_what_was_not_found(client):
    with refused("NOT_FOUND", "SESSION_NOT_FOUND") as why:
        client.GetSession(session="the name")
    assert "the name" in why.message
    client.append("s", "x")
    with refused("NOT_FOUND", "MEMORY_NOT_FOUND") as why:
        client.UpdateMemory(session="s", id="the id", memory={"role": "x"})
    assert "the id" in why.message


def test_a_full_server_says_so_and_when_to_come_back(start_server):
    """One call may be under way, and a stream is one. Health is not counted:
    a full server is no dead one."""
    import threading

    server = start_server("limits: { calls: 1 }\n")
    client = server.client("n")
    done = threading.Event()

    def one_then_wait():
        yield pb.IngestMemoriesRequest(append=client.item("s", "x"))
        done.wait(PATIENCE)

    stream = client.stub.IngestMemories(one_then_wait(), timeout=PATIENCE)
    assert next(stream).HasField("append")
    with refused("UNAVAILABLE", "BUSY") as why:
        client.append("s", "y")
    assert 0 < why.retry <= 10
    health = client.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert health(b"", timeout=PATIENCE) == b"\x08\x01"  # SERVING
    done.set()
    assert list(stream) == []

    def admitted():
        try:
            return client.append("s", "y")
        except grpc.RpcError as error:
            assert explain(error).reason == "BUSY"
            return None

    wait_for("a place", admitted)
    assert client.texts("s") == ["x", "y"]
