"""The cases of the reliability table that the core must pass: hostile bytes,
sizes, tokens, deadlines, shutdown, log lines. Named by their numbers there."""

import base64
import collections
import json
import random
import socket
import threading
import time

import grpc
import pytest

import http2
import pb
import wire
from harness import (
    PATIENCE,
    SANITIZED,
    explain,
    names_field,
    path,
    refused,
    struct,
    wait_for,
)
from samples import F, base, places, values

asan = pytest.mark.asan

# What the transport may keep of requests at once, in the tests that count it.
QUOTA = 32 << 20
SMALL_QUOTA = "limits: { memory_quota: 32MiB }\n"


# ---- G2: invalid UTF-8, NUL, nesting ----------------------------------------

MARK = "QQQQ"


def string_places():
    """Every place of a served request where a string can stand, as (method,
    path, request with MARK there)."""
    for method in pb.served_methods():
        for place in places(
            method.name, lambda f: not pb.not_served(f.full_name)
        ):
            field = place.field
            if pb.not_served(field.full_name):
                continue
            if field.message_type is None and field.type != F.TYPE_STRING:
                continue
            for value in values(field, MARK):
                request = base(method.name)
                place.put(request, value)
                data = request.SerializeToString()
                if MARK.encode() in data:
                    yield method.name, place.path, data


def outcome(client, method, data):
    if method == "IngestMemories":
        call = client.channel.stream_stream(path(method))
        try:
            (answer,) = call(iter([data]), timeout=PATIENCE)
        except grpc.RpcError as error:
            got = explain(error)
            return got.code, got.reason, list(got.fields)
        error = pb.IngestMemoriesResponse.FromString(answer).error
        code = [c.name for c in grpc.StatusCode if c.value[0] == error.code]
        return code[0], error.reason, [error.field]
    try:
        client.raw(method, data)
    except grpc.RpcError as error:
        got = explain(error)
        return got.code, got.reason, list(got.fields)
    return "OK", None, []


@asan
@pytest.mark.parametrize(
    "bad",
    [
        b"Q\xffQQ",  # no such byte
        b"QQQ\xc3",  # ends in the middle of a character
        b"Q\xc0\xafQ",  # overlong
        b"\xed\xa0\x80Q",  # a surrogate
        b"\xf4\x90\x80\x80",  # beyond the last character
        b"Q\x80QQ",  # a continuation of nothing
        b"QQQ\x00",  # NUL
    ],
    ids=repr,
)
def test_G2_no_invalid_string_anywhere(client, bad):
    assert len(bad) == len(MARK)
    wrong, count = [], 0
    for method, field, data in string_places():
        count += 1
        data = data.replace(MARK.encode(), bad)
        got = outcome(client, method, data)
        # Memory.session is refused whatever it holds.
        reason = "OUTPUT_ONLY" if field.endswith(".session") else "INVALID_UTF8"
        if got[:2] != ("INVALID_ARGUMENT", reason) or not any(
            names_field(each, field) for each in got[2]
        ):
            wrong.append("%s %s: %s" % (method, field, got))
    assert count > 90, count
    assert not wrong, "\n".join(wrong)


@asan
def test_G2_bytes_may_hold_anything(client):
    part = pb.Part(mime_type="a/b", data=b"\xff\x00\xc0")
    client.append("s", pb.Memory(parts=[part]))
    assert client.list("s")[0].parts[0].data == b"\xff\x00\xc0"


def with_metadata(data):
    return wire.data(2, "s") + wire.data(
        3, wire.data(9, "x") + wire.data(11, data)
    )


@asan
@pytest.mark.parametrize("levels", [40, 1000, 5000, 10000, 100000])
def test_G2_nested_metadata(client, levels):
    data = wire.struct_of("k", wire.nested_list(levels))
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "memories[0].metadata"):
        client.raw("AppendMemories", with_metadata(data))
    # The same at every other door for metadata.
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "metadata"):
        client.raw("CreateSession", wire.data(6, data))
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "session_metadata_patch"):
        client.raw("AppendMemories", wire.data(2, "s") + wire.data(9, data))


