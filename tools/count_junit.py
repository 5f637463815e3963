#!/usr/bin/env python3
"""Prints `passed failed skipped` of a JUnit file by ctest or pytest."""

import sys
import xml.etree.ElementTree as xml


def main():
    passed = failed = skipped = 0
    for case in xml.parse(sys.argv[1]).iter("testcase"):
        kinds = {child.tag for child in case}
        # ctest says it in an attribute, pytest in a child.
        status = case.get("status", "run")
        if "failure" in kinds or "error" in kinds or status == "fail":
            failed += 1
        elif "skipped" in kinds or status in ("notrun", "disabled"):
            skipped += 1
        else:
            passed += 1
    print(passed, failed, skipped)


if __name__ == "__main__":
    main()
