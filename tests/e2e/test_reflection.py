"""What foreign tools see: reflection v1 and v1alpha, health, the published
.protoset, stubs beside everybody else's."""

import json
import subprocess
import sys

import grpc
import pytest
from google.protobuf import descriptor_pb2

import pb
from harness import BUILD, PATIENCE, refused

pytestmark = pytest.mark.asan

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "mneme.v1.MemoryBackend",
]


class Reflection:
    """One version of the reflection service, by the messages of our copy."""

    def __init__(self, channel, version):
        package = "grpc.reflection.%s" % version
        self.classes = pb.foreign("grpc/reflection/%s/reflection.proto" % version)
        self.request = self.classes[package + ".ServerReflectionRequest"]
        self.method = channel.stream_stream(
            "/%s.ServerReflection/ServerReflectionInfo" % package,
            request_serializer=self.request.SerializeToString,
            response_deserializer=self.classes[
                package + ".ServerReflectionResponse"
            ].FromString,
        )

    def ask(self, *requests):
        made = [self.request(**each) for each in requests]
        return list(self.method(iter(made), timeout=PATIENCE))


@pytest.fixture(params=["v1", "v1alpha"])
def reflection(channel, request):
    return Reflection(channel, request.param)


def files_of(answer):
    assert answer.WhichOneof("message_response") == "file_descriptor_response"
    return {
        file.name: file
        for file in map(
            descriptor_pb2.FileDescriptorProto.FromString,
            answer.file_descriptor_response.file_descriptor_proto,
        )
    }


def test_reflection_lists_the_services(reflection):
    (answer,) = reflection.ask(dict(list_services="*"))
    names = [each.name for each in answer.list_services_response.service]
    assert sorted(names) == SERVICES


@pytest.mark.parametrize(
    "symbol, file",
    [
        ("mneme.v1.MemoryBackend", "mneme/v1/memory_backend.proto"),
        (
            "mneme.v1.MemoryBackend.AppendMemories",
            "mneme/v1/memory_backend.proto",
        ),
        ("mneme.v1.Memory", "mneme/v1/types.proto"),
        ("mneme.v1.Memory.content", "mneme/v1/types.proto"),
        ("mneme.v1.Tier", "mneme/v1/types.proto"),
        ("mneme.v1.ErrorReason", "mneme/v1/error_reason.proto"),
        ("mneme.v1.SearchMemoriesRequest", "mneme/v1/search.proto"),
        ("google.protobuf.Struct", "google/protobuf/struct.proto"),
        ("grpc.health.v1.Health", "grpc/health/v1/health.proto"),
    ],
)
def test_reflection_finds_symbols(reflection, symbol, file):
    (answer,) = reflection.ask(dict(file_containing_symbol=symbol))
    assert file in files_of(answer)
    assert answer.original_request.file_containing_symbol == symbol


def test_reflection_finds_files(reflection):
    names = ["mneme/v1/types.proto", "google/protobuf/timestamp.proto"]
    answers = reflection.ask(*[dict(file_by_filename=name) for name in names])
    for name, answer in zip(names, answers):
        assert name in files_of(answer)


def test_reflection_shows_the_published_contract(reflection):
    """With `optional` as published, not as the C build derives it."""
    (answer,) = reflection.ask(dict(file_by_filename="mneme/v1/types.proto"))
    served = files_of(answer)["mneme/v1/types.proto"]
    (published,) = [
        file for file in pb.described().file if file.name == served.name
    ]
    plain = descriptor_pb2.FileDescriptorProto()
    plain.CopyFrom(published)
    plain.ClearField("source_code_info")
    served.ClearField("source_code_info")
    assert served == plain


def test_reflection_knows_what_it_does_not_have(reflection):
    answers = reflection.ask(
        dict(file_containing_symbol="no.such.Symbol"),
        dict(file_by_filename="no/such.proto"),
        dict(all_extension_numbers_of_type="no.such.Type"),
        dict(
            file_containing_extension=dict(
                containing_type="mneme.v1.Memory", extension_number=5
            )
        ),
        dict(list_services=""),
    )
    assert len(answers) == 5  # an error does not end the stream
    for answer in answers[:4]:
        assert answer.error_response.error_code == 5, answer  # NOT_FOUND
    assert answers[4].list_services_response.service


