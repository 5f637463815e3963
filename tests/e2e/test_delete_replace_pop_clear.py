"""What takes memories away: DeleteMemories, ReplaceMemories, PopMemories,
ClearSession, DeleteSession."""

import pytest

import pb
from harness import refused

pytestmark = pytest.mark.asan


def fill(client, count=6):
    client.append(
        "s",
        *[
            pb.Memory(id="i%d" % n, key="k%d" % n, content="m%d" % n)
            for n in range(count)
        ],
    )


def memories(*texts):
    return [pb.Memory(content=text) for text in texts]


# ---- DeleteMemories ---------------------------------------------------------


def test_delete_by_ids_and_keys(client):
    fill(client)
    answer = client.DeleteMemories(
        session="s", ids=["i1", "none", "i1"], keys=["k3", "nothing", "k1"]
    )
    assert answer.deleted_count == 2
    assert not answer.ids  # with dry_run only
    assert answer.session.revision == 2
    assert answer.session.memory_count == 4
    assert answer.session.last_sequence == 6
    assert client.texts("s") == ["m0", "m2", "m4", "m5"]
    gone = client.GetMemories(session="s", ids=["i1"], keys=["k1", "k3"])
    assert not gone.memories
    assert list(gone.missing_keys) == ["k1", "k3"]


def test_delete_of_nothing_is_no_commit(client):
    fill(client)
    answer = client.DeleteMemories(session="s", ids=["none"])
    assert answer.deleted_count == 0
    assert answer.session.revision == 1


def test_delete_in_an_absent_session(client):
    answer = client.DeleteMemories(session="nobody", ids=["i"])
    assert answer.deleted_count == 0
    assert answer.session == pb.SessionRef()
    assert not client.ListSessions().sessions


def test_delete_wants_a_name(client):
    with refused("INVALID_ARGUMENT", "REQUIRED", "ids"):
        client.DeleteMemories(session="s")


def test_delete_guards_on_the_sessions_revision(client):
    fill(client)
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.DeleteMemories(session="s", ids=["i0"], expected_revision=7)
    assert why.metadata["current_revision"] == "1"
    assert len(client.list("s")) == 6
    client.DeleteMemories(session="s", ids=["i0"], expected_revision=1)
    assert len(client.list("s")) == 5


def test_delete_dry_run(client):
    fill(client)
    answer = client.DeleteMemories(
        session="s", ids=["i4", "none", "i2"], keys=["k2", "k0"], dry_run=True
    )
    assert answer.deleted_count == 3
    assert sorted(answer.ids) == ["i0", "i2", "i4"]
    assert answer.session.revision == 1
    assert len(client.list("s")) == 6


def test_delete_dry_run_names_the_first_hundred(client):
    client.append(
        "s", *[pb.Memory(id="i%03d" % n, content="x") for n in range(150)]
    )
    answer = client.DeleteMemories(
        session="s", ids=["i%03d" % n for n in range(150)], dry_run=True
    )
    assert answer.deleted_count == 150
    assert len(answer.ids) == 100
    assert client.session("s").memory_count == 150


def test_delete_dry_run_takes_no_request_id(client):
    fill(client)
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS"):
        client.DeleteMemories(
            session="s", ids=["i0"], dry_run=True, request_id="r"
        )


def test_sequences_go_on_after_the_newest_was_deleted(client):
    fill(client)
    client.DeleteMemories(session="s", ids=["i4", "i5"])
    assert client.append("s", "new").memories[0].sequence == 7


# ---- ReplaceMemories --------------------------------------------------------


def test_replace_all(client):
    fill(client)
    uid = client.session("s").uid
    answer = client.ReplaceMemories(
        session="s",
        memories=[
            pb.Memory(content="a"),
            pb.Memory(id="i0", key="k1", content="b"),
        ],
    )
    assert answer.deleted_count == 6
    assert [m.sequence for m in answer.memories] == [7, 8]
    assert all(m.created for m in answer.memories)
    assert answer.session.uid == uid
    assert answer.session.revision == 2
    assert answer.session.memory_count == 2
    assert client.texts("s") == ["a", "b"]


def test_replace_by_nothing(client):
    fill(client)
    answer = client.ReplaceMemories(session="s")
    assert (answer.deleted_count, len(answer.memories)) == (6, 0)
    assert answer.session.memory_count == 0
    assert answer.session.last_sequence == 6
    assert client.texts("s") == []


