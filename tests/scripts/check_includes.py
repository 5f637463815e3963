#!/usr/bin/env python3
"""Who includes whom: the map of ARCHITECTURE.md, checked against the sources.

The rooms of the service share the include folder service/, so the compiler
cannot refuse an include. This does, for every room under service/ and
backends/ and for tests/conform; a room that MAP does not name fails, and so
does a permission that nobody uses. Ends with `N passed, N failed`.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A room, and the rooms whose headers it includes beside its own. "sdk" is
# backends/sdk/mneme. The same lines stand in ARCHITECTURE.md.
MAP = """
main      → server config registry base
server    → admin rpc sweep config base
admin     → transport wire error base sdk
rpc       → transport filter wire page session registry record base
sweep     → registry base
config    → registry base
filter    → wire record error base sdk
wire      → record policy error base sdk
session   → policy base sdk
registry  → policy base sdk
page      → error sdk
record    → base sdk
search    → base sdk
error     → base sdk
policy    → sdk
transport → base
base      →
"""

# Headers that the build writes, and the one room that includes each.
GENERATED = {"builtin.h": "main", "mneme_descriptor_set.h": "admin"}

# What only one room includes.
GRPC = re.compile(r"grpc/(?!.*\.pb-c\.h$)")
PROTOBUF = re.compile(r".*\.pb-c\.h$|protobuf-c/")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def read_map(text):
    """{room: the rooms that it may include}."""
    rooms = {}
    for line in text.strip().splitlines():
        room, _, others = line.partition("→")
        rooms[room.strip()] = set(others.split())
    return rooms


def includes_of(path):
    """[(quoted, name)] of a file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return [(mark == '"', name) for mark, name in INCLUDE.findall(text)]


def sources(folder):
    return sorted(
        each
        for each in folder.rglob("*")
        if each.suffix in (".c", ".h", ".def") and each.is_file()
    )


def service_room(path):
    """The room of a path below service/."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def service_fault(room, allowed, quoted, name, used):
    """What is wrong with an include of a room of the service, or None."""
    if PROTOBUF.match(name):
        return None if room == "wire" else "only wire includes it"
    if GRPC.match(name):
        return None if room == "transport" else "only transport includes it"
    if not quoted and not name.startswith("mneme/"):
        return None  # the system's
    if name in GENERATED:
        return None if GENERATED[name] == room else "not its header"
    other = service_room(pathlib.PurePosixPath(name))
    other = "sdk" if other == "mneme" else other
    if ".." in name or "backends" in name:
        return "not by a path"
    if other == room:
        return None
    used.add((room, other))
    return None if other in allowed else "%s may not include %s" % (room, other)


def backend_fault(own, common, quoted, name):
    """The same for a backend. own: its folder's files; common: what it shares."""
    if PROTOBUF.match(name) or GRPC.match(name):
        return "backends know nothing of gRPC"
    if name.startswith("mneme/"):
        return None
    if quoted and name not in own and name not in common:
        return "neither its own nor common's nor the sdk's"
    return None


def check_service(root, rooms):
    """[(file, what is wrong or None)]."""
    found, used, seen = [], set(), set()
    for path in sources(root / "service"):
        room = service_room(path.relative_to(root / "service"))
        seen.add(room)
        faults = ["the map has no room %s" % room] if room not in rooms else []
        for quoted, name in includes_of(path):
            fault = service_fault(room, rooms.get(room, ()), quoted, name, used)
            if fault:
                faults.append("%s: %s" % (name, fault))
        found.append((path, "; ".join(faults) or None))
    allowed = {(room, other) for room in rooms for other in rooms[room]}
    for room, other in sorted(allowed - used):
        found.append((room, "includes nothing of %s, the map allows it" % other))
    for room in sorted(set(rooms) - seen):
        found.append((room, "no such room"))
    return found


def names_in(folder):
    return {str(each.relative_to(folder)) for each in sources(folder)}


def check_backends(root):
    found = []
    folders = [each for each in (root / "backends").iterdir() if each.is_dir()]
    common = names_in(root / "backends/common")
    for folder in sorted(folders) + [root / "tests/conform"]:
        own = names_in(folder)
        shared = common if folder.parent.name == "backends" else {"builtin.h"}
        shared = set() if folder.name == "sdk" else shared
        for path in sources(folder):
            faults = []
            for quoted, name in includes_of(path):
                fault = backend_fault(own, shared, quoted, name)
                if fault:
                    faults.append("%s: %s" % (name, fault))
            found.append((path, "; ".join(faults) or None))
    return found


def self_test():
    rooms = read_map("a → b sdk\nb →\n")
    assert rooms == {"a": {"b", "sdk"}, "b": set()}

    def service(room, name, quoted=True):
        allowed = rooms.get(room, ())
        return service_fault(room, allowed, quoted, name, set())

    assert not service("a", "b/x.h") and not service("a", "a/x.h")
    assert not service("a", "mneme/types.h") and service("b", "mneme/types.h")
    assert service("b", "a/x.h") and service("a", "dict.h")
    assert service("a", "../backends/dict/dict.h") and service("a", "builtin.h")
    assert service("a", "grpc/grpc.h", False) and service("b", "x/y.pb-c.h")
    assert service("transport", "x/y.pb-c.h")
    assert service("transport", "grpc/health/v1/health.pb-c.h")
    assert not service("transport", "grpc/grpc.h", False)
    assert not service("wire", "grpc/health/v1/health.pb-c.h")
    assert not service("b", "stdio.h", False)
    assert not backend_fault({"x.h"}, {"c.h"}, True, "c.h")
    assert backend_fault({"x.h"}, {"c.h"}, True, "../service/base/arena.h")
    assert backend_fault({"x.h"}, {"c.h"}, True, "base/arena.h")
    assert backend_fault(set(), set(), False, "grpc/grpc.h")


def main():
    self_test()
    rooms = read_map(MAP)
    found = check_service(ROOT, rooms) + check_backends(ROOT)
    drawn = MAP.strip() in (ROOT / "ARCHITECTURE.md").read_text()
    found.append(("ARCHITECTURE.md", None if drawn else "draws another map"))
    wrong = [each for each in found if each[1] is not None]
    for path, fault in wrong:
        if isinstance(path, pathlib.Path):
            path = path.relative_to(ROOT)
        print("%s: %s" % (path, fault))
    print("%d passed, %d failed" % (len(found) - len(wrong), len(wrong)))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
