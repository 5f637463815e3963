#!/usr/bin/env python3
"""Our Python stubs load beside googleapis-common-protos, and what the server
sends under google.rpc is what clients read.

A second google.rpc.Status in one process makes Python and Go clients fail at
import, which is why mneme.v1 must never import one. Run in the tests' venv;
ends with a count.
"""

import pathlib
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2, symbol_database
from google.rpc import error_details_pb2, status_pb2
import grpc_tools

ROOT = pathlib.Path(__file__).resolve().parents[2]
WELL_KNOWN = pathlib.Path(grpc_tools.__file__).parent / "_proto"


def protoc(*arguments):
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", WELL_KNOWN]
        + list(arguments),
        check=True,
    )


def stubs_load(folder):
    root = ROOT / "proto"
    files = sorted(root.glob("mneme/v1/*.proto"))
    protoc(
        "-I", root, "--python_out", folder, "--grpc_python_out", folder, *files
    )
    sys.path.insert(0, str(folder))
    from mneme.v1 import memory_backend_pb2, memory_backend_pb2_grpc

    assert hasattr(memory_backend_pb2_grpc, "MemoryBackendStub")
    names = set()

    def walk(file):
        for dependency in file.dependencies:
            names.add(dependency.name)
            walk(dependency)

    walk(memory_backend_pb2.DESCRIPTOR)
    foreign = {
        name
        for name in names
        if not name.startswith(("mneme/v1/", "google/protobuf/"))
    }
    assert not foreign, foreign


def google_rpc_is_the_public_one(folder):
    """Every field that our copies have is in the public files, the same."""
    root = ROOT / "service/transport/proto"
    out = folder / "rpc.protoset"
    protoc(
        "-I",
        root,
        "--descriptor_set_out=%s" % out,
        *sorted(root.glob("google/rpc/*.proto")),
    )
    ours = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    public = symbol_database.Default().pool
    assert status_pb2.DESCRIPTOR and error_details_pb2.DESCRIPTOR
    seen = 0

    def compare(prefix, messages):
        nonlocal seen
        for message in messages:
            name = prefix + message.name
            theirs = descriptor_pb2.DescriptorProto()
            public.FindMessageTypeByName(name).CopyToProto(theirs)
            fields = {field.name: field for field in theirs.field}
            for field in message.field:
                other = fields[field.name]
                for fact in ("number", "type", "label", "type_name"):
                    assert getattr(field, fact) == getattr(other, fact), (
                        name,
                        field.name,
                        fact,
                    )
                seen += 1
            compare(name + ".", message.nested_type)

    for file in ours.file:
        compare(file.package + ".", file.message_type)
    assert seen > 10, seen


def main():
    failed = 0
    tests = [stubs_load, google_rpc_is_the_public_one]
    with tempfile.TemporaryDirectory() as folder:
        for test in tests:
            try:
                test(pathlib.Path(folder))
            except Exception as why:  # the next test still runs
                failed += 1
                print("%s: %s: %s" % (test.__name__, type(why).__name__, why))
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
