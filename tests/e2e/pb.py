"""Python stubs of the contract, made from the published .proto files once for
each run of the tests, and the descriptor set with its comments.

Everything that the .proto files declare stands here by its own name:
pb.Memory, pb.ANCHOR_OLDEST, pb.MemoryBackendStub ...
"""

import atexit
import functools
import pathlib
import shutil
import sys
import tempfile

import grpc_tools
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
WELL_KNOWN = pathlib.Path(grpc_tools.__file__).parent / "_proto"
SERVER_PROTO = ROOT / "service/transport/proto"

_folder = tempfile.mkdtemp(prefix="mneme-stubs-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


def run_protoc(*arguments):
    status = protoc.main(
        ["protoc", "-I%s" % WELL_KNOWN] + [str(each) for each in arguments]
    )
    if status:
        raise RuntimeError("protoc failed: %r" % (arguments,))


_files = sorted(PROTO.glob("mneme/v1/*.proto"))
run_protoc(
    "-I%s" % PROTO,
    "--python_out=%s" % _folder,
    "--grpc_python_out=%s" % _folder,
    *_files,
)
sys.path.insert(0, _folder)

from mneme.v1.types_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.error_reason_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.cleanup_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.context_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.delete_sessions_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.embed_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.links_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.search_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.memory_backend_pb2 import *  # noqa: E402,F401,F403
from mneme.v1.memory_backend_pb2_grpc import MemoryBackendStub  # noqa: E402,F401
from mneme.v1 import memory_backend_pb2  # noqa: E402

SERVICE_NAME = "mneme.v1.MemoryBackend"
SERVICE = memory_backend_pb2.DESCRIPTOR.services_by_name["MemoryBackend"]


@functools.lru_cache(None)
def described():
    """The published files as a FileDescriptorSet with comments."""
    out = pathlib.Path(_folder) / "described.protoset"
    run_protoc(
        "-I%s" % PROTO,
        "--include_source_info",
        "--descriptor_set_out=%s" % out,
        *_files,
    )
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


@functools.lru_cache(None)
def comments():
    """Full name of every method and field -> the comment above it."""
    found = {}
    for file in described().file:
        texts = {
            tuple(location.path): " ".join(location.leading_comments.split())
            for location in file.source_code_info.location
        }
        for s, service in enumerate(file.service):
            for m, method in enumerate(service.method):
                name = "%s.%s.%s" % (file.package, service.name, method.name)
                found[name] = texts.get((6, s, 2, m), "")

        def walk(message, prefix, path):
            name = "%s.%s" % (prefix, message.name)
            for f, field in enumerate(message.field):
                full = "%s.%s" % (name, field.name)
                found[full] = texts.get(path + (2, f), "")
            for n, nested in enumerate(message.nested_type):
                walk(nested, name, path + (3, n))

        for m, message in enumerate(file.message_type):
            walk(message, file.package, (4, m))
    return found


def not_served(full_name):
    return "Not served yet." in comments().get(full_name, "")


def output_only(full_name):
    return "Output only." in comments().get(full_name, "")


def served_methods():
    """The methods of the service whose comment does not say otherwise."""
    return [m for m in SERVICE.methods if not not_served(m.full_name)]


def foreign(*files):
    """Message classes of files below service/transport/proto, by full name.

    Through a pool of their own: a generated package grpc.health would hide the
    grpc package, and a second google.rpc.Status must not meet the public one.
    """
    from google.protobuf import descriptor_pool, message_factory

    out = pathlib.Path(_folder) / "foreign.protoset"
    run_protoc(
        "-I%s" % SERVER_PROTO,
        "--include_imports",
        "--descriptor_set_out=%s" % out,
        *[SERVER_PROTO / each for each in files],
    )
    pool = descriptor_pool.DescriptorPool()
    classes = {}
    names = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    for file in names.file:
        pool.Add(file)
    for file in names.file:
        for message in file.message_type:
            name = "%s.%s" % (file.package, message.name)
            classes[name] = message_factory.GetMessageClass(
                pool.FindMessageTypeByName(name)
            )
    return classes
