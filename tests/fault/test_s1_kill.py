"""S1: SIGKILL at random moments under load. Nothing acknowledged is lost, what
was in flight happened wholly or not at all, a repeat has one effect."""

import pytest

import cases
import pb


@pytest.mark.rounds(50, soak=1000)
def test_s1_nothing_acknowledged_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed)
        print(result)
        totals.add(result)


@pytest.mark.rounds(5, soak=100)
def test_s1_durability_normal_survives_a_kill(sqlite, seeds, totals):
    """Only the power takes what is not synced."""
    for seed in seeds:
        options = {"durability": "normal"}
        result = cases.one_round(sqlite, seed, options=options)
        print(result)
        totals.add(result)


@pytest.mark.rounds(3, soak=60, of=1)
def test_s1_with_a_log_of_several_megabytes(sqlite, seeds, totals):
    """Enough for checkpoints to run among the writes."""
    for seed in seeds:
        result = cases.one_round(sqlite, seed, calls=400)
        print(result)
        totals.add(result)


@pytest.mark.rounds(3, soak=100)
def test_s1_a_clean_end_under_load(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed, crash="stop")
        print(result)
        totals.add(result)


def test_s1_page_tokens_survive(store):
    """A list that was begun before goes on after."""
    made = store(faults=False)
    client = made.start()
    for n in range(30):
        client.append("s", "%d" % n)
        client.append("s%02d" % n, "x")
    tokens = {
        anchor: client.ListMemories(
            session="s", anchor=anchor, page_size=10
        ).next_page_token
        for anchor in (pb.ANCHOR_OLDEST, pb.ANCHOR_NEWEST)
    }
    sessions = client.ListSessions(page_size=10)
    client = made.crash()
    client.append("s", "after")
    for anchor, token in tokens.items():
        page = client.ListMemories(
            session="s", anchor=anchor, page_size=10, page_token=token
        )
        assert [m.content for m in page.memories] == [
            "%d" % n for n in range(10, 20)
        ]
    page = client.ListSessions(
        page_size=10, page_token=sessions.next_page_token
    )
    assert [each.id for each in page.sessions] == [
        "s%02d" % n for n in range(9, 19)
    ]


def test_s1_killed_again_and_again(store):
    """As soon as it serves, and before anything was checkpointed."""
    made = store(faults=False)
    client = made.start()
    for n in range(12):
        client.append("s", "%d" % n, request_id="r%d" % n)
        client = made.crash()
        assert client.texts("s") == ["%d" % each for each in range(n + 1)]
        again = client.append("s", "%d" % n, request_id="r%d" % n)
        assert again.deduplicated and again.session.revision == n + 1
