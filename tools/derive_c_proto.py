#!/usr/bin/env python3
"""Derives the copy of a .proto file that protobuf-c can compile.

protoc-gen-c 1.4.1 refuses proto3 `optional`. To protoc, such a field is a
oneof of one member, and so is what this script writes:

    optional T f = n [opts];   ->   oneof _f { T f = n [opts]; }

The two have the same bytes on the wire and the same JSON; the generated C gets
`_f_case` in place of a presence flag. tests/proto/compare_descriptors.py checks
that nothing else differs.

The text is walked once, token by token, so comments and string literals are
passed over and a declaration may span lines. No line is added or removed: an
error that protoc reports in the copy is at the same line of the original.

    derive_c_proto.py --root proto --out build/x mneme/v1/types.proto ...
"""

import argparse
import pathlib
import re
import sys

TOKEN = re.compile(
    r"""
      (?P<comment> //[^\n]* | /\*.*?\*/ )
    | (?P<string>  "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | (?P<word>    [A-Za-z0-9_.]+ )
    | (?P<space>   \s+ )
    | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Refused(Exception):
    """A text that is not shaped like a .proto file."""


def field_name(statement):
    """The name in the significant tokens of `optional T name = n ...`."""
    if "=" not in statement:
        raise Refused("optional without a field number")
    at = statement.index("=")
    if at < 3:
        raise Refused("optional without a type or a name")
    return statement[at - 1]


def derive(text):
    """Returns `text` with every proto3 optional field of a message wrapped."""
    tokens = [(m.lastgroup, m.group()) for m in TOKEN.finditer(text)]
    out = []
    kinds = []  # what each open brace belongs to: message, enum, oneof, ...
    statement = []  # significant tokens since the last ; { or }
    brackets = 0  # depth of [ ] and of { } inside them (aggregate options)
    wrap_at = None  # where in `out` the word optional stands

    for group, value in tokens:
        if group in ("comment", "space"):
            out.append(value)
            continue
        if group == "mark" and value in "[]":
            brackets += 1 if value == "[" else -1
        elif group == "mark" and value in "{}" and brackets > 0:
            brackets += 1 if value == "{" else -1
        elif group == "mark" and value == "{":
            # `option (x) = { ... };` is a literal, not a scope of its own.
            kinds.append(statement[0] if statement else "")
            statement = []
            out.append(value)
            continue
        elif group == "mark" and value == "}":
            if not kinds:
                raise Refused("a closing brace too many")
            kinds.pop()
            statement = []
            out.append(value)
            continue
        elif group == "mark" and value == ";" and brackets == 0:
            out.append(value)
            if wrap_at is not None:
                out[wrap_at] = "oneof _%s {" % field_name(statement)
                out.append(" }")
                wrap_at = None
            statement = []
            continue
        if (
            value == "optional"
            and not statement
            and kinds
            and kinds[-1] == "message"
        ):
            wrap_at = len(out)
        statement.append(value)
        out.append(value)

    if kinds or wrap_at is not None:
        raise Refused("the file ends inside a declaration")
    return "".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("files", nargs="+", help="relative to --root")
    args = parser.parse_args()
    for name in args.files:
        source = args.root / name
        try:
            derived = derive(source.read_text(encoding="utf-8"))
        except Refused as why:
            print("%s: %s" % (source, why), file=sys.stderr)
            return 1
        target = args.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(derived, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
