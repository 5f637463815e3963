"""DeleteMemories by a filter: what goes, in which pieces, and what does not
because it was changed or came too late."""

import threading

import pytest

import pb
from harness import PATIENCE, refused, struct
from test_limits import limit

pytestmark = pytest.mark.asan


def fill(client, session, count, **fields):
    """Memories "0".. with metadata n = their number; a thousand at a time."""
    for start in range(0, count, 1000):
        client.AppendMemories(
            session=session,
            memories=[
                pb.Memory(id=str(n), content="x", metadata=struct(n=n), **fields)
                for n in range(start, min(start + 1000, count))
            ],
        )


def left(client, session="s"):
    return [m.id for m in client.all(session, page_size=1000)]


def delete_all(client, session="s", **fields):
    """Repeats with the token until there is none; the counts of the answers."""
    counts, token = [], ""
    while True:
        answer = client.DeleteMemories(
            session=session, resume_token=token, **fields
        )
        counts.append(answer.deleted_count)
        token = answer.resume_token
        if not token:
            return counts
        assert len(counts) < 100, "it never ends"


def test_what_matches_goes_and_nothing_else(client):
    fill(client, "s", 20)
    fill(client, "other", 3)
    before = client.session("s")
    answer = client.DeleteMemories(session="s", filter="metadata.n >= 15")
    assert answer.deleted_count == 5
    assert not answer.ids and not answer.resume_token
    assert answer.session.session == "s"
    assert answer.session.memory_count == 15
    assert answer.session.revision == before.revision + 1
    assert answer.session.last_sequence == 20
    assert left(client) == [str(n) for n in range(15)]
    assert left(client, "other") == ["0", "1", "2"]
    # What an engine decides, and what is judged by the service.
    answer = client.DeleteMemories(
        session="s", filter='content ~ "X" AND sequence IN (1, 3, 99)'
    )
    assert answer.deleted_count == 2
    assert left(client)[:2] == ["1", "3"]
    # Repeated it finds nothing, and changes nothing.
    revision = client.session("s").revision
    answer = client.DeleteMemories(session="s", filter="metadata.n >= 15")
    assert answer.deleted_count == 0
    assert answer.session.revision == revision == client.session("s").revision


def test_a_dry_run_counts_and_lists_a_hundred(client):
    fill(client, "s", 2500)
    answer = client.DeleteMemories(
        session="s", filter="metadata.n >= 500", dry_run=True
    )
    assert answer.deleted_count == 2000
    assert list(answer.ids) == [str(n) for n in range(500, 600)]
    assert answer.session.memory_count == 2500 and not answer.resume_token
    assert client.session("s").memory_count == 2500


def test_an_absent_session_has_nothing_to_delete(client):
    for dry_run in (False, True):
        answer = client.DeleteMemories(
            session="none", filter="pinned = false", dry_run=dry_run
        )
        assert answer.deleted_count == 0 and not answer.session.uid
    assert not client.ListSessions().sessions


def test_commits_take_a_thousand_each(client):
    fill(client, "s", 2500)
    before = client.session("s").revision
    answer = client.DeleteMemories(session="s", filter="metadata.n < 2400")
    assert answer.deleted_count == 2400 and not answer.resume_token
    assert client.session("s").revision == before + 3
    assert left(client) == [str(n) for n in range(2400, 2500)]


@pytest.mark.parametrize("name, number", [limit("DeleteMemories.removed", 10000)])
def test_one_request_removes_so_many(client, name, number):
    fill(client, "n", number)
    assert delete_all(client, "n", filter="pinned = false") == [number]
    fill(client, "more", number + 1)
    assert delete_all(client, "more", filter="pinned = false") == [number, 1]
    assert left(client, "n") == left(client, "more") == []


@pytest.mark.parametrize(
    "name, number", [limit("DeleteMemories.examined", 100000)]
)
def test_one_request_looks_at_so_many_sequences(client, name, number):
    """Those from the first memory on; a hole in front costs nothing."""
    rest = [pb.Memory(content="x")] * 1000
    client.append("s", *rest)
    client.ClearSession(session="s")
    for _ in range(number // 1000 - 1):
        client.append("s", *rest)
    client.append("s", *rest[:999], pb.Memory(id="n", content="y"))
    assert client.session("s").last_sequence == number + 1000
    client.append("s", pb.Memory(id="n+1", content="y"))
    counts = delete_all(client, filter='content : "y"')
    assert counts == [1, 1]
    for _ in range(2):
        client.append("s", pb.Memory(content="y"))
    answer = client.DeleteMemories(
        session="s", filter='content : "y"', dry_run=True
    )
    assert answer.deleted_count == 2, "a dry run counts to the end"


def test_what_came_after_the_start_stays(client):
    """The token holds the now and the last sequence of the start."""
    fill(client, "s", 10001)
    first = client.DeleteMemories(session="s", filter="age(create_time) < 1d")
    assert first.deleted_count == 10000 and first.resume_token
    client.append("s", pb.Memory(id="late", content="x"))
    second = client.DeleteMemories(
        session="s",
        filter="age(create_time) < 1d",
        resume_token=first.resume_token,
    )
    assert second.deleted_count == 1 and not second.resume_token
    assert left(client) == ["late"]


def test_a_token_is_bound_to_its_request(client):
    fill(client, "s", 10001)
    fill(client, "t", 1)
    token = client.DeleteMemories(
        session="s", filter="pinned = false"
    ).resume_token
    for wrong in (
        dict(session="s", filter="pinned  = false", resume_token=token),
        dict(session="t", filter="pinned = false", resume_token=token),
        dict(session="s", filter="pinned = false", resume_token=token[:-1]),
        dict(session="s", filter="pinned = false", resume_token="x"),
    ):
        with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "resume_token"):
            client.DeleteMemories(**wrong)
    assert client.session("s").memory_count == 1


