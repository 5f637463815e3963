"""Walks the contract with its comments: what says "Not served yet." answers
UNIMPLEMENTED and names itself, what says "Output only." is refused, everything
else is served, and what the contract does not know is refused.

The walk is judged by itself too: at the end it is shown servers that take
everything or nothing, and has to find fault with each.
"""

import grpc
import pytest

import pb
import wire
from harness import PATIENCE, explain, names_field, path, request_type
from samples import base, is_map, places, values

pytestmark = pytest.mark.asan

UNKNOWN = wire.number(2047, 1)


class Case:
    """Bytes to send, and what has to come back."""

    def __init__(self, method, data, expect, field, what):
        self.method = method
        self.data = data
        self.expect = expect  # (code, reason), or None = not UNIMPLEMENTED
        self.field = field
        self.what = what


def method_cases():
    for method in pb.SERVICE.methods:
        if pb.not_served(method.full_name):
            yield Case(
                method.name,
                b"",
                ("UNIMPLEMENTED", "METHOD_NOT_SERVED"),
                None,
                method.name,
            )


def field_cases():
    for method in pb.served_methods():
        for place in places(
            method.name, lambda f: not pb.not_served(f.full_name)
        ):
            name = place.field.full_name
            if pb.not_served(name):
                expect = ("UNIMPLEMENTED", "NOT_SERVED")
            elif pb.output_only(name):
                expect = ("INVALID_ARGUMENT", "OUTPUT_ONLY")
            else:
                expect = None
            for value in values(place.field):
                request = base(method.name)
                place.put(request, value)
                yield Case(
                    method.name,
                    request.SerializeToString(),
                    expect,
                    place.path if expect else None,
                    "%s = %r" % (place, value),
                )


def unknown_cases():
    """A field with a number that nobody has, in every message that a request
    of a served method can hold."""
    expect = ("UNIMPLEMENTED", "UNKNOWN_FIELD")
    for method in pb.served_methods():
        name = method.name
        yield Case(
            name,
            base(name).SerializeToString() + UNKNOWN,
            expect,
            None,
            "%s with an unknown field" % name,
        )
        for place in places(name, lambda f: not pb.not_served(f.full_name)):
            field = place.field
            if not field.message_type or pb.not_served(field.full_name):
                continue
            if pb.output_only(field.full_name):
                continue
            what = "%s with an unknown field" % place
            request = base(name)
            if is_map(field):
                if len(place.chain) > 1:
                    continue
                entry = wire.data(1, "k") + wire.data(2, "v") + UNKNOWN
                data = request.SerializeToString()
                data += wire.data(field.number, entry)
            else:
                place.put(request, values(field)[0])
                holder = getattr(place.parent(request), field.name)
                if field.is_repeated:
                    holder = holder[0]
                holder.MergeFromString(UNKNOWN)
                data = request.SerializeToString()
            yield Case(name, data, expect, None, what)


def judge(case, outcome):
    """None, or what is wrong with the outcome (code, reason, fields, text)."""
    code, reason, fields, text = outcome
    if case.expect is None:
        if code == "UNIMPLEMENTED":
            return "%s: %s %s" % (case.what, code, reason)
        return None
    if (code, reason) != case.expect:
        return "%s: %s %s, not %s %s" % ((case.what, code, reason) + case.expect)
    if case.field and not any(names_field(f, case.field) for f in fields):
        return "%s: names %s, not %s" % (case.what, fields, case.field)
    if reason == "METHOD_NOT_SERVED" and case.method not in text:
        return "%s: the text does not name it: %s" % (case.what, text)
    return None


def ask(client, case):
    """Sends a case to the server."""
    if case.method == "IngestMemories":
        call = client.channel.stream_stream(path(case.method))
        try:
            (answer,) = call(iter([case.data]), timeout=PATIENCE)
        except grpc.RpcError as error:
            got = explain(error)
            return "stream: " + got.code, got.reason, got.fields, got.message
        error = pb.IngestMemoriesResponse.FromString(answer).error
        code = [c.name for c in grpc.StatusCode if c.value[0] == error.code]
        return code[0], error.reason, [error.field], error.message
    try:
        client.raw(case.method, case.data)
    except grpc.RpcError as error:
        got = explain(error)
        return got.code, got.reason, got.fields, got.message
    return "OK", None, [], ""


