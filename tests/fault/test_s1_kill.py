"""S1: SIGKILL at random moments under load. Nothing acknowledged is lost, what
was in flight happened wholly or not at all, a repeat has one effect."""

import pytest

import cases


@pytest.mark.rounds(50, soak=1000)
def test_s1_nothing_acknowledged_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed)
        print(result)
        totals.add(result)


@pytest.mark.rounds(3, soak=60, of=1)
def test_s1_with_a_log_of_several_megabytes(sqlite, seeds, totals):
    """Enough for checkpoints to run among the writes."""
    for seed in seeds:
        result = cases.one_round(sqlite, seed, calls=400)
        print(result)
        totals.add(result)