@asan
@pytest.mark.parametrize("levels", [64, 10000, 1000000])
def test_G2_nested_groups(client, levels):
    """Groups are no part of the contract; a parser that skips them might
    recurse."""
    opened = wire.tag(2047, wire.GROUP) * levels
    closed = wire.tag(2047, wire.END_GROUP) * levels
    for data in (opened, opened + closed):
        for method in ("ListBackends", "ListMemories", "AppendMemories"):
            got = outcome(client, method, data)
            assert got[:2] in (
                ("INVALID_ARGUMENT", "MALFORMED"),
                ("UNIMPLEMENTED", "UNKNOWN_FIELD"),
            ), got


@asan
def test_G2_nested_unknown_messages(client):
    data = b""
    for _ in range(10000):
        data = wire.data(2047, data)
    got = outcome(client, "ListBackends", data)
    assert got[:2] == ("UNIMPLEMENTED", "UNKNOWN_FIELD"), got


@asan
def test_G2_four_mebibytes_of_empty_entries(client, server):
    """Each two bytes on the wire; unpacked carelessly they are 112 MiB."""
    empty = b"\x0a\x00" * (2 << 20)
    before = server.memory("VmHWM")
    for data, field in (
        (with_metadata(empty[: (4 << 20) - 64]), "memories[0]"),
        (with_metadata(empty[: (1 << 20)]), "memories[0].metadata"),
        (b"\x1a\x00" * ((2 << 20) - 8), "memories"),
        (b"\x42\x00" * ((2 << 20) - 8), "delete_keys"),
    ):
        got = outcome(client, "AppendMemories", data)
        # Two of these do nothing else; what they lack may be named first.
        assert got[0] == "INVALID_ARGUMENT", got
        assert got[1] in ("TOO_LARGE", "REQUIRED"), got
        assert names_field(got[2][0], field), got
    entry = wire.data(5, b"")
    got = outcome(client, "CreateSession", entry * (2 << 20))
    assert got[:2] == ("INVALID_ARGUMENT", "TOO_LARGE"), got
    if not SANITIZED:
        assert server.memory("VmHWM") < before + (64 << 20)


# ---- G3: oversize, bombs ----------------------------------------------------