def test_reflection_lists_no_extensions(reflection):
    (answer,) = reflection.ask(
        dict(all_extension_numbers_of_type="mneme.v1.Memory")
    )
    if answer.WhichOneof("message_response") == "error_response":
        assert answer.error_response.error_code in (5, 12)
    else:
        got = answer.all_extension_numbers_response
        assert got.base_type_name == "mneme.v1.Memory"
        assert not got.extension_number


def test_reflection_keeps_nobody_out_of_memory(reflection):
    """A thousand questions in one stream."""
    asked = [dict(file_containing_symbol="mneme.v1.Memory")] * 1000
    assert len(reflection.ask(*asked)) == 1000


# ---- grpcurl ----------------------------------------------------------------


def test_grpcurl_lists_and_describes(server, grpcurl):
    ended = grpcurl("-plaintext", server.address, "list")
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.split()) == SERVICES
    ended = grpcurl("-plaintext", server.address, "list", pb.SERVICE_NAME)
    assert sorted(ended.stdout.split()) == sorted(
        method.full_name for method in pb.SERVICE.methods
    )
    ended = grpcurl(
        "-plaintext", server.address, "describe", "mneme.v1.Memory"
    )
    assert ended.returncode == 0, ended.stderr
    assert "optional double importance = 12;" in ended.stdout
    ended = grpcurl("-plaintext", server.address, "describe")
    assert ended.returncode == 0, ended.stderr


def test_grpcurl_calls(server, grpcurl, namespace):
    request = dict(
        namespace=namespace,
        session="s",
        memories=[dict(role="user", content="My name is Bob")],
    )
    ended = grpcurl(
        "-plaintext",
        "-d",
        json.dumps(request),
        server.address,
        "mneme.v1.MemoryBackend/AppendMemories",
    )
    assert ended.returncode == 0, ended.stderr
    ended = grpcurl(
        "-plaintext",
        "-d",
        json.dumps(dict(namespace=namespace, session="s")),
        server.address,
        "mneme.v1.MemoryBackend/ListMemories",
    )
    (memory,) = json.loads(ended.stdout)["memories"]
    assert (memory["sequence"], memory["content"]) == ("1", "My name is Bob")


def test_grpcurl_shows_the_details_of_an_error(server, grpcurl, namespace):
    ended = grpcurl(
        "-plaintext",
        "-format-error",
        "-d",
        json.dumps(dict(namespace=namespace, session="s")),
        server.address,
        "mneme.v1.MemoryBackend/GetSession",
    )
    assert ended.returncode == 64 + 5
    assert "SESSION_NOT_FOUND" in ended.stderr


def test_grpcurl_with_the_published_protoset(server, grpcurl, namespace):
    protoset = BUILD / "mneme.protoset"
    assert protoset.exists()
    ended = grpcurl("-protoset", protoset, "list")
    assert ended.stdout.split() == [pb.SERVICE_NAME]
    ended = grpcurl(
        "-plaintext",
        "-protoset",
        protoset,
        "-d",
        json.dumps(dict(namespace=namespace)),
        server.address,
        "mneme.v1.MemoryBackend/GetStats",
    )
    assert ended.returncode == 0, ended.stderr


