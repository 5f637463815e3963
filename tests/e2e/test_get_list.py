"""GetMemories and ListMemories: pages from both ends, what is left out, touch,
tokens."""

import itertools

import pytest

import pb
from harness import duration, micros, refused

pytestmark = pytest.mark.asan

ANCHORS = [pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST]


def fill(client, session, count, **fields):
    """count memories "Message 0" ..., appended a thousand at a time."""
    for start in range(0, count, 1000):
        client.append(
            session,
            *[
                pb.Memory(content="Message %d" % n, **fields)
                for n in range(start, min(start + 1000, count))
            ],
        )


def numbered(first, last):
    return ["Message %d" % n for n in range(first, last)]


# ---- GetMemories ------------------------------------------------------------


def test_get_by_ids_then_keys_in_the_order_asked(client):
    client.append(
        "s",
        *[
            pb.Memory(id="i%d" % n, key="k%d" % n, content="c%d" % n)
            for n in range(5)
        ],
    )
    got = client.GetMemories(
        session="s",
        ids=["i3", "none", "i1", "i3"],
        keys=["k4", "k1", "nothing", "k0", "k4"],
    )
    assert [m.content for m in got.memories] == ["c3", "c1", "c4", "c0"]
    assert list(got.missing_ids) == ["none"]
    assert list(got.missing_keys) == ["nothing"]
    assert not got.not_returned


def test_get_from_an_absent_session(client):
    got = client.GetMemories(session="nobody", ids=["a"], keys=["b"])
    assert not got.memories
    assert (list(got.missing_ids), list(got.missing_keys)) == (["a"], ["b"])


def test_get_wants_at_least_one_name(client):
    with refused("INVALID_ARGUMENT", "REQUIRED", "ids"):
        client.GetMemories(session="s")


@pytest.mark.parametrize("field", ["ids", "keys"])
def test_get_refuses_an_empty_name(client, field):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", field):
        client.GetMemories(session="s", **{field: ["a", ""]})


def test_get_names_what_did_not_fit(client):
    """Five of one MiB: three fit into 3.5 MiB, the others are named."""
    names = ["big%d" % n for n in range(5)]
    for name in names:
        client.append("s", pb.Memory(id=name, content=name * 200000))
    got = client.GetMemories(session="s", ids=names + ["none"])
    assert [m.id for m in got.memories] == names[:3]
    assert list(got.not_returned) == names[3:]
    assert list(got.missing_ids) == ["none"]
    assert got.ByteSize() <= 3584 * 1024
    rest = client.GetMemories(session="s", ids=got.not_returned)
    assert [m.id for m in rest.memories] == names[3:]


# ---- ListMemories: pages ----------------------------------------------------


def test_list_of_an_absent_session_is_empty(client):
    answer = client.ListMemories(session="nobody")
    assert answer == pb.ListMemoriesResponse()


def test_default_is_the_newest_fifty_in_order(client):
    fill(client, "s", 120)
    answer = client.ListMemories(session="s")
    assert [m.content for m in answer.memories] == numbered(70, 120)
    assert answer.next_page_token
    oldest = client.ListMemories(session="s", anchor=pb.ANCHOR_OLDEST)
    assert [m.content for m in oldest.memories] == numbered(0, 50)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("size", [1, 7, 49, 50, 51, 1000])
def test_pages_hold_each_memory_once(client, anchor, size):
    fill(client, "s", 50)
    pages = list(client.pages("s", anchor=anchor, page_size=size))
    assert all(len(page) <= size for page in pages)
    for page in pages:  # each is in ascending order, from either end
        numbers = [m.sequence for m in page]
        assert numbers == sorted(numbers)
    if anchor == pb.ANCHOR_NEWEST:
        pages.reverse()
    found = [m.content for page in pages for m in page]
    assert found == numbered(0, 50)


def test_newest_pages_walk_backwards(client):
    fill(client, "s", 7)
    pages = client.pages("s", page_size=3)
    assert [[m.content for m in page] for page in pages] == [
        numbered(4, 7),
        numbered(1, 4),
        numbered(0, 1),
    ]


