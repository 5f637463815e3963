"""What the end-to-end tests share: the server as a process, calls with a
deadline, and what every error has to carry.

    MNEMED       the daemon to test; default build/release/mnemed
    MNEME_BUILD  its build folder; default the daemon's
    MNEME_E2E_BACKEND  late: servers whose test names no backend run on
                 MNEME_BUILD/mneme_late.so (tests/conform/late_plugin.c)
    MNEME_E2E_BUSY     so many per cent of its commits are refused as BUSY; then
                 unary calls are repeated on that
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import grpc
from google.rpc import error_details_pb2, status_pb2

import pb

ROOT = pb.ROOT
MNEMED = pathlib.Path(
    os.environ.get("MNEMED") or ROOT / "build/release/mnemed"
).resolve()
BUILD = pathlib.Path(os.environ.get("MNEME_BUILD") or MNEMED.parent).resolve()
SANITIZED = "asan" in BUILD.name or "tsan" in BUILD.name
LATE = os.environ.get("MNEME_E2E_BACKEND") == "late"
BUSY = int(os.environ.get("MNEME_E2E_BUSY") or 0)
# A bound on what must end, not a measure: generous, and more so where the
# binary is slower.
PATIENCE = 120 if SANITIZED else 30

_REPORT = re.compile(
    r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:"
    r"|Assertion .* failed|assertion failed"
)


def wait_for(what, event, timeout=None):
    """Asks until event() is true; its value. A bound, not a sleep."""
    end = time.monotonic() + (timeout or PATIENCE)
    pause = threading.Event()
    while True:
        value = event()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain: %s" % what
        pause.wait(0.01)


class Server:
    """One mnemed on a loopback port of its own."""

    def __init__(
        self, folder, config=None, args=(), port=0, env=None, listen=True
    ):
        self.folder = pathlib.Path(folder)
        self.lines = []
        self.stopped = None
        self._new_line = threading.Condition()
        command = [str(MNEMED), "--log-format", "json"]
        if LATE and not {"-c", "--config"}.intersection(args):
            config = on_late(config or "")
        if config is not None:
            path = self.folder / "mneme.yaml"
            path.write_text(config)
            command += ["-c", str(path)]
        if listen:
            command += ["--listen", "127.0.0.1:%d" % port]
        command += list(args)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(self.folder, env),
            cwd=self.folder,
        )
        self.pid = self.process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.wait_log(lambda each: "serving" in each.values())
        self.address = line["listen"]
        port = self.address.rpartition(":")[2]
        self.port = int(port) if port.isdigit() else None
        self._channels = []

    def _read(self):
        for raw in self.process.stdout:
            with self._new_line:
                self.lines.append(raw.decode("utf-8", "backslashreplace"))
                self._new_line.notify_all()
        with self._new_line:
            self.lines.append(None)
            self._new_line.notify_all()

    def logs(self):
        """The structured lines so far."""
        found = []
        for line in list(self.lines):
            if line and line.startswith("{"):
                found.append(json.loads(line))
        return found

    def wait_log(self, matches):
        """The first log line, as a dict, that matches."""
        end = time.monotonic() + PATIENCE
        seen = 0
        with self._new_line:
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if line is None:
                        raise AssertionError(
                            "mnemed ended:\n" + self.output()
                        )
                    if line.startswith("{"):
                        fields = json.loads(line)
                        if matches(fields):
                            return fields
                left = end - time.monotonic()
                assert left > 0, "no such log line:\n" + self.output()
                self._new_line.wait(left)

    def output(self):
        return "".join(line for line in self.lines if line)

    def channel(self, *options):
        channel = grpc.insecure_channel(
            self.address,
            options=[
                # One connection to each channel, and no proxy of the machine.
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_receive_message_length", 4 << 20),
                ("grpc.enable_retries", 0),
            ]
            + list(options),
        )
        self._channels.append(channel)
        return channel

    def client(self, namespace="", channel=None):
        return Client(channel or self.channel(), namespace)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=None):
        """Exit status, after the last line of output was read."""
        status = self.process.wait(timeout or PATIENCE)
        self._reader.join(PATIENCE)
        return status

    def stop(self):
        """Asks the server to end and demands that it ends well."""
        if self.stopped is not None:
            return
        self.stopped = True
        for channel in self._channels:
            channel.close()
        if self.process.poll() is None:
            self.signal()
        try:
            status = self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                "SIGTERM did not end mnemed:\n" + self.output()[-4000:]
            )
        self.check_output()
        assert status == 0, "exit status %d:\n%s" % (
            status,
            self.output()[-4000:],
        )

    def check_output(self):
        """No sanitizer report, and every structured line is valid JSON."""
        output = self.output()
        assert not _REPORT.search(output), output[-20000:]
        for line in output.splitlines():
            if line.startswith("{"):
                json.loads(line)

    def memory(self, name):
        """A line of /proc/PID/status in bytes: VmRSS, VmHWM."""
        text = pathlib.Path("/proc/%d/status" % self.pid).read_text()
        return int(re.search(r"%s:\s+(\d+) kB" % name, text).group(1)) * 1024


def on_late(config):
    """The config with late as the default backend, unless it names its own."""
    if re.search(r"^backends:", config, re.M):
        return config
    return "%s\nbackends:\n  default: { plugin: %s, busy: %d }\n" % (
        config,
        json.dumps(str(BUILD / "mneme_late.so")),
        BUSY,
    )


def environment(folder, more=None):
    """The environment for mnemed: nothing of the caller's own settings."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MNEME_", "MEMORY_", "GRPC_"))
        and name not in ("FAISS_INDEX_PATH", "EMBEDDING_MODEL", "USE_GPU")
    }
    env["MNEME_DATA_DIR"] = str(folder)
    env["HOME"] = str(folder)
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    env.setdefault(
        "TSAN_OPTIONS", "ignore_noninstrumented_modules=1:halt_on_error=1"
    )
    env.update(more or {})
    return env


