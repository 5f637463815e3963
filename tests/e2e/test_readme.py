"""What README.md tells people to type works as printed, and the answers are
those that it prints."""

import json
import re
import shlex
import subprocess
import sys

import pytest

import pb
from harness import PATIENCE, ROOT

README = ROOT / "README.md"
PORT = "7700"


def blocks():
    """[(commands, the answers printed below them)] in the order of the page: a
    ```sh block with grpcurl in it, and the ```json block right after it."""
    found = re.findall(
        r"^```(\w*)\n(.*?)^```$", README.read_text(), flags=re.M | re.S
    )
    made = []
    for number, (language, text) in enumerate(found):
        if language != "sh" or "grpcurl" not in text:
            continue
        answer = None
        if number + 1 < len(found) and found[number + 1][0] == "json":
            answer = found[number + 1][1]
        made.append((text, answer))
    return made


def commands(text):
    """The grpcurl lines of a block, continuations joined, as arguments."""
    joined = text.replace("\\\n", " ")
    made = []
    for line in joined.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0].endswith("grpcurl"), line
            made.append(words)
    return made


def documents(text):
    """The JSON documents that stand one after the other in a text."""
    decoder = json.JSONDecoder()
    made, at = [], 0
    while True:
        rest = re.compile(r"\s*").match(text, at)
        at = rest.end()
        if at == len(text):
            return made
        document, at = decoder.raw_decode(text, at)
        made.append(document)


def normal(value):
    """What differs from run to run: ids that the service made, and times."""
    if isinstance(value, dict):
        return {key: normal(each) for key, each in value.items()}
    if isinstance(value, list):
        return [normal(each) for each in value]
    if isinstance(value, str):
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", value):
            return "(uuid)"
        if re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
            return "(time)"
    return value


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    from harness import Server

    server = Server(tmp_path_factory.mktemp("readme"))
    yield server
    server.stop()


def test_readme_prints_lines_to_try():
    lines = [c for text, _ in blocks() for c in commands(text)]
    assert len(lines) >= 5
    assert sum(answer is not None for _, answer in blocks()) >= 3
    called = {c[-1].split("/")[-1] for c in lines}
    assert {"AppendMemories", "ListMemories"} <= called


def test_readme_lines_work_as_printed(fresh, grpcurl):
    for text, answer in blocks():
        output = ""
        for words in commands(text):
            words = [
                each.replace("localhost:" + PORT, "localhost:%d" % fresh.port)
                for each in words[1:]
            ]
            ended = grpcurl(*words)
            output += ended.stdout
            if ended.returncode and answer is None:
                raise AssertionError("%s\n%s" % (text, ended.stderr))
            if ended.returncode:
                output += ended.stderr
        if answer is None:
            continue
        if answer.lstrip().startswith(("{", "[")):
            assert normal(documents(output)) == normal(documents(answer)), text
        else:
            # An error: what README prints stands in what grpcurl says.
            for line in answer.splitlines():
                assert line.strip() in output, (line, output)


def test_limits_in_readme_are_those_of_the_tests():
    """Each number of README's table stands in the table of the contract."""
    text = README.read_text()
    for name, number in (
        ("namespace", "128"),
        ("session", "512"),
        ("content", "1 MiB"),
        ("request", "4 MiB"),
        ("reply", "3.5 MiB"),
    ):
        assert re.search(
            r"\|.*%s.*\|.*%s.*\|" % (name, re.escape(number)), text
        ), name


@pytest.mark.parametrize(
    "example", sorted((ROOT / "clients").glob("python/*.py")), ids=lambda p: p.name
)
def test_python_example(fresh, example):
    """Examples are files, and run as they are: the stubs' folder comes by
    PYTHONPATH, as a user's own build would have it."""
    stubs = pb.memory_backend_pb2.__file__.rsplit("/mneme/", 1)[0]
    ended = subprocess.run(
        [sys.executable, str(example), "localhost:%d" % fresh.port],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={"PYTHONPATH": stubs, "PATH": "/usr/bin:/bin", "no_proxy": "*"},
    )
    assert ended.returncode == 0, ended.stderr
    wanted = example.with_suffix(".out")
    assert ended.stdout == wanted.read_text()