@pytest.mark.parametrize("anchor", ANCHORS)
def test_pages_pass_over_holes(client, anchor):
    fill(client, "s", 30)
    gone = [m.id for m in client.list("s") if m.sequence % 3 == 0]
    client.DeleteMemories(session="s", ids=gone)
    found = client.all("s", anchor=anchor, page_size=4)
    assert [m.sequence for m in found] == [n for n in range(1, 31) if n % 3]


@pytest.mark.parametrize("anchor", ANCHORS)
def test_pages_of_a_session_that_grows(client, anchor):
    """A keyset token: what is appended meanwhile neither shifts nor doubles."""
    fill(client, "s", 10)
    found, token = [], ""
    for more in itertools.count():
        answer = client.ListMemories(
            session="s", anchor=anchor, page_size=3, page_token=token
        )
        found.append([m.content for m in answer.memories])
        token = answer.next_page_token
        if not token:
            break
        if more < 2:
            client.append("s", "later %d" % more)
    if anchor == pb.ANCHOR_NEWEST:
        found.reverse()
        assert sum(found, []) == numbered(0, 10)
    else:
        assert sum(found, []) == numbered(0, 10) + ["later 0", "later 1"]


@pytest.mark.parametrize("anchor", ANCHORS)
def test_pages_when_the_memory_at_the_edge_goes(client, anchor):
    fill(client, "s", 9)
    first = client.ListMemories(session="s", anchor=anchor, page_size=3)
    edge = first.memories[-1 if anchor == pb.ANCHOR_OLDEST else 0]
    client.DeleteMemories(session="s", ids=[edge.id])
    rest = client.ListMemories(
        session="s", anchor=anchor, page_token=first.next_page_token
    )
    wanted = (
        numbered(3, 9) if anchor == pb.ANCHOR_OLDEST else numbered(0, 6)
    )
    assert [m.content for m in rest.memories] == wanted


@pytest.mark.parametrize("anchor", ANCHORS)
def test_a_page_ends_before_the_reply_is_too_large(client, anchor):
    for n in range(8):
        client.append("s", pb.Memory(content="%d" % n * (1 << 20)))
    sizes = []
    token = ""
    found = []
    while True:
        answer = client.ListMemories(
            session="s", anchor=anchor, page_token=token
        )
        assert answer.ByteSize() <= 3584 * 1024
        sizes.append(len(answer.memories))
        found.append([m.content[0] for m in answer.memories])
        token = answer.next_page_token
        if not token:
            break
    assert sizes == [3, 3, 2]
    if anchor == pb.ANCHOR_NEWEST:
        found.reverse()
    assert sum(found, []) == list("01234567")


def test_a_scan_may_end_a_page_early(client):
    """One in 4,000 matches: pages may be short or empty, and end in order."""
    for n in range(12):
        batch = [pb.Memory(content="x", role="many")] * 999
        batch.insert(n * 83, pb.Memory(content="rare %d" % n, role="few"))
        client.append("s", *batch)
    for anchor in ANCHORS:
        found = client.all("s", anchor=anchor, roles=["few"], page_size=5)
        assert [m.content for m in found] == ["rare %d" % n for n in range(12)]


# ---- ListMemories: filters --------------------------------------------------


def mixed(client):
    for n in range(30):
        client.append(
            "s",
            pb.Memory(
                content="Message %d" % n,
                role=["user", "assistant", "system"][n % 3],
                kind=["message", "plan"][n % 2],
                key="k/%02d" % (n % 7) if n < 7 else "",
            ),
        )


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("size", [1, 4, 50])
def test_roles_and_kinds(client, anchor, size):
    mixed(client)

    def listed(**fields):
        found = client.all("s", anchor=anchor, page_size=size, **fields)
        return [int(m.content.split()[1]) for m in found]

    assert listed(roles=["user"]) == list(range(0, 30, 3))
    assert listed(roles=["user", "system"]) == [
        n for n in range(30) if n % 3 != 1
    ]
    assert listed(kinds=["plan"]) == list(range(1, 30, 2))
    assert listed(roles=["user"], kinds=["plan"]) == [
        n for n in range(30) if n % 3 == 0 and n % 2
    ]
    assert listed(roles=["nobody"]) == []
    assert listed(roles=["User"]) == []