@asan
def test_G3_oversize_messages(start_server):
    server = start_server(SMALL_QUOTA)
    client = server.client("n")
    client.append("s", "x")
    idle = server.memory("VmRSS")

    def send(size):
        with pytest.raises(grpc.RpcError) as caught:
            client.raw("AppendMemories", wire.data(2, b"s" * size))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    for size in (4 << 20, 8 << 20, 50 << 20):
        send(size)
    threads = [
        threading.Thread(target=send, args=(50 << 20,)) for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
        assert not each.is_alive()
    if not SANITIZED:
        assert server.memory("VmHWM") < idle + 2 * QUOTA
    assert client.texts("s") == ["x"]


@asan
@pytest.mark.parametrize(
    "kind", [grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_G3_compressed_bombs(start_server, kind):
    server = start_server(SMALL_QUOTA)
    client = server.client("n")
    client.append("s", "x")
    idle = server.memory("VmRSS")
    bomb = wire.data(2, b"s" * (64 << 20))

    for method in ("AppendMemories", "ListMemories"):
        call = client.channel.unary_unary(path(method))
        with pytest.raises(grpc.RpcError) as caught:
            call(bomb, timeout=PATIENCE, compression=kind)
        assert caught.value.code() in (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            grpc.StatusCode.UNIMPLEMENTED,
        )
    call = client.channel.stream_stream(path("IngestMemories"))
    with pytest.raises(grpc.RpcError) as caught:
        list(call(iter([bomb] * 3), timeout=PATIENCE, compression=kind))
    assert caught.value.code() in (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
    )
    if not SANITIZED:
        assert server.memory("VmHWM") < idle + 2 * QUOTA
    assert client.texts("s") == ["x"]


@asan
def test_G3_a_small_compressed_message_is_no_crash(client):
    """Taken, or refused in so many words."""
    request = client.item("s", "x" * 1000)
    try:
        client.stub.AppendMemories(
            request, timeout=PATIENCE, compression=grpc.Compression.Gzip
        )
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        assert client.texts("s") == []
    else:
        assert client.texts("s") == ["x" * 1000]


# ---- G6: huge headers -------------------------------------------------------


@asan
def test_G6_huge_metadata(start_server):
    server = start_server(SMALL_QUOTA)
    client = server.client("n")
    client.append("s", "x")
    idle = server.memory("VmRSS")
    fine = [("x-trace", "a" * 2000)]
    client.stub.AppendMemories(
        client.item("s", "y"), timeout=PATIENCE, metadata=fine
    )
    for size in (100 << 10, 1 << 20, 8 << 20):
        for extra in (
            [("x-huge", "a" * size)],
            [("x-%d" % n, "a" * 1000) for n in range(size // 1000)],
        ):
            with pytest.raises(grpc.RpcError) as caught:
                client.stub.AppendMemories(
                    client.item("s", "z"), timeout=PATIENCE, metadata=extra
                )
            assert caught.value.code() not in (
                grpc.StatusCode.OK,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )
    assert server.client("n").texts("s") == ["x", "y"]
    if not SANITIZED:
        assert server.memory("VmHWM") < idle + 2 * QUOTA


# ---- G7: page sizes and tokens ----------------------------------------------


@asan
@pytest.mark.parametrize("method", ["ListMemories", "ListSessions"])
def test_G7_page_sizes(client, method):
    for n in range(60):
        client.append("s%d" % (n % 52 if method == "ListSessions" else 0), "x")
    call = getattr(client, method)

    def count(size):
        answer = call(page_size=size, **where)
        if method == "ListMemories":
            return len(answer.memories)
        return len(answer.sessions)

    where = dict(session="s0") if method == "ListMemories" else {}
    whole = 60 if method == "ListMemories" else 52
    for size in (-1, -(2**31)):
        with refused("INVALID_ARGUMENT", "INVALID_VALUE", "page_size"):
            count(size)
    assert count(2**31 - 1) == whole
    assert count(0) == 50


def tokens(client):
    for n in range(4):
        client.append("s%d" % n, "x", pb.Memory(key="k", content="y"))
    yield "ListMemories", dict(session="s1", page_size=1)
    yield "ListMemories", dict(
        session="s1", page_size=1, anchor=pb.ANCHOR_OLDEST
    )
    client.append("s1", pb.Memory(key="k2", content="z"))
    yield "ListMemories", dict(
        session="s1", page_size=1, order_by=pb.MEMORY_ORDER_KEY
    )
    yield "ListSessions", dict(page_size=1)
    yield "ListSessions", dict(
        page_size=1, order_by=pb.SESSION_ORDER_UPDATE_TIME
    )


@asan
def test_G7_a_token_altered_in_any_byte(client):
    chance = random.Random(7)
    for method, fields in tokens(client):
        call = getattr(client, method)
        token = call(**fields).next_page_token
        assert token
        call(page_token=token, **fields)
        altered = set()
        for place in range(len(token)):
            for _ in range(3):
                other = chr(chance.randrange(0x20, 0x7F))
                altered.add(token[:place] + other + token[place + 1 :])
            altered.add(token[:place] + token[place + 1 :])
            altered.add(token[:place] + "A" + token[place:])
            swapped = token[place].swapcase()
            altered.add(token[:place] + swapped + token[place + 1 :])
        for cut in range(1, len(token)):
            altered.add(token[:cut])
        for more in ("A", "=", "==", "AAAA", " ", "\n", "é", token):
            altered |= {token + more, more + token}
        altered |= {"x", "AAAA", "-", base64.b64encode(b"x" * 64).decode()}
        altered.discard(token)
        altered.discard("")
        for each in altered:
            with refused(
                "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"
            ):
                call(page_token=each, **fields)


@asan
def test_G7_tokens_of_random_bytes(client):
    chance = random.Random(8)
    client.append("s", "x", "y")
    for _ in range(100):
        size = chance.randrange(1, 300)
        token = base64.urlsafe_b64encode(chance.randbytes(size)).decode()
        for each in (token, token.rstrip("=")):
            with refused(
                "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"
            ):
                client.ListMemories(session="s", page_token=each)


# ---- G8: deadlines ----------------------------------------------------------


def writes_of(client, session):
    """(method, bytes) of writes that would each make the session."""
    memories = [pb.Memory(content="x")]
    return [
        (method, client.request(method, session=session, **fields))
        for method, fields in (
            ("AppendMemories", dict(memories=memories)),
            ("CreateSession", {}),
            ("ReplaceMemories", dict(memories=memories)),
        )
    ]


@asan
def test_G8_a_deadline_that_has_passed_begins_no_write(client, server):
    """The request leaves with its deadline behind it, which no gRPC client
    would send: nothing of it may be stored."""
    connection = http2.Connection(server.port, PATIENCE)
    streams = [
        connection.start(
            path(method),
            request.SerializeToString(),
            [("grpc-timeout", timeout)],
        )
        for timeout in ("0n", "0u", "0m", "0S")
        for _ in range(10)
        for method, request in writes_of(client, "s")
    ]
    connection.finish(streams)
    # Whatever was begun would be done by now: this comes after it in line.
    assert client.append("other", "y").session.revision == 1
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="s")
    # And the same bytes with time to spare are stored.
    method, request = writes_of(client, "s")[0]
    connection.finish(
        [
            connection.start(
                path(method), request.SerializeToString(), [("grpc-timeout", "9S")]
            )
        ]
    )
    connection.close()
    assert client.texts("s") == ["x"]


@asan
def test_G8_a_deadline_that_passes_on_the_way_begins_no_write(client, server):
    """The headers arrive in time, the message only after the deadline."""
    connection = http2.Connection(server.port, PATIENCE)
    for method, request in writes_of(client, "s"):
        stream = connection.open(path(method), [("grpc-timeout", "20m")])
        connection.finish([stream])  # the server ends it: time has run out
        connection.send(stream, request.SerializeToString())
    connection.close()
    assert client.append("other", "y").session.revision == 1
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="s")


@asan
def test_G8_unknown_outcomes_are_flagged_and_repeatable(client):
    """Deadlines around the time that a call takes: each outcome is an answer
    or DEADLINE_EXCEEDED, and repeating makes it exactly one effect."""
    chance = random.Random(8)
    unknown = 0
    count = 300
    for n in range(count):
        item = client.item("s", "Message %d" % n, request_id="r%d" % n)
        timeout = chance.uniform(0.00005, 0.002)
        while True:
            try:
                client.call("AppendMemories", item, timeout)
                break
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
                unknown += 1
                timeout *= 2
    print("%d of %d were unknown at first" % (unknown, count))
    found = client.all("s", page_size=1000)
    assert [m.content for m in found] == ["Message %d" % n for n in range(count)]
    assert [m.sequence for m in found] == list(range(1, count + 1))


@asan
def test_G8_a_read_ends_at_its_deadline(client):
    for _ in range(5):
        client.append("s", *["x"] * 1000)
    unknown = 0
    for n in range(50):
        try:
            client.ListMemories(
                session="s", roles=["none"], timeout=0.0001 * (n + 1)
            )
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            unknown += 1
    print("%d of 50 ran out of time" % unknown)


# ---- G9: SIGTERM ------------------------------------------------------------


@asan
def test_G9_sigterm_under_load(start_server):
    """Clients that repeat with the same request_id what the contract says to
    repeat (UNAVAILABLE, and CANCELLED, which is what the core makes of calls
    that reach it too late) see no failed call across a restart."""
    server = start_server()
    stop = threading.Event()
    failed = []
    progress = {}
    repeated = collections.Counter()

    def load(number, channel):
        client = server.client("n", channel)
        n = 0
        while not stop.is_set():
            item = client.item(
                "s%d" % number, "%d" % n, request_id="%d" % n
            )
            try:
                client.call("AppendMemories", item)
                n += 1
                progress[number] = n
            except grpc.RpcError as error:
                repeated[error.code().name] += 1
                if error.code().name not in ("UNAVAILABLE", "CANCELLED"):
                    failed.append(error)
                    return

    # A channel waits a second before it connects again, unless told.
    channels = [
        server.channel(("grpc.initial_reconnect_backoff_ms", 100))
        for _ in range(4)
    ]
    threads = [
        threading.Thread(target=load, args=(n, channels[n % 4]))
        for n in range(8)
    ]
    for each in threads:
        each.start()

    def advanced(base):
        return len(progress) == 8 and all(
            progress[n] >= base.get(n, 0) + 20 or failed for n in progress
        )

    try:
        wait_for("load", lambda: advanced({}))
        begin = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert time.monotonic() - begin < 10 + 5  # the default drain
        server.check_output()
        second = start_server(port=server.port)
        before = dict(progress)
        wait_for("load on the second", lambda: failed or advanced(before))
    finally:
        stop.set()
        for each in threads:
            each.join(PATIENCE)
    print("repeated:", dict(repeated))
    assert not failed, failed[0]
    client = second.client("n")
    for number in range(8):
        found = [int(m.content) for m in client.all("s%d" % number)]
        # On the second server: consecutive, each once, to the last.
        assert found == list(range(found[0], found[-1] + 1))
        assert found[-1] + 1 == progress[number]


@asan
def test_G9_every_call_ends(start_server):
    """Every call ends, one way or another, before the server does."""
    server = start_server()
    channel = server.channel()
    client = server.client("n", channel)
    client.append("s", "first")
    calls = [
        client.stub.AppendMemories.future(
            client.item("s", "x" * 1000), timeout=PATIENCE
        )
        for _ in range(200)
    ]
    server.signal()
    codes = {call.code() for call in calls}
    assert codes <= {
        grpc.StatusCode.OK,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    }, codes
    assert server.wait() == 0


@asan
def test_G9_drain_is_bounded(start_server):
    """Streams that never end do not keep the server from ending."""
    server = start_server("limits: { drain: 2s }\n")
    client = server.client("n")
    block = threading.Event()

    def forever():
        yield pb.IngestMemoriesRequest(append=client.item("s", "x"))
        block.wait(PATIENCE)

    classes = pb.foreign("grpc/health/v1/health.proto")
    request = classes["grpc.health.v1.HealthCheckRequest"]
    response = classes["grpc.health.v1.HealthCheckResponse"]
    watch = client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )(request(), timeout=PATIENCE)
    assert next(watch).status == 1  # SERVING
    stream = client.stub.IngestMemories(forever(), timeout=PATIENCE)
    assert next(stream).HasField("append")

    begin = time.monotonic()
    server.signal()
    states = []
    with pytest.raises(grpc.RpcError) as caught:
        for each in watch:
            states.append(each.status)
    assert states == [2], states  # NOT_SERVING before it ends
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert server.wait() == 0
    assert time.monotonic() - begin < 2 + 5
    block.set()


@asan
@pytest.mark.parametrize("first", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=["", "preface"])
def test_G9_idle_connections_hold_nothing_up(start_server, first):
    """A connection that asks for nothing is not waited for."""
    server = start_server("limits: { drain: 60s }\n")
    client = server.client("n")
    client.append("s", "x")
    with socket.create_connection(("127.0.0.1", server.port)) as idle:
        idle.sendall(first)
        client.append("s", "y")
        begin = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert time.monotonic() - begin < 5


@asan
def test_G9_an_idle_stream_is_told(start_server):
    """A stream with nothing under way ends at once, and says why; so does a call
    that is turned away."""
    server = start_server("limits: { drain: 60s }\n")
    client = server.client("n")
    hold = threading.Event()

    def idle():
        yield pb.IngestMemoriesRequest(append=client.item("s", "x"))
        hold.wait(2 * PATIENCE)

    stream = client.stub.IngestMemories(idle(), timeout=2 * PATIENCE)
    assert next(stream).HasField("append")
    begin = time.monotonic()
    server.signal()
    with refused("UNAVAILABLE", "SHUTTING_DOWN") as found:
        next(stream)
    assert found.retry > 0
    assert server.wait() == 0
    assert time.monotonic() - begin < 5
    hold.set()


@asan
def test_G9_a_call_that_is_turned_away_is_told(start_server):
    server = start_server()
    client = server.client("n")
    client.append("s", "x")
    seen = []

    def call():
        # The last ones may meet the core's own end, which says nothing.
        for _ in range(100000):
            try:
                client.texts("s")
            except grpc.RpcError as error:
                seen.append(error)
                return

    threads = [threading.Thread(target=call) for _ in range(4)]
    for each in threads:
        each.start()
    server.signal()
    for each in threads:
        each.join(PATIENCE)
    reasons = [
        explain(error).reason
        for error in seen
        if dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    ]
    assert reasons and set(reasons) == {"SHUTTING_DOWN"}, seen


@asan
def test_G9_a_second_signal_ends_the_grace(start_server):
    server = start_server("limits: { drain: 60s }\n")
    client = server.client("n")
    # A stream whose client lets no reply through is under way for ever.
    stuck = http2.Connection(server.port, PATIENCE)
    no_window = (4).to_bytes(2, "big") + bytes(4)
    stuck.socket.sendall(http2.frame(http2.SETTINGS, 0, 0, no_window))
    item = pb.IngestMemoriesRequest(append=client.item("s", "x"))
    stuck.start(path("IngestMemories"), item.SerializeToString())
    client.append("s2", "y")
    wait_for(
        "the item",
        lambda: client.ListSessions().sessions[1:] and client.texts("s"),
    )
    server.signal()
    server.wait_log(lambda each: "draining" in each.values())
    begin = time.monotonic()
    wait_for(
        "the end",
        lambda: server.process.poll() is not None or server.signal(),
    )
    assert server.wait() == 0
    assert time.monotonic() - begin < 5
    stuck.close()


@asan
def test_G9_two_signals_are_no_crash(start_server):
    server = start_server()
    server.client("n").append("s", "x")
    server.signal()
    try:
        server.signal()
    except ProcessLookupError:
        pass
    assert server.wait() == 0


@asan
def test_G9_sigint_ends_it_too(start_server):
    import signal

    server = start_server()
    server.client("n").append("s", "x")
    server.signal(signal.SIGINT)
    assert server.wait() == 0


# ---- X4: what clients send stays within a line ------------------------------

EVIL = [
    'CR\r{"level":"fake"}\r',
    'LF\n{"message":"serving","listen":"fake"}\n',
    "ANSI\x1b[31mred\x1b]0;title\x07",
    "quotes\"'`\\\\\"}",
    "\u2028\u2029\u0085\ufeff",
    "\x01\x02\x1f\x7f",
    "%s%n%x",
]


def printable(text):
    """What a header can hold."""
    return "".join(c if " " < c < "\x7f" else "?" for c in text)


@asan
def test_X4_log_lines(start_server):
    server = start_server(args=["--log-level", "debug"])
    client = server.client("n")
    client.append("s", "x")
    for text in EVIL:
        for method, _, data in string_places():
            evil = data.replace(MARK.encode(), text[:4].encode())
            outcome(client, method, evil)
        for send in (
            lambda: client.append(text, "x", namespace=text.replace("/", "")),
            lambda: client.append(
                "s",
                pb.Memory(
                    id=text,
                    key=text,
                    kind=text,
                    role=text,
                    author=text,
                    source=text,
                    content=text,
                    parts=[
                        pb.Part(mime_type=text, uri=text, caption=text),
                        pb.Part(mime_type=text, json=text),
                    ],
                    metadata=struct(**{text: text}),
                ),
                request_id=text,
            ),
            lambda: client.append("s", "again", request_id=text),
            lambda: client.CreateSession(session=text, labels={text: text}),
            lambda: client.GetSession(session=text * 20),
            lambda: client.ListMemories(session=text, page_token=text),
            lambda: client.UpdateMemory(session="s", key=text * 90),
            lambda: client.UpdateSession(update_mask={"paths": [text]}),
            lambda: client.channel.unary_unary("/" + printable(text))(
                b"", timeout=PATIENCE
            ),
        ):
            try:
                send()
            except grpc.RpcError:
                pass
    server.stop()
    lines = server.output().splitlines()
    assert lines
    for line in lines:
        fields = json.loads(line)  # strict: no raw control character
        assert isinstance(fields, dict)
        assert fields.get("level") != "fake"
        assert fields.get("listen") != "fake"
        for character in line:
            assert character.isprintable(), repr(line)


@asan
def test_X4_log_lines_hold_no_payload(start_server):
    server = start_server(args=["--log-level", "debug"])
    client = server.client("n")
    secret = "canary-4711"
    client.append(
        "s",
        pb.Memory(
            content=secret,
            metadata=struct(k=secret),
            parts=[pb.Part(mime_type="a/b", caption=secret)],
        ),
    )
    client.list("s")
    for bad in (
        pb.Memory(content=secret, importance=7),
        pb.Memory(content=secret, metadata=struct(k=[secret, float("nan")])),
        pb.Memory(content=secret * 200000),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            client.append("s", bad)
        assert secret not in caught.value.details()
    server.stop()
    assert secret not in server.output()


@asan
def test_X4_config_with_evil_names(tmp_path):
    from harness import run

    config = tmp_path / "c.yaml"
    for text in EVIL:
        quoted = json.dumps({"backends": {text: {"type": text}}})
        config.write_text(quoted)
        ended = run("--check-config", "-c", config, folder=tmp_path)
        assert ended.returncode == 1 or ended.returncode == 2
        output = ended.stdout + ended.stderr
        for character in output.replace("\n", ""):
            assert character.isprintable() or character == "\t", repr(output)


def test_the_walk_over_strings_is_complete():
    """It reaches every served method that has a string."""
    methods = {method for method, _, _ in string_places()}
    assert methods == {m.name for m in pb.served_methods()} - {"ListBackends"}
