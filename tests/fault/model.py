"""What one session must be after each commit: an exact model, without times.

    state, answer = state.after(call)      a commit
    Refused is raised                      a definite error, nothing changed

`call` is a history.Call: its request, and its answer for what only the service
can know (ids that it made, the uid). Memories are pb.Memory messages with the
fields that a commit assigns, but no times; `plain` takes those from a real one.

A state is never changed: a commit makes another, which shares the messages.
"""

import json

from google.protobuf import json_format

import pb

_NOT_COMPARED = (
    "create_time update_time last_access_time event_time access_count session"
).split()


class Refused(Exception):
    """A definite error: its reason, and current_revision where it has one."""

    def __init__(self, reason, current=None):
        super().__init__(reason, current)
        self.reason, self.current = reason, current


def plain(memory):
    """A memory as the model has it."""
    made = pb.Memory()
    made.CopyFrom(memory)
    for field in _NOT_COMPARED:
        made.ClearField(field)
    return made


def tokens_of(memory):
    if memory.HasField("token_count"):
        return memory.token_count
    return (13 * len(memory.content.encode().split()) + 9) // 10


def weight(memory):
    return memory.importance if memory.HasField("importance") else 0.5


def merge(target, patch):
    """RFC 7396 on Python values."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = merge(made.get(key), value)
    return made


class Answer:
    """What an answer says, of whichever method; absent things are None."""

    refs = deleted = evicted = popped = existed = None

    def __init__(self, state=None):
        # The session right after: revision, settings, last sequence, count.
        self.session = state.reference() if state else None

    def __eq__(self, other):
        return vars(self) == vars(other)

    def __repr__(self):
        return "Answer(%s)" % ", ".join(
            "%s=%r" % each for each in sorted(vars(self).items())
        )


def read_answer(answer):
    """An answer message as an Answer."""
    made = Answer()
    session = getattr(answer, "session", None)
    if session is not None and session.uid:
        made.session = (
            session.revision,
            session.settings_revision,
            session.last_sequence,
            session.memory_count,
        )
    kind = type(answer).DESCRIPTOR.name
    refs = None
    if kind in ("AppendMemoriesResponse", "ReplaceMemoriesResponse"):
        refs = answer.memories
    if kind == "UpdateMemoryResponse":
        refs = [answer.memory]
    if refs is not None:
        made.refs = [(r.id, r.sequence, r.revision, r.created) for r in refs]
    if hasattr(answer, "deleted_count"):
        made.deleted = answer.deleted_count
    if hasattr(answer, "evicted_count"):
        made.evicted = answer.evicted_count
    if kind == "DeleteSessionResponse":
        made.existed = answer.existed
    if kind == "PopMemoriesResponse":
        made.popped = [plain(each) for each in answer.memories]
        assert not answer.truncated
    return made


class State:
    """A session after some commit; revision 0 = it does not exist yet."""

    def __init__(self):
        self.revision = self.settings_revision = self.last_sequence = 0
        self.memories = {}  # sequence -> pb.Memory, ascending
        self.ids = {}  # id -> sequence
        self.keys = {}  # key -> sequence
        self.policy = pb.SessionPolicy()
        self.metadata = {}

    def _draft(self):
        made = State.__new__(State)
        made.__dict__.update(self.__dict__)
        made.memories = dict(self.memories)
        made.ids, made.keys = dict(self.ids), dict(self.keys)
        made.refs, made.deleted, made.evicted = [], 0, 0
        made.popped = []
        made.changed = made.wrote = False
        made.commit = self.revision + 1
        if not self.revision:
            made.settings_revision = 1
            made.changed = True
        return made

    def reference(self):
        return (
            self.revision,
            self.settings_revision,
            self.last_sequence,
            len(self.memories),
        )

    @property
    def tokens(self):
        return sum(each.token_count for each in self.memories.values())

    # ---- a commit ----------------------------------------------------------

    def after(self, call):
        """(the state after the commit, the Answer it must have)."""
        request = call.request
        method = call.method
        expected = None
        if "expected_revision" in request.DESCRIPTOR.fields_by_name:
            if request.HasField("expected_revision"):
                expected = request.expected_revision
        if method != "UpdateMemory" and expected not in (None, self.revision):
            raise Refused("REVISION_MISMATCH", self.revision)
        if method == "CreateSession" and self.revision:
            raise Refused("SESSION_EXISTS")
        creates = method in (
            "CreateSession AppendMemories ReplaceMemories".split()
        )
        if not self.revision and not creates:
            return self._without_session(method)
        draft = self._draft()
        getattr(draft, "_" + method)(call, request)
        draft._make_room()
        if draft.changed:
            draft.revision = draft.commit
        answer = Answer(draft)
        for name in _ANSWERED[method]:
            setattr(answer, name, getattr(draft, name))
        if method == "DeleteSession":
            answer.existed, answer.session = True, None
            draft = None
        return draft, answer

    def _without_session(self, method):
        if method == "UpdateMemory":
            raise Refused("MEMORY_NOT_FOUND")
        if method in ("PopMemories", "UpdateSession"):
            raise Refused("SESSION_NOT_FOUND")
        answer = Answer()
        answer.deleted = 0
        if method == "DeleteSession":
            answer.existed = False
        return self, answer

    # ---- steps -------------------------------------------------------------

    def _put(self, old, new):
        """new takes the place of old."""
        made = plain(new)
        made.id, made.sequence = old.id, old.sequence
        self._store(made)
        if old.key and old.key != made.key:
            del self.keys[old.key]
        self.refs.append((made.id, made.sequence, made.revision, False))

    def _store(self, made):
        made.token_count = tokens_of(made)
        made.kind = made.kind or "message"
        made.revision = self.commit
        self.memories[made.sequence] = made
        self.ids[made.id] = made.sequence
        if made.key:
            self.keys[made.key] = made.sequence
        self.wrote = self.changed = True

    def _remove(self, sequence):
        gone = self.memories.pop(sequence)
        del self.ids[gone.id]
        if gone.key:
            del self.keys[gone.key]
        self.changed = True
        return gone

    def _add(self, memories, on_conflict, call):
        """call.made_id(place in the answer) is the id that the service gave."""
        for given in memories:
            by_id = self.ids.get(given.id) if given.id else None
            by_key = self.keys.get(given.key) if given.key else None
            if by_id and by_key and by_id != by_key:
                raise Refused("MEMORY_EXISTS")
            found = by_id or by_key
            how = on_conflict
            if how == pb.ON_CONFLICT_UNSPECIFIED:
                how = (
                    pb.ON_CONFLICT_REPLACE
                    if given.key and not given.id
                    else pb.ON_CONFLICT_FAIL
                )
            if not found:
                made = plain(given)
                self.last_sequence += 1
                made.sequence = self.last_sequence
                made.id = made.id or call.made_id(len(self.refs))
                self._store(made)
                self.refs.append(
                    (made.id, made.sequence, made.revision, True)
                )
            elif how == pb.ON_CONFLICT_FAIL:
                raise Refused("MEMORY_EXISTS")
            elif how == pb.ON_CONFLICT_SKIP:
                old = self.memories[found]
                self.refs.append((old.id, found, old.revision, False))
            else:
                self._put(self.memories[found], given)

    def _set_metadata(self, patch):
        self.metadata = merge(self.metadata, patch)
        self.settings_revision = self.commit
        self.changed = True

    # ---- methods -----------------------------------------------------------

    def _CreateSession(self, call, request):
        self.policy = request.policy
        self.metadata = json_format.MessageToDict(request.metadata)
        self.settings_revision = self.commit

    def _UpdateSession(self, call, request):
        if request.HasField("policy"):
            self.policy = request.policy
        patch = json_format.MessageToDict(request.metadata_patch)
        self._set_metadata(patch)

    def _AppendMemories(self, call, request):
        for key in request.delete_keys:
            if key in self.keys:
                self._remove(self.keys[key])
                self.deleted += 1
        self._add(request.memories, request.on_conflict, call)
        if request.HasField("session_metadata_patch"):
            self._set_metadata(
                json_format.MessageToDict(request.session_metadata_patch)
            )

    def _UpdateMemory(self, call, request):
        name = request.id or request.key
        found = (self.ids if request.id else self.keys).get(name)
        if not found:
            raise Refused("MEMORY_NOT_FOUND")
        old = self.memories[found]
        if request.HasField("expected_revision"):
            if request.expected_revision != old.revision:
                raise Refused("REVISION_MISMATCH", old.revision)
        new = pb.Memory()
        new.CopyFrom(old)
        paths = list(request.update_mask.paths) or [
            field.name for field, _ in request.memory.ListFields()
        ]
        for field in paths:
            new.ClearField(field)
            if field in [f.name for f, _ in request.memory.ListFields()]:
                part = pb.Memory()
                part.CopyFrom(request.memory)
                for other, _ in request.memory.ListFields():
                    if other.name != field:
                        part.ClearField(other.name)
                new.MergeFrom(part)
        if "content" in paths and "token_count" not in paths:
            new.ClearField("token_count")
        if request.HasField("metadata_patch"):
            merged = merge(
                json_format.MessageToDict(new.metadata),
                json_format.MessageToDict(request.metadata_patch),
            )
            new.metadata.Clear()
            new.metadata.update(merged)
            new.metadata.SetInParent()
        self._put(old, new)

    def _DeleteMemories(self, call, request):
        for names, where in (
            (request.ids, self.ids),
            (request.keys, self.keys),
        ):
            for name in names:
                if name in where:
                    self._remove(where[name])
                    self.deleted += 1

    def _ReplaceMemories(self, call, request):
        first = request.from_sequence or 1
        for sequence in [each for each in self.memories if each >= first]:
            self._remove(sequence)
            self.deleted += 1
        self._add(request.memories, pb.ON_CONFLICT_FAIL, call)

    def _PopMemories(self, call, request):
        newest = list(self.memories)[-(request.count or 1) :]
        for sequence in newest:
            self.popped.append(self._remove(sequence))

    def _ClearSession(self, call, request):
        for sequence in list(self.memories):
            self._remove(sequence)
            self.deleted += 1

    def _DeleteSession(self, call, request):
        self.deleted = len(self.memories)
        self.changed = True

    # ---- policy ------------------------------------------------------------

    def _make_room(self):
        p = self.policy
        if not self.wrote or not self.memories:
            return
        above = p.max_memories or p.evict_above
        above_tokens = p.max_tokens or p.evict_above_tokens
        many = above and len(self.memories) > above
        costly = above_tokens and self.tokens > above_tokens
        if (many or costly) and p.eviction == pb.EVICTION_REJECT:
            raise Refused("SESSION_FULL")
        if many:
            self._evict(lambda m: 1, p.max_memories or p.evict_to or above)
        if costly:
            self._evict(
                lambda m: m.token_count,
                p.max_tokens or p.evict_to_tokens or above_tokens,
            )

    def _evict(self, cost, target):
        have = sum(cost(each) for each in self.memories.values())
        newest = max(self.memories)
        victims = [
            each
            for each in self.memories.values()
            if each.sequence != newest
            and not each.pinned
            and not (self.policy.keep_system and each.role == "system")
        ]
        if self.policy.eviction == pb.EVICTION_LEAST_IMPORTANT:
            victims.sort(key=lambda m: (weight(m), m.sequence))
        for each in victims:
            if have <= target:
                return
            have -= cost(each)
            self._remove(each.sequence)
            self.evicted += 1
        if have > target and cost(self.memories[newest]) <= target:
            raise Refused("SESSION_FULL")


_ANSWERED = {
    "CreateSession": [],
    "UpdateSession": [],
    "AppendMemories": ["refs", "deleted", "evicted"],
    "UpdateMemory": ["refs", "evicted"],
    "DeleteMemories": ["deleted"],
    "ReplaceMemories": ["refs", "deleted", "evicted"],
    "PopMemories": ["popped"],
    "ClearSession": ["deleted"],
    "DeleteSession": ["deleted"],
}


def describe(memory):
    """One line for a message."""
    text = json_format.MessageToDict(memory)
    if len(text.get("content", "")) > 40:
        text["content"] = text["content"][:40] + "..."
    return json.dumps(text, ensure_ascii=False, sort_keys=True)
