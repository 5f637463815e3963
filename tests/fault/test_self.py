"""The harness itself: it must find what it is there to find."""

import pathlib
import random
import subprocess

import pytest

import cases
import engines
import harness
from history import Violation

HERE = pathlib.Path(__file__).parent


def calm(folder, seed=1):
    return cases.Calm(engines.Dict(folder, random.Random(seed)), seed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_model_agrees_with_the_engine_when_nothing_happens(tmp_path, seed):
    made = calm(tmp_path, seed)
    result = made.run()
    assert not any(each.cut for each in made.workers)
    assert result.acknowledged > 250 and result.reads > 30, result
    methods = {call.method for call in made.calls() if call.acknowledged}
    assert methods == set(
        "CreateSession UpdateSession AppendMemories UpdateMemory"
        " DeleteMemories PopMemories ReplaceMemories ClearSession"
        " DeleteSession".split()
    )
    assert sum(call.answer.evicted_count > 0 for call in appends(made)) > 5
    threads = {}
    for call in appends(made):
        threads.setdefault(call.session, set()).add(call.thread)
    assert min(len(each) for each in threads.values()) > 3, threads


def appends(made):
    return [
        call
        for call in made.calls()
        if call.method == "AppendMemories" and call.acknowledged
    ]


def test_an_engine_that_forgets_everything_is_found():
    with pytest.raises(Violation) as why:
        cases.one_round(engines.Dict, 1)
    assert why.value.kind == "lost"


def test_durability_normal_loses_what_a_power_cut_takes(sqlite):
    """The same rounds as S2: only the promise is smaller."""
    for seed in range(1, 10):
        try:
            cases.one_round(
                sqlite, seed, crash="power", options={"durability": "normal"}
            )
        except Violation as why:
            assert why.kind == "lost", why
            return
    pytest.fail("nothing was lost in nine power cuts")


# ---- engines with one fault each ----------------------------------------------


@pytest.fixture(scope="module")
def mutants():
    """name -> an engine's class, of mutants/ here and that of mneme-conform."""
    targets = ["fault_mutants", "mutant_16_restart_loses_the_tail"]
    made = subprocess.run(
        ["cmake", "--build", str(harness.BUILD), "--target"] + targets,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr

    def engine(path):
        template = engines.Sqlite.template.replace(
            "type: sqlite", "plugin: '%s'" % path
        )
        return type("Mutant", (engines.Sqlite,), {"template": template})

    return {
        path.stem.removeprefix("mutant_"): engine(path)
        for room in ("fault", "conform")
        for path in (harness.BUILD / room).glob("mutant_*.so")
    }


FOUND_BY = {
    "16_restart_loses_the_tail": ({"lost"}, dict(crash="stop")),
    "f1_shows_what_is_not_synced": (
        {"phantom"},
        dict(
            crash=cases.SlowSyncs,
            options={"tails": "64MiB"},
            looks=0.7,
            calls=50,
            streams=0,
        ),
    ),
    "f2_trusts_what_a_failed_sync_left": (
        {"lost"},
        dict(crash=cases.failing(dict(sync_every=2), cases.FailingThenPower)),
    ),
    "f3_tells_the_unknown_for_a_failure": (
        {"wrong", "phantom"},
        dict(crash=cases.failing(dict(sync_every=2))),
    ),
}


@pytest.mark.parametrize("name", FOUND_BY)
def test_an_engine_with_a_fault_is_found(mutants, name):
    kinds, how = FOUND_BY[name]
    for seed in range(1, 13):
        try:
            cases.one_round(mutants[name], seed, **how)
        except Violation as why:
            assert why.kind in kinds, why
            return
    pytest.fail("twelve rounds did not find it")


def test_each_mutant_is_looked_for(mutants):
    ours = {path.stem for path in HERE.glob("mutants/*.mutant")}
    assert ours and ours <= set(FOUND_BY) and ours <= set(mutants)


# ---- a history that is told wrongly -----------------------------------------


def last_look(made, session):
    return [s for s in made.seen if s.session == session and s.all][-1]


def lose_the_tail(made):
    last_look(made, "log a").all.pop()


def lose_the_first(made):
    last_look(made, "log a").all.pop(0)


def double(made):
    look = last_look(made, "log a")
    look.all.append(look.all[0])


def swap(made):
    look = last_look(made, "log a")
    look.all[3], look.all[4] = look.all[4], look.all[3]


def alter(made):
    last_look(made, "keyed a").all[0].content += "."


def go_back(made):
    """As after a restart that lost the tail: header and memories agree."""
    look = last_look(made, "log a")
    count = len(look.all)
    look.header.revision -= 1
    look.all[:] = [m for m in look.all if m.revision <= look.header.revision]
    look.header.memory_count = look.header.last_sequence = len(look.all)
    look.header.token_count = sum(m.token_count for m in look.all)
    assert len(look.all) < count


def count_wrongly(made):
    last_look(made, "fifo").header.memory_count += 1


def not_sent(made):
    """A commit that no call explains."""
    worker = max(made.workers, key=lambda each: len(each.calls))
    worker.calls.remove(
        next(call for call in worker.calls if call.session == "log/b")
    )


def begin_earlier(made):
    """Two writes of a thread change places."""
    for worker in made.workers:
        mine = [
            call
            for call in worker.calls
            if call.session == "log a" and call.acknowledged
        ]
        if len(mine) > 1:
            one, two = mine[0], mine[-1]
            one.start, two.start = two.start, one.start
            one.end, two.end = two.end, one.end
            return


def see_the_future(made):
    """A read that saw what was not there yet, or went away again."""
    look = last_look(made, "log a")
    early = min(s.start for s in made.seen if s.session == "log a")
    for worker in made.workers:
        for seen in worker.seen:
            if seen.session == "log a" and seen.tail:
                seen.tail = look.all[-seen.limit :]
                seen.end = min(seen.end, early)
                seen.start = min(seen.start, seen.end)
                return
    raise AssertionError("nobody looked")


LIES = {
    lose_the_tail: {"lost"},
    lose_the_first: {"lost"},
    double: {"order"},
    swap: {"order"},
    alter: {"wrong"},
    go_back: {"lost"},
    count_wrongly: {"wrong"},
    not_sent: {"phantom", "wrong"},
    begin_earlier: {"order"},
    see_the_future: {"phantom"},
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_history_that_is_told_wrongly_is_found(tmp_path, lie):
    made = calm(tmp_path, 3)
    made.run()
    lie(made)
    with pytest.raises(Violation) as why:
        made.check()
    assert why.value.kind in LIES[lie], why.value
