"""IngestMemories: a stream of appends, each with an answer of its own."""

import itertools
import json
import queue
import threading

import grpc
import pytest

import pb
from harness import (
    BUILD,
    PATIENCE,
    SANITIZED,
    explain,
    item_error,
    refused,
    wait_for,
)

pytestmark = pytest.mark.asan


class Feed:
    """An iterator of requests that a test feeds by hand; None ends it."""

    def __init__(self):
        self.queue = queue.Queue()
        self.taken = 0

    def put(self, *items):
        for each in items:
            self.queue.put(each)

    def __iter__(self):
        return self

    def __next__(self):
        item = self.queue.get()
        if item is None:
            raise StopIteration
        self.taken += 1
        return item


def test_one_answer_per_item_in_order(client):
    answers = list(
        client.ingest(
            client.item("s%d" % (n % 3), "Message %d" % n) for n in range(100)
        )
    )
    assert [each.index for each in answers] == list(range(100))
    assert all(each.WhichOneof("result") == "append" for each in answers)
    for n, each in enumerate(answers):
        assert each.append.session.session == "s%d" % (n % 3)
        assert each.append.memories[0].sequence == n // 3 + 1
    for k in range(3):
        wanted = ["Message %d" % n for n in range(k, 100, 3)]
        assert client.texts("s%d" % k) == wanted


def test_an_item_is_an_append(client):
    (answer,) = client.ingest([client.item("s", "a", "b")])
    made = answer.append
    assert [m.sequence for m in made.memories] == [1, 2]
    assert made.session.revision == 1
    assert made.session.uid == client.session("s").uid
    assert not made.deduplicated


def test_a_stream_of_nothing(client):
    assert list(client.ingest([])) == []


def test_each_answer_comes_without_waiting_for_the_next_item(client):
    feed = Feed()
    answers = client.ingest(feed)
    for n in range(20):
        feed.put(client.item("s", "Message %d" % n))
        assert next(answers).index == n
        assert client.session("s").last_sequence == n + 1
    feed.put(None)
    assert list(answers) == []


def test_errors_of_items_leave_the_stream_alone(client):
    client.append("s", pb.Memory(id="taken", content="x"))
    items = [
        client.item("s", "a"),
        client.item("s", pb.Memory(id="taken", content="y")),
        client.item("s", "b"),
        client.item("s", pb.Memory()),
        client.item("s", "c", "d" * ((1 << 20) + 1)),
        client.item("s", "d", expected_revision=99),
        client.item("absent", "e", session_must_exist=True),
        client.item("s", "f", namespace="a/b"),
        client.item("s", pb.Memory(content="g", embed=pb.EMBED_MODE_NONE)),
        client.item("s", pb.Memory(content="h", sequence=9)),
        client.item("s"),
        pb.IngestMemoriesRequest(),
        client.item("s", "z"),
    ]
    answers = list(client.ingest(items))
    assert [each.index for each in answers] == list(range(len(items)))
    stored = [n for n, each in enumerate(answers) if each.HasField("append")]
    assert stored == [0, 2, 12]
    item_error(answers[1], "ALREADY_EXISTS", "MEMORY_EXISTS")
    item_error(
        answers[3], "INVALID_ARGUMENT", "REQUIRED", "memories[0].content"
    )
    item_error(
        answers[4], "INVALID_ARGUMENT", "TOO_LARGE", "memories[1].content"
    )
    moved = item_error(answers[5], "ABORTED", "REVISION_MISMATCH")
    assert moved.metadata["current_revision"] == "3"
    item_error(answers[6], "NOT_FOUND", "SESSION_NOT_FOUND")
    item_error(answers[7], "INVALID_ARGUMENT", "INVALID_VALUE", "namespace")
    item_error(
        answers[8], "UNIMPLEMENTED", "NOT_SERVED", "memories[0].embed"
    )
    item_error(
        answers[9], "INVALID_ARGUMENT", "OUTPUT_ONLY", "memories[0].sequence"
    )
    item_error(answers[10], "INVALID_ARGUMENT", "REQUIRED", "memories")
    item_error(answers[11], "INVALID_ARGUMENT", "REQUIRED", "append")
    assert client.texts("s") == ["x", "a", "b", "z"]
    # What was refused burned no sequence.
    assert [m.sequence for m in client.list("s")] == [1, 2, 3, 4]


