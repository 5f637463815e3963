"""S2: a power cut takes what was not synced, in whole or in part. At full
durability nothing acknowledged is lost, and nobody has seen what is."""

import collections

import pytest

import cases
import history
from history import Violation
from workload import MORTAL


@pytest.mark.rounds(15, soak=500)
def test_s2_nothing_acknowledged_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed, crash="power")
        print(result)
        totals.add(result)


@pytest.mark.rounds(5, soak=200, of=1)
def test_s2_nobody_has_seen_what_is_lost(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(
            sqlite, seed, crash=cases.SlowSyncs, looks=0.7, calls=50, streams=0
        )
        print(result)
        totals.add(result)


class LosesTheLast(cases.PowerCut):
    """Durability normal: a power cut may take the last commits, but what is left
    of each session is what it once was."""

    def check_first_answer(self, name, header):
        pass

    def recover(self):
        self.restart()
        self.read_everything()
        calls = collections.defaultdict(list)
        for call in self.calls():
            calls[call.session].append(call)
        for each in self.seen:
            if each.session not in MORTAL:
                self.check_beginning(each, calls[each.session])
        self.stop()

    def check_beginning(self, look, calls):
        revision = look.header.revision if look.header else 0
        left = [c for c in calls if c.acknowledged and c.revision <= revision]
        self.result.taken += sum(
            c.acknowledged and c.revision > revision for c in calls
        )
        try:
            history.check(left, [look])
        except Violation as why:
            # It may stand on a call that was not answered, and is not repeated.
            if why.kind != "phantom" or not any(c.in_flight for c in calls):
                raise
        else:
            self.result.whole += 1


def test_s2_durability_normal_leaves_a_whole_beginning(sqlite):
    options = {"durability": "normal"}
    results = [
        cases.one_round(sqlite, seed, crash=LosesTheLast, options=options)
        for seed in range(1, 9)
    ]
    assert sum(each.whole for each in results) > 40
    assert sum(each.taken for each in results) > 100
