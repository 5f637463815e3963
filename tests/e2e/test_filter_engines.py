"""Filters on the engines side by side: what one decides in SQL and the other has
decided for it must be the same, names and values that SQL would read included."""

import sqlite3

import pytest

import pb
from harness import struct

CONFIG = """
backends: { kept: { type: sqlite, path: kept.db }, gone: { type: dict } }
sessions:
  - { match: "*/kept", backend: kept }
  - { match: "*/gone", backend: gone }
"""

HOSTILE = [
    "'", "''", '"', '""', "`", "\\", "\\'", '\\"', "%", "_", "*", "?", "?1",
    ":a", "@a", "$a", "$", "$.a", '$."a"', "[0]", "#-1", ".", "a.b", ";", "--",
    "/*", "x'41'", "NULL", "null", "true", "1", "1.0", "1e0", "{}", "[]",
    "'; DROP TABLE memories; --", "' OR '1'='1", '" OR "1"="1', "1 OR 1=1",
    "') UNION SELECT body FROM memories --", "metadata_json", "memories.id",
    "\n", "\t", "\u0001", "\u007f", "ä", "a\u0308", "\U0010ffff",
]  # fmt: skip


def quoted(text):
    """As a filter has it."""
    return '"%s"' % "".join(
        "\\" + c if c in '"\\' else "\\u%04x" % ord(c) if c < " " else c
        for c in text
    )


@pytest.fixture
def both(start_server):
    server = start_server(CONFIG)
    client = server.client("x7")
    backends = {b.name: b for b in client.ListBackends().backends}
    assert "FILTER" in backends["kept"].capabilities
    assert "FILTER" not in backends["gone"].capabilities
    return server, client


def same(client, text):
    """The ids that match, on both engines."""
    found = [
        [m.id for m in client.list(session, filter=text, page_size=1000)]
        for session in ("kept", "gone")
    ]
    assert found[0] == found[1], text
    return found[0]


@pytest.mark.asan
def test_X7_metacharacters_in_filters(both):
    server, client = both
    for session in ("kept", "gone"):
        for name in HOSTILE:
            client.AppendMemories(
                session=session,
                memories=[
                    pb.Memory(
                        id=name,
                        key=name,
                        role=name,
                        kind=name,
                        content=name,
                        metadata=struct(
                            **{name: name, "o": {name: [name]}, "v": name}
                        ),
                    )
                ],
            )
    for name in HOSTILE:
        text = quoted(name)
        for field in ("id", "key", "role", "kind", "content", "metadata.v"):
            assert same(client, "%s = %s" % (field, text)) == [name]
            assert same(client, "%s IN (%s, 'x')" % (field, text)) == [name]
            held = [each for each in HOSTILE if name in each]
            assert same(client, "%s : %s" % (field, text)) == held
            above = [
                each for each in HOSTILE if each.encode() > name.encode()
            ]
            assert same(client, "%s > %s" % (field, text)) == above
            assert name in same(client, "%s ~ %s" % (field, text))
        assert same(client, "metadata.%s = %s" % (text, text)) == [name]
        assert same(client, "metadata.%s:*" % text) == [name]
        assert same(client, "metadata.o.%s : %s" % (text, text)) == [name]
        assert same(client, "metadata.o.%s = [%s]" % (text, text)) == [name]
        whole = "metadata.o = {%s: [%s]}" % (text, text)
        assert same(client, whole) == [name]
        assert len(same(client, "NOT id = %s" % text)) == len(HOSTILE) - 1
    for name in HOSTILE[::3]:
        text = "metadata.%s : %s" % (quoted(name), quoted(name))
        for session in ("kept", "gone"):
            answer = client.DeleteMemories(session=session, filter=text)
            assert answer.deleted_count == 1
    left = [n for i, n in enumerate(HOSTILE) if i % 3 != 0]
    assert same(client, "sequence > 0") == left
    server.stop()
    store = sqlite3.connect(server.folder / "kept.db")
    assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = store.execute("SELECT count(*) FROM memories").fetchone()
    assert rows == (len(left),)
    store.close()


# From what a filter tells of nothing to what is next to it.
FILTERS = [
    "importance >= 0.7 OR NOT importance:*",
    "metadata.n > 10 AND metadata.n <= 30.5",
    'metadata.tags : "t3" OR metadata.tags = []',
    "NOT metadata.n IN (1, 2, 3, null)",
    "metadata.big > 9007199254741032",
    "metadata.deep.a.b = 7",
    'content ~ "NUMBER 1" AND metadata.n < 15',
    'content : "number 1" OR pinned = true',
    "sequence IN (1, 5, 9.5, 1000) OR token_count > 3",
    'key > "k/05" AND NOT key : "9"',
    "age(create_time) < 1h AND event_time < 1970-01-01T00:00:30Z",
    "tier = LONG_TERM AND (metadata.n:* OR NOT key:*)",
]


