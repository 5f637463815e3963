"""The engines under test, known by their config only.

An engine is a template of the config's `backends:` entry and a few hooks: what
to start before the server, what to kill, what to check of the store while
nobody has it open. What is not said here the harness takes to be the same for
all of them. `{dir}` in the template is the round's folder.

    class Mine(Engine):
        name = "mine"
        template = "type: mine, path: '{dir}/mine'"

With `tests/fault/run --engine mine` it is driven like the others.
"""

import os
import pathlib
import shutil
import signal
import sqlite3
import tempfile


class Engine:
    """One engine of one round. folder: the round's, empty at first."""

    name = None
    template = None
    durable = True  # acknowledged = there after SIGKILL

    def __init__(self, folder, chance, **options):
        """chance (random.Random): where something may vary from round to round.
        options: more of the entry."""
        self.folder, self.chance = pathlib.Path(folder), chance
        self.options = options

    def vary(self):
        """Chooses options that should make no difference, where none are given.
        Rounds call it; tests of a single fault do not."""

    def entry(self):
        """The engine's entry in the config."""
        more = ["%s: %s" % each for each in sorted(self.options.items())]
        return ", ".join([self.template.format(dir=self.folder)] + more)

    def config(self):
        """The whole config file."""
        return "backends:\n  store: { %s }\n" % self.entry()

    def environment(self):
        """What the server finds in its environment."""
        return {}

    def prepare(self):
        """Before the server is started for the first time: the store's own
        server, if there is one."""

    def kill(self, server):
        """The crash. Kills at least the server."""
        os.kill(server.pid, signal.SIGKILL)
        server.wait()

    def recover(self):
        """After the crash, before the server is started again: the store's own
        server, if it was killed too."""

    def check_offline(self):
        """Right after the crash and after the end, with no server on the store.
        Must not change it. AssertionError = damaged."""

    def close(self):
        """Whatever prepare has started."""


class Dict(Engine):
    """Forgets everything: shows that the harness sees it, and tests the model."""

    name = "dict"
    template = "type: dict"
    durable = False


class Sqlite(Engine):
    name = "sqlite"
    template = "type: sqlite, path: '{dir}/store/mneme.db'"

    def __init__(self, folder, chance, durability="full", **options):
        super().__init__(folder, chance, durability=durability, **options)
        self.file = self.folder / "store" / "mneme.db"

    def vary(self):
        for name, values in {
            "checkpoint": ["64KiB", "1MiB", "16MiB"],
            "tails": [0, "64MiB", "64MiB"],
            "mmap": [0, 0, "64MiB"],
            "readers": [1, 4],
        }.items():
            self.options.setdefault(name, self.chance.choice(values))

    def prepare(self):
        self.file.parent.mkdir(exist_ok=True)

    def check_offline(self):
        check_sqlite(self.file)


def check_sqlite(file):
    """PRAGMA integrity_check on a copy: opening it would move its log."""
    if not file.exists():
        return
    with tempfile.TemporaryDirectory(prefix="mneme-check-") as folder:
        for suffix in ("", "-wal"):
            source = pathlib.Path(str(file) + suffix)
            if source.exists():
                shutil.copyfile(source, pathlib.Path(folder) / source.name)
        database = sqlite3.connect(pathlib.Path(folder) / file.name)
        try:
            found = database.execute("PRAGMA integrity_check").fetchall()
        finally:
            database.close()
        assert found == [("ok",)], "integrity_check: %s" % found


ENGINES = {each.name: each for each in (Dict, Sqlite)}
