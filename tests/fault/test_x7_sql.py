"""X7: what SQL would read as more than a name is a name, in every place that
takes one. sqlite answers as dict does, which knows no SQL. (Filters: tests/e2e.)"""

import random

import pytest

import engines
import pb
from harness import struct
from store import Store

NAMES = [
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "%",
    "_",
    "%%",
    "a%",
    "a_",
    "ab",
    "a",
    "A",
    "*",
    "?",
    "[a]",
    "?1",
    ":a",
    "@a",
    "$a",
    ";",
    "--",
    "/*",
    "*/",
    "x'41'",
    "NULL",
    "null",
    "1",
    "01",
    "1.0",
    "1e0",
    "0x1",
    "'; DROP TABLE memories; --",
    "' OR '1'='1",
    "1 OR 1=1",
    "') UNION SELECT * FROM sessions --",
    "memories",
    "sqlite_master",
    "rowid",
    "$.a",
    "$[0]",
    "a.b",
    "ä",
    "Ä",
    "a\u0308",
    "ß",
    "\u0001",
    "\u007f",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "\U00010000",
    "\U0010ffff",
    "a\U0010ffff",
    "a\U0010ffff\U0010ffff",
]


def look(client):
    """Everything there is to see, by every way that takes a name: (way, name) ->
    what came."""
    seen = {}
    for name in NAMES + [""]:
        some = name or "x"
        listed = client.ListSessions(prefix=name, page_size=1000).sessions
        seen["prefix", name] = [(s.id, s.memory_count) for s in listed]
        keyed = client.all(
            "keys", order_by=pb.MEMORY_ORDER_KEY, key_prefix=name
        )
        seen["key prefix", name] = [m.key for m in keyed]
        for field in ("ids", "keys"):
            got = client.GetMemories(session="keys", **{field: [some]})
            seen[field, name] = (
                [(m.content, m.sequence, m.metadata) for m in got.memories],
                list(got.missing_ids),
                list(got.missing_keys),
            )
        of_role = client.list("keys", roles=[some])
        of_kind = client.list("keys", kinds=[some])
        seen["lists", name] = [m.id for m in of_role], [m.id for m in of_kind]
        labelled = client.ListSessions(labels={some: some}).sessions
        seen["labels", name] = [s.id for s in labelled]
        stats = client.GetStats(session=some)
        seen["stats", name] = stats.memory_count, stats.byte_count
        elsewhere = client.list("s", namespace=some.replace("/", ""))
        seen["namespace", name] = [m.content for m in elsewhere]
    return seen


def work(client):
    answers = []

    def note(answer):
        # Times and ids that the service makes differ from server to server.
        session = answer.session
        answers.append(
            (
                [(m.sequence, m.created) for m in answer.memories],
                (session.session, session.revision, session.memory_count),
            )
        )

    for n, name in enumerate(NAMES):
        made = pb.Memory(
            id=name,
            key=name,
            kind=name,
            role=name,
            author=name,
            source=name,
            content=name,
            metadata=struct(**{name: name, "o": {name: [name]}}),
        )
        note(client.append("keys", made, request_id=name))
        client.CreateSession(
            session=name, labels={name: name}, metadata=struct(**{name: name})
        )
        note(client.append(name, "x", delete_keys=[name]))
        note(
            client.append(
                name, "y", session_metadata_patch=struct(**{name: None, "b": n})
            )
        )
        client.append("s", name, namespace=name.replace("/", ""))
    for name in NAMES[::2]:
        client.UpdateMemory(
            session="keys",
            key=name,
            memory=pb.Memory(content="again " + name),
        )
    for name in NAMES[::5]:
        gone = client.DeleteMemories(session="keys", ids=[name, name + "'"])
        answers.append(gone.deleted_count)
    for name in NAMES[::7]:
        answers.append(client.DeleteSession(session=name).deleted_count)
    return answers


@pytest.mark.asan
def test_x7_names_are_bound_and_never_read_as_sql(sqlite, tmp_path):
    seen = {}
    for engine in (engines.Dict, sqlite):
        folder = tmp_path / engine.name
        folder.mkdir()
        made = Store(engine(folder, random.Random(1)), faults=False)
        try:
            client = made.start()
            answers = work(client)
            seen[engine.name] = (answers, look(client))
            if engine.durable:
                again = made.crash()
                assert look(again) == seen[engine.name][1]
                made.stop()
                made.engine.check_offline()
        finally:
            made.close()
    assert seen["sqlite"][0] == seen["dict"][0]
    for what, wanted in seen["dict"][1].items():
        assert seen["sqlite"][1][what] == wanted, what
    # As Python has it, which compares characters; by bytes it is the same.
    gone = {each for name in NAMES[::5] for each in (name, name + "'")}
    left = [name for name in NAMES if name not in gone]
    for name in NAMES:
        assert seen["dict"][1]["key prefix", name] == sorted(
            each for each in left if each.startswith(name)
        )
