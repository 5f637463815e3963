#!/usr/bin/env python3
"""Every limit that the server enforces has a test at n and n + 1.

Reads the limits of service/wire/limits.def, those of IN_CODE, and the rows
limit("Message.field", number) and ranged("Message.field", number, ...) of
tests/e2e. Fails on a limit without a row, on a row that names no limit of the
server, on an exclusion that excludes nothing, and on a limit in code that does
not stand there any more. Ends with `N passed, N failed`.
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

# Limits that C code enforces: where, and what stands there.
COUNT = ("service/policy/policy.h", "#define POLICY_COUNT_MAX INT32_MAX")
SPAN = (
    "service/policy/policy.h",
    "#define POLICY_DURATION_MAX_US (INT64_C(100) * 365 * 86400 * 1000000)",
)
PAGE = ("service/wire/messages.h", "#define WIRE_PAGE_MAX 1000")
FILTER = "service/filter/filter.h"
PURGE = "service/rpc/purge.h"
AGE = ("service/wire/bulk.c", "#define AGE_DAYS_MAX 36500 ")
NAMES = ("service/wire/requests.c", "#define NAMES_MAX 1000")
INT32 = 2147483647
CENTURY_S = 3153600000
IN_CODE = {
    ("ListMemoriesRequest.page_size", 1000): PAGE,
    ("ListSessionsRequest.page_size", 1000): PAGE,
    ("ListMemoriesRequest.offset", 10000): (
        "service/wire/messages.h",
        "#define WIRE_OFFSET_MAX 10000",
    ),
    ("PopMemoriesRequest.count", 1000): (
        "service/wire/requests.c",
        "#define POP_MAX 1000",
    ),
    ("GetMemoriesRequest.ids+keys", 1000): NAMES,
    ("DeleteMemoriesRequest.ids+keys", 1000): NAMES,
    ("ListMemories.examined", 10000): (
        "service/rpc/list_memories.c",
        "#define EXAMINED_MAX 10000",
    ),
    ("ListMemories.examined_of_many", 100000): (
        "service/rpc/list_many.c",
        "#define RECORDS_MAX 100000 ",
    ),
    ("ListMemories.sessions_of_many", 100000): (
        "service/rpc/list_many.c",
        "#define SESSIONS_MAX 100000 ",
    ),
    ("ListSessions.examined", 1000): (
        "service/rpc/list_sessions.c",
        "#define FILTERED_EXAMINED_MAX 1000",
    ),
    ("CleanUpMemories.deleted", 10000): (
        PURGE,
        "#define PURGE_CALL_MAX 10000",
    ),
    ("CleanUpMemories.examined", 100000): (
        PURGE,
        "#define PURGE_EXAMINED_MAX 100000",
    ),
    ("CleanUpMemories.sessions", 10000): (
        "service/rpc/clean_up_memories.c",
        "#define SESSIONS_MAX 10000 ",
    ),
    ("CleanUpMemoriesRequest.min_age", CENTURY_S): AGE,
    ("CleanUpMemoriesRequest.min_idle", CENTURY_S): AGE,
    ("CleanUpMemoriesRequest.max_age_days", 36500): AGE,
    ("DeleteSessions.deleted", 1000): (
        "service/rpc/delete_sessions.c",
        "#define DELETED_MAX 1000 ",
    ),
    ("DeleteSessions.examined", 10000): (
        "service/rpc/delete_sessions.c",
        "#define EXAMINED_MAX 10000 ",
    ),
    ("DeleteSessions.memories", 100000): (
        "service/rpc/delete_sessions.c",
        "#define MEMORIES_MAX 100000 ",
    ),
    ("filter.bytes", 4096): (FILTER, "#define FILTER_BYTES_MAX 4096"),
    ("filter.terms", 64): (FILTER, "#define FILTER_TERMS_MAX 64"),
    ("filter.values", 1000): (FILTER, "#define FILTER_IN_MAX 1000"),
    ("filter.depth", 16): (FILTER, "#define FILTER_DEPTH_MAX 16"),
    ("filter.nested", 16): (FILTER, "#define FILTER_DEPTH_MAX 16"),
    ("filter.digits", 64): (FILTER, "#define FILTER_NUMBER_MAX 64"),
    ("filter.age", 3652500): (FILTER, "#define FILTER_AGE_MAX_DAYS 3652500"),
    ("filter.path", 16): (
        "backends/sdk/mneme/filter.h",
        "#define MNEME_FILTER_PATH_MAX 16",
    ),
    ("DeleteMemories.removed", 10000): (PURGE, "#define PURGE_CALL_MAX 10000"),
    ("DeleteMemories.examined", 100000): (
        PURGE,
        "#define PURGE_EXAMINED_MAX 100000",
    ),
    ("request.size", 4 << 20): (
        "service/config/setting.c",
        'SIZE("limits", "receive_max", "4MiB", 64 * KIB, 4 * MIB,',
    ),
    ("reply.size", 3584 << 10): (
        "service/wire/messages.h",
        "#define WIRE_REPLY_MAX (3584 * 1024)",
    ),
    # Of a merge: it makes nothing deeper than the deeper of its two parts is.
    ("merged_metadata.size", 65536): (
        "service/wire/value.c",
        "#define METADATA_BYTES_MAX 65536",
    ),
    ("merged_metadata.keys", 256): (
        "service/wire/value.c",
        "#define METADATA_KEYS_MAX 256",
    ),
    ("Memory.token_count", INT32): (
        "service/wire/memory.c",
        "#define TOKEN_COUNT_MAX INT32_MAX",
    ),
    ("Memory.ttl", CENTURY_S): (
        "service/wire/memory.c",
        "#define TTL_MAX_US (INT64_C(100) * 365 * 86400 * 1000000)",
    ),
    ("SessionPolicy.max_memories", INT32): COUNT,
    ("SessionPolicy.max_tokens", INT32): COUNT,
    ("SessionPolicy.evict_above", INT32): COUNT,
    ("SessionPolicy.evict_to", INT32): COUNT,
    ("SessionPolicy.evict_above_tokens", INT32): COUNT,
    ("SessionPolicy.evict_to_tokens", INT32): COUNT,
    ("SessionPolicy.max_age", CENTURY_S): SPAN,
    ("SessionPolicy.ttl", CENTURY_S): SPAN,
    ("SessionPolicy.cleanup_interval", 604800): (
        "service/policy/policy.h",
        "#define POLICY_CLEANUP_MAX_US (INT64_C(7) * 86400 * 1000000)",
    ),
    ("SessionPolicy.idempotency_window", 604800): (
        "service/policy/policy.h",
        "#define POLICY_WINDOW_MAX_US (INT64_C(7) * 86400 * 1000000)",
    ),
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
            r'\b(?:limit|ranged)\(\s*"([\w.+]+)",\s*(\d+)\s*[,)]', text
        )
    }


def misplaced(root, in_code):
    """What IN_CODE says and the code does not."""
    wrong = []
    for (name, number), (where, line) in in_code.items():
        if not re.search(re.escape(line) + r"(?!\w)", (root / where).read_text()):
            wrong.append("%s: %d: %s has no `%s`" % (name, number, where, line))
    return wrong


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
    assert read_tests(['ranged(\n  "a+b",\n  7, f)']) == {("a+b", 7)}
    assert not misplaced(ROOT, {("a", 1): (PAGE[0], PAGE[1])})
    assert misplaced(ROOT, {("a", 1): (PAGE[0], PAGE[1][:-1])})
    assert check(limits, tests, {}) == (1, [])
    assert check(limits, set(), {})[1] == ["A.b: 5 has no test"]
    assert check(limits, {("A.b", 6)}, {})[1]
    assert check(limits, tests, {("A.c", 1): ""})[1]


def main():
    self_test()
    limits = read_limits(LIMITS.read_text()) + list(IN_CODE)
    tests = read_tests(
        path.read_text() for path in sorted(TESTS.glob("test_*.py"))
    )
    fine, wrong = check(limits, tests, EXCLUDED)
    wrong += misplaced(ROOT, IN_CODE)
    for each in wrong:
        print(each)
    for (name, number), why in EXCLUDED.items():
        print("excluded: %s: %d: %s" % (name, number, why))
    print("%d passed, %d failed" % (fine, len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