def complaints(cases, answer):
    found = [judge(case, answer(case)) for case in cases]
    return [each for each in found if each]


def test_methods_that_are_not_served(client):
    wrong = complaints(method_cases(), lambda case: ask(client, case))
    assert not wrong, "\n".join(wrong)


def test_fields(client):
    wrong = complaints(field_cases(), lambda case: ask(client, case))
    assert not wrong, "\n".join(wrong)


def test_unknown_fields(client):
    wrong = complaints(unknown_cases(), lambda case: ask(client, case))
    assert not wrong, "\n".join(wrong)


# ---- the walk itself --------------------------------------------------------


def test_the_walk_sees_what_the_contract_says():
    def paths(reason):
        return {
            (case.method, case.field)
            for case in field_cases()
            if case.expect and case.expect[1] == reason
        }

    not_served = paths("NOT_SERVED")
    for known in (
        ("AppendMemories", "memories[0].embeddings"),
        ("AppendMemories", "memories[0].embed"),
        ("IngestMemories", "memories[0].embed"),
        ("ListMemories", "view"),
        ("CreateSession", "backend"),
        ("CreateSession", "policy.language"),
        ("UpdateSession", "policy.search_metadata"),
        ("UpdateMemory", "memory.embed"),
        ("GetMemories", "view"),
        ("ReplaceMemories", "memories[0].embeddings"),
    ):
        assert known in not_served, known
    output_only = paths("OUTPUT_ONLY")
    for field in (
        "sequence create_time update_time last_access_time access_count"
        " revision session"
    ).split():
        for known in (
            ("AppendMemories", "memories[0].%s"),
            ("IngestMemories", "memories[0].%s"),
            ("ReplaceMemories", "memories[0].%s"),
            ("UpdateMemory", "memory.%s"),
        ):
            assert (known[0], known[1] % field) in output_only
    methods = {case.method for case in method_cases()}
    assert {"SearchMemories", "BuildContext", "EmbedTexts"} <= methods
    assert len(methods) + len(pb.served_methods()) == len(pb.SERVICE.methods)
    holders = {case.what.split(" with")[0] for case in unknown_cases()}
    for known in (
        "AppendMemories",
        "AppendMemories memories",
        "AppendMemories memories[0].parts",
        "AppendMemories memories[0].metadata",
        "CreateSession policy",
        "CreateSession labels",
        "UpdateMemory update_mask",
        "ListBackends",
    ):
        assert known in holders, known


def test_the_walk_finds_fault_with_a_server_that_takes_everything():
    def takes(case):
        return "OK", None, [], ""

    assert len(complaints(method_cases(), takes)) == len(list(method_cases()))
    wanted = sum(1 for case in field_cases() if case.expect)
    assert wanted and len(complaints(field_cases(), takes)) == wanted
    assert len(complaints(unknown_cases(), takes)) == len(list(unknown_cases()))


def test_the_walk_finds_fault_with_a_server_that_serves_nothing():
    def refuses(case):
        return "UNIMPLEMENTED", "NOT_SERVED", [case.field or ""], ""

    served = sum(
        1
        for case in field_cases()
        if not case.expect or case.expect[0] != "UNIMPLEMENTED"
    )
    assert served and len(complaints(field_cases(), refuses)) == served


def test_the_walk_finds_fault_with_a_wrong_name():
    def misnames(case):
        return ("UNIMPLEMENTED", "NOT_SERVED", ["other"], "")

    cases = [c for c in field_cases() if c.expect and c.expect[1] == "NOT_SERVED"]
    assert len(complaints(cases, misnames)) == len(cases)


def test_every_field_has_a_comment():
    """The walk reads comments: a field without one would be taken as served."""
    silent = [
        name
        for method in pb.served_methods()
        for name in [method.full_name]
        + [f.full_name for f in request_type(method.name).DESCRIPTOR.fields]
        if not pb.comments().get(name)
    ]
    assert not silent