def test_replace_a_suffix(client):
    fill(client)
    answer = client.ReplaceMemories(
        session="s", from_sequence=4, memories=memories("x", "y")
    )
    assert answer.deleted_count == 3
    assert [m.sequence for m in answer.memories] == [7, 8]
    assert client.texts("s") == ["m0", "m1", "m2", "x", "y"]
    # From beyond the end: an append.
    answer = client.ReplaceMemories(
        session="s", from_sequence=100, memories=memories("z")
    )
    assert answer.deleted_count == 0
    assert client.texts("s") == ["m0", "m1", "m2", "x", "y", "z"]


def test_replace_creates_the_session(client):
    answer = client.ReplaceMemories(session="s", memories=memories("a"))
    assert (answer.deleted_count, answer.session.revision) == (0, 1)
    assert client.texts("s") == ["a"]
    empty = client.ReplaceMemories(session="t")
    assert empty.session.session == "t"
    assert client.session("t").memory_count == 0


def test_replace_is_atomic(client):
    fill(client)
    with refused("ALREADY_EXISTS", "MEMORY_EXISTS"):
        client.ReplaceMemories(
            session="s",
            from_sequence=4,
            memories=[
                pb.Memory(content="x"),
                pb.Memory(id="i0", content="taken by one that stays"),
            ],
        )
    with refused("INVALID_ARGUMENT", "DUPLICATE", "memories[1].id"):
        client.ReplaceMemories(
            session="s",
            memories=[
                pb.Memory(id="a", content="x"),
                pb.Memory(id="a", content="y"),
            ],
        )
    assert len(client.list("s")) == 6
    assert client.session("s").revision == 1


def test_replace_guards_on_the_sessions_revision(client):
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.ReplaceMemories(
            session="s", memories=memories("a"), expected_revision=3
        )
    assert why.metadata["current_revision"] == "0"
    client.ReplaceMemories(
        session="s", memories=memories("a"), expected_revision=0
    )
    with refused("ABORTED", "REVISION_MISMATCH"):
        client.ReplaceMemories(
            session="s", memories=memories("b"), expected_revision=0
        )
    assert client.texts("s") == ["a"]


def test_replace_names_its_session(client):
    with refused("INVALID_ARGUMENT", "REQUIRED", "session"):
        client.ReplaceMemories(memories=memories("a"))
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "from_sequence"):
        client.ReplaceMemories(session="s", from_sequence=0)


def test_replace_evicts_by_the_policy(client):
    client.CreateSession(session="s", policy=pb.SessionPolicy(max_memories=3))
    answer = client.ReplaceMemories(
        session="s", memories=memories("a", "b", "c", "d", "e")
    )
    assert answer.evicted_count == 2
    assert [m.sequence for m in answer.memories] == [1, 2, 3, 4, 5]
    assert client.texts("s") == ["c", "d", "e"]


# ---- PopMemories ------------------------------------------------------------


def test_pop_takes_the_newest(client):
    fill(client)
    answer = client.PopMemories(session="s")
    assert [m.content for m in answer.memories] == ["m5"]
    assert answer.session.revision == 2
    answer = client.PopMemories(session="s", count=2)
    assert [m.content for m in answer.memories] == ["m3", "m4"]  # ascending
    assert answer.session.memory_count == 3
    assert not answer.truncated
    assert client.texts("s") == ["m0", "m1", "m2"]
    assert client.append("s", "x").memories[0].sequence == 7


def test_pop_returns_the_memories_as_they_were(client):
    fill(client)
    wanted = client.list("s")[-2:]
    assert list(client.PopMemories(session="s", count=2).memories) == wanted


def test_pop_more_than_there_are(client):
    fill(client, 3)
    answer = client.PopMemories(session="s", count=1000)
    assert [m.content for m in answer.memories] == ["m0", "m1", "m2"]
    assert not answer.truncated
    empty = client.PopMemories(session="s")
    assert not empty.memories
    assert empty.session.revision == 2  # nothing was there to remove


def test_pop_from_an_absent_session(client):
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.PopMemories(session="nobody")


