"""What clients do in a round: for each thread a list of steps, all from one seed.

Several threads write to one session throughout. Ids and keys come from small
sets, so that calls meet each other's memories; ids that must not meet carry the
thread and the number. What an answer decides (a revision to expect) is filled in
by the runner when the call is made.
"""

import random

import pb
from harness import struct

TAIL = 12  # memories that a read of the newest asks for

WORDS = "alpha beta gamma delta épsilon ζeta 記憶 🐦 it's \"so\" 100%_\\".split()


class Step:
    """One write: session, method, fields of its request. guard: expect the
    revision that the thread last saw. stream: the items of an ingest instead."""

    def __init__(self, session, method, guard=False, stream=None, **fields):
        self.session, self.method, self.fields = session, method, fields
        self.guard, self.stream = guard, stream


class Look:
    """One read: of the header, or of the newest memories."""

    def __init__(self, session, what):
        self.session, self.what = session, what


POLICIES = {
    "fifo": dict(evict_above=20, evict_to=12),
    "least": dict(
        max_memories=15, eviction=pb.EVICTION_LEAST_IMPORTANT, keep_system=True
    ),
    "tokens": dict(evict_above_tokens=400, evict_to_tokens=250),
    "reject": dict(max_memories=30, eviction=pb.EVICTION_REJECT),
}
MORTAL = ("mortal",)
LOGS = ("log a", "log/b")
SESSIONS = LOGS + ("keyed a", "keyed b", "stack") + tuple(POLICIES) + MORTAL


class Workload:
    """steps[t] for each thread; setup, which one client does before; total, how
    many writes there are in all."""

    def __init__(
        self, seed, threads=8, calls=40, streams=2, items=30, looks=0.15
    ):
        """calls of a thread, of which the share `looks` are reads; streams of so
        many items."""
        self.seed = seed
        self.setup = [
            Step(name, "CreateSession", policy=pb.SessionPolicy(**policy))
            for name, policy in POLICIES.items()
        ]
        self.steps = []
        for t in range(threads):
            chance = random.Random("%s/%d" % (seed, t))
            maker = _Maker(chance, t, looks)
            self.steps.append([maker.step() for _ in range(calls)])
            if t < streams:
                place = chance.randrange(calls)
                self.steps[t].insert(place, maker.ingest(items))
        self.total = sum(
            len(step.stream) if step.stream else 1
            for steps in self.steps
            for step in steps
            if isinstance(step, Step)
        )


