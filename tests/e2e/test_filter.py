"""The filter language over the wire: what it selects, what it refuses and where,
and its limits. The meaning itself is in tests/unit (golden answers, and a
comparison of the evaluators); here it is that each method asks it.
"""

import grpc
import pytest

import pb
from harness import explain, refused, struct, timestamp
from test_limits import limit

pytestmark = pytest.mark.asan


def remember(client, session="s"):
    """Five memories: a to e."""
    client.AppendMemories(
        session=session,
        memories=[
            pb.Memory(
                id="a", role="user", content="My name is Bob", importance=0.9,
                metadata=struct(city="Köln", n=1, tags=["x", "y"]),
            ),
            pb.Memory(
                id="b", role="assistant", content="Hello, BOB!", pinned=True,
                tier=pb.TIER_LONG_TERM, metadata=struct(city="Bonn", n=2.5),
            ),
            pb.Memory(id="c", role="user", key="k/1", content="bobsled"),
            pb.Memory(
                id="d", role="tool", kind="fact", content="Die Straße",
                event_time=timestamp(0), metadata=struct(n=None, o={"a.b": True}),
            ),
            pb.Memory(id="e", kind="fact", content="", key="k/2"),
        ],
    )


def ids(client, text, session="s", **fields):
    return "".join(
        m.id for m in client.list(session, filter=text, **fields)
    )


# What each kind of comparison selects, and that NOT is its exact opposite.
SELECTED = [
    ('role = "user"', "ac"),
    ('role != "user"', "bde"),
    ('role IN ("tool", "user")', "acd"),
    ("role:*", "abcd"),
    ('kind = "message"', "abc"),
    ('key : "k/"', "ce"),
    ('key > "k/1"', "e"),
    ("importance >= 0.9", "a"),
    ("importance < 0.5", ""),
    ("pinned = true", "b"),
    ("tier = LONG_TERM", "b"),
    ('tier = "TIER_LONG_TERM"', "b"),
    ("sequence <= 2", "ab"),
    ("token_count = 0", "e"),
    ("event_time = 1970-01-01T00:00:00Z", "d"),
    ('create_time > "2020-01-01T00:00:00Z"', "abcde"),
    ("age(create_time) > 1d", ""),
    ("age(create_time) < 1d", "abcde"),
    ("age(event_time) > 1d", "d"),
    ("last_access_time:*", ""),
    ("access_count = 0", "abcde"),
    ('content : "Bob"', "a"),
    ('content ~ "bob"', "abc"),
    ('content ~ "STRAßE"', "d"),
    ('content ~ "STRASSE"', ""),
    ("content:*", "abcd"),
    ('metadata.city = "Köln"', "a"),
    ('metadata.city ~ "KÖ"', "a"),
    ("metadata.n > 1", "b"),
    ("metadata.n = null", "d"),
    ("metadata.n:*", "abd"),
    ('metadata.tags : "y"', "a"),
    ('metadata.tags = ["x", "y"]', "a"),
    ('metadata.o."a.b" = true', "d"),
    ('metadata.o = {"a.b": true}', "d"),
    ('role = "user" AND content ~ "name"', "a"),
    ('pinned = true OR kind = "fact"', "bde"),
    ('content ~ "bob" AND (pinned = true OR key:*)', "bc"),
    ('content ~ "bob" OR metadata.n = null', "abcd"),
]


def test_a_list_is_filtered(client):
    remember(client)
    for text, expect in SELECTED:
        assert ids(client, text) == expect, text
        others = "".join(c for c in "abcde" if c not in expect)
        assert ids(client, "NOT (%s)" % text) == others, text
    assert ids(client, "") == ids(client, " \n") == "abcde"


def test_a_filter_joins_the_other_filters(client):
    remember(client)
    assert ids(client, 'content ~ "bob"', roles=["user"]) == "ac"
    assert ids(client, 'role = "user"', key_prefix="k/") == "c"
    assert ids(client, "key:*", order_by=pb.MEMORY_ORDER_KEY) == "ce"
    assert ids(client, "sequence > 1", kinds=["fact"]) == "de"
    assert ids(client, 'content ~ "bob"', page_size=1) == "c"
    assert ids(client, 'content ~ "bob"', offset=1, page_size=1) == "b"
    assert ids(client, 'content ~ "bob"', max_tokens=2) == "c"


