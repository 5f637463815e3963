"""mnemed as a program: flags, config, start and end."""

import json
import re
import signal
import socket
import stat

import grpc
import pytest

import pb
from harness import run

pytestmark = pytest.mark.asan

GOOD = """
listen: 127.0.0.1:0
backends:
  scratch: { type: dict }
sessions:
  - { match: "*/small-*", backend: scratch, policy: { max_memories: 3 } }
  - { match: "*/*", backend: scratch }
"""


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "mneme.yaml"
        path.write_text(text)
        return path

    return write


def check(path):
    return run("--check-config", "-c", path, folder=path.parent)


def test_help():
    ended = run("--help")
    assert ended.returncode == 0
    assert not ended.stderr
    for flag in (
        "-c",
        "--listen",
        "--check-config",
        "--print-config",
        "--log-format",
        "--version",
        "--help",
    ):
        assert flag in ended.stdout, flag


def test_version():
    ended = run("--version")
    assert ended.returncode == 0
    assert re.fullmatch(r"mnemed \d+\.\d+\.\d+.*\n", ended.stdout), ended.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["--no-such-flag"],
        ["--listen"],
        ["--log-format", "xml"],
        ["surplus"],
        ["--listen", "nonsense"],
        ["--listen", "127.0.0.1:99999"],
        ["--listen", "127.0.0.1"],
    ],
    ids=" ".join,
)
def test_wrong_flags_say_what_is_wrong(args):
    ended = run(*args)
    assert ended.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert ended.returncode > 0
    assert ended.stderr.strip()
    assert args[0].lstrip("-") in ended.stderr or args[-1] in ended.stderr


# ---- config -----------------------------------------------------------------


def test_check_config_that_is_good(config):
    ended = check(config(GOOD))
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "text, line, column, about",
    [
        ("listen: [", None, None, ""),
        ("listen: 127.0.0.1:0\nbackend:\n  a: { type: dict }\n", 2, 1, "backend"),
        ("backends:\n  a: { type: nosuch }\n", 2, 14, "dict"),
        ("backends:\n  a: { type: dict, colour: red }\n", 2, 20, "colour"),
        (
            "backends:\n  a: { type: dict }\n"
            "sessions:\n  - { match: '*/*', backend: b }\n",
            4,
            30,
            "b",
        ),
        (
            "backends:\n  a: { type: dict }\nsessions:\n"
            "  - { match: '*/*', backend: a, policy: { max_memories: many } }\n",
            4,
            57,
            "many",
        ),
        (
            "backends:\n  a: { type: dict }\nsessions:\n"
            "  - match: '*/*'\n    backend: a\n    policy:\n"
            "      max_memories: 5\n      evict_above: 6\n",
            None,
            None,
            "evict_above",
        ),
        (
            "backends:\n  a: { type: dict }\nsessions:\n"
            "  - { match: '*/*', backend: a, policy: { ttl: -5s } }\n",
            4,
            None,
            "-5s",
        ),
        ("listen: nonsense\n", 1, 9, "nonsense"),
        ("- a list\n", 1, 1, ""),
        ("listen: 127.0.0.1:0\nlisten: 127.0.0.1:0\n", 2, 1, "listen"),
        ("listen: \x01\n", 1, None, ""),
    ],
)
def test_check_config_names_the_place(config, text, line, column, about):
    path = config(text)
    ended = check(path)
    assert ended.returncode > 0
    places = re.findall(
        r"%s:(\d+):(\d+): (.*)" % re.escape(str(path)), ended.stderr
    )
    assert places, ended.stderr
    at = [
        each
        for each in places
        if (line is None or int(each[0]) == line)
        and (column is None or int(each[1]) == column)
        and about in each[2]
    ]
    assert at, ended.stderr


def test_check_config_of_no_file(tmp_path):
    ended = check(tmp_path / "absent.yaml")
    assert ended.returncode > 0
    assert "absent.yaml" in ended.stderr


def test_a_bad_config_starts_no_server(config):
    path = config("listen: 127.0.0.1:0\nnonsense: 1\n")
    ended = run("-c", path, folder=path.parent)
    assert ended.returncode > 0
    assert "%s:2:1" % path in ended.stderr


def test_print_config_prints_what_reads_the_same(config):
    path = config(GOOD)
    first = run("--print-config", "-c", path, folder=path.parent)
    assert first.returncode == 0, first.stderr
    assert "max_memories: 3" in first.stdout
    again = config(first.stdout)
    assert check(again).returncode == 0
    second = run("--print-config", "-c", again, folder=path.parent)
    assert second.stdout == first.stdout


def test_print_config_without_one(tmp_path):
    ended = run("--print-config", folder=tmp_path)
    assert ended.returncode == 0
    assert "127.0.0.1:7700" in ended.stdout
    assert "path: \"%s/mneme.db\"" % tmp_path in ended.stdout.replace("'", '"')


def test_environment_is_expanded(config, tmp_path):
    path = config("listen: 127.0.0.1:${MNEME_TEST_PORT}\n")
    ended = run(
        "--print-config",
        "-c",
        path,
        folder=tmp_path,
        env={"MNEME_TEST_PORT": "7701"},
    )
    assert ended.returncode == 0, ended.stderr
    assert "127.0.0.1:7701" in ended.stdout


