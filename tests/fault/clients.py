"""Clients of a round: threads that send the workload's steps, note how each went,
and repeat what they may."""

import collections
import random
import threading
import time

import grpc
from google.rpc import error_details_pb2, status_pb2

import harness
import pb
from history import Call, Seen, Violation
from model import Refused
from workload import TAIL, Look

# Errors that mean: nothing was done, or it is not known; repeat the same.
AGAIN = {
    "BUSY",
    "CONTENTION",
    "BACKEND_DOWN",
    "OUTCOME_UNKNOWN",
    "STORE_FULL",
    "NO_MEMORY",
    "REFUSED",
    "SHUTTING_DOWN",
}
UNKNOWN = {"OUTCOME_UNKNOWN"}

now = time.monotonic


class Cut(Exception):
    """The server is gone."""


class Failure:
    """An error: reason None = from the transport, nothing is known."""

    def __init__(self, reason, metadata, retry, code, text):
        self.reason, self.metadata, self.retry = reason, metadata, retry
        self.code, self.text = code, text

    def refusal(self):
        current = self.metadata.get("current_revision")
        current = int(current) if current is not None else None
        return Refused(self.reason, current)

    def __str__(self):
        return "%s %s: %s" % (self.code, self.reason, self.text)


def failure(error):
    """Of a grpc.RpcError."""
    reason, metadata, retry = None, {}, None
    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    for each in status_pb2.Status.FromString(raw or b"").details:
        info = error_details_pb2.ErrorInfo()
        again = error_details_pb2.RetryInfo()
        if each.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif each.Unpack(again):
            retry = again.retry_delay.ToTimedelta().total_seconds()
    code = error.code().name
    if reason is None and code == "RESOURCE_EXHAUSTED":
        reason = "REFUSED"  # by the transport, before the service saw it
    return Failure(reason, metadata, retry, code, error.details())


def item_failure(error):
    """Of an ItemError."""
    retry = None
    if error.HasField("retry_delay"):
        retry = error.retry_delay.ToTimedelta().total_seconds()
    return Failure(
        error.reason, error.metadata, retry, error.code, error.message
    )


class PatientClient(harness.Client):
    """Repeats what was not begun; for reads and for requests that were sent
    before."""

    def call(self, method, request, timeout=None):
        end = now() + harness.PATIENCE
        while True:
            try:
                return super().call(method, request, timeout)
            except grpc.RpcError as error:
                why = failure(error)
                if why.reason not in AGAIN or now() > end:
                    raise
                pause(why)


def pause(why):
    """As long as the error says, within reason."""
    threading.Event().wait(min(why.retry or 0.001, 0.05))