def test_what_stands_before_an_item_that_ends_the_stream_is_answered(
    start_server,
):
    """A store is full, and says so at once, while items of another session wait
    for each other: they are committed and answered, then the stream ends."""
    server = start_server(
        """
backends:
  tiny: { type: dict, max_bytes: 4096 }
  slow: { plugin: %s }
sessions:
  - { match: "*/tiny", backend: tiny }
  - { match: "*/*", backend: slow }
"""
        % json.dumps(str(BUILD / "mneme_late.so"))
    )
    client = server.client("n")
    items = [client.item("s", "%d" % n) for n in range(20)]
    items.append(client.item("tiny", "x" * 10000))
    items.append(client.item("s", "too late"))
    answers = []
    with refused("RESOURCE_EXHAUSTED", "STORE_FULL"):
        for answer in client.ingest(items):
            answers.append(answer.append.memories[0].sequence)
    assert answers == list(range(1, 21))
    assert client.texts("s") == ["%d" % n for n in range(20)]


def test_items_of_one_session_keep_their_order(client):
    """Guards that hold only when every item before has been committed."""
    answers = list(
        client.ingest(
            client.item("s", "Message %d" % n, expected_revision=n)
            for n in range(300)
        )
    )
    assert all(each.HasField("append") for each in answers)
    assert client.session("s").revision == 300


def test_half_close_answers_all_that_is_under_way(client):
    """The client ends its side at once; every answer still comes."""
    for count in (1, 63, 64, 65, 129, 500):
        answers = list(
            client.ingest(
                [client.item("s%d" % count, "x") for _ in range(count)]
            )
        )
        assert len(answers) == count
        assert client.session("s%d" % count).memory_count == count


def test_duplicates_in_one_stream(client):
    item = client.item("s", "x", request_id="r")
    other = client.item("s", "y", request_id="r")
    answers = list(client.ingest([item, item, other, item]))
    assert [
        each.append.deduplicated for each in answers if each.HasField("append")
    ] == [False, True, True]
    item_error(
        answers[2], "INVALID_ARGUMENT", "REQUEST_ID_REUSED", "request_id"
    )
    assert client.texts("s") == ["x"]


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_stream_is_repeated(client, seed):
    """Cut it anywhere, send all again with the same request_ids: once each."""
    import random

    chance = random.Random(seed)
    items = [
        client.item("s", "Message %d" % n, request_id="r%d" % n)
        for n in range(200)
    ]
    for _ in range(5):
        call = client.ingest(items)
        for _ in range(chance.randrange(120)):
            next(call)
        call.cancel()
    answers = list(client.ingest(items))
    assert len(answers) == 200
    # Some came late: what the first streams stored is a prefix, in order.
    found = client.all("s", page_size=1000)
    assert [m.content for m in found] == ["Message %d" % n for n in range(200)]
    assert [m.sequence for m in found] == list(range(1, 201))


def test_what_was_answered_before_a_cut_is_stored(client):
    feed = Feed()
    call = client.ingest(feed)
    feed.put(*[client.item("s", "Message %d" % n) for n in range(50)])
    for n in range(30):
        assert next(call).index == n
    call.cancel()
    feed.put(None)
    found = client.texts("s", page_size=1000)
    assert found[:30] == ["Message %d" % n for n in range(30)]


def test_the_streams_deadline(client):
    feed = Feed()
    call = client.ingest(feed, timeout=0.5)
    feed.put(client.item("s", "x"))
    assert next(call).HasField("append")
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    feed.put(None)
    assert client.texts("s") == ["x"]


def test_an_item_above_four_mebibytes_ends_the_stream(client):
    feed = Feed()
    call = client.ingest(feed)
    feed.put(client.item("s", "x"))
    assert next(call).HasField("append")
    feed.put(client.item("s", *["x" * (1 << 20)] * 4))
    with pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    feed.put(None)
    assert client.texts("s") == ["x"]