def run(*args, folder=None, env=None, stdin=None):
    """mnemed with arguments, to its end."""
    return subprocess.run(
        [str(MNEMED)] + [str(each) for each in args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(folder or "/tmp", env),
        cwd=folder,
    )


# ---- calls ------------------------------------------------------------------


class Client:
    """The stub with a deadline on each call and a namespace in each request.

    client.AppendMemories(session="s", memories=[...]) builds the request from
    the method's own type; client.append("s", "text", ...) is for the many tests
    that need memories and care little how.
    """

    def __init__(self, channel, namespace=""):
        self.channel = channel
        self.namespace = namespace
        self.stub = pb.MemoryBackendStub(channel)

    def request(self, method, **fields):
        kind = request_type(method)
        if "namespace" in kind.DESCRIPTOR.fields_by_name:
            fields.setdefault("namespace", self.namespace)
        return kind(**fields)

    def call(self, method, request, timeout=None):
        while True:
            try:
                return getattr(self.stub, method)(
                    request, timeout=timeout or PATIENCE
                )
            except grpc.RpcError as error:
                # Nothing was begun. It ends: BUSY is less than 100 per cent.
                if not BUSY or error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                if explain(error).reason != "BUSY":
                    raise

    def __getattr__(self, method):
        if method not in pb.SERVICE.methods_by_name:
            raise AttributeError(method)

        def call(timeout=None, **fields):
            return self.call(method, self.request(method, **fields), timeout)

        return call

    def raw(self, method, data, timeout=None):
        """Sends bytes as they are; returns the answer's bytes."""
        return self.channel.unary_unary(path(method))(
            data, timeout=timeout or PATIENCE
        )

    def append(self, session, *memories, **fields):
        return self.AppendMemories(
            session=session, memories=[memory(m) for m in memories], **fields
        )

    def list(self, session, **fields):
        return list(self.ListMemories(session=session, **fields).memories)

    def texts(self, session, **fields):
        return [m.content for m in self.list(session, **fields)]

    def pages(self, session, **fields):
        """Every page of a list, each a list of memories."""
        token = ""
        for _ in range(100000):
            answer = self.ListMemories(
                session=session, page_token=token, **fields
            )
            yield list(answer.memories)
            token = answer.next_page_token
            if not token:
                return
            fields.pop("offset", None)
        raise AssertionError("the pages never end")

    def all(self, session, anchor=pb.ANCHOR_OLDEST, **fields):
        """Every memory in ascending order, by pages from the anchor."""
        found = list(self.pages(session, anchor=anchor, **fields))
        if anchor != pb.ANCHOR_OLDEST:
            found.reverse()
        return [each for page in found for each in page]

    def session(self, session):
        return self.GetSession(session=session).session

    def ingest(self, requests, timeout=None):
        """The answers to a stream of AppendMemoriesRequests."""
        return self.stub.IngestMemories(
            (
                each
                if isinstance(each, pb.IngestMemoriesRequest)
                else pb.IngestMemoriesRequest(append=each)
                for each in requests
            ),
            timeout=timeout or PATIENCE,
        )

    def item(self, session, *memories, **fields):
        """An AppendMemoriesRequest."""
        return self.request(
            "AppendMemories",
            session=session,
            memories=[memory(m) for m in memories],
            **fields,
        )


def path(method):
    return "/%s/%s" % (pb.SERVICE_NAME, method)


def request_type(method):
    return getattr(pb, pb.SERVICE.methods_by_name[method].input_type.name)


def memory(what):
    return pb.Memory(content=what) if isinstance(what, str) else what


def struct(**fields):
    from google.protobuf import struct_pb2

    made = struct_pb2.Struct()
    made.update(fields)
    return made


def plain(made):
    """A Struct as Python values."""
    from google.protobuf import json_format

    return json_format.MessageToDict(made)


def duration(seconds):
    from google.protobuf import duration_pb2

    micros = round(seconds * 1000000)
    return duration_pb2.Duration(
        seconds=micros // 1000000, nanos=micros % 1000000 * 1000
    )


def timestamp(seconds):
    from google.protobuf import timestamp_pb2

    micros = round(seconds * 1000000)
    return timestamp_pb2.Timestamp(
        seconds=micros // 1000000, nanos=micros % 1000000 * 1000
    )


def micros(stamp):
    return stamp.seconds * 1000000 + stamp.nanos // 1000


def is_uuid7(text):
    return re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        text,
    )


