#!/usr/bin/env python3
"""Writes the seeds of fuzz_wire_check, fuzz_filter and fuzz_page_token into corpus/.

    tests/fuzz/make_corpus.py           writes them
    tests/fuzz/make_corpus.py --check   fails when a file differs

The messages are made by hand: no protobuf library would make the wrong ones, and
the seeds stay the same whatever version is installed.
"""

import base64
import hashlib
import hmac
import pathlib
import struct
import sys

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


# ---- the wire ---------------------------------------------------------------


def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n)


def double(field, x):
    return varint(field << 3 | 1) + struct.pack("<d", x)


def chunk(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def value(x):
    """A google.protobuf.Value."""
    if x is None:
        return number(1, 0)
    if isinstance(x, bool):
        return number(4, x)
    if isinstance(x, (int, float)):
        return double(2, x)
    if isinstance(x, str):
        return chunk(3, x)
    if isinstance(x, dict):
        return chunk(5, metadata(x))
    return chunk(6, b"".join(chunk(1, value(each)) for each in x))


def metadata(entries):
    return b"".join(
        chunk(1, chunk(1, k) + chunk(2, value(v))) for k, v in entries.items()
    )


def label(field, key, text):
    return chunk(field, chunk(1, key) + chunk(2, text))


def seconds(field, n, nanos=0):
    return chunk(field, number(1, n) + (number(2, nanos) if nanos else b""))


# ---- requests ---------------------------------------------------------------

SCOPE = chunk(1, "tenant") + chunk(2, "a/b")
META = metadata(
    {"a": 1.5, "b": {"c": [None, True, "x", {"d": -0.0}], "e": {}}, "": "ä"}
)
PART = chunk(1, "image/png") + chunk(2, b"\0\xff") + chunk(5, "a cat")
JSON_PART = chunk(1, "application/json") + chunk(4, '{"n": 1}')
MEMORY = (
    chunk(1, "id-1") + chunk(3, "key-1") + chunk(4, "fact") + chunk(5, "user")
    + chunk(6, "Bob") + chunk(7, "chat") + number(8, 3)
    + chunk(9, "My name is Bob") + chunk(10, PART) + chunk(10, JSON_PART)
    + chunk(11, META) + double(12, 0.5) + number(13, 1) + seconds(16, 3600)
    + number(17, 7) + seconds(18, -1, 999999999)
)
SMALL = chunk(5, "user") + chunk(9, "hi")
POLICY = (
    number(3, 100) + number(4, 80) + number(2, 1000) + number(7, 2) + number(8, 1)
    + seconds(11, 86400) + seconds(12, 60) + seconds(13, 1) + chunk(14, "fact")
)
APPEND = (
    SCOPE + chunk(3, MEMORY) + chunk(3, SMALL) + chunk(4, "r-1") + number(5, 3)
    + number(6, 4) + number(7, 1) + chunk(8, "old") + chunk(9, META)
)
deep = b""
for _ in range(40):
    deep = chunk(1, chunk(2, chunk(5, deep)))

# The first number selects the request: the order of the service, and those that
# were served later behind it.
WIRE = {
    "create_session": (0, SCOPE + chunk(4, POLICY) + label(5, "env", "prod")
                       + label(5, "a", "") + chunk(6, META) + chunk(7, "r-1")),
    "get_session": (1, SCOPE),
    "list_sessions": (2, chunk(1, "tenant") + chunk(2, "a/") + label(3, "env", "p")
                      + number(5, 2) + number(6, 20) + chunk(7, "t") + number(8, 1)),
    "update_session": (3, SCOPE + chunk(3, POLICY) + label(4, "env", "dev")
                       + chunk(6, chunk(1, "policy") + chunk(1, "labels"))
                       + chunk(7, META) + number(8, 2) + chunk(9, "r-2")),
    "clear_session": (4, SCOPE + number(3, 0) + chunk(4, "r-3")),
    "delete_session": (5, SCOPE + number(3, 9) + chunk(4, "r-4")),
    "append": (6, APPEND),
    "append_small": (6, chunk(3, SMALL)),
    "append_deep": (6, chunk(3, chunk(11, deep))),
    "append_nan": (6, chunk(3, chunk(9, "x") + double(12, float("nan")))),
    "append_utf8": (6, chunk(3, chunk(9, b"eight...\xed\xa0\x80"))),
    "append_long_tag": (6, b"\x9a\x80\x80\x80\x80\x00" + b"\x00"),
    "append_twice": (6, chunk(4, "r-1") + chunk(4, "r-2")),
    "ingest": (7, chunk(1, APPEND)),
    "get": (8, SCOPE + chunk(3, "id-1") + chunk(4, "key-1") + number(5, 3)),
    "list": (9, SCOPE + number(5, 2) + chunk(6, "user") + chunk(7, "fact")
             + number(8, 500) + number(9, 2) + chunk(10, "k") + number(12, 10)
             + chunk(13, "t") + number(14, 2)),
    "list_filter": (9, SCOPE + chunk(4, 'role = "user"')),
    "sessions_filter": (2, chunk(4, 'labels.env = "p"') + number(6, 5)),
    "delete_filter": (11, SCOPE + chunk(5, "role:*") + chunk(9, "token")),
    "update": (10, SCOPE + chunk(3, "id-1") + chunk(5, SMALL)
               + chunk(6, chunk(1, "content") + chunk(1, "role"))
               + chunk(7, META) + number(8, 3) + chunk(9, "r-5")),
    "update_ttl": (10, chunk(4, "k") + chunk(5, seconds(16, 60))
                   + chunk(6, chunk(1, "ttl") + chunk(1, "expire_time"))),
    "delete": (11, SCOPE + chunk(3, "id-1") + chunk(4, "key-1") + number(6, 1)
               + number(7, 2)),
    "replace": (12, SCOPE + chunk(3, MEMORY) + number(4, 5) + number(5, 6)
                + chunk(6, "r-6")),
    "pop": (13, SCOPE + number(3, 10) + number(4, 1) + chunk(5, "r-7")),
    "get_stats": (14, SCOPE + number(4, 1)),
    "list_backends": (15, b""),
    "delete_sessions": (16, chunk(1, "tenant") + chunk(2, "a/") + chunk(3, "id:*")
                        + number(4, 1) + chunk(5, "t") + number(6, 1)),
    "clean_up": (17, chunk(1, "tenant") + chunk(3, "a/") + seconds(4, 86400)
                 + seconds(5, 3600) + double(6, 0.3) + chunk(7, "pinned=false")
                 + number(8, 1) + chunk(9, "t") + number(10, 1)),
    "clean_up_short": (17, number(11, 30) + double(12, 0.5)),
    "unknown_field": (15, number(1, 1)),
}

# ---- filters ----------------------------------------------------------------

FILTER = {
    "empty": "",
    "blank": " \t\n",
    "equal": 'role = "user"',
    "not_equal": "kind != 'fact'",
    "order": "importance >= 0.7",
    "bool": "pinned = true",
    "tier": "tier IN (LONG_TERM, TIER_SENSORY, 'SHORT_TERM')",
    "in": 'id IN ("b", "a", "b", "\\u00e9\\ud83d\\ude00")',
    "in_numbers": "sequence IN (3, 1, 2.5, 1e2)",
    "has": 'content : "Bob"',
    "like": 'content ~ "STRAßE"',
    "like_not": 'NOT author ~ "ẞ"',
    "present": "key:*",
    "missing": "NOT expire_time:*",
    "time": "create_time > 2026-01-31T10:00:00.5+01:00",
    "time_quoted": 'event_time <= "1969-12-31T23:59:59.999999Z"',
    "age": "age(create_time) > 30d12h",
    "age_small": "age(last_access_time) <= 1ms500us",
    "and": 'role = "user" AND pinned = false AND token_count < 5',
    "or": 'role = "user" OR key > "k" OR access_count = 0',
    "group": "(pinned = true OR tier:*) AND NOT (key:* AND NOT role:*)",
    "metadata": 'metadata.a."b.c".d = 1',
    "metadata_quote": 'metadata."q\\"q".\'it\\\'s\' != null',
    "metadata_types": 'metadata.a IN (1, "1", true, null, [], {}, [1, {"k": -0}])',
    "metadata_list": 'metadata.a : [1, "x", [true, null]]',
    "metadata_object": 'metadata.a = {"b": 1, "a": {"z": [], "A": 2e-3}}',
    "metadata_deep": "metadata" + ".a" * 16 + " = " + "[" * 16 + "]" * 16,
    "labels": 'labels."a/b" = "x" AND id : "a/"',
    "sessions": "age(update_time) > 1d AND NOT expire_time:*",
    "parentheses": "(" * 16 + "pinned=true" + ")" * 16,
    "nots": "NOT " * 16 + "pinned=true",
    "too_deep": "(" * 17 + "pinned=true" + ")" * 17,
    "terms": " OR ".join(["sequence=1"] * 65),
    "values": "sequence IN (%s)" % ",".join(["7"] * 1001),
    "number_large": "metadata.a = 9007199254740993",
    "number_small": "metadata.a = 5e-324",
    "number_none": "metadata.a = 1e309",
    "number_long": "metadata.a = 0." + "1" * 70,
    "number_odd": "metadata.a = -00.5e+",
    "mixed": 'role = "a" AND key = "b" OR id = "c"',
    "bare": "role",
    "bare_value": "role = user",
    "lower": 'not role = "a" and key in ("b")',
    "foreign": 'role == "a" && !pinned || key <> "b"',
    "open_string": 'role = "a\\',
    "open_list": "metadata.a = [1, {\"b\": [",
    "open_in": "id IN (",
    "escape": 'role = "\\x\\ud800"',
    "key_twice": 'metadata.a = {"k": 1, "k": 2}',
    "no_time": "create_time > 2026-02-30T00:00:00Z",
    "unknown": "colour = 5",
    "star": "role = *",
    "no_path": "metadata = 1",
}

# ---- page tokens ------------------------------------------------------------

KEY = b"0123456789abcdef0123456789abcdef"
ARGUMENTS = b"sixteen bytes..\0"


def token(kind, name, position=7, budget=0, version=1, key=KEY, bulk=None):
    raw = bytes([version, kind]) + ARGUMENTS + bytes(range(16))
    raw += struct.pack("<qqq", position, budget, 0)
    raw += struct.pack("<qqqB", *bulk) if bulk else b""
    raw += name
    raw += hmac.new(key, raw, hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


PAGE = {
    "memories": token(1, b""),
    "memories_key": token(1, b"key-1", 12, 4000),
    "sessions": token(2, b"a/b", 1700000000000000),
    "name_one": token(1, b"k"),
    "name_two": token(1, b"kk"),
    "name_longest": token(1, b"k" * 512),
    "name_too_long": token(1, b"k" * 513),
    "least": token(1, b"", -(1 << 63), -(1 << 63)),
    "other_version": token(1, b"", version=2),
    "other_kind": token(7, b""),
    "of_many": token(3, b"a/b", 1700000000000000, 12),
    "delete_memories": token(4, b"", 9, bulk=(1700000000000000, 40, 0, 0)),
    "delete_sessions": token(5, b"a/b", bulk=(1700000000000000, 0, 5, 3)),
    "clean_up": token(6, b"k" * 512, 9, bulk=(1, 40, -1, 63)),
    "bulk_without": token(4, b""),
    "other_key": token(1, b"", key=b"x" * 32),
    "cut": token(1, b"key")[:-1],
    "padded": token(1, b"kk") + b"==",
    "empty": b"",
    "plain_text": b"not a token",
    "position": bytes(range(49)) + b"session",
}


def main():
    files = {
        CORPUS / "fuzz_wire_check" / name: bytes([which]) + message
        for name, (which, message) in WIRE.items()
    }
    files.update(
        (CORPUS / "fuzz_filter" / name, text.encode())
        for name, text in FILTER.items()
    )
    files.update(
        (CORPUS / "fuzz_page_token" / name, text) for name, text in PAGE.items()
    )
    wrong = 0
    for path, content in files.items():
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        elif not path.is_file() or path.read_bytes() != content:
            print("differs: %s" % path.relative_to(CORPUS))
            wrong += 1
    print("%d passed, %d failed" % (len(files) - wrong, wrong))
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