def test_a_token_of_a_session_that_has_gone_removes_nothing(client):
    fill(client, "s", 10001)
    token = client.DeleteMemories(
        session="s", filter="pinned = false"
    ).resume_token
    client.DeleteSession(session="s")
    answer = client.DeleteMemories(
        session="s", filter="pinned = false", resume_token=token
    )
    assert answer.deleted_count == 0 and not answer.resume_token
    fill(client, "s", 3)
    answer = client.DeleteMemories(
        session="s", filter="pinned = false", resume_token=token
    )
    assert answer.deleted_count == 0 and not answer.resume_token
    assert left(client) == ["0", "1", "2"]


def test_the_expected_revision_is_asked_for_once(client):
    fill(client, "s", 1500)
    revision = client.session("s").revision
    for dry_run in (False, True):
        with refused("ABORTED", "REVISION_MISMATCH"):
            client.DeleteMemories(
                session="s",
                filter="metadata.n > 7",
                expected_revision=revision - 1,
                dry_run=dry_run,
            )
        with refused("ABORTED", "REVISION_MISMATCH"):
            client.DeleteMemories(
                session="s",
                filter="metadata.n > 9999",
                expected_revision=0,
                dry_run=dry_run,
            )
    answer = client.DeleteMemories(
        session="s", filter="metadata.n >= 0", expected_revision=revision
    )
    assert answer.deleted_count == 1500
    answer = client.DeleteMemories(
        session="none", filter="pinned = true", expected_revision=0
    )
    assert answer.deleted_count == 0


def test_what_is_changed_meanwhile_is_as_it_was_changed(client):
    """While one deletes what is open, another closes: each memory is either
    gone or closed, and what was closed and acknowledged is there."""
    count = 3000
    fill(client, "s", count, kind="open")
    closed, failed = [], []
    begun = threading.Event()

    def close():
        for n in range(count - 1, 0, -7):
            try:
                client.UpdateMemory(
                    session="s", id=str(n), memory=pb.Memory(kind="closed")
                )
                closed.append(str(n))
                begun.set()
            except Exception as error:  # gone already
                failed.append(error)

    other = threading.Thread(target=close)
    other.start()
    assert begun.wait(PATIENCE)
    delete_all(client, filter='kind = "open"')
    other.join()
    assert [m.id for m in client.all("s", filter='kind = "open"')] == []
    assert left(client) == sorted(closed, key=int)
    assert all(
        "NOT_FOUND" in str(error.code()) for error in failed
    ), failed[:1]


@pytest.mark.parametrize(
    "fields, reason, field",
    [
        (dict(), "REQUIRED", "ids"),
        (dict(filter=" \n"), "REQUIRED", "filter"),
        (dict(filter=" ", dry_run=True), "REQUIRED", "filter"),
        (dict(filter="role"), "FILTER_INVALID", "filter"),
        (dict(filter="role:*", ids=["a"]), "CONFLICTING_FIELDS", "filter"),
        (dict(filter="role:*", keys=["a"]), "CONFLICTING_FIELDS", "filter"),
        (dict(filter=" ", ids=["a"]), "CONFLICTING_FIELDS", "filter"),
        (
            dict(filter="role:*", request_id="r"),
            "CONFLICTING_FIELDS",
            "request_id",
        ),
        (dict(ids=["a"], resume_token="t"), "CONFLICTING_FIELDS", "resume_token"),
        (
            dict(filter="role:*", resume_token="t", dry_run=True),
            "CONFLICTING_FIELDS",
            "resume_token",
        ),
        (
            dict(filter="role:*", resume_token="t"),
            "PAGE_TOKEN_INVALID",
            "resume_token",
        ),
    ],
)
def test_refused(client, fields, reason, field):
    client.append("s", "x")
    with refused("INVALID_ARGUMENT", reason, field):
        client.DeleteMemories(session="s", **fields)
    assert left(client) != []


@pytest.mark.parametrize(
    "name, number", [limit("DeleteMemoriesRequest.resume_token", 2048)]
)
def test_length_of_a_resume_token(client, name, number):
    """It is the service's own: at its full length it is no valid one."""
    for size, reason in (
        (number, "PAGE_TOKEN_INVALID"),
        (number + 1, "TOO_LARGE"),
    ):
        with refused("INVALID_ARGUMENT", reason, "resume_token"):
            client.DeleteMemories(
                session="s", filter="role:*", resume_token="x" * size
            )
