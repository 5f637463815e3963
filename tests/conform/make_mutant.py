#!/usr/bin/env python3
"""Writes a mutant of one source file: make_mutant.py X.mutant SOURCES OUT.c

A .mutant file names the engine (dict unless it says), the file, the duty that it
breaks, and texts to replace:

    # What is wrong with it.
    room: dict
    file: steps.c
    duty: C-14
    --- old
      while (live > target)
    +++ new
      while (live >= target)
    --- end

Each old text must stand in the file exactly once: when the source has moved on,
the build fails and says so, and the mutant is to be written anew.
"""

import pathlib
import sys


class Mutant:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.name = self.path.stem
        self.title, self.room, self.file, self.duty, self.edits = "", "dict", "", "", []
        part, old, new = None, [], []
        for line in self.path.read_text().splitlines():
            if line == "--- old":
                part, old, new = "old", [], []
            elif line == "+++ new" and part == "old":
                part = "new"
            elif line == "--- end" and part == "new":
                self.edits.append(("\n".join(old), "\n".join(new)))
                part = None
            elif part:
                (old if part == "old" else new).append(line)
            elif line.startswith("#"):
                self.title = line.lstrip("# ")
            elif line.startswith("room: "):
                self.room = line.removeprefix("room: ").strip()
            elif line.startswith("file: "):
                self.file = line.removeprefix("file: ").strip()
            elif line.startswith("duty: "):
                self.duty = line.removeprefix("duty: ").strip()
            elif line.strip():
                sys.exit(f"{path}: what is {line!r}?")
        if part or not (self.title and self.file and self.duty and self.edits):
            sys.exit(f"{path}: it needs a title, file, duty and at least one edit")

    def apply(self, text):
        for old, new in self.edits:
            found = text.count(old)
            if found != 1:
                sys.exit(
                    f"{self.path}: no longer applies: its old text stands {found} times "
                    f"in {self.file}, not once:\n{old}"
                )
            text = text.replace(old, new)
        return text


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__.splitlines()[0])
    mutant = Mutant(sys.argv[1])
    source = pathlib.Path(sys.argv[2]) / mutant.file
    out = pathlib.Path(sys.argv[3])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(mutant.apply(source.read_text()))


if __name__ == "__main__":
    main()
