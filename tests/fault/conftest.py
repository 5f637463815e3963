"""Which engines there are in this build, and sums at the end.

    MNEME_FAULT_SOAK=1   the long forms (make soak)
    MNEME_FAULT_SEED=n   the first seed; 1 unless given

The mark `asan` is that of tests/e2e: run on the sanitizer build too.
"""

import os
import random

import pytest

import cases
import engines
import harness
from store import Store

SOAK = bool(os.environ.get("MNEME_FAULT_SOAK"))
SEED = int(os.environ.get("MNEME_FAULT_SEED") or 1)

_totals = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "asan: run on the sanitizer build too")
    config.addinivalue_line(
        "markers", "rounds(n, soak=n, of=n): how many seeds, and how many a test"
    )


def pytest_collection_finish(session):
    if not harness.MNEMED.exists() and not session.config.option.collectonly:
        pytest.exit("there is no %s: run make" % harness.MNEMED, 2)


def pytest_generate_tests(metafunc):
    """rounds(number, soak=number, of=size): a test of `size` seeds each."""
    mark = metafunc.definition.get_closest_marker("rounds")
    if "seeds" not in metafunc.fixturenames:
        return
    count = mark.kwargs["soak"] if SOAK else mark.args[0]
    size = mark.kwargs.get("of", 5)
    parts = [
        range(SEED + at, SEED + min(at + size, count))
        for at in range(0, count, size)
    ]
    metafunc.parametrize(
        "seeds", parts, ids=["%d-%d" % (p[0], p[-1]) for p in parts]
    )


@pytest.fixture(scope="session")
def sqlite():
    return engines.Sqlite


@pytest.fixture
def totals(request):
    """Sums up the rounds of a test function; printed at the end."""
    name = request.function.__name__
    return _totals.setdefault(name, cases.Totals(name))


def pytest_terminal_summary(terminalreporter):
    for each in _totals.values():
        terminalreporter.write_line("fault: %s" % each)


@pytest.fixture
def store(sqlite, tmp_path_factory):
    """store(options=..., faults=..., shadow=..., malloc=...) makes a Store on
    sqlite in a folder of its own."""
    made = []

    def make(faults=True, options=None, **more):
        folder = tmp_path_factory.mktemp("s")
        engine = sqlite(folder, random.Random(1), **options or {})
        made.append(Store(engine, faults, **more))
        return made[-1]

    yield make
    failures = []
    for each in made:
        try:
            each.close()
        except AssertionError as why:
            failures.append(str(why))
    assert not failures, "\n".join(failures)