def test_an_empty_role_finds_those_without_one(client):
    client.append("s", "a", pb.Memory(content="b", role="user"))
    assert client.texts("s", roles=[""]) == ["a"]


@pytest.mark.parametrize("anchor", ANCHORS)
def test_max_tokens_takes_whole_memories_from_the_anchor(client, anchor):
    costs = [5, 3, 9, 2, 2, 1]
    client.append(
        "s",
        *[
            pb.Memory(content="Message %d" % n, token_count=cost)
            for n, cost in enumerate(costs)
        ],
    )

    def kept(budget):
        answer = client.ListMemories(
            session="s", anchor=anchor, max_tokens=budget
        )
        assert not answer.next_page_token  # the page is the last
        return [int(m.content.split()[1]) for m in answer.memories]

    if anchor == pb.ANCHOR_NEWEST:
        assert kept(100) == [0, 1, 2, 3, 4, 5]
        assert kept(5) == [3, 4, 5]
        assert kept(4) == [4, 5]
        # The first that does not fit ends it, though an older one would fit.
        assert kept(13) == [3, 4, 5]
        assert kept(14) == [2, 3, 4, 5]
        assert kept(1) == [5]
    else:
        assert kept(4) == []
        assert kept(5) == [0]
        assert kept(8) == [0, 1]
        assert kept(16) == [0, 1]
        assert kept(17) == [0, 1, 2]
        assert kept(22) == [0, 1, 2, 3, 4, 5]


def test_max_tokens_counts_after_the_filters(client):
    client.append(
        "s",
        pb.Memory(content="a", role="user", token_count=4),
        pb.Memory(content="b", role="tool", token_count=100),
        pb.Memory(content="c", role="user", token_count=4),
    )
    assert client.texts("s", roles=["user"], max_tokens=8) == ["a", "c"]
    assert client.texts("s", roles=["user"], max_tokens=7) == ["c"]


@pytest.mark.parametrize("wrong", [0, -1, 2**31])
def test_max_tokens_out_of_range(client, wrong):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "max_tokens"):
        client.ListMemories(session="s", max_tokens=wrong)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("size", [1, 3, 50])
def test_order_by_key(client, anchor, size):
    keys = ["b", "a/2", "a", "é", "a/10", "B", "zz", "a b"]
    for key in keys:
        client.append("s", "no key", pb.Memory(key=key, content=key))
    found = client.all(
        "s", anchor=anchor, order_by=pb.MEMORY_ORDER_KEY, page_size=size
    )
    assert [m.key for m in found] == sorted(keys, key=str.encode)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize(
    "order", [pb.MEMORY_ORDER_SEQUENCE, pb.MEMORY_ORDER_KEY]
)
def test_key_prefix(client, anchor, order):
    keys = ["user/b", "user/a", "use", "user", "user0", "user/", "v"]
    for key in keys:
        client.append("s", "no key", pb.Memory(key=key, content=key))

    def listed(prefix):
        found = client.all(
            "s",
            anchor=anchor,
            order_by=order,
            key_prefix=prefix,
            page_size=2,
        )
        return [m.key for m in found]

    def wanted(prefix):
        found = [key for key in keys if key.startswith(prefix)]
        return found if order == pb.MEMORY_ORDER_SEQUENCE else sorted(found)

    for prefix in ("user/", "user", "u", "v", "x", "user/a", "user/ab"):
        assert listed(prefix) == wanted(prefix), prefix


def test_order_by_key_with_roles(client):
    for n in range(10):
        client.append(
            "s",
            pb.Memory(key="k%d" % (9 - n), content="x", role="ab"[n % 2]),
        )
    found = client.list("s", order_by=pb.MEMORY_ORDER_KEY, roles=["a"])
    assert [m.key for m in found] == ["k1", "k3", "k5", "k7", "k9"]