class Worker:
    """One client with steps of its own. acknowledged() is called after each write
    that was answered with OK, troubled() after each error. patient = errors of
    AGAIN are repeated for so many seconds, else they leave the call in flight."""

    patient = 0

    def __init__(self, number, steps, seed, acknowledged, troubled):
        self.number = number
        self.steps = collections.deque(steps)
        self.chance = random.Random("%s/client %d" % (seed, number))
        self.acknowledged, self.troubled = acknowledged, troubled
        self.calls, self.seen = [], []
        self.revisions = {}  # session -> the last that was seen
        self.errors = collections.Counter()
        self.cut = None  # why it ended early
        self.broken = None  # an exception that is nobody's plan
        self.numbered = 0

    # ---- running -----------------------------------------------------------

    def start(self, client):
        self.client = client
        self.cut = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def join(self):
        before = None
        while self.thread.is_alive():
            assert before != self.progress(), "a client hangs: %s" % self.errors
            before = self.progress()
            self.thread.join(harness.PATIENCE)
        if self.broken:
            raise self.broken

    def progress(self):
        return len(self.steps), len(self.seen), sum(self.errors.values())

    def _run(self):
        try:
            while self.steps:
                step = self.steps[0]
                if isinstance(step, Look):
                    self.steps.popleft()
                    self.look(step)
                elif step.stream is not None:
                    self.ingest(step)
                    self.steps.popleft()
                else:
                    self.steps.popleft()
                    self.send(self.call_of(step))
        except Cut as why:
            self.cut = str(why)
        except BaseException as why:  # shown by join
            self.broken = why

    def call_of(self, step, numbered=True):
        fields = dict(step.fields)
        if step.guard and step.session in self.revisions:
            fields["expected_revision"] = self.revisions[step.session]
        self.numbered += 1
        # What its ids make repeatable goes without one.
        if fields.get("on_conflict") != pb.ON_CONFLICT_SKIP or not all(
            each.id for each in fields["memories"]
        ):
            fields["request_id"] = "r %d.%d" % (self.number, self.numbered)
        request = self.client.request(
            step.method, session=step.session, **fields
        )
        call = Call(step.method, step.session, request, self.number)
        return call

    # ---- one write ---------------------------------------------------------

    def send(self, call):
        if call.method == "DeleteSession":
            self.find_target(call)
        self.calls.append(call)
        call.start = now()
        self.attempt(call)

    def attempt(self, call):
        """Sends it until it is answered; Cut when it can't be."""
        end = now() + self.patient
        while True:
            try:
                answer = self.client.call(call.method, call.request)
            except grpc.RpcError as error:
                why = failure(error)
            else:
                self.answered(call, answer)
                return
            self.failed(call, why, end)
            if call.refused:
                return

    def failed(self, call, why, end):
        """Notes a refusal; returns when it may be sent again; else Cut."""
        self.count_error(why)
        if why.reason is None or why.reason in UNKNOWN:
            call.uncertain = True
        if why.reason is not None and why.reason not in AGAIN:
            call.refused, call.end = why.refusal(), now()
            return
        if why.reason is None or now() > end and why.reason != "BUSY":
            raise Cut(str(why))
        pause(why)

    def count_error(self, why):
        self.errors[why.reason or why.code] += 1
        self.troubled()

    def answered(self, call, answer):
        call.end = now()
        if not call.request_id:
            resolve_by_ids(call, answer)
        else:
            if answer.deduplicated and not call.uncertain:
                raise Violation("wrong", "%s is no repeat: %s" % (call, answer))
            call.answer = answer
        session = getattr(answer, "session", None)
        if session is not None:
            self.revisions[call.session] = session.revision
        self.acknowledged()

    def find_target(self, call):
        """Which incarnation it will end: nobody else deletes."""
        end = now() + self.patient
        while not call.target:
            try:
                answer = self.client.GetSession(session=call.session)
                call.target = answer.session.uid
            except grpc.RpcError as error:
                why = failure(error)
                self.count_error(why)
                if why.reason == "SESSION_NOT_FOUND":
                    call.target = self.make_target(call)
                elif why.reason not in AGAIN or now() > end:
                    raise Cut(str(why))
                else:
                    pause(why)

    def make_target(self, call):
        request = self.client.request(
            "AppendMemories",
            session=call.session,
            memories=[pb.Memory(content="first")],
            request_id=call.request_id + " first",
        )
        made = Call("AppendMemories", call.session, request, self.number)
        self.send(made)
        return made.answer.session.uid

    # ---- a stream ----------------------------------------------------------

    def ingest(self, step):
        """Sends what is left of the stream's items; each is a write of its own."""
        end = now() + self.patient
        while step.stream:
            sent = []
            try:
                self._stream(step, sent)
            except grpc.RpcError as error:
                why = failure(error)
                self.count_error(why)
                for each in step.stream:
                    if each in sent:
                        each.call.uncertain = True
                if why.reason is None or now() > end:
                    raise Cut(str(why))
                if why.reason not in AGAIN:
                    raise Violation("wrong", "a stream ended with %s" % why)
                pause(why)

    def _stream(self, step, sent):
        def items():
            for each in list(step.stream):
                call = getattr(each, "call", None) or self.call_of(each)
                each.call = call
                if call.start is None:
                    call.start = now()
                    self.calls.append(call)
                sent.append(each)
                yield call.request

        for number, answer in enumerate(self.client.ingest(items())):
            assert answer.index == number, (answer.index, number)
            each = sent[number]
            assert each is step.stream[0]
            if answer.WhichOneof("result") == "append":
                self.answered(each.call, answer.append)
            else:
                self.failed(each.call, item_failure(answer.error), 0)
            step.stream.pop(0)

    # ---- reads -------------------------------------------------------------

    def look(self, step):
        start = now()
        try:
            if step.what == "header":
                header = self.client.session(step.session)
                self.seen.append(
                    Seen(step.session, start, now(), header=header)
                )
            else:
                tail = self.client.list(step.session, page_size=TAIL)
                self.seen.append(
                    Seen(step.session, start, now(), tail=tail, limit=TAIL)
                )
        except grpc.RpcError as error:
            why = failure(error)
            self.count_error(why)
            if why.reason is None:
                raise Cut(str(why))
            # No session yet, or the store does not answer just now.


def resolve_by_ids(call, answer):
    """A write that is repeatable by its memories' ids: either all of them are
    new, or all were there, since one commit made them."""
    new = [ref.created for ref in answer.memories]
    if all(new):
        call.answer = answer
        return
    if any(new) or not call.uncertain:
        raise Violation("torn", "%s: created %s" % (call, new))
    at = {ref.revision for ref in answer.memories}
    if len(at) != 1:
        raise Violation("torn", "%s: revisions %s" % (call, sorted(at)))
    call.answer, call.applied_at = answer, at.pop()
