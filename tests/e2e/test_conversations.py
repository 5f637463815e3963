"""The real input: five long conversations, every turn a memory.

One namespace per conversation, one session per dated sitting. The turns go in
over streams that are cut at random and by appends that are cut short; then
ListMemories returns each of them exactly once, in order, byte for byte.

The data lies beside the checkout, or where MNEME_EVAL_DATA says, and is read in
place. Without it the tests are skipped, in CI too.
"""

import collections
import datetime
import json
import os
import pathlib
import random

import grpc
import pytest

import pb
from harness import PATIENCE, ROOT, struct, timestamp

DATA = pathlib.Path(
    os.environ.get("MNEME_EVAL_DATA") or ROOT.parent / "shared/eval/data"
)
FILE = DATA / "locomo-dev.memories.jsonl"

pytestmark = [
    pytest.mark.asan,
    pytest.mark.skipif(not FILE.exists(), reason="no evaluation data here"),
]

UNKNOWN = (
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNAVAILABLE,
)


def turns():
    """The lines of the file, in order."""
    with open(FILE, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def memory(turn):
    made = pb.Memory(
        id=turn["id"],
        author=turn["speaker"],
        content=turn["text"],
        event_time=timestamp(
            datetime.datetime.fromisoformat(
                turn["created_at"].replace("Z", "+00:00")
            ).timestamp()
        ),
    )
    if turn["speaker"] in ("user", "assistant"):
        made.role = turn["speaker"]
    if "caption" in turn:
        made.parts.add(mime_type="image/jpeg", caption=turn["caption"])
    if "image_query" in turn:
        made.metadata.CopyFrom(struct(image_query=turn["image_query"]))
    return made


def session_of(turn):
    return "sitting-%02d" % turn["session"]


def conversations():
    """store -> its turns."""
    found = collections.defaultdict(list)
    for turn in turns():
        found[turn["store"]].append(turn)
    return found


def items(client, turns, **fields):
    return [
        client.request(
            "AppendMemories",
            session=session_of(turn),
            memories=[memory(turn)],
            **fields,
        )
        for turn in turns
    ]


def check(client, turns):
    """Everything that went in comes out, once, in order, byte for byte."""
    sittings = collections.defaultdict(list)
    for turn in turns:
        sittings[session_of(turn)].append(turn)
    listed, token = [], ""
    while True:
        answer = client.ListSessions(page_token=token, page_size=7)
        listed += answer.sessions
        token = answer.next_page_token
        if not token:
            break
    assert {s.id: s.memory_count for s in listed} == {
        name: len(those) for name, those in sittings.items()
    }
    for name, those in sittings.items():
        wanted = [memory(turn) for turn in those]
        for anchor in (pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST):
            for size in (9, 50):
                found = client.all(name, anchor=anchor, page_size=size)
                assert [m.sequence for m in found] == list(
                    range(1, len(wanted) + 1)
                )
                for got, sent in zip(found, wanted):
                    same(got, sent)


def same(got, sent):
    """The bytes that the caller gave, whatever the service added."""
    mine = pb.Memory()
    mine.CopyFrom(got)
    for added in (
        "sequence create_time update_time revision token_count kind session"
    ).split():
        mine.ClearField(added)
    assert mine == sent, (mine, sent)
    assert got.content.encode() == sent.content.encode()
    assert got.kind == "message"
    assert got.token_count == (13 * len(sent.content.encode().split()) + 9) // 10


def total(client_of, stores):
    return sum(client_of(store).GetStats().memory_count for store in stores)


@pytest.fixture
def client_of(server, namespace):
    channel = server.channel()
    return lambda store: server.client("%s-%s" % (namespace, store), channel)


def test_the_data_is_what_it_was():
    stores = conversations()
    assert len(stores) == 5
    assert sum(map(len, stores.values())) == 2760
    for those in stores.values():
        assert [turn["seq"] for turn in those] == list(range(len(those)))


@pytest.mark.parametrize("identity", ["request_id", "id"])
@pytest.mark.parametrize("seed", [1, 2])
def test_by_streams_that_are_cut(client_of, identity, seed):
    """Repeated from the start, or from the last answer, until one stream goes
    through; by request_id, or by the turns' own ids alone."""
    stores = conversations()
    chance = random.Random("%s/%d" % (identity, seed))
    for store, those in stores.items():
        client = client_of(store)
        if identity == "request_id":
            requests = items(client, those)
            for request, turn in zip(requests, those):
                request.request_id = turn["id"]
        else:
            requests = items(
                client, those, on_conflict=pb.ON_CONFLICT_SKIP
            )
        done, cuts = 0, []
        while done < len(requests):
            start = 0 if chance.random() < 0.3 else done
            cut = chance.randrange(1, 2 * len(requests) // 3)
            how = chance.choice(["cancel", "deadline", "stop reading"])
            cuts.append((start, cut, how))
            call = client.ingest(
                requests[start:],
                timeout=cut / 4000 if how == "deadline" else PATIENCE,
            )
            read = 0
            try:
                for answer in call:
                    assert answer.WhichOneof("result") == "append", answer
                    assert answer.index == read
                    read += 1
                    done = max(done, start + read)
                    if how != "deadline" and read >= cut:
                        break
            except grpc.RpcError as error:
                assert error.code() in UNKNOWN, error
            call.cancel()
        print(store, "cuts (from, after, how):", cuts)
        check(client, those)
    assert total(client_of, stores) == 2760


@pytest.mark.parametrize("seed", [1])
def test_by_appends_that_are_cut_short(client_of, seed):
    """Batches of a sitting's turns, with deadlines that some do not keep and
    calls that are cancelled, each repeated with the same request_id."""
    stores = conversations()
    chance = random.Random(seed)
    print("seed %d" % seed)
    for store, those in stores.items():
        client = client_of(store)
        batches, left = [], list(those)
        while left:
            size = 1
            while (
                size < min(len(left), 12)
                and left[size]["session"] == left[0]["session"]
            ):
                size += 1
            size = chance.randrange(1, size + 1)
            batches.append(left[:size])
            left = left[size:]
        for number, batch in enumerate(batches):
            request = client.request(
                "AppendMemories",
                session=session_of(batch[0]),
                memories=[memory(turn) for turn in batch],
                request_id="batch %d" % number,
            )
            answer = None
            while answer is None:
                how = chance.randrange(5)
                call = client.stub.AppendMemories.future(
                    request,
                    timeout=(
                        chance.uniform(0.0002, 0.004) if how == 0 else PATIENCE
                    ),
                )
                if how == 1:
                    call.cancel()
                try:
                    answer = call.result()
                except grpc.FutureCancelledError:
                    pass
                except grpc.RpcError as error:
                    assert error.code() in UNKNOWN, error
            assert [m.id for m in answer.memories] == [t["id"] for t in batch]
        check(client, those)
    assert total(client_of, stores) == 2760


def test_nothing_is_shared_between_conversations(client_of):
    """Equal texts in two conversations stay two memories; deleting one leaves
    the others."""
    stores = conversations()
    for store, those in stores.items():
        client = client_of(store)
        assert len(list(client.ingest(items(client, those)))) == len(those)
    first = sorted(stores)[0]
    client = client_of(first)
    for session in client.ListSessions(page_size=1000).sessions:
        client.DeleteSession(session=session.id)
    assert client.GetStats() == pb.GetStatsResponse()
    for store, those in stores.items():
        if store != first:
            check(client_of(store), those)
