"""S2: a power cut takes what was not synced, in whole or in part. At full
durability nothing acknowledged is lost."""

import pytest

import cases


@pytest.mark.rounds(15, soak=500)
def test_s2_nothing_acknowledged_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed, crash="power")
        print(result)
        totals.add(result)