class _Maker:
    def __init__(self, chance, thread, looks):
        self.chance, self.thread, self.count = chance, thread, 0
        self.looks = looks

    def text(self):
        self.count += 1
        chance = self.chance
        size = chance.choice([1, 5, 20, 20, 60, 60, 120])
        if chance.random() < 0.03:
            size = chance.randrange(500, 6000)
        words = " ".join(chance.choices(WORDS, k=size))
        return "%d.%d %s" % (self.thread, self.count, words)

    def memory(self, **fields):
        chance = self.chance
        made = pb.Memory(content=self.text(), **fields)
        if chance.random() < 0.5:
            made.role = chance.choice(["user", "assistant", "tool"])
        if chance.random() < 0.3:
            made.importance = chance.randrange(11) / 10
        if chance.random() < 0.2:
            made.metadata.CopyFrom(
                struct(n=chance.randrange(100), who="o'%d" % self.thread)
            )
        if chance.random() < 0.1:
            made.parts.add(
                mime_type="application/json", json='{"b":1.0, "a":null}'
            )
        return made

    def memories(self, most, **fields):
        return [
            self.memory(**fields)
            for _ in range(self.chance.randrange(1, most + 1))
        ]

    def key(self):
        return "k/%d" % self.chance.randrange(12)

    def own_id(self):
        self.count += 1
        return "id %d.%d" % (self.thread, self.count)

    def step(self):
        chance = self.chance
        session = chance.choice(SESSIONS)
        if chance.random() < self.looks and session not in MORTAL:
            return Look(session, chance.choice(["header", "tail"]))
        return getattr(self, "for_" + session.split()[0].split("/")[0])(session)

    def append(self, session, memories, **fields):
        return Step(session, "AppendMemories", memories=memories, **fields)

    def ingest(self, items):
        """One stream over several sessions."""
        made = []
        for _ in range(items):
            session = self.chance.choice(LOGS + ("keyed a", "fifo"))
            fields = {"key": self.key()} if session == "keyed a" else {}
            made.append(self.append(session, [self.memory(**fields)]))
        return Step(None, "IngestMemories", stream=made)

    # ---- sessions ----------------------------------------------------------

    def for_log(self, session):
        """Nothing ever leaves it: sequences are 1, 2, 3 ..."""
        what = self.chance.random()
        if what < 0.6:
            return self.append(session, self.memories(3))
        if what < 0.75:
            return self.append(session, self.memories(20))
        if what < 0.9:  # repeatable by its ids alone
            memories = self.memories(8)
            for each in memories:
                each.id = self.own_id()
            return self.append(
                session, memories, on_conflict=pb.ON_CONFLICT_SKIP
            )
        return self.append(
            session,
            self.memories(2),
            session_metadata_patch=struct(
                **{"t%d" % self.thread: self.count, "last": self.thread}
            ),
        )

    def for_keyed(self, session):
        chance, what = self.chance, self.chance.random()
        if what < 0.35:
            keys = chance.sample(range(12), chance.randrange(1, 5))
            memories = [self.memory(key="k/%d" % n) for n in keys]
            how = chance.choice(
                [pb.ON_CONFLICT_UNSPECIFIED, pb.ON_CONFLICT_REPLACE]
                + [pb.ON_CONFLICT_SKIP]
            )
            if chance.random() < 0.05:
                how = pb.ON_CONFLICT_FAIL
            return self.append(session, memories, on_conflict=how)
        if what < 0.5:
            memories = [self.memory(id="i/%d" % chance.randrange(8))]
            return self.append(
                session,
                memories + self.memories(2),
                on_conflict=chance.choice(
                    [pb.ON_CONFLICT_REPLACE, pb.ON_CONFLICT_SKIP]
                ),
                delete_keys=[self.key()],
            )
        if what < 0.75:
            return self.update(session)
        if what < 0.85:
            return Step(
                session,
                "DeleteMemories",
                keys=[self.key(), "k/none"],
                ids=["i/%d" % chance.randrange(8)],
            )
        return self.append(session, self.memories(2), guard=True)

    def update(self, session):
        chance = self.chance
        made = Step(session, "UpdateMemory", key=self.key())
        what = chance.randrange(3)
        if what == 0:
            made.fields["memory"] = pb.Memory(content=self.text())
        elif what == 1:
            made.fields["memory"] = pb.Memory(pinned=True, importance=0.25)
            made.fields["update_mask"] = {
                "paths": ["pinned", "importance", "role"]
            }
        else:
            made.fields["metadata_patch"] = struct(n=None, t=self.thread)
        return made

    def for_stack(self, session):
        chance, what = self.chance, self.chance.random()
        if what < 0.5:
            return self.append(session, self.memories(6))
        if what < 0.75:
            return Step(
                session, "PopMemories", count=chance.choice([0, 1, 2, 5])
            )
        if what < 0.95:
            made = Step(session, "ReplaceMemories", memories=self.memories(5))
            if chance.random() < 0.7:
                made.fields["from_sequence"] = chance.randrange(1, 200)
            return made
        return Step(session, "ClearSession")

    def for_fifo(self, session):
        if self.chance.random() < 0.1:  # may be the pinned one's turn
            pin = self.memory(id="pin", pinned=True)
            return self.append(
                session, [pin], on_conflict=pb.ON_CONFLICT_REPLACE
            )
        return self.append(session, self.memories(6))

    def for_least(self, session):
        memories = self.memories(4)
        what = self.chance.random()
        if what < 0.1:
            memories[0].id, memories[0].role = "rules", "system"
        elif what < 0.2:
            memories[0].id, memories[0].pinned = "pin", True
        return self.append(
            session, memories, on_conflict=pb.ON_CONFLICT_REPLACE
        )

    def for_tokens(self, session):
        if self.chance.random() < 0.1:
            policy = self.chance.choice(
                [
                    POLICIES["tokens"],
                    dict(max_memories=8, eviction=pb.EVICTION_LEAST_IMPORTANT),
                ]
            )
            return Step(
                session,
                "UpdateSession",
                policy=pb.SessionPolicy(**policy),
                metadata_patch=struct(by=self.thread),
            )
        return self.append(session, self.memories(3))

    def for_reject(self, session):
        if self.chance.random() < 0.4:
            return Step(session, "PopMemories", count=5)
        return self.append(session, self.memories(4))

    def for_mortal(self, session):
        """Thread 0 alone deletes, so it is known which incarnation goes."""
        if self.thread == 0 and self.chance.random() < 0.6:
            return Step(session, "DeleteSession")
        return self.append(session, self.memories(3))