def various(count):
    return [
        pb.Memory(
            id=str(n),
            key="k/%02d" % n if n % 2 else "",
            content="number %d" % n,
            importance=n / count if n % 3 else None,
            pinned=n % 11 == 0,
            tier=n % 4,
            event_time=dict(seconds=n),
            metadata=struct(
                n=None if n % 13 == 0 else n / 2,
                tags=["t%d" % (n % 7)] if n % 5 else [],
                big=2**53 + n,
                deep={"a": {"b": n % 10}},
            ),
        )
        for n in range(count)
    ]


@pytest.mark.asan
@pytest.mark.parametrize("anchor", [pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST])
def test_lists_are_alike_page_by_page(both, anchor):
    _, client = both
    for session in ("kept", "gone"):
        client.AppendMemories(session=session, memories=various(90))
        client.DeleteMemories(session=session, ids=["17", "40", "41", "89"])
    for text in FILTERS:
        whole = same(client, text)
        assert 0 < len(whole) < 86, text
        for more in (
            dict(page_size=7),
            dict(page_size=1000, offset=3),
            dict(page_size=5, max_tokens=60),
            dict(page_size=4, key_prefix="k/", order_by=pb.MEMORY_ORDER_KEY),
            dict(page_size=3, key_prefix="k/3", order_by=pb.MEMORY_ORDER_KEY),
        ):
            pages = [
                [
                    [m.id for m in page]
                    for page in client.pages(
                        session, filter=text, anchor=anchor, **dict(more)
                    )
                ]
                for session in ("kept", "gone")
            ]
            assert pages[0] == pages[1], (text, more)


@pytest.mark.asan
def test_deletes_are_alike(both):
    _, client = both
    for text in FILTERS:
        left = []
        for session in ("kept", "gone"):
            client.DeleteSession(session=session)
            client.AppendMemories(session=session, memories=various(90))
            dry = client.DeleteMemories(
                session=session, filter=text, dry_run=True
            )
            answer = client.DeleteMemories(session=session, filter=text)
            assert dry.deleted_count == answer.deleted_count
            left.append(
                (
                    answer.deleted_count,
                    list(dry.ids),
                    [m.id for m in client.list(session, page_size=1000)],
                )
            )
        assert left[0] == left[1], text


@pytest.mark.asan
def test_what_sql_is_asked_of_is_renewed_with_the_body(both, start_server):
    server, client = both
    for session in ("kept", "gone"):
        client.AppendMemories(session=session, memories=various(20))
        client.UpdateMemory(
            session=session, id="4", metadata_patch=struct(n=None, q=1)
        )
        client.UpdateMemory(
            session=session, id="5", memory=pb.Memory(metadata=struct(q="1"))
        )
        client.UpdateMemory(
            session=session, id="6", memory=pb.Memory(content="other")
        )
        client.UpdateMemory(
            session=session,
            id="7",
            memory=pb.Memory(),
            update_mask=dict(paths=["metadata"]),
        )
    assert same(client, "metadata.q:*") == ["4", "5"]
    assert same(client, "metadata.q = 1") == ["4"]
    assert same(client, "metadata.n = 3") == ["6"]
    assert same(client, "NOT metadata.big:*") == ["5", "7"]
    assert "4" not in same(client, "metadata.n:*")
    server.stop()
    again = start_server(CONFIG.replace("kept.db", str(server.folder / "kept.db")))
    client = again.client("x7")
    found = [m.id for m in client.list("kept", filter="metadata.q:*")]
    assert found == ["4", "5"]


def test_a_session_of_many_windows(both):
    """SQLite goes over 65,536 sequences in one snapshot: what matches lies at the
    edges of such windows, and far from each other."""
    _, client = both
    count, edges = 140000, [1, 65535, 65536, 65537, 131072, 131073, 140000]
    for start in range(0, count, 1000):
        client.AppendMemories(
            session="kept",
            memories=[
                pb.Memory(
                    content="x",
                    kind="edge" if n + 1 in edges else "other",
                )
                for n in range(start, start + 1000)
            ],
        )
    for anchor in (pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST):
        for size in (2, 100):
            found = client.all(
                "kept", anchor=anchor, filter='kind = "edge"', page_size=size
            )
            assert [m.sequence for m in found] == edges
    text = "sequence > 65535 AND sequence < 65538"
    found = client.list("kept", filter=text)
    assert [m.sequence for m in found] == [65536, 65537]
