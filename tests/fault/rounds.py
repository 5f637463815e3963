"""One round: a workload, a crash in the middle of it, and what must hold after.

    start ─▶ write ─▶ crash ─▶ check the store ─▶ start ─▶ read everything
                                                              │
      check the store ◀─ stop ◀─ read ◀─ write the rest ◀─ read ◀─ repeat
                                                                   in flight,
    then the whole history is held against the model               acknowledged
"""

import dataclasses
import pathlib
import random
import threading

import grpc

import harness
import history
import pb
from clients import PatientClient, Worker, failure, now
from history import Seen, Violation
from workload import MORTAL, SESSIONS, Workload

READY_S = 10
NAMESPACE = "round"


@dataclasses.dataclass
class Result:
    seed: object
    total: int = 0
    acknowledged: int = 0  # when the crash came
    in_flight: int = 0
    applied: int = 0  # of those in flight, before the crash
    repeated: int = 0
    reads: int = 0
    ready_s: float = 0
    lost: int = 0  # sectors and names that a power cut took
    taken: int = 0  # acknowledged commits, at a durability that allows it
    whole: int = 0  # sessions of which a whole beginning is left

    def __str__(self):
        return (
            "seed %s: %d of %d acknowledged, %d in flight (%d of them"
            " committed), %d repeats, %d reads, ready after %.2f s"
            % (
                self.seed,
                self.acknowledged,
                self.total,
                self.in_flight,
                self.applied,
                self.repeated,
                self.reads,
                self.ready_s,
            )
            + (", %d sectors lost" % self.lost if self.lost else "")
        )