# ---- errors -----------------------------------------------------------------


class Refusal:
    """What an error said, for looks beyond code, reason and field."""

    code = reason = message = None
    fields = ()
    metadata = {}
    retry = None


def explain(error):
    """Reads a grpc.RpcError's details; they must be there and consistent."""
    found = Refusal()
    found.code = error.code().name
    found.message = error.details() or ""
    trailers = dict(error.trailing_metadata() or ())
    raw = trailers.get("grpc-status-details-bin")
    assert raw, "no grpc-status-details-bin: %s %s" % (
        found.code,
        found.message,
    )
    status = status_pb2.Status.FromString(raw)
    assert status.code == error.code().value[0], status
    assert status.message == found.message, (status.message, found.message)
    assert found.message.strip(), "an error without a text"
    kinds = [each.type_url.rpartition("/")[2] for each in status.details]
    assert len(kinds) == len(set(kinds)), kinds
    for each in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        assert each.type_url.startswith("type.googleapis.com/"), each
        if each.Unpack(info):
            assert info.domain == "mneme", info
            found.reason = info.reason
            found.metadata = dict(info.metadata)
        elif each.Unpack(bad):
            found.fields = [v.field for v in bad.field_violations]
            assert all(v.description for v in bad.field_violations), bad
        elif each.Unpack(retry):
            found.retry = (
                retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
            )
        else:
            raise AssertionError("an unknown detail: %s" % each.type_url)
    assert found.reason, "no ErrorInfo: %s" % status
    assert "ERROR_REASON_" + found.reason in pb.ErrorReason.keys(), found.reason
    return found


def names_field(field, path):
    """Whether an error's field is the path, or lies within it."""
    return field == path or field.startswith((path + ".", path + "["))


@contextlib.contextmanager
def refused(code, reason, field=None):
    """The call inside must be refused so; yields a Refusal to look at after."""
    found = Refusal()
    try:
        yield found
    except grpc.RpcError as error:
        got = explain(error)
    else:
        raise AssertionError("not refused; expected %s %s" % (code, reason))
    assert (got.code, got.reason) == (code, reason), (
        got.code,
        got.reason,
        got.message,
        got.fields,
    )
    if field is not None:
        assert any(names_field(each, field) for each in got.fields), (
            got.fields,
            field,
            got.message,
        )
    found.__dict__.update(got.__dict__)


def item_error(answer, code, reason, field=None):
    """The same for an item of a stream; returns the ItemError."""
    assert answer.WhichOneof("result") == "error", answer
    error = answer.error
    number = getattr(grpc.StatusCode, code).value[0]
    assert (error.code, error.reason) == (number, reason), error
    assert error.message, error
    if field is not None:
        assert names_field(error.field, field), error
    return error
