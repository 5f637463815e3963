#!/usr/bin/env python3
"""Every limit that the server enforces has a test at n and n + 1.

Reads the limits of service/wire/limits.def and the rows limit("Message.field",
number) of tests/e2e, and fails on a limit without a row, on a row that names no
limit of the server, and on an exclusion that excludes nothing. Ends with
`N passed, N failed`.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMITS = ROOT / "service/wire/limits.def"
TESTS = ROOT / "tests/e2e"

# What fields that are served cannot reach, and why.
EXCLUDED = {
    ("Memory.embeddings", 16): "embeddings are not served yet",
    ("Embedding.values", 4096): "embeddings are not served yet",
    ("SessionPolicy.search_metadata", 64): "search_metadata is not served yet",
    ("ListValue.values", 32768): "as many empty values are 64 KiB already, "
    "and the Struct around them makes them more than metadata may be",
}


def read_limits(text):
    """[(Message.field, number)] of a limits.def."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    found = []
    for message, field, _, number in re.findall(
        r'^LIMIT\("([\w.]+)",\s*"(\w+)",\s*(\w+),\s*(\d+)\)', text, flags=re.M
    ):
        for package in ("mneme.v1.", "google.protobuf."):
            message = message.removeprefix(package)
        found.append(("%s.%s" % (message, field), int(number)))
    lines = len(re.findall(r"^LIMIT\(", text, flags=re.M))
    assert found and len(found) == lines, "a line that was not understood"
    return found


def read_tests(texts):
    """{(Message.field, number)} of the rows of the tests."""
    return {
        (name, int(number))
        for text in texts
        for name, number in re.findall(
            r'\blimit\(\s*"([\w.]+)",\s*(\d+)\s*\)', text
        )
    }


def check(limits, tests, excluded):
    """(how many are fine, what is wrong)."""
    wrong = []
    for each in limits:
        if each not in tests and each not in excluded:
            wrong.append("%s: %d has no test" % each)
        if each in tests and each in excluded:
            wrong.append("%s: %d is excluded and tested" % each)
    for each in sorted(tests - set(limits)):
        wrong.append("%s: %d is tested, the server has no such limit" % each)
    for each in sorted(set(excluded) - set(limits)):
        wrong.append("%s: %d is excluded and no limit" % each)
    return len(limits) - sum("has no test" in each for each in wrong), wrong


def self_test():
    limits = read_limits('LIMIT("mneme.v1.A", "b", BYTES, 5)\n')
    assert limits == [("A.b", 5)]
    tests = read_tests(['x = [limit("A.b", 5)]'])
    assert check(limits, tests, {}) == (1, [])
    assert check(limits, set(), {})[1] == ["A.b: 5 has no test"]
    assert check(limits, {("A.b", 6)}, {})[1]
    assert check(limits, tests, {("A.c", 1): ""})[1]


def main():
    self_test()
    limits = read_limits(LIMITS.read_text())
    tests = read_tests(
        path.read_text() for path in sorted(TESTS.glob("test_*.py"))
    )
    fine, wrong = check(limits, tests, EXCLUDED)
    for each in wrong:
        print(each)
    for (name, number), why in EXCLUDED.items():
        print("excluded: %s: %d: %s" % (name, number, why))
    print("%d passed, %d failed" % (fine, len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