def test_pop_guards_on_the_sessions_revision(client):
    fill(client)
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.PopMemories(session="s", expected_revision=9)
    assert why.metadata["current_revision"] == "1"
    client.PopMemories(session="s", expected_revision=1)
    assert len(client.list("s")) == 5


@pytest.mark.parametrize("wrong", [-1, 1001])
def test_pop_count_out_of_range(client, wrong):
    fill(client)
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "count"):
        client.PopMemories(session="s", count=wrong)
    assert len(client.list("s")) == 6


def test_pop_takes_only_what_fits_into_the_answer(client):
    for n in range(5):
        client.append("s", "%d" % n * (1 << 20))
    answer = client.PopMemories(session="s", count=5)
    assert answer.truncated
    assert [m.content[0] for m in answer.memories] == ["2", "3", "4"]
    assert answer.ByteSize() <= 3584 * 1024
    assert answer.session.memory_count == 2
    rest = client.PopMemories(session="s", count=5)
    assert [m.content[0] for m in rest.memories] == ["0", "1"]
    assert not rest.truncated


# ---- ClearSession -----------------------------------------------------------


def test_clear_keeps_the_session(client):
    client.CreateSession(session="s", labels={"a": "b"})
    fill(client)
    before = client.session("s")
    answer = client.ClearSession(session="s")
    assert answer.deleted_count == 6
    assert answer.session.uid == before.uid
    assert answer.session.revision == before.revision + 1
    assert answer.session.memory_count == 0
    assert answer.session.last_sequence == 6
    after = client.session("s")
    assert after.labels == before.labels
    assert after.settings_revision == before.settings_revision
    assert client.append("s", "x").memories[0].sequence == 7


def test_clear_absent(client):
    answer = client.ClearSession(session="nobody")
    assert answer.deleted_count == 0
    assert answer.session == pb.SessionRef()
    assert not client.ListSessions().sessions


def test_clear_names_its_session(client):
    client.append("", "x")
    with refused("INVALID_ARGUMENT", "REQUIRED", "session"):
        client.ClearSession()
    assert client.texts("default") == ["x"]


def test_clear_guards(client):
    fill(client)
    with refused("ABORTED", "REVISION_MISMATCH"):
        client.ClearSession(session="s", expected_revision=5)
    client.ClearSession(session="s", expected_revision=1)
    assert client.texts("s") == []


def test_clear_removes_many(client):
    for _ in range(12):
        client.append("s", *["x"] * 1000)
    assert client.ClearSession(session="s").deleted_count == 12000
    assert client.session("s").memory_count == 0
    assert client.GetStats(session="s").byte_count == 0


# ---- DeleteSession ----------------------------------------------------------


def test_delete_session(client):
    fill(client)
    answer = client.DeleteSession(session="s")
    assert answer.existed and answer.deleted_count == 6
    with refused("NOT_FOUND", "SESSION_NOT_FOUND"):
        client.GetSession(session="s")
    assert client.texts("s") == []
    assert not client.ListSessions().sessions
    assert list(
        client.GetMemories(session="s", ids=["i0"]).missing_ids
    ) == ["i0"]
    assert client.GetStats().memory_count == 0


def test_delete_session_absent(client):
    answer = client.DeleteSession(session="nobody")
    assert not answer.existed and answer.deleted_count == 0


def test_delete_session_names_its_session(client):
    client.append("", "x")
    with refused("INVALID_ARGUMENT", "REQUIRED", "session"):
        client.DeleteSession()
    assert client.texts("default") == ["x"]


def test_delete_session_guards(client):
    fill(client)
    with refused("ABORTED", "REVISION_MISMATCH") as why:
        client.DeleteSession(session="s", expected_revision=2)
    assert why.metadata["current_revision"] == "1"
    assert len(client.list("s")) == 6
    assert client.DeleteSession(session="s", expected_revision=1).existed
    # 0: it must not exist, which is so now.
    assert not client.DeleteSession(session="s", expected_revision=0).existed


def test_delete_session_takes_its_settings(client):
    client.CreateSession(
        session="s",
        labels={"a": "b"},
        policy=pb.SessionPolicy(max_memories=1),
    )
    client.DeleteSession(session="s")
    client.append("s", "x", "y")
    got = client.session("s")
    assert not got.labels and got.policy == pb.SessionPolicy()
    assert client.texts("s") == ["x", "y"]