@pytest.mark.parametrize("anchor", ANCHORS)
def test_offset_counts_from_the_anchor(client, anchor):
    fill(client, "s", 20)

    def listed(**fields):
        return client.texts("s", anchor=anchor, page_size=5, **fields)

    if anchor == pb.ANCHOR_OLDEST:
        assert listed(offset=0) == numbered(0, 5)
        assert listed(offset=3) == numbered(3, 8)
        assert listed(offset=18) == numbered(18, 20)
    else:
        assert listed(offset=3) == numbered(12, 17)
        assert listed(offset=18) == numbered(0, 2)
    assert listed(offset=20) == []
    assert listed(offset=10000) == []
    found = client.all("s", anchor=anchor, page_size=5, offset=3)
    wanted = numbered(3, 20) if anchor == pb.ANCHOR_OLDEST else numbered(0, 17)
    assert [m.content for m in found] == wanted


def test_offset_counts_matches(client):
    mixed(client)
    assert client.texts(
        "s", anchor=pb.ANCHOR_OLDEST, roles=["system"], offset=2, page_size=2
    ) == ["Message 8", "Message 11"]


def test_offset_and_token_exclude_each_other(client):
    fill(client, "s", 20)
    token = client.ListMemories(session="s", page_size=5).next_page_token
    with refused("INVALID_ARGUMENT", "CONFLICTING_FIELDS", "offset"):
        client.ListMemories(session="s", page_token=token, offset=1)


@pytest.mark.parametrize("wrong", [-1, 10001, 2**31 - 1])
def test_offset_out_of_range(client, wrong):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", "offset"):
        client.ListMemories(session="s", offset=wrong)


@pytest.mark.parametrize("field", ["anchor", "order_by", "touch"])
def test_unknown_enum_values(client, field):
    with refused("INVALID_ARGUMENT", "INVALID_VALUE", field):
        client.ListMemories(session="s", **{field: 99})


# ---- tokens -----------------------------------------------------------------


def test_token_is_bound_to_the_arguments(client):
    mixed(client)
    client.append("t", "x")
    base = dict(
        session="s",
        anchor=pb.ANCHOR_OLDEST,
        roles=["user", "system"],
        kinds=["message", "plan"],
        key_prefix="k",
        page_size=1,
    )
    token = client.ListMemories(**base).next_page_token
    assert token
    for change in (
        dict(session="t"),
        dict(session="nobody"),
        dict(namespace=client.namespace + "-other"),
        dict(anchor=pb.ANCHOR_NEWEST),
        dict(roles=["user"]),
        dict(roles=["system", "user", "tool"]),
        dict(roles=[], kinds=["user", "system", "message", "plan"]),
        dict(kinds=[]),
        dict(key_prefix="k/"),
        dict(key_prefix=""),
        dict(order_by=pb.MEMORY_ORDER_KEY),
        dict(max_tokens=5),
    ):
        with refused(
            "INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"
        ):
            client.ListMemories(page_token=token, **dict(base, **change))
    # What may change: the size of the page, and touch.
    more = client.ListMemories(
        page_token=token, **dict(base, page_size=9, touch=pb.TOUCH_ACCESS)
    )
    assert [m.content for m in more.memories] == [
        "Message %d" % n for n in (2, 3, 5, 6)
    ]


def test_default_names_make_the_same_token(server, channel, namespace):
    nowhere = server.client("", channel)
    for n in range(3):
        nowhere.append("", "x", namespace=namespace)
    token = nowhere.ListMemories(
        namespace=namespace, page_size=1
    ).next_page_token
    same = nowhere.ListMemories(
        namespace=namespace, session="default", page_token=token
    )
    assert len(same.memories) == 2


def test_token_of_another_list_is_no_token(client):
    fill(client, "s", 3)
    client.CreateSession(session="t")
    sessions = client.ListSessions(page_size=1).next_page_token
    memories = client.ListMemories(session="s", page_size=1).next_page_token
    assert sessions and memories
    with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
        client.ListMemories(session="s", page_token=sessions)
    with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
        client.ListSessions(page_token=memories)


def test_token_of_a_session_that_has_gone(client):
    fill(client, "s", 10)
    token = client.ListMemories(session="s", page_size=2).next_page_token
    client.DeleteSession(session="s")
    with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
        client.ListMemories(session="s", page_token=token)
    fill(client, "s", 10)  # its successor is another session
    with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
        client.ListMemories(session="s", page_token=token)


