"""The engines under test, known by their config only.

An engine is a template of the config's `backends:` entry and a few hooks: what
to start before the server, what to kill, what to check of the store while
nobody has it open. What is not said here the harness takes to be the same for
all of them. `{dir}` in the template is the round's folder.

    class Mine(Engine):
        name = "mine"
        template = "type: mine, url: 'localhost:{port}'"

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

    def __init__(self, folder, chance, **more):
        """chance (random.Random): where an option may vary from round to round.
        more: what the template names beside dir."""
        self.folder, self.chance, self.more = pathlib.Path(folder), chance, more

    def config(self):
        """The whole config file."""
        entry = self.template.format(dir=self.folder, **self.more)
        return "backends:\n  store: { %s }\n" % entry

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
    template = "type: sqlite, path: '{dir}/store/mneme.db', durability: {durability}"

    def __init__(self, folder, chance, durability="full", **more):
        super().__init__(folder, chance, durability=durability, **more)
        self.file = self.folder / "store" / "mneme.db"

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
