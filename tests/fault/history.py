"""What clients sent, were answered and saw, and whether one store can explain it.

The service names its order itself: every answer carries the session's uid and
revision, and a commit that changes anything makes the next one. So the calls of
a session, however many clients sent them at once, are replayed on the model in
the order of their revisions, and each answer must be the model's. Then:

- every revision was made by exactly one call: nothing is lost, doubled or half
  done, and nothing is there that nobody sent;
- what was answered before another call began has the lower revision;
- what a read saw is a state that the session was in while the read ran: nobody
  saw what a crash then took away;
- a definite error is one that the model gives in such a state.

A call without an answer is in flight. After a crash it is repeated: its answer
says where it was committed, before the crash or now.
"""

import bisect
import collections

from google.protobuf import json_format

import model
from harness import is_uuid7
from model import Refused, State, read_answer


class Violation(AssertionError):
    """The store broke its promise; kind says which one.

    lost       what was acknowledged is not there
    torn       a commit is there in part
    phantom    something is there that no call explains
    order      a commit stands before one that was answered before it began
    wrong      an answer or a content is not the model's
    forgotten  a request_id was not recognised, or its answer is another
    unready    the server answered before it had everything back
    """

    def __init__(self, kind, text):
        super().__init__("%s: %s" % (kind, text))
        self.kind = kind


class Call:
    """One write and how it went."""

    def __init__(self, method, session, request, thread=0):
        self.method, self.session, self.request = method, session, request
        self.thread = thread
        self.start = self.end = None
        self.answer = self.refused = None
        self.applied_at = None  # by other means than the answer's session
        self.target = None  # DeleteSession: the uid that it ends
        self.uncertain = False  # an attempt was not answered

    @property
    def request_id(self):
        return self.request.request_id

    @property
    def in_flight(self):
        return self.answer is None and self.refused is None

    @property
    def acknowledged(self):
        return self.answer is not None

    @property
    def uid(self):
        """Of the session it found or made; "" = there was none."""
        if self.method == "DeleteSession":
            return self.target or ""
        return self.answer.session.uid

    @property
    def revision(self):
        if self.applied_at is not None:
            return self.applied_at
        if self.method == "DeleteSession":
            return 0
        return self.answer.session.revision

    def made_id(self, place):
        """The id that the service gave, by the place in the answer."""
        if self.answer is None:  # it was refused: what would it have done?
            return "made %d" % place
        if place >= len(self.answer.memories):
            raise Violation("wrong", "%s names too few memories" % self)
        made = self.answer.memories[place].id
        if not is_uuid7(made):
            raise Violation("wrong", "%s made the id %r" % (self, made))
        return made

    def same(self, wanted):
        """Whether the answer is the wanted one."""
        got = read_answer(self.answer)
        if self.applied_at is not None:  # only the references are known
            return got.refs == [(*ref[:3], False) for ref in wanted.refs]
        return got == wanted

    def __repr__(self):
        return "%s of thread %d, request_id %r" % (
            self.method,
            self.thread,
            self.request_id,
        )


class Seen:
    """What a read saw of a session: its header, its `limit` newest memories, or,
    when nobody wrote, header (None = no such session) and all memories."""

    def __init__(
        self, session, start, end, header=None, tail=None, limit=0, all=None
    ):
        self.session, self.start, self.end = session, start, end
        self.header, self.all = header, all
        self.tail, self.limit = tail, limit


def check(calls, seen, mortal=()):
    """Raises Violation. mortal = names of sessions that calls delete."""
    by_session = collections.defaultdict(lambda: ([], []))
    for call in calls:
        by_session[call.session][0].append(call)
    for each in seen:
        by_session[each.session][1].append(each)
    for name, (theirs, looks) in sorted(by_session.items()):
        _Session(name, theirs, looks, name in mortal).check()


