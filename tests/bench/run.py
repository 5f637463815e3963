#!/usr/bin/env python3
"""Mneme against the floor: a server on the same core library that only echoes.

    tests/bench/run [--short] [--rounds N] [--seconds S] [--only NAME]

Machines differ, and one machine differs from minute to minute: a figure by
itself says little. So every comparison is made in turns within one run, mnemed
and the echo server one after the other with the same options of the same load
generator (ghz), and what counts is the median of the ratios of the rounds.

Where there are two cores or more, the server in question has one core to
itself, with one completion queue, and the load generator the others. A load
generator is slower than the servers here, and hides a slow handler: therefore
calls per second of the server's own CPU time stand beside calls per second.

    echo     answers with the request             tests/bench/echo_server.c
    no-op    grpc.health.v1 Check on mnemed       against echo of the same
    append   one memory of 250 bytes with a       against echo of the same
             request_id, on dict
    durable  the same append, on sqlite           against echo of the same
    list     the newest 50 of such memories       against echo of the request
    sqlite   commits and reads of the engine      against a bare driver that
             without gRPC                         runs its very statements
    filter   filters over 100,000 memories, by    against a scan of the same
             SQLite and by the evaluator          without a filter

Then, on mnemed alone: memory when idle and for a million small memories, and
appends beside somebody who scans that million (on all cores), on dict and on
sqlite.

--short makes everything small, to see that it works; it ends with
`N passed, N failed` and asserts no speed.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
os.environ.setdefault("MNEMED", str(ROOT / "build/release/mnemed"))

import harness  # noqa: E402
import pb  # noqa: E402

GHZ = ROOT / "build/tools/bin/ghz"
ECHO = harness.BUILD / "echo_server"
CONFIG = """
limits: { queues: %d }
backends:
  memory: { type: dict }
sessions:
  - { match: "*/*", backend: memory }
"""
DURABLE = """
limits: { queues: %d }
backends:
  store: { type: sqlite, path: bench.db }
sessions:
  - { match: "*/*", backend: store }