@pytest.mark.parametrize("anchor", [pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST])
@pytest.mark.parametrize(
    "text", ["metadata.n < 70", 'content ~ "seven"', "sequence IN (8, 18, 28)"]
)
def test_pages_of_a_filtered_list(client, anchor, text):
    """They put together what one page has, whatever their size."""
    client.AppendMemories(
        session="s",
        memories=[
            pb.Memory(
                id="%03d" % i,
                content="SEVEN" if i % 10 == 7 else "x",
                metadata=struct(n=i),
            )
            for i in range(100)
        ],
    )
    whole = [m.id for m in client.list("s", filter=text, page_size=1000)]
    assert 0 < len(whole) < 100
    for size in (1, 3, 7, 100):
        paged = client.all("s", anchor=anchor, filter=text, page_size=size)
        assert [m.id for m in paged] == whole


def test_a_token_belongs_to_its_filter(client):
    remember(client)
    first = client.ListMemories(
        session="s", filter='content ~ "bob"', page_size=1
    )
    assert first.next_page_token
    for other in ("", 'content ~ "bobs"', 'content ~  "bob"'):
        with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
            client.ListMemories(
                session="s", filter=other, page_token=first.next_page_token
            )


def test_a_filtered_list_touches_what_it_returns(client):
    remember(client)
    client.list("s", filter='role = "user"', touch=pb.TOUCH_ACCESS)
    assert ids(client, "access_count > 0") == "ac"
    assert ids(client, "last_access_time:*") == "ac"


def test_what_is_updated_is_judged_anew(client):
    remember(client)
    client.UpdateMemory(
        session="s", id="a", metadata_patch=struct(city="Bonn", n=None)
    )
    assert ids(client, 'metadata.city = "Bonn"') == "ab"
    assert ids(client, "metadata.n:*") == "bd"
    client.UpdateMemory(
        session="s", id="b", memory=pb.Memory(content="Bye"),
    )
    assert ids(client, 'content ~ "bob"') == "ac"
    client.ReplaceMemories(
        session="s", from_sequence=2,
        memories=[pb.Memory(id="f", content="x", metadata=struct(n=7))],
    )
    assert ids(client, "metadata.n > 0") == "f"
    client.AppendMemories(
        session="s", on_conflict=pb.ON_CONFLICT_REPLACE,
        memories=[pb.Memory(id="f", content="x", metadata=struct(n=-7))],
    )
    assert ids(client, "metadata.n > 0") == ""
    assert ids(client, "metadata.n < 0") == "f"


def test_ingested_memories_are_judged(client):
    items = [
        client.item("s", pb.Memory(id=str(i), content="x", metadata=struct(i=i)))
        for i in range(9)
    ]
    assert len(list(client.ingest(items))) == 9
    assert ids(client, "metadata.i >= 6") == "678"


# ---- sessions ---------------------------------------------------------------


def test_sessions_are_filtered(client):
    client.CreateSession(
        session="a", labels={"env": "prod", "a.b": ""},
        metadata=struct(owner="Bob", n=1),
    )
    client.CreateSession(
        session="b/1", labels={"env": "dev"}, metadata=struct(owner="bob")
    )
    client.append("c", "x")
    client.CreateSession(
        session="d", policy=pb.SessionPolicy(ttl=dict(seconds=3600))
    )
    client.append("d", "x")

    def found(text, **fields):
        return [
            s.id for s in client.ListSessions(filter=text, **fields).sessions
        ]

    for text, expect in [
        ('id = "a"', ["a"]),
        ('id : "/"', ["b/1"]),
        ('id > "b"', ["b/1", "c", "d"]),
        ('labels.env = "prod"', ["a"]),
        ('labels.env IN ("prod", "dev")', ["a", "b/1"]),
        ("labels.env:*", ["a", "b/1"]),
        ('labels."a.b":*', ["a"]),
        ('labels."a.b" = ""', ["a"]),
        ('metadata.owner ~ "BOB"', ["a", "b/1"]),
        ("metadata.n = 1", ["a"]),
        ("expire_time:*", ["d"]),
        ("create_time > 2020-01-01T00:00:00Z", ["a", "b/1", "c", "d"]),
        ("age(update_time) > 1h", []),
        ('labels.env:* AND NOT metadata.owner = "Bob"', ["b/1"]),
        (" ", ["a", "b/1", "c", "d"]),
    ]:
        assert found(text) == expect, text
        rest = [s for s in ("a", "b/1", "c", "d") if s not in expect]
        if text != " ":
            assert found("NOT (%s)" % text) == rest, text
    assert found('id > "a"', prefix="b") == ["b/1"]
    assert found("metadata.owner:*", labels={"env": "dev"}) == ["b/1"]
    with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
        client.ListSessions(filter='role = "user"')


