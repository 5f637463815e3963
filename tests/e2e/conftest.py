"""Fixtures: a server for the whole run, servers of a test's own, a client with
a namespace that nobody else uses.

Markers: `asan` = walks much of the daemon's own code, so the sanitizer build
runs it too; `dict` = about the built-in engine itself, so not for another
(MNEME_E2E_BACKEND); `limit("Message.field", n)` = tests this limit at n and
n + 1.
"""

import itertools
import os
import re
import shutil
import subprocess

import pytest

import harness

_count = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "asan: run on the sanitizer build too")
    config.addinivalue_line("markers", "dict: about the built-in engine")
    config.addinivalue_line(
        "markers", "limit(field, number): tests this limit of the contract"
    )


def pytest_collection_modifyitems(items):
    if not harness.LATE:
        return
    for each in items:
        if each.get_closest_marker("dict"):
            each.add_marker(
                pytest.mark.skip(reason="about dict, and this runs on late")
            )


def pytest_collection_finish(session):
    if not harness.MNEMED.exists() and not session.config.option.collectonly:
        pytest.exit("there is no %s: run make" % harness.MNEMED, 2)
    if harness.BUSY and not harness.LATE:
        pytest.exit("MNEME_E2E_BUSY needs MNEME_E2E_BACKEND=late", 2)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server that most tests share: no config of its own."""
    made = harness.Server(tmp_path_factory.mktemp("server"))
    yield made
    made.stop()


@pytest.fixture
def start_server(tmp_path_factory):
    """start_server(config=None, args=(), folder=a new one) starts one for this test alone."""
    made = []

    def start(config=None, args=(), folder=None, **more):
        folder = folder or tmp_path_factory.mktemp("server")
        made.append(harness.Server(folder, config, args, **more))
        return made[-1]

    yield start
    failures = []
    for each in made:
        try:
            each.stop()
        except AssertionError as why:
            failures.append(str(why))
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def channel(server):
    return server.channel()


@pytest.fixture
def namespace(request):
    """One that no other test uses."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", request.node.name)[:100]
    return "%s-%d" % (name, next(_count))


@pytest.fixture
def client(server, channel, namespace):
    """A client of the shared server, in a namespace of its own."""
    yield server.client(namespace, channel)
    assert server.process.poll() is None, server.output()[-20000:]


@pytest.fixture
def grpcurl():
    """Runs grpcurl and returns the finished process."""
    program = os.environ.get("GRPCURL") or str(
        harness.ROOT / "build/tools/bin/grpcurl"
    )
    if not shutil.which(program):
        if os.environ.get("CI") == "true":
            pytest.fail("no grpcurl in CI")
        pytest.skip("no grpcurl here")

    def call(*args):
        return subprocess.run(
            [program] + [str(each) for each in args],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=harness.PATIENCE,
        )

    call.program = program
    return call