def test_mneme_config_and_mneme_listen(config, tmp_path):
    path = config("listen: 127.0.0.1:7702\n")
    ended = run(
        "--print-config", folder=tmp_path, env={"MNEME_CONFIG": str(path)}
    )
    assert "127.0.0.1:7702" in ended.stdout, ended.stderr
    ended = run(
        "--print-config",
        folder=tmp_path,
        env={"MNEME_CONFIG": str(path), "MNEME_LISTEN": "127.0.0.1:7703"},
    )
    assert "127.0.0.1:7703" in ended.stdout, ended.stderr


# ---- start ------------------------------------------------------------------


def test_without_a_config_memories_are_durable(start_server, tmp_path):
    """One file in the data directory, and nothing is lost by a restart."""
    server = start_server()
    client = server.client("n")
    (backend,) = client.ListBackends().backends
    assert backend.durability == pb.DURABILITY_FULL
    client.append("s", "kept")
    server.stop()
    assert (server.folder / "mneme.db").exists()
    again = start_server(folder=server.folder).client("n")
    assert [each.content for each in again.list("s")] == ["kept"]


def test_normal_durability_is_told(start_server):
    server = start_server(
        "backends: { a: { type: sqlite, durability: normal } }\n"
    )
    (backend,) = server.client("n").ListBackends().backends
    assert backend.durability == pb.DURABILITY_PROCESS


def test_memory_db_url_names_the_store(start_server):
    server = start_server(env={"MEMORY_DB_URL": "sqlite:///sub/dir/own.db"})
    server.client("n").append("s", "x")
    assert (server.folder / "sub/dir/own.db").exists()
    config = "backends: { default: { type: dict } }\n"
    server = start_server(config, env={"MEMORY_DB_URL": "sqlite:///x.db"})
    server.wait_log(lambda line: "MEMORY_DB_URL" in json.dumps(line))
    assert not (server.folder / "x.db").exists()


def test_two_servers_of_one_file(start_server):
    server = start_server()
    ended = run(folder=server.folder)
    assert ended.returncode == 1
    assert "in use by process %d" % server.pid in ended.stderr


def test_dict_says_that_nothing_is_durable(start_server):
    server = start_server("backends: { default: { type: dict } }\n")
    client = server.client("n")
    (backend,) = client.ListBackends().backends
    assert backend.durability == pb.DURABILITY_NONE
    warned = [
        line
        for line in server.logs()
        if line.get("level", "").lower().startswith("warn")
        and "durable" in json.dumps(line)
    ]
    assert warned, server.output()


def test_only_loopback_without_authentication(tmp_path):
    for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:7700"):
        ended = run("--listen", address, folder=tmp_path)
        assert ended.returncode > 0
        assert "--insecure-listen" in ended.stderr, ended.stderr


def test_a_port_that_is_taken(start_server, tmp_path):
    server = start_server()
    ended = run("--listen", server.address, folder=tmp_path)
    assert ended.returncode > 0
    assert str(server.port) in ended.stderr
    # The first one is not disturbed.
    assert server.client("n").append("s", "x").session.revision == 1


def test_a_port_that_another_program_holds(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        ended = run("--listen", "127.0.0.1:%d" % port, folder=tmp_path)
        assert ended.returncode > 0
        assert str(port) in ended.stderr


def test_a_unix_socket(start_server, tmp_path):
    server = start_server(
        config="listen: [127.0.0.1:0, 'unix:%s/s']\n" % tmp_path,
        listen=False,
    )
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)
    with grpc.insecure_channel("unix:%s/s" % tmp_path) as channel:
        client = server.client("n", channel)
        assert client.append("s", "x").session.revision == 1


def test_a_unix_socket_that_is_taken(start_server, tmp_path):
    """A live server keeps its socket; a stale one is taken over."""
    config = "listen: [127.0.0.1:0, 'unix:%s/s']\n" % tmp_path
    server = start_server(config=config, listen=False)
    for address in ("unix:%s/s" % tmp_path, "unix://%s/s" % tmp_path):
        ended = run("--listen", address, folder=tmp_path)
        assert ended.returncode == 1, ended.stderr
        assert "in use" in ended.stderr, ended.stderr
    with grpc.insecure_channel("unix:%s/s" % tmp_path) as channel:
        client = server.client("n", channel)
        assert client.append("s", "x").session.revision == 1
    server.process.kill()
    server.wait()
    server.stopped = True
    assert stat.S_ISSOCK((tmp_path / "s").stat().st_mode)
    server = start_server(config=config, listen=False)
    with grpc.insecure_channel("unix:%s/s" % tmp_path) as channel:
        client = server.client("n", channel)
        assert client.append("s", "x").session.revision == 1


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
)
def test_signals_end_it_well(start_server, number):
    server = start_server()
    server.client("n").append("s", "x")
    server.signal(number)
    assert server.wait() == 0
    server.check_output()


def test_sigpipe_does_not_kill_it(start_server):
    server = start_server()
    client = server.client("n")
    server.signal(signal.SIGPIPE)
    assert client.append("s", "x").session.revision == 1


def test_text_logs(tmp_path):
    """The format that people read; one line to an event as well."""
    ended = run(
        "--log-format", "text", "--listen", "0.0.0.0:0", folder=tmp_path
    )
    assert ended.returncode > 0
    assert not ended.stderr.startswith("{")
