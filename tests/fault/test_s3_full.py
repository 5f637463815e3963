"""S3: the disk is full. Writes are refused with STORE_FULL and a hint when to try
again, reads go on, and when there is room writes do too, without a restart."""

import contextlib
import pathlib
import random
import subprocess

import pytest

import cases
import harness
import pb
from harness import wait_for
from rounds import Round
from store import outcome

TEXT = "word " * 100


def fill(client, session="s", most=20000):
    """Appends until one is refused; (how many were acknowledged, the refused
    request, its Failure)."""
    for n in range(most):
        request = client.request(
            "AppendMemories",
            session=session,
            memories=[pb.Memory(id="m%d" % n, content="%d %s" % (n, TEXT))],
            request_id="r%d" % n,
        )
        answer, why = outcome(client.call, "AppendMemories", request)
        if why:
            return n, request, why
        assert answer.memories[0].sequence == n + 1
    raise AssertionError("it never was full")


def check_full(client, count, why):
    assert (why.code, why.reason) == ("RESOURCE_EXHAUSTED", "STORE_FULL"), why
    assert why.retry and why.retry > 0
    # Reads go on, and what was refused is nowhere.
    found = client.all("s", page_size=1000)
    assert [m.id for m in found] == ["m%d" % n for n in range(count)]
    header = client.session("s")
    assert (header.revision, header.last_sequence) == (count, count)
    got = client.GetMemories(session="s", ids=["m0", "m%d" % count])
    assert [m.id for m in got.memories] == ["m0"]
    (listed,) = client.ListSessions(prefix="s").sessions
    assert listed == header


def check_recovers(client, count, request):
    """The refused request succeeds once there is room, and nothing of it was
    there before."""

    def again():
        answer, why = outcome(client.call, "AppendMemories", request)
        assert why is None or why.reason in ("STORE_FULL", "BACKEND_DOWN"), why
        return answer

    answer = wait_for("room", again)
    assert not answer.deduplicated
    assert answer.memories[0].sequence == count + 1
    assert answer.session.revision == count + 1
    assert client.append("s", "more").memories[0].sequence == count + 2


@pytest.mark.asan
@pytest.mark.parametrize("space", [0, 1, 5000, 300_000])
def test_s3_a_full_disk_refuses_writes_and_reads_go_on(store, space):
    made = store()
    client = made.start()
    client.append("before", "x")
    made.control.space = space
    made.control.full = 1
    count, request, why = fill(client)
    if count:
        check_full(client, count, why)
    assert why.reason == "STORE_FULL", why
    assert made.control.fulls > 0
    assert client.texts("before") == ["x"]
    made.check_others_serve()
    # It stays full for whoever tries.
    for n in range(50):
        _, again = outcome(client.append, "other", TEXT)
        assert again.reason == "STORE_FULL", again
    made.control.full = 0
    check_recovers(client, count, request)
    pid = made.server.pid
    client = made.crash()
    assert made.server.pid != pid
    assert len(client.all("s", page_size=1000)) == count + 2
    assert client.texts("other") == []


class Squeezed(Round):
    """The disk is full for a while in the middle of the round; clients repeat
    what was refused. Then SIGKILL."""

    def run_until_crash(self):
        total = self.work.total
        self.full_at = self.chance.randrange(total // 10, total // 3)
        self.enough = self.chance.randrange(3, 40)
        self.space = self.chance.choice([0, 10_000, 100_000])
        self.crash_at = self.chance.randrange(total // 2, total * 9 // 10)
        self.patience(harness.PATIENCE)
        self.write()
        assert self.faults.control.fulls >= self.enough
        self.after_crash()

    def progress(self):
        control = self.faults.control
        if control.fulls >= self.enough:
            control.full = 0
        elif self.count >= self.full_at and not control.full:
            control.space = self.space
            control.full = 1


@pytest.mark.rounds(3, soak=100, of=1)
def test_s3_room_that_comes_and_goes_under_load(sqlite, seeds, totals):
    for seed in seeds:
        result = cases.one_round(sqlite, seed, crash=Squeezed, calls=60)
        print(result)
        totals.add(result)


@contextlib.contextmanager
def small_disk(folder, size):
    """A tmpfs of its own."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=%d" % size, "none", str(folder)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip("no tmpfs can be mounted here: %s" % made.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_s3_a_small_disk_of_its_own(sqlite, tmp_path):
    """The same without the tests' VFS: a tmpfs of 4 MiB and the kernel's own
    ENOSPC."""
    from store import Store

    engine = sqlite(tmp_path, random.Random(1))
    with small_disk(engine.file.parent, 4 << 20) as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(1 << 20))
        made = Store(engine, faults=False)
        try:
            client = made.start()
            count, request, why = fill(client)
            assert count > 50
            check_full(client, count, why)
            filler.unlink()
            check_recovers(client, count, request)
            client = made.crash()
            assert len(client.all("s", page_size=1000)) == count + 2
        finally:
            made.close()
    assert pathlib.Path(engine.file.parent).exists()