def test_token_of_another_server(client, start_server):
    fill(client, "s", 5)
    token = client.ListMemories(session="s", page_size=1).next_page_token
    other = start_server().client(client.namespace)
    fill(other, "s", 5)
    with refused("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", "page_token"):
        other.ListMemories(session="s", page_token=token)


def test_clear_keeps_the_uid_and_so_the_token(client):
    fill(client, "s", 10)
    token = client.ListMemories(
        session="s", anchor=pb.ANCHOR_OLDEST, page_size=2
    ).next_page_token
    client.ClearSession(session="s")
    client.append("s", "after")
    rest = client.ListMemories(
        session="s", anchor=pb.ANCHOR_OLDEST, page_token=token
    )
    assert [m.content for m in rest.memories] == ["after"]


# ---- touch ------------------------------------------------------------------


def test_touch_access(client):
    fill(client, "s", 3)
    before = client.session("s")
    client.list("s")
    assert [m.access_count for m in client.list("s")] == [0, 0, 0]
    client.ListMemories(session="s", page_size=2, touch=pb.TOUCH_ACCESS)
    client.GetMemories(
        session="s",
        ids=[client.list("s")[2].id],
        touch=pb.TOUCH_ACCESS,
    )
    client.GetMemories(
        session="s",
        ids=[client.list("s")[2].id],
        touch=pb.TOUCH_ACCESS,
    )
    one, two, three = client.list("s")
    assert [m.access_count for m in (one, two, three)] == [0, 1, 3]
    assert not one.HasField("last_access_time")
    assert micros(two.last_access_time) >= micros(two.update_time)
    assert micros(three.last_access_time) >= micros(two.last_access_time)
    # Neither revision nor update_time moved, of memory or session.
    assert client.session("s") == before
    assert [m.revision for m in (one, two, three)] == [1, 1, 1]
    assert two.update_time == one.update_time


def test_touch_ttl_slides_what_has_a_ttl(client):
    client.append(
        "s",
        pb.Memory(id="ttl", content="x", ttl=duration(1000)),
        pb.Memory(id="none", content="y"),
    )

    def get():
        return client.GetMemories(session="s", ids=["ttl", "none"]).memories

    first = micros(get()[0].expire_time)
    client.GetMemories(
        session="s", ids=["ttl", "none"], touch=pb.TOUCH_ACCESS
    )
    assert micros(get()[0].expire_time) == first
    client.GetMemories(session="s", ids=["ttl", "none"], touch=pb.TOUCH_TTL)
    slid, plain = get()
    assert micros(slid.expire_time) > first
    assert (
        micros(slid.expire_time)
        == micros(slid.last_access_time) + 1000 * 10**6
    )
    assert (slid.access_count, plain.access_count) == (2, 2)
    assert not plain.HasField("expire_time")
    assert slid.revision == 1


def test_touch_counts_only_what_is_returned(client):
    mixed(client)
    # Two words are three tokens: one memory fits, the next would not.
    client.list("s", roles=["user"], max_tokens=4, touch=pb.TOUCH_ACCESS)
    touched = [m.content for m in client.list("s") if m.access_count]
    assert touched == ["Message 27"]


def test_replace_keeps_access(client):
    client.append("s", pb.Memory(key="k", content="a"))
    client.list("s", touch=pb.TOUCH_ACCESS)
    client.append("s", pb.Memory(key="k", content="b"))
    (got,) = client.list("s")
    assert (got.content, got.access_count) == ("b", 1)


def test_a_memory_in_an_answer_names_its_session(client):
    client.append("a/b", "one", "two")
    listed = client.ListMemories(session="a/b").memories
    got = client.GetMemories(session="a/b", ids=[listed[0].id]).memories
    popped = client.PopMemories(session="a/b", count=2).memories
    assert len(listed) == 2 and len(got) == 1 and len(popped) == 2
    assert {m.session for m in [*listed, *got, *popped]} == {"a/b"}