def test_grpcurl_ingests_a_stream(server, grpcurl, namespace):
    items = "".join(
        json.dumps(
            dict(
                append=dict(
                    namespace=namespace,
                    session="s",
                    memories=[dict(content="Message %d" % n)],
                )
            )
        )
        for n in range(3)
    )
    ended = grpcurl(
        "-plaintext",
        "-d",
        items,
        server.address,
        "mneme.v1.MemoryBackend/IngestMemories",
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count('"lastSequence"') == 3


# ---- health -----------------------------------------------------------------


class Health:
    def __init__(self, channel):
        classes = pb.foreign("grpc/health/v1/health.proto")
        name = "grpc.health.v1.Health"
        self.request = classes[name + "CheckRequest"]
        self.states = classes[name + "CheckResponse"].ServingStatus

        def method(kind, what, request, response):
            return kind(
                "/%s/%s" % (name, what),
                request_serializer=classes[name + request].SerializeToString,
                response_deserializer=classes[name + response].FromString,
            )

        self.check_method = method(
            channel.unary_unary, "Check", "CheckRequest", "CheckResponse"
        )
        self.watch_method = method(
            channel.unary_stream, "Watch", "CheckRequest", "CheckResponse"
        )
        self.list_method = method(
            channel.unary_unary, "List", "ListRequest", "ListResponse"
        )
        self.list_request = classes[name + "ListRequest"]

    def check(self, service=""):
        answer = self.check_method(
            self.request(service=service), timeout=PATIENCE
        )
        return self.states.Name(answer.status)

    def watch(self, service="", timeout=None):
        return self.watch_method(
            self.request(service=service), timeout=timeout or PATIENCE
        )


@pytest.fixture
def health(channel):
    return Health(channel)


def test_health_check(health, client):
    assert health.check() == "SERVING"
    assert health.check("mneme.v1.MemoryBackend") == "SERVING"
    for backend in client.ListBackends().backends:
        assert health.check("backend/" + backend.name) == "SERVING"
    for unknown in ("nobody", "backend/", "backend/nobody", "mneme.v1"):
        with pytest.raises(grpc.RpcError) as caught:
            health.check(unknown)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_list(health, client):
    answer = health.list_method(health.list_request(), timeout=PATIENCE)
    names = {"", "mneme.v1.MemoryBackend"} | {
        "backend/" + each.name for each in client.ListBackends().backends
    }
    assert set(answer.statuses) == names
    assert {each.status for each in answer.statuses.values()} == {1}


def test_health_watch(health):
    call = health.watch()
    assert next(call).status == 1
    call.cancel()
    call = health.watch("nobody")
    assert health.states.Name(next(call).status) == "SERVICE_UNKNOWN"
    call.cancel()


def test_health_watch_ends_at_its_deadline(health):
    call = health.watch(timeout=0.3)
    assert next(call).status == 1
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_many_watchers_hinder_nobody(health, client):
    calls = [health.watch() for _ in range(90)]
    assert [next(each).status for each in calls] == [1] * 90
    assert client.append("s", "x").session.revision == 1
    for each in calls:
        each.cancel()
    assert health.check() == "SERVING"


# ---- stubs ------------------------------------------------------------------


FOREIGN = """
import sys
sys.path[:0] = {path!r}
# Everybody else's: the public google.rpc, in either order.
if {first}:
    from google.rpc import status_pb2, error_details_pb2, code_pb2
from mneme.v1 import memory_backend_pb2 as m, memory_backend_pb2_grpc as g
from mneme.v1 import types_pb2 as t
from google.rpc import status_pb2, error_details_pb2, code_pb2
import grpc

channel = grpc.insecure_channel({address!r}, [("grpc.enable_http_proxy", 0)])
stub = g.MemoryBackendStub(channel)
answer = stub.AppendMemories(
    m.AppendMemoriesRequest(
        namespace={namespace!r}, session="s", memories=[t.Memory(content="x")]
    ),
    timeout=30,
)
assert answer.memories[0].sequence == 1
try:
    stub.GetSession(
        m.GetSessionRequest(namespace={namespace!r}, session="no"), timeout=30
    )
except grpc.RpcError as error:
    raw = dict(error.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(raw)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    print(info.domain, info.reason)
"""


@pytest.mark.parametrize("first", [True, False])
def test_stubs_beside_googleapis(server, namespace, first):
    """In a process of its own: no symbol is defined twice, and the details of
    errors unpack into the public messages."""
    code = FOREIGN.format(
        path=[pb.memory_backend_pb2.__file__.rsplit("/mneme/", 1)[0]],
        first=first,
        address=server.address,
        namespace=namespace,
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == ["mneme", "SESSION_NOT_FOUND"]


def test_unknown_services_of_known_packages(channel):
    for name in (
        "/grpc.health.v1.Health/NoSuch",
        "/grpc.channelz.v1.Channelz/GetServers",
        "/grpc.reflection.v1.ServerReflection/NoSuch",
    ):
        with refused("UNIMPLEMENTED", "UNKNOWN_METHOD"):
            channel.unary_unary(name)(b"", timeout=PATIENCE)