class _Session:
    def __init__(self, name, calls, seen, mortal):
        self.name, self.mortal, self.seen = name, mortal, seen
        self.done = [c for c in calls if c.acknowledged]
        self.refused = [c for c in calls if c.refused]

    def fail(self, kind, text, *more):
        raise Violation(kind, "session %r: %s" % (self.name, text % more))

    def check(self):
        lives = collections.defaultdict(list)
        for call in self.done:
            lives[call.uid].append(call)
        # Where there was no session there is no uid.
        nowhere = lives.pop("", [])
        if not self.mortal and len(lives) > 1:
            self.fail("lost", "it began anew: uids %s", sorted(lives))
        for each in self.seen:
            if each.header is not None and each.header.uid not in lives:
                self.fail("phantom", "no answer has uid %s", each.header.uid)
            if each.all is not None:
                self.check_alive(each, lives)
        for uid, calls in lives.items():
            self.check_life(uid, calls if self.mortal else calls + nowhere)

    def check_alive(self, each, lives):
        """What was acknowledged before is there, what was deleted is not."""
        for uid, calls in lives.items():
            before = [c for c in calls if c.end < each.start]
            ended = any(c.method == "DeleteSession" for c in before)
            there = each.header is not None and each.header.uid == uid
            if there and ended:
                self.fail("phantom", "uid %s was deleted, and is there", uid)
            if before and not there and not ended:
                self.fail("lost", "uid %s is not there", uid)
            least = max(
                (c.revision for c in before if c.method != "DeleteSession"),
                default=0,
            )
            if there and each.header.revision < least:
                self.fail(
                    "lost",
                    "it is at revision %d, and %d was acknowledged",
                    each.header.revision,
                    least,
                )

    def check_life(self, uid, calls):
        """One incarnation."""
        end = [c for c in calls if c.method == "DeleteSession"]
        calls = [c for c in calls if c.method != "DeleteSession"]
        states, makers = self.replay(calls)
        windows = _Windows(calls, makers)
        for call in calls:
            self.check_order(windows, call, makers)
        for each in self.seen:
            if each.header is not None and each.header.uid == uid:
                self.check_header(each, states, windows)
            elif each.tail is not None and not self.mortal:
                self.check_tail(each, states, windows)
        for call in self.refused if not self.mortal else []:
            self.check_refusal(call, states, windows)
        for call in end:
            self.check_end(call, states)

    def replay(self, calls):
        """states[r], and the ids of the calls that made a revision each."""
        by_revision = collections.defaultdict(list)
        for call in calls:
            by_revision[call.revision].append(call)
        states, makers = [State()], set()
        for call in by_revision.pop(0, []):
            self.check_nothing_done(call, states[0])
        for revision in range(1, max(by_revision, default=0) + 1):
            group = by_revision.get(revision, [])
            state, maker = self.step(states[-1], revision, group)
            makers.add(id(maker))
            states.append(state)
        return states, makers

    def step(self, state, revision, group):
        """The next state, and the call of the group that makes it; the others
        changed nothing there."""
        if not group:
            self.fail("phantom", "no call made revision %d", revision)
        why = []
        for call in group:
            try:
                following, wanted = state.after(call)
            except Refused as error:
                why.append("%s would be refused: %s" % (call, error))
                continue
            if following.revision != revision:
                why.append("%s changes nothing" % call)
            elif not call.same(wanted):
                why.append(
                    "%s:\n  answered %s\n  not      %s"
                    % (call, read_answer(call.answer), wanted)
                )
            elif all(
                self.changes_nothing(other, following)
                for other in group
                if other is not call
            ):
                return following, call
            else:
                why.append("%s, but then another of them changes too" % call)
        self.fail(
            "wrong", "revision %d is made by none of\n%s", revision, "\n".join(why)
        )

    def changes_nothing(self, call, state):
        try:
            following, wanted = state.after(call)
        except Refused:
            return False
        return following.revision == state.revision and call.same(wanted)

    def check_nothing_done(self, call, state):
        if not self.changes_nothing(call, state):
            self.fail("wrong", "%s answered %s", call, read_answer(call.answer))

    def check_order(self, windows, call, makers):
        least = windows.lower(call.start)
        if call.revision < least + (id(call) in makers):
            self.fail(
                "order",
                "%s has revision %d; %d was answered before it began",
                call,
                call.revision,
                least,
            )

    def check_header(self, each, states, windows):
        header = each.header
        least, most = windows.lower(each.start), windows.upper(each.end)
        if header.revision < least:
            self.fail(
                "order", "a read saw revision %d after %d", header.revision, least
            )
        if header.revision > min(most, len(states) - 1):
            self.fail(
                "phantom",
                "a read saw revision %d, and the calls had made %d",
                header.revision,
                min(most, len(states) - 1),
            )
        state = states[header.revision]
        got = (
            header.revision,
            header.settings_revision,
            header.last_sequence,
            header.memory_count,
            header.token_count,
        )
        wanted = (*state.reference(), state.tokens)
        if got != wanted:
            self.fail("wrong", "the header is %s, not %s", got, wanted)
        metadata = json_format.MessageToDict(header.metadata)
        if metadata != state.metadata:
            self.fail(
                "wrong", "metadata is %s, not %s", metadata, state.metadata
            )
        if each.all is not None:
            self.check_all(each.all, state)

    def check_all(self, got, state):
        wanted = list(state.memories.values())
        got = [model.plain(each) for each in got]
        if got == wanted:
            return
        found = {each.sequence: each for each in got}
        for each in wanted:
            if each.sequence not in found:
                self.fail("lost", "gone is %s", model.describe(each))
            if found[each.sequence] != each:
                self.fail(
                    "wrong",
                    "memory %d is\n  %s\nnot\n  %s",
                    each.sequence,
                    model.describe(found[each.sequence]),
                    model.describe(each),
                )
        for each in got:
            if each.sequence not in state.memories:
                self.fail("phantom", "there is %s", model.describe(each))
        self.fail(
            "order", "sequences %s", [each.sequence for each in got]
        )

    def check_tail(self, each, states, windows):
        first, last = windows.lower(each.start), windows.upper(each.end)
        got = [model.plain(memory) for memory in each.tail]
        for state in states[first : last + 1]:
            if got == list(state.memories.values())[-each.limit :]:
                return
        self.fail(
            "phantom",
            "a read saw what it never was between revisions %d and %d: %s",
            first,
            min(last, len(states) - 1),
            [(m.sequence, m.revision) for m in got],
        )

    def check_refusal(self, call, states, windows):
        first, last = windows.lower(call.start), windows.upper(call.end)
        for state in states[first : last + 1]:
            try:
                state.after(call)
            except Refused as error:
                if error.args == call.refused.args:
                    return
        self.fail("wrong", "%s was refused: %s", call, call.refused)

    def check_end(self, call, states):
        wanted = len(states[-1].memories)
        if (call.answer.existed, call.answer.deleted_count) != (True, wanted):
            self.fail(
                "wrong", "%s answered %s, not %d", call, call.answer, wanted
            )


class _Windows:
    """Between which revisions something lay that ran from start to end."""

    def __init__(self, calls, makers):
        ended = sorted((c.end, c.revision) for c in calls)
        self.ends = [end for end, _ in ended]
        self.most = []
        for _, revision in ended:
            self.most.append(max(revision, self.most[-1] if self.most else 0))
        # A call that made a revision had the one before it in front of it.
        begun = sorted((-c.start, c.revision - (id(c) in makers)) for c in calls)
        self.starts = [start for start, _ in begun]
        self.least = []
        for _, revision in begun:
            self.least.append(
                min(revision, self.least[-1] if self.least else revision)
            )

    def lower(self, start):
        """The highest revision that was answered before."""
        place = bisect.bisect_left(self.ends, start)
        return self.most[place - 1] if place else 0

    def upper(self, end):
        """The lowest that a call which began later found."""
        place = bisect.bisect_left(self.starts, -end)
        return self.least[place - 1] if place else 1 << 62