def test_pages_of_filtered_sessions(client):
    for i in range(12):
        client.CreateSession(
            session="%02d" % i, labels={"third": str(i % 3)}
        )
    text, token, found = 'labels.third = "1"', "", []
    while True:
        answer = client.ListSessions(filter=text, page_size=3, page_token=token)
        found += [s.id for s in answer.sessions]
        token = answer.next_page_token
        if not token:
            break
        with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
            client.ListSessions(filter="", page_size=3, page_token=token)
    assert found == ["01", "04", "07", "10"]


# ---- refusals ---------------------------------------------------------------


@pytest.mark.parametrize(
    "text, byte, says",
    [
        ("user", 1, "stands alone"),
        ("role = user", 8, "in quotes"),
        ('colour = "red"', 1, 'no field "colour"'),
        ("importance = high", 14, "a number"),
        ('role = "a" AND key = "b" OR id = "c"', 26, "parentheses"),
        ("sequence = 9007199254740993", 12, "9007199254740992"),
        ('role = "ä" AND create_time > "yesterday"', 31, "RFC 3339"),
    ],
)
def test_a_refusal_names_the_byte_and_says_what_to_write(
    client, text, byte, says
):
    with pytest.raises(grpc.RpcError) as error:
        client.ListMemories(session="s", filter=text)
    got = explain(error.value)
    assert (got.code, got.reason) == ("INVALID_ARGUMENT", "FILTER_INVALID")
    assert got.fields == ["filter"]
    assert got.message.startswith("filter: byte %d: " % byte), got.message
    assert says in got.message
    assert got.metadata == {"position": str(byte)}


def test_a_refusal_does_not_depend_on_the_session(client):
    """Nor is it dropped when there is nothing to filter."""
    for session in ("s", "absent"):
        with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
            client.ListMemories(session=session, filter="role = user")


# ---- limits -----------------------------------------------------------------


def of_bytes(size, end=""):
    start = 'id = "'
    return start + "a" * (size - len(start) - 1 - len(end)) + '"' + end


def of_terms(count):
    return " OR ".join(["sequence=1"] * count)


def of_values(count):
    return "sequence IN (%s)" % ",".join(map(str, range(count)))


def of_depth(count):
    return "(" * count + "pinned=true" + ")" * count


def of_nested(count):
    return "metadata.a = " + "[" * count + "]" * count


def of_path(count):
    return "metadata" + ".a" * count + " = 1"


def of_digits(count):
    return "metadata.a = 0." + "5" + "0" * (count - 3)


@pytest.mark.parametrize("method", ["ListMemories", "DeleteMemories"])
@pytest.mark.parametrize(
    "name, number, make",
    [
        pytest.param(*row.values, make, id=row.id, marks=row.marks)
        for row, make in [
            (limit("filter.bytes", 4096), of_bytes),
            (limit("filter.terms", 64), of_terms),
            (limit("filter.values", 1000), of_values),
            (limit("filter.depth", 16), of_depth),
            (limit("filter.nested", 16), of_nested),
            (limit("filter.path", 16), of_path),
            (limit("filter.digits", 64), of_digits),
        ]
    ],
)
def test_limits_of_a_filter(client, method, name, number, make):
    client.append("s", "x")
    client.call(
        method, client.request(method, session="s", filter=make(number))
    )
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "filter"):
        client.call(
            method, client.request(method, session="s", filter=make(number + 1))
        )


@pytest.mark.parametrize("name, number", [limit("filter.age", 3652500)])
def test_limit_of_a_duration(client, name, number):
    client.append("s", "x")
    assert client.list("s", filter="age(create_time) < %dd" % number)
    with refused("INVALID_ARGUMENT", "FILTER_INVALID", "filter"):
        client.list("s", filter="age(create_time) < %dd" % (number + 1))


@pytest.mark.parametrize(
    "name, number",
    [
        limit("ListMemoriesRequest.filter", 65536),
        limit("ListSessionsRequest.filter", 65536),
        limit("DeleteMemoriesRequest.filter", 65536),
        limit("DeleteSessionsRequest.filter", 65536),
        limit("CleanUpMemoriesRequest.filter", 65536),
    ],
)
def test_bytes_of_a_filter_with_in(client, name, number):
    method = name.split("Request")[0]
    end = ' OR id IN ("b")'
    client.call(method, client.request(method, filter=of_bytes(number, end)))
    with refused("INVALID_ARGUMENT", "TOO_LARGE", "filter"):
        client.call(
            method, client.request(method, filter=of_bytes(number + 1, end))
        )