"""
COUNT_SYNC = harness.BUILD / "count_sync.so"
SQLITE_BENCH = harness.BUILD / "sqlite_bench"
FILTER_BENCH = harness.BUILD / "filter_bench"
OUTSTANDING = (1, 8, 64, 256)
CALLERS = (1, 8, 64)
ALL = ["noop", "append", "durable", "list", "sqlite", "filter", "memory"]
ALL += ["durable_memory"]
ALONE = ("memory", "durable_memory", "sqlite", "filter")  # need no ghz
CONTENT = ("The quick brown fox jumps over the lazy dog. " * 6)[:250]
SMALL = "A small memory, as an agent would note it down."


# ---- processes --------------------------------------------------------------


def cores():
    """(cores of the server, cores of the load generator)."""
    there = sorted(os.sched_getaffinity(0))
    return (set(there[:1]), set(there[1:])) if there[1:] else (set(there),) * 2


def pin(pid, where):
    for task in pathlib.Path("/proc/%d/task" % pid).iterdir():
        os.sched_setaffinity(int(task.name), where)


def cpu_seconds(pid):
    """CPU time of all threads of a process. schedstat counts nanoseconds; stat,
    which counts in hundredths of a second, is for kernels without it."""
    try:
        tasks = pathlib.Path("/proc/%d/task" % pid).iterdir()
        return sum(
            int((task / "schedstat").read_text().split()[0]) for task in tasks
        ) / 1e9
    except FileNotFoundError:
        stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
        fields = stat.rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


class Echo:
    METHODS = ("AppendMemories", "ListMemories", "Check")

    def __init__(self):
        self.process = subprocess.Popen(
            [str(ECHO), "127.0.0.1:0", "1", "0"]
            + ["/mneme.bench.Echo/" + each for each in self.METHODS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        self.port = int(re.search(r"port (\d+)", line).group(1))
        self.pid = self.process.pid

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def syncs_of(server):
    """How often the server has synced, where that is counted."""
    try:
        return int.from_bytes((server.folder / "syncs").read_bytes(), "little")
    except (AttributeError, FileNotFoundError):
        return 0


class Load:
    """One run of ghz: what it counted, and what the server spent meanwhile."""

    UNITS = {"ns": 1e-3, "µs": 1.0, "us": 1.0, "ms": 1e3, "s": 1e6}

    def __init__(self, server, call, data, protoset, callers, seconds, where):
        before, syncs = cpu_seconds(server.pid), syncs_of(server)
        self.seconds = seconds
        ended = subprocess.run(
            # taskset, not preexec_fn: gRPC's own threads do not outlive a fork.
            ["taskset", "-c", ",".join(map(str, sorted(where)))]
            + [
                str(GHZ),
                "--insecure",
                "--protoset",
                str(protoset),
                "--call",
                call,
                "-d",
                data,
                "-c",
                str(callers),
                "--connections",
                str(min(callers, 8)),
                "-z",
                "%dms" % (seconds * 1000),
                "--duration-stop",
                "wait",
                "127.0.0.1:%d" % server.port,
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 60,
        )
        self.cpu = cpu_seconds(server.pid) - before
        text = ended.stdout
        if ended.returncode:
            raise RuntimeError(ended.stderr or text)
        self.count = int(re.search(r"Count:\s+(\d+)", text).group(1))
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        good = re.search(r"\[OK\]\s+(\d+) responses", text)
        if not good or int(good.group(1)) != self.count:
            raise RuntimeError("not every call succeeded:\n" + text)
        self.syncs = syncs_of(server) - syncs
        self.p50 = self.percentile(text, 50)
        self.p99 = self.percentile(text, 99)
        self.per_cpu = self.count / self.cpu

    def percentile(self, text, which):
        """In microseconds."""
        number, unit = re.search(
            r"%d % in ([\d.]+) (ns|µs|us|ms|s)".replace("%d", str(which)), text
        ).groups()
        return float(number) * self.UNITS[unit]


# ---- tables -----------------------------------------------------------------


def table(rows):
    widths = [max(len(str(row[n])) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [
            str(cell).ljust(width) if n == 0 else str(cell).rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths))
        ]
        print("  ".join(cells).rstrip())
    print(flush=True)


HEAD = (
    "callers",
    "echo/s",
    "mneme/s",
    "calls/s",
    "calls/cpu-s",
    "echo p50",
    "p50",
    "echo p99",
    "p99",
    "echo cpu",
    "cpu",
)


def row(callers, pairs):
    """Medians of the rounds; the two ratios are of each round."""

    def middle(what):
        return statistics.median(what(echo, mneme) for echo, mneme in pairs)

    return (
        str(callers),
        "%.0f" % middle(lambda e, m: e.rate),
        "%.0f" % middle(lambda e, m: m.rate),
        "%.3f" % middle(lambda e, m: m.rate / e.rate),
        "%.3f" % middle(lambda e, m: m.per_cpu / e.per_cpu),
        "%.0f us" % middle(lambda e, m: e.p50),
        "%.0f us" % middle(lambda e, m: m.p50),
        "%.0f us" % middle(lambda e, m: e.p99),
        "%.0f us" % middle(lambda e, m: m.p99),
        "%.1f us" % middle(lambda e, m: 1e6 / e.per_cpu),
        "%.1f us" % middle(lambda e, m: 1e6 / m.per_cpu),
    )


def sync_row(callers, loads):
    return (
        str(callers),
        "%.0f" % statistics.median(l.syncs / l.seconds for l in loads),
        "%.1f" % statistics.median(l.count / max(l.syncs, 1) for l in loads),
    )


# ---- what is measured -------------------------------------------------------


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = pathlib.Path(folder)
        self.protoset = self.folder / "bench.protoset"
        pb.run_protoc(
            "-I%s" % pb.PROTO,
            "-I%s" % (ROOT / "tests/bench"),
            "-I%s" % pb.SERVER_PROTO,
            "--include_imports",
            "--descriptor_set_out=%s" % self.protoset,
            ROOT / "tests/bench/bench.proto",
            pb.SERVER_PROTO / "grpc/health/v1/health.proto",
            *sorted(pb.PROTO.glob("mneme/v1/*.proto")),
        )
        self.round = 0

    def mnemed(self, queues=1, config=CONFIG):
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        env = {}
        if config is DURABLE:
            (folder / "syncs").write_bytes(bytes(8))
            env["LD_PRELOAD"] = str(COUNT_SYNC)
            env["COUNT_SYNC_FILE"] = str(folder / "syncs")
        return harness.Server(folder, config % queues, env=env)

    def compare(
        self, name, echo_call, echo_data, call, data, prepare=None, config=CONFIG
    ):
        """A table: the same load on both, in turns."""
        print(name)
        server_cores, load_cores = cores()
        echo, mneme = Echo(), self.mnemed(config=config)
        try:
            for each in (echo, mneme):
                pin(each.pid, server_cores)
            if prepare:
                prepare(mneme)
            rows = [HEAD]
            synced = [("callers", "syncs/s", "appends per sync")]
            for callers in self.options.callers:
                pairs = []
                for n in range(self.options.rounds + 1):
                    self.round += 1
                    turns = [
                        (0, echo, echo_call, echo_data),
                        (1, mneme, call, data),
                    ]
                    made = [None, None]
                    for which, server, method, body in (
                        turns if n % 2 else turns[::-1]
                    ):
                        made[which] = Load(
                            server,
                            method,
                            body.replace("ROUND", str(self.round)),
                            self.protoset,
                            callers,
                            self.options.seconds if n else 0.3,
                            load_cores,
                        )
                    if n:  # the first warms up
                        pairs.append(made)
                rows.append(row(callers, pairs))
                if config is DURABLE:
                    synced.append(sync_row(callers, [m for _, m in pairs]))
            table(rows)
            if config is DURABLE:
                table(synced)
        finally:
            echo.stop()
            mneme.stop()

    def noop(self):
        self.compare(
            "no-op: grpc.health.v1 Check, mnemed : echo",
            "mneme.bench.Echo.Check",
            '{"service":""}',
            "grpc.health.v1.Health.Check",
            '{"service":""}',
        )

    def append(self, engine="dict", config=CONFIG):
        # A session for each caller and round: a session remembers at most
        # 65,536 request_ids.
        data = (
            '{"session":"ROUND-{{.WorkerID}}","request_id":"{{.RequestNumber}}",'
            '"memories":[{"role":"user","content":"%s"}]}' % CONTENT
        )
        self.compare(
            "append: one memory of 250 bytes with a request_id, %s : echo"
            % engine,
            "mneme.bench.Echo.AppendMemories",
            data,
            "mneme.v1.MemoryBackend.AppendMemories",
            data,
            config=config,
        )

    def durable(self):
        self.append("sqlite at durability full", DURABLE)

    def sqlite(self):
        """Engine and bare driver by themselves: no gRPC, no pinning."""
        folder = tempfile.mkdtemp(dir=self.folder)
        rounds = str(self.options.rounds)
        commits = str(int(self.options.seconds * 10000))
        print("sqlite: the engine : a bare driver with its statements")
        for outstanding in OUTSTANDING:
            # One by one, each waits for the disk.
            count = commits if outstanding > 1 else str(int(commits) // 5)
            subprocess.run(
                [str(SQLITE_BENCH), "commit", folder]
                + [str(outstanding), count, rounds],
                check=True,
            )
        subprocess.run(
            [str(SQLITE_BENCH), "last", folder, commits, rounds], check=True
        )
        print(flush=True)

    def filter(self):
        folder = tempfile.mkdtemp(dir=self.folder)
        count = str(min(self.options.memories, 100000))
        print("filter: a scan with a filter : one without")
        subprocess.run(
            [str(FILTER_BENCH), folder, count, str(self.options.rounds)],
            check=True,
        )
        print(flush=True)

    def list(self):
        def prepare(server):
            client = server.client()
            for _ in range(10):
                client.append("many", *[CONTENT] * 1000)

        data = '{"session":"many","page_size":50}'
        self.compare(
            "list: the newest 50 of 10,000 memories of 250 bytes, dict : echo"
            " of the request",
            "mneme.bench.Echo.ListMemories",
            data,
            "mneme.v1.MemoryBackend.ListMemories",
            data,
            prepare,
        )

    def fill(self, client, count):
        begin = time.monotonic()
        for _ in range(count // 1000):
            client.append("big", *[SMALL] * 1000)
        return time.monotonic() - begin

    def memory(self, engine="dict", config=CONFIG):
        """RSS idle and per million, and appends beside a scan of them."""
        server = self.mnemed(0, config)
        try:
            client = server.client()
            idle = server.memory("VmRSS")
            count = self.options.memories
            took = self.fill(client, count)
            grown = server.memory("VmRSS") - idle
            print(
                "memory: %d memories of %d bytes, %s"
                % (count, len(SMALL), engine)
            )
            table(
                [
                    ("RSS idle", "RSS per million", "bytes each", "appended/s"),
                    (
                        "%.1f MB" % (idle / 1e6),
                        "%.0f MB" % (grown / count),
                        "%.0f" % (grown / count),
                        "%.0f" % (count / took),
                    ),
                ]
            )
            if GHZ.exists():
                self.beside_a_scan(server)
        finally:
            server.stop()

    def durable_memory(self):
        self.memory("sqlite", DURABLE)

    def beside_a_scan(self, server):
        data = (
            '{"session":"ROUND-{{.WorkerID}}","request_id":"{{.RequestNumber}}",'
            '"memories":[{"role":"user","content":"%s"}]}' % CONTENT
        )
        everywhere = os.sched_getaffinity(0)
        client = server.client()
        pages = [0]

        def scan(stop):
            while not stop.is_set():
                for _ in client.pages(
                    "big",
                    anchor=pb.ANCHOR_OLDEST,
                    roles=["nobody"],
                    page_size=1000,
                ):
                    pages[0] += 1
                    if stop.is_set():
                        return

        def load():
            self.round += 1
            return Load(
                server,
                "mneme.v1.MemoryBackend.AppendMemories",
                data.replace("ROUND", str(self.round)),
                self.protoset,
                8,
                self.options.seconds,
                everywhere,
            )

        load()
        rounds = []
        for _ in range(self.options.rounds):
            alone = load()
            stop = threading.Event()
            scanner = threading.Thread(target=scan, args=(stop,))
            scanner.start()
            try:
                beside = load()
            finally:
                stop.set()
                scanner.join()
            rounds.append((alone, beside))
        print("append by 8 callers beside a scan of all memories")
        rows = [("", "calls/s", "p50", "p99")]
        for n, name in enumerate(("alone", "beside")):
            rows.append(
                (
                    name,
                    "%.0f" % statistics.median(r[n].rate for r in rounds),
                    "%.0f us" % statistics.median(r[n].p50 for r in rounds),
                    "%.0f us" % statistics.median(r[n].p99 for r in rounds),
                )
            )

        def ratio(what):
            return "%.2f" % statistics.median(
                what(beside) / what(alone) for alone, beside in rounds
            )

        rows.append(
            (
                "beside : alone",
                ratio(lambda r: r.rate),
                ratio(lambda r: r.p50),
                ratio(lambda r: r.p99),
            )
        )
        table(rows)
        print("pages scanned: %d of 10,000 records each at most" % pages[0])


def machine():
    model = re.search(
        r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text()
    )
    server_cores, load_cores = cores()
    print(
        "%s; server on core %s, load on %s\n"
        % (
            model.group(1) if model else "a machine",
            ",".join(map(str, server_cores)),
            ",".join(map(str, load_cores)),
        )
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="does it work?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="per load")
    parser.add_argument(
        "--only", choices=ALL, action="append", help="repeatable"
    )
    options = parser.parse_args()
    options.callers, options.memories = CALLERS, 1000000
    if options.short:
        options.rounds, options.seconds = 1, 0.4
        options.callers, options.memories = (8,), 20000
    wanted = options.only or ALL
    missing = [each for each in (GHZ, ECHO) if not each.exists()]
    if missing and not options.short:
        sys.exit("missing: %s" % ", ".join(map(str, missing)))

    machine()
    with tempfile.TemporaryDirectory(prefix="mneme-bench-") as folder:
        return measure(Bench(options, folder), wanted, missing)


def measure(bench, wanted, missing):
    passed = failed = 0
    for name in wanted:
        if missing and name not in ALONE:
            print("skipped: %s: no %s" % (name, missing[0].name))
            continue
        try:
            getattr(bench, name)()
            passed += 1
        except Exception as why:  # the others still run
            if not bench.options.short:
                raise
            failed += 1
            print("%s: %s: %s" % (name, type(why).__name__, why))
    if bench.options.short:
        print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
