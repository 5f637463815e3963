"""A server with one durable store and, beside it, a dict: for the tests that look
at one fault rather than at a round. Sessions whose ids begin with `scratch-` live
in the dict, which must go on serving whatever happens to the store."""

import contextlib
import pathlib
import signal
import time

import grpc

import harness
import pb
from clients import failure
from faults import Faults

CONFIG = """
listen: 'unix:{dir}/socket'
sweep: {{ interval: 50ms }}
limits: {{ drain: 5s }}
backends:
  store: {{ {entry} }}
  scratch: {{ type: dict }}
sessions:
  - {{ match: "*/scratch-*", backend: scratch }}
  - {{ match: "*/*", backend: store }}
"""


class Store:
    """engine: an Engine. With faults (a bool) the server runs on the VFS of the
    tests; shadow and malloc as in faults.Faults."""

    def __init__(self, engine, faults=True, **more):
        self.engine = engine
        self.folder = pathlib.Path(engine.folder)
        self.faults = Faults(self.folder, **more) if faults else None
        self.server = None
        self.servers = []
        engine.prepare()

    @property
    def control(self):
        return self.faults.control

    @property
    def file(self):
        """The database, for engines that have one."""
        return self.engine.file

    def start(self):
        text = CONFIG.format(
            dir=self.folder,
            entry=self.engine.entry(),
        )
        env = dict(self.engine.environment())
        if self.faults:
            env.update(self.faults.environment())
        self.server = harness.Server(self.folder, text, env=env, listen=False)
        self.servers.append(self.server)
        if self.faults:
            assert self.control.vfs_in, "the daemon opened no SQLite file"
        return self.client()

    def client(self, namespace="n"):
        return self.server.client(namespace)

    def kill(self):
        self.engine.kill(self.server)
        self.server.check_output()

    def stop(self):
        self.server.stop()

    def restart(self):
        """After a clean end."""
        self.stop()
        return self.start()

    def crash(self):
        """SIGKILL, and a new start."""
        self.kill()
        return self.start()

    def close(self):
        for each in self.servers:
            if each.process.poll() is None:
                each.stop()
        self.engine.close()

    # ---- health ------------------------------------------------------------

    def health(self, service):
        """As grpc.health.v1 has it: SERVING, NOT_SERVING."""
        classes = pb.foreign("grpc/health/v1/health.proto")
        request = classes["grpc.health.v1.HealthCheckRequest"]
        response = classes["grpc.health.v1.HealthCheckResponse"]
        answer = self.server.channel().unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )(request(service=service), timeout=harness.PATIENCE)
        return {1: "SERVING", 2: "NOT_SERVING"}[answer.status]

    def wait_health(self, wanted):
        harness.wait_for(
            "backend/store to be %s" % wanted,
            lambda: self.health("backend/store") == wanted,
        )

    def check_others_serve(self):
        client = self.client("beside")
        client.append("scratch-%d" % time.monotonic_ns(), "x")
        assert self.health("backend/scratch") == "SERVING"
        assert self.health("") == "SERVING"


@contextlib.contextmanager
def fails():
    """The call inside must fail; yields a list that gets the Failure."""
    found = []
    try:
        yield found
    except grpc.RpcError as error:
        found.append(failure(error))
    else:
        raise AssertionError("it did not fail")


def outcome(call, *args, **fields):
    """(answer, None) or (None, Failure)."""
    try:
        return call(*args, **fields), None
    except grpc.RpcError as error:
        return None, failure(error)


def ended_by(server):
    """The signal that ended it, or None."""
    status = server.process.poll()
    return signal.Signals(-status) if status is not None and status < 0 else None
