#!/usr/bin/env python3
"""Appends a conversation with safe retries and reads it back by pages.

    python -m pip install grpcio grpcio-tools
    python -m grpc_tools.protoc -I proto --python_out=stubs \\
        --grpc_python_out=stubs proto/mneme/v1/*.proto
    PYTHONPATH=stubs python clients/python/example.py localhost:7700
"""

import sys
import time
import uuid

import grpc
from mneme.v1 import memory_backend_pb2 as mneme
from mneme.v1 import memory_backend_pb2_grpc, types_pb2

# What a write answers when nobody can know whether it happened. The same
# request_id makes it safe to ask again.
REPEAT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNKNOWN,
)


def append(stub, session, memories):
    request = mneme.AppendMemoriesRequest(
        session=session, memories=memories, request_id=str(uuid.uuid4())
    )
    for wait in (0.1, 0.5, 2, None):
        try:
            return stub.AppendMemories(request, timeout=5)
        except grpc.RpcError as error:
            if error.code() not in REPEAT or wait is None:
                raise
            time.sleep(wait)


def everything(stub, session):
    """Each memory from the oldest on; one page at a time is in memory."""
    token = ""
    while True:
        page = stub.ListMemories(
            mneme.ListMemoriesRequest(
                session=session,
                anchor=mneme.ANCHOR_OLDEST,
                page_size=2,
                page_token=token,
            ),
            timeout=5,
        )
        yield from page.memories
        token = page.next_page_token
        if not token:
            return


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "localhost:7700"
    with grpc.insecure_channel(address) as channel:
        stub = memory_backend_pb2_grpc.MemoryBackendStub(channel)
        session = "example-%s" % uuid.uuid4()
        append(
            stub,
            session,
            [
                types_pb2.Memory(role="user", content="My name is Bob."),
                types_pb2.Memory(role="assistant", content="Hello, Bob!"),
                types_pb2.Memory(role="user", content="What is my name?"),
            ],
        )
        for memory in everything(stub, session):
            print(memory.sequence, memory.role, memory.content)
        stub.DeleteSession(
            mneme.DeleteSessionRequest(session=session), timeout=5
        )


if __name__ == "__main__":
    main()
