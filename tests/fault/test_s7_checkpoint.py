"""S7: writes and checkpoints together, for long. The database stays whole and the
log bounded, also while somebody else reads."""

import sqlite3
import threading

import pytest

import cases
from conftest import SOAK
from rounds import Round

CHECKPOINT = 64 << 10  # bytes
LOG_MAX = 4 << 20  # bytes; a log that is never begun anew grows beyond


class Checkpointed(Round):
    """Small checkpoints, and a reader from outside that holds a snapshot now and
    then, so that checkpoints cannot finish."""

    def write(self):
        self.most = 0
        self.looks = 0
        self.stopped = threading.Event()
        reader = threading.Thread(target=self.read_from_outside, daemon=True)
        reader.start()
        try:
            super().write()
        finally:
            self.stopped.set()
            reader.join()
        assert self.looks > 3, self.looks
        assert self.most < LOG_MAX, self.most

    def read_from_outside(self):
        file = self.engine.file
        log = file.with_name(file.name + "-wal")
        database = sqlite3.connect(
            "file:%s?mode=ro" % file, uri=True, isolation_level=None
        )
        while not self.stopped.wait(0.02):
            try:
                database.execute("BEGIN")
                database.execute("SELECT count(*) FROM memories").fetchone()
                self.looks += 1
                self.stopped.wait(0.05)
                database.execute("COMMIT")
            except sqlite3.OperationalError:
                pass  # the server holds it for itself alone
            if log.exists():
                self.most = max(self.most, log.stat().st_size)
        database.close()


@pytest.mark.rounds(2, soak=10, of=1)
def test_s7_writes_and_checkpoints_together(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(
            sqlite,
            seed,
            crash=Checkpointed,
            options={"checkpoint": CHECKPOINT},
            calls=4000 if SOAK else 300,
        )
        print(result)
        totals.add(result)
