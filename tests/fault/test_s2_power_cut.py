"""S2: a power cut takes what was not synced, in whole or in part. At full
durability nothing acknowledged is lost, and nobody has seen what is."""

import pytest

import cases


@pytest.mark.rounds(15, soak=500)
def test_s2_nothing_acknowledged_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed, crash="power")
        print(result)
        totals.add(result)


class SlowSyncs(cases.PowerCut):
    """Syncs take long, and clients read meanwhile. Then it dies at one, so that a
    whole transaction goes that a careless engine would have shown."""

    ways = ("die_at_sync",)

    def start(self):
        super().start()
        if self.crashed is None:
            self.faults.control.sync_delay_us = 15000


@pytest.mark.rounds(5, soak=200, of=1)
def test_s2_nobody_has_seen_what_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(
            sqlite, seed, crash=SlowSyncs, looks=0.7, calls=80, streams=0
        )
        print(result)
        totals.add(result)
