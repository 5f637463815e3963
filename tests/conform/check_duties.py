#!/usr/bin/env python3
"""Holds the duties of backend.h against the tests that prove them.

usage: check_duties.py [--header backend.h] [--tests FOLDER]

Fails on a tag [C-nn] without a test, on a test with a tag that is not in the
header, and on a test whose name begins with another duty than its first tag.
"""

import argparse
import pathlib
import re
import sys

TEST = re.compile(r'^(?:FILTER_)?TEST(?:_WITH|_SLOW)?\(\s*(\w+),\s*((?:"[^"]*"\s*)+)', re.MULTILINE)


def duties_of(header):
    text = header.read_text()
    duties = set(re.findall(r"\[(C-\d\d)\]", text))
    # A tag broken over two comment lines, or written otherwise, would go unseen.
    stray = set(re.findall(r"\bC-\d\d\b", text)) - duties
    if stray:
        sys.exit(f"{header}: not in brackets: {', '.join(sorted(stray))}")
    return duties


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--header", default=here / "../../backends/sdk/mneme/backend.h", type=pathlib.Path
    )
    parser.add_argument("--tests", default=here, type=pathlib.Path)
    args = parser.parse_args()

    duties = duties_of(args.header)
    proved, faults, count = {}, [], 0
    for path in sorted(args.tests.glob("test_*.c")):
        for name, strings in TEST.findall(path.read_text()):
            count += 1
            tags = " ".join(re.findall(r'"([^"]*)"', strings)).split()
            if not tags:
                faults.append(f"{path.name}: {name} has no duty")
            for tag in tags:
                proved.setdefault(tag, []).append(name)
                if tag not in duties:
                    faults.append(f"{path.name}: {name} has {tag}, which backend.h has not")
            number = re.match(r"c(\d\d)_", name)
            if number and tags and tags[0] != f"C-{number.group(1)}":
                faults.append(f"{path.name}: {name} is named after another duty than {tags[0]}")
    for duty in sorted(duties - proved.keys()):
        faults.append(f"backend.h: {duty} has no test")
    for fault in faults:
        print(fault)
    print(f"{len(duties)} duties, {count} tests, {len(faults)} faults")
    return 1 if faults or not duties or not count else 0


if __name__ == "__main__":
    sys.exit(main())
