"""For the tests that walk the contract: a request of each method that is fine
in itself, and a way to set any field of it."""

from google.protobuf import descriptor

import pb
from harness import duration, request_type, struct, timestamp

F = descriptor.FieldDescriptor


def base(method, session="walk"):
    """A request without a fault; without one where the fields that say what to
    do exclude each other."""
    memory = pb.Memory(content="x")
    made = dict(
        CreateSession=dict(),
        GetSession=dict(),
        ListSessions=dict(),
        UpdateSession=dict(labels={"a": "b"}),
        ClearSession=dict(session=session),
        DeleteSession=dict(session=session),
        DeleteSessions=dict(prefix=session),
        AppendMemories=dict(memories=[memory]),
        IngestMemories=dict(append=dict(memories=[memory])),
        GetMemories=dict(ids=["i"]),
        ListMemories=dict(),
        UpdateMemory=dict(id="i", memory=memory),
        DeleteMemories=dict(),
        ReplaceMemories=dict(session=session, memories=[memory]),
        PopMemories=dict(),
        CleanUpMemories=dict(filter="pinned = false"),
        GetStats=dict(),
        ListBackends=dict(),
    )[method]
    return request_type(method)(**made)


class Place:
    """A field somewhere inside a request: its path as errors name it, and the
    way to it."""

    def __init__(self, method, chain):
        self.method = method
        self.chain = chain
        self.field = chain[-1]

    @property
    def path(self):
        parts = []
        for field in self.chain:
            last = field is self.chain[-1]
            name = field.name
            if field.is_repeated and not is_map(field) and not last:
                name += "[0]"
            parts.append(name)
        if self.method == "IngestMemories" and len(parts) > 1:
            # An item's error speaks of the append itself.
            parts = parts[1:]
        return ".".join(parts)

    def parent(self, request):
        """The message that holds the field, made on the way there."""
        for field in self.chain[:-1]:
            child = getattr(request, field.name)
            if field.is_repeated:
                request = child[0] if len(child) else child.add()
            else:
                child.SetInParent()
                request = child
        return request

    def put(self, request, value):
        message = self.parent(request)
        field = self.field
        if is_map(field):
            getattr(message, field.name).update(value)
        elif field.is_repeated:
            getattr(message, field.name).append(value)
        elif field.message_type:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)

    def __repr__(self):
        return "%s %s" % (self.method, self.path)


def is_map(field):
    return bool(
        field.message_type and field.message_type.GetOptions().map_entry
    )


def is_ours(message):
    return message.full_name.startswith("mneme.v1.")


def places(method, descend=lambda field: True):
    """Every field of a method's request, messages of the contract included
    with all that is in them, unless descend(field) says no."""

    def walk(message, chain):
        for field in message.fields:
            place = Place(method, chain + [field])
            yield place
            inner = field.message_type
            if inner and is_ours(inner) and not is_map(field):
                if descend(field) and len(chain) < 6:
                    yield from walk(inner, chain + [field])

    yield from walk(request_type(method).DESCRIPTOR, [])


def values(field, text="x"):
    """Values other than the default that the field's type can hold."""
    if is_map(field):
        return [{text: "v"}, {"k": text}]
    kind = field.message_type
    if kind:
        name = kind.full_name
        if name == "google.protobuf.Struct":
            return [
                struct(**{text: 1}),
                struct(a=text),
                struct(a=[{"b": text}]),
                struct(a={text: None}),
            ]
        if name == "google.protobuf.Duration":
            return [duration(5)]
        if name == "google.protobuf.Timestamp":
            return [timestamp(4000000000)]
        if name == "google.protobuf.FieldMask":
            from google.protobuf import field_mask_pb2

            return [field_mask_pb2.FieldMask(paths=[text])]
        made = getattr(pb, kind.name)()
        # A message with something in it, as far as it can have it simply.
        if name == "mneme.v1.Embedding":
            made.values.append(1)
        if name == "mneme.v1.Memory":
            made.content = "x"
        if name == "mneme.v1.Part":
            made.mime_type = "a/b"
        if name == "mneme.v1.AppendMemoriesRequest":
            made.memories.add(content="x")
        if name == "mneme.v1.SessionPolicy":
            made.keep_system = True
        return [made]
    if field.enum_type:
        return [v.number for v in field.enum_type.values if v.number]
    return {
        F.TYPE_STRING: [text],
        F.TYPE_BYTES: [b"x"],
        F.TYPE_BOOL: [True],
        F.TYPE_DOUBLE: [0.5],
        F.TYPE_FLOAT: [0.5],
        F.TYPE_INT32: [1],
        F.TYPE_INT64: [1],
    }[field.type]