def test_many_streams_at_once(client, server):
    """Several streams over the same and over other sessions."""
    failures = []

    def run(number):
        try:
            mine = server.client(client.namespace)
            items = [
                mine.item(
                    "shared" if n % 2 else "own-%d" % number,
                    "%d/%d" % (number, n),
                )
                for n in range(100)
            ]
            answers = list(mine.ingest(items))
            assert [each.index for each in answers] == list(range(100))
        except BaseException as why:  # reported by the test itself
            failures.append(why)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(PATIENCE)
    assert not failures, failures
    shared = client.all("shared", page_size=1000)
    assert [m.sequence for m in shared] == list(range(1, 401))
    for number in range(8):
        mine = [
            m.content
            for m in shared
            if m.content.startswith("%d/" % number)
        ]
        assert mine == ["%d/%d" % (number, n) for n in range(1, 100, 2)]
        assert len(client.list("own-%d" % number)) == 50


def test_a_client_that_does_not_read_is_held_back(client, start_server):
    """Without reading answers, the items stop being taken, and the server's
    memory stays where it was; once the client reads, everything comes."""
    server = start_server()
    # A client's window grows with what it measures of the way; here it shall not.
    mine = server.client(client.namespace, server.channel(("grpc.http2.bdp_probe", 0)))
    count = 4000
    # Large answers: each names 200 memories that are there already.
    batch = [pb.Memory(id="%032d" % n, content="x") for n in range(200)]
    item = mine.item("s", *batch, on_conflict=pb.ON_CONFLICT_SKIP)
    taken = itertools.count()
    progress = [0]

    def items():
        for _ in range(count):
            progress[0] = next(taken) + 1
            yield item

    before = server.memory("VmRSS")
    call = mine.ingest(items(), timeout=PATIENCE)
    pause = threading.Event()
    last = -1
    while last != progress[0]:
        last = progress[0]
        pause.wait(0.5)  # held back = no step in half a second
    assert 0 < last < count, "nothing held the client back"
    if not SANITIZED:
        assert server.memory("VmRSS") < before + (64 << 20)
    # Others are served meanwhile.
    assert mine.append("other", "x").session.revision == 1
    assert len(list(call)) == count
    assert mine.session("s").memory_count == 200


def test_a_reset_in_the_middle_hurts_nobody(client):
    for n in range(30):
        feed = Feed()
        call = client.ingest(feed)
        feed.put(*[client.item("s", "x") for _ in range(n)])
        call.cancel()
        feed.put(None)
    wait_for("the server to answer", lambda: client.GetStats() is not None)
    assert client.append("t", "x").session.revision == 1


def test_bytes_that_are_no_item(client):
    call = client.channel.stream_stream("/mneme.v1.MemoryBackend/IngestMemories")
    good = pb.IngestMemoriesRequest(
        append=client.item("s", "x")
    ).SerializeToString()
    try:
        answers = list(call(iter([good, b"\x0a\xff", good]), timeout=PATIENCE))
    except grpc.RpcError as error:
        assert explain(error).reason == "MALFORMED"
        assert client.texts("s") == ["x"]
    else:
        parsed = [pb.IngestMemoriesResponse.FromString(a) for a in answers]
        item_error(parsed[1], "INVALID_ARGUMENT", "MALFORMED")
        assert client.texts("s") == ["x", "x"]


@pytest.mark.dict  # whose limit it is; on a late engine it takes a minute
def test_request_ids_per_session_have_a_limit(client):
    """65,536 of one session are remembered; then the oldest makes room."""
    if SANITIZED:
        pytest.skip("the same code 65,536 times")
    call = client.channel.stream_stream("/mneme.v1.MemoryBackend/IngestMemories")

    def item(n):
        return pb.IngestMemoriesRequest(
            append=pb.AppendMemoriesRequest(
                namespace=client.namespace,
                session="s",
                memories=[pb.Memory(content="x")],
                request_id="%d" % n,
            )
        ).SerializeToString()

    count = sum(1 for _ in call((item(n) for n in range(65536)), timeout=10 * PATIENCE))
    assert count == 65536
    assert client.append("s", "x", request_id="0").deduplicated
    assert not client.append("s", "x", request_id="new").deduplicated
    assert not client.append("s", "x", request_id="0").deduplicated
    assert client.append("s", "x", request_id="65535").deduplicated
    assert client.append("s", "x", request_id="new").deduplicated
    assert client.session("s").last_sequence == 65538