class Round:
    """engine: an Engine on the folder. faults: a faults.Faults that the server is
    started with; then `crash` may be a power cut. finish: write the rest too."""

    def __init__(self, engine, seed, faults=None, finish=True, **workload):
        self.engine, self.seed, self.faults = engine, seed, faults
        self.folder = pathlib.Path(engine.folder)
        self.chance = random.Random("%s/round" % seed)
        self.work = Workload(seed, **workload)
        self.finish = finish
        self.server = None
        self.counted = threading.Lock()
        self.count = 0
        self.crash_at = None
        self.crashed = None
        self.seen = []
        self.result = Result(seed, self.work.total)
        self.workers = [
            Worker(n, steps, seed, self.acknowledged, self.progress)
            for n, steps in enumerate(self.work.steps)
        ]
        self.first = Worker(
            100, self.work.setup, seed, lambda: None, lambda: None
        )

    # ---- the server --------------------------------------------------------

    @property
    def address(self):
        return "unix:%s/socket" % self.folder

    def start(self):
        config = "listen: '%s'\n%s" % (self.address, self.engine.config())
        env = dict(self.engine.environment())
        if self.faults:
            env.update(self.faults.environment())
        self.server = harness.Server(
            self.folder, config, env=env, listen=False
        )

    def stop(self):
        self.server.stop()
        self.engine.check_offline()

    def client(self, kind=PatientClient):
        return kind(self.server.channel(), NAMESPACE)

    # ---- up to the crash ---------------------------------------------------

    def acknowledged(self):
        with self.counted:
            self.count += 1
            due = self.count == self.crash_at
        self.progress()
        if due:
            self.crash()

    def progress(self):
        """After each answer. For rounds that do something on the way."""

    def crash(self):
        """Now, or up to two milliseconds later."""
        threading.Event().wait(self.chance.random() * 0.002)
        self.engine.kill(self.server)

    def write(self):
        self.first.start(self.client(harness.Client))
        self.first.join()
        assert self.first.cut is None, self.first.cut
        self.run_workers()

    def run_workers(self):
        for each in self.workers:
            each.start(self.client(harness.Client))
        for each in self.workers:
            each.join()

    def run_until_crash(self):
        """k acknowledgements, 10 to 90 per cent of the writes; then the crash."""
        total = self.work.total
        self.crash_at = self.chance.randrange(total // 10, total * 9 // 10)
        self.write()
        self.after_crash()

    def patience(self, seconds):
        for each in self.workers:
            each.patient = seconds

    def after_crash(self):
        assert self.server.process.poll() is not None, (
            "it was not killed: %d writes acknowledged of %d, errors %s"
            % (self.count, self.work.total, self.errors())
        )
        self.patience(0)
        self.crashed = now()
        self.result.acknowledged = self.count
        self.server.check_output()
        assert 0 < self.count < self.work.total, self.count
        for each in self.workers:
            for call in each.calls:
                if call.in_flight:
                    call.uncertain = True
        self.result.in_flight = len(self.in_flight())
        self.crash_at = None
        for each in self.server._channels:
            each.close()

    def errors(self):
        return [dict(each.errors) for each in self.workers]

    def everyone(self):
        return [self.first] + self.workers

    def calls(self):
        return [call for each in self.everyone() for call in each.calls]

    def in_flight(self):
        return [call for call in self.calls() if call.in_flight]

    # ---- after it ----------------------------------------------------------

    def restart(self):
        self.engine.check_offline()
        if self.faults:
            self.faults.control.calm()
        self.engine.recover()
        probe = _Probe(self.address)
        probe.start()
        try:
            self.start()
        finally:
            probe.finish()
        self.result.ready_s = probe.ready - probe.begun
        if self.result.ready_s > READY_S:
            raise Violation(
                "unready", "it took %.1f s" % self.result.ready_s
            )
        for name, header in probe.headers.items():
            self.check_first_answer(name, header)

    def check_first_answer(self, name, header):
        """What the server answered as soon as it answered anything."""
        if name in MORTAL:
            return  # judged when it is known which life is the last
        known = [
            call.revision
            for call in self.calls()
            if call.session == name and call.acknowledged
        ]
        least = max(known, default=0)
        if (header.revision if header else 0) >= least:
            return
        now_there = self.header_of(self.client(), name)
        late = now_there is not None and now_there.revision >= least
        raise Violation(
            "unready" if late else "lost",
            "session %r: the first answer after the start had revision %d, and"
            " %d was acknowledged"
            % (name, header.revision if header else 0, least),
        )

    def read_everything(self):
        """Headers, memories, ids, keys and counts, each by its own way."""
        client = self.client()
        memories = tokens = sessions = 0
        listed = {
            s.id: s for s in client.ListSessions(page_size=1000).sessions
        }
        for name in SESSIONS:
            start = now()
            header = self.header_of(client, name)
            found = client.all(name, page_size=1000)
            self.seen.append(
                Seen(name, start, now(), header=header, all=found)
            )
            if header is None:
                assert not found and name not in listed, name
                continue
            assert listed.pop(name) == header, name
            sessions += 1
            memories += len(found)
            tokens += sum(each.token_count for each in found)
            self.check_names(client, name, found)
        assert not listed, "sessions from nowhere: %s" % list(listed)
        stats = client.GetStats()
        got = (stats.session_count, stats.memory_count, stats.token_count)
        if got != (sessions, memories, tokens):
            raise Violation(
                "wrong", "stats %s, not %s" % (got, (sessions, memories, tokens))
            )

    @staticmethod
    def header_of(client, name):
        try:
            return client.session(name)
        except grpc.RpcError as error:
            why = failure(error)
            if why.reason != "SESSION_NOT_FOUND":
                raise
            return None

    @staticmethod
    def check_names(client, name, found):
        """Every id and key leads to its memory."""
        for at in range(0, len(found), 500):
            some = found[at : at + 500]
            keyed = [each for each in some if each.key]
            got = client.GetMemories(session=name, ids=[m.id for m in some])
            if list(got.memories) != some:
                raise Violation("wrong", "session %r: ids mislead" % name)
            if not keyed:
                continue
            got = client.GetMemories(session=name, keys=[m.key for m in keyed])
            if list(got.memories) != keyed:
                raise Violation("wrong", "session %r: keys mislead" % name)

    def repeat_in_flight(self):
        """Each has one effect: it had been committed, or it is now."""
        client = self.client()
        for worker in self.workers:
            worker.client, worker.patient = client, harness.PATIENCE
            for call in [each for each in worker.calls if each.in_flight]:
                began = now()
                worker.attempt(call)
                before = call.acknowledged and (
                    call.applied_at is not None
                    or getattr(call.answer, "deduplicated", False)
                )
                if before:
                    self.result.applied += 1
                    call.end = self.crashed
                else:
                    call.start = began

    def repeat_acknowledged(self):
        """Each is recognised, and answered as it was."""
        client = self.client()
        for call in self.calls():
            if not call.acknowledged:
                continue
            got = client.call(call.method, call.request)
            self.result.repeated += 1
            if not call.request_id:
                refs = [(*_ref(ref)[:2], False) for ref in call.answer.memories]
                if [_ref(ref) for ref in got.memories] != refs:
                    raise Violation("forgotten", "%s: %s" % (call, got))
                continue
            wanted = type(got)()
            wanted.CopyFrom(call.answer)
            wanted.deduplicated = True
            if got != wanted:
                raise Violation(
                    "forgotten",
                    "%s was answered\n%s\nand now\n%s" % (call, wanted, got),
                )

    def check(self):
        seen = self.seen + [s for each in self.everyone() for s in each.seen]
        self.result.reads = len(seen)
        history.check(self.calls(), seen, MORTAL)

    def recover(self):
        """From the crash to the verdict."""
        self.restart()
        self.read_everything()
        self.repeat_in_flight()
        self.repeat_acknowledged()
        self.read_everything()
        self.check()
        if self.finish:
            self.patience(harness.PATIENCE)
            self.run_workers()
            self.read_everything()
            self.check()
        self.stop()

    def run(self):
        """A whole round; its Result."""
        self.engine.prepare()
        try:
            self.start()
            self.run_until_crash()
            self.recover()
        finally:
            self.close()
        return self.result

    def close(self):
        if self.server and self.server.process.poll() is None:
            self.server.process.kill()
            self.server.process.wait()
        self.engine.close()


def _ref(ref):
    return ref.id, ref.sequence, ref.created


class _Probe:
    """Asks for every session's header from before the server is started until
    each is answered; notes the first answers."""

    def __init__(self, address):
        self.address = address
        self.headers = {}
        self.begun = self.ready = None
        self.error = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.begun = now()
        self.thread.start()

    def finish(self):
        """The server has said that it serves, or has ended."""
        self.thread.join(READY_S)
        self.stopped.set()
        self.thread.join()
        if self.error:
            raise self.error
        if self.ready is None:
            raise Violation("unready", "no answer within %d s" % READY_S)

    def _run(self):
        try:
            for name in SESSIONS:
                while name not in self.headers and not self.stopped.is_set():
                    self._ask(name)
            self.ready = now()
        except BaseException as why:
            self.error = why

    def _ask(self, name):
        # A channel that failed once would wait for a second before it tries
        # again.
        channel = grpc.insecure_channel(
            self.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        try:
            client = harness.Client(channel, NAMESPACE)
            answer = client.GetSession(session=name, timeout=READY_S)
            self.headers[name] = answer.session
        except grpc.RpcError as error:
            why = failure(error)
            if why.reason == "SESSION_NOT_FOUND":
                self.headers[name] = None
            elif error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            self.stopped.wait(0.005)
        finally:
            channel.close()
