#!/usr/bin/env python3
"""Tests tools/derive_c_proto.py on shapes that our own files may not have yet.

Standard library only; ends with a count.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.dont_write_bytecode = True

import derive_c_proto  # noqa: E402

# what it shows, the text, the text derived from it (None: refused)
CASES = [
    (
        "a field",
        "message M { optional int64 a = 1; }",
        "message M { oneof _a { int64 a = 1; } }",
    ),
    (
        "options and a comment between",
        'message M {\n  optional /* why; { */ string a = 2 [\n    deprecated = true, x = "];"\n  ]; // end\n}',
        'message M {\n  oneof _a { /* why; { */ string a = 2 [\n    deprecated = true, x = "];"\n  ]; } // end\n}',
    ),
    (
        "one declaration over several lines",
        "message M {\n optional\n  foo.Bar\n  a\n  =\n  3\n  ;\n}",
        "message M {\n oneof _a {\n  foo.Bar\n  a\n  =\n  3\n  ; }\n}",
    ),
    (
        "the word in comments and strings",
        'message M { // optional int32 a = 1;\n string b = 1 [x = "optional"]; }',
        'message M { // optional int32 a = 1;\n string b = 1 [x = "optional"]; }',
    ),
    (
        "a field that is called optional",
        "message M { string optional = 1; }",
        "message M { string optional = 1; }",
    ),
    (
        "a nested message, after an enum",
        "message M { enum E { A = 0; } message N { optional E e = 1; } }",
        "message M { enum E { A = 0; } message N { oneof _e { E e = 1; } } }",
    ),
    (
        "an extension stays",
        "extend X { optional string a = 50000; }",
        "extend X { optional string a = 50000; }",
    ),
    (
        "after a map, a oneof and reserved names",
        'message M { map<string, int32> m = 1; oneof o { int32 p = 2; } reserved 3, "q"; optional bool a = 4; }',
        'message M { map<string, int32> m = 1; oneof o { int32 p = 2; } reserved 3, "q"; oneof _a { bool a = 4; } }',
    ),
    (
        "an aggregate option",
        "message M { optional int32 a = 1 [(x) = { y: 1; z: [2] }]; }",
        "message M { oneof _a { int32 a = 1 [(x) = { y: 1; z: [2] }]; } }",
    ),
    ("a file that ends too early", "message M { optional int32 a = 1;", None),
    ("a brace too many", "message M { } }", None),
    ("a field without a number", "message M { optional int32 a; }", None),
]


def main():
    failed = 0
    for what, text, wanted in CASES:
        try:
            got = derive_c_proto.derive(text)
        except derive_c_proto.Refused:
            got = None
        if got != wanted:
            failed += 1
            print("%s:\n  got    %r\n  wanted %r" % (what, got, wanted))
    print("%d passed, %d failed" % (len(CASES) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
