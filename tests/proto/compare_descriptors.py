#!/usr/bin/env python3
"""Compares the published descriptors with those of the C-only copies.

    compare_descriptors.py PUBLISHED.protoset DERIVED.protoset
    compare_descriptors.py --self-test PUBLISHED.protoset DERIVED.protoset

The two may differ in one way: a proto3 optional field of the published set
(proto3_optional, with a synthetic oneof) is a plain member of a oneof of one,
`_name`, in the derived set. Everything else that reaches the wire, JSON or
reflection must be the same: files, imports, messages, fields with number,
type, label, JSON name, type name and options, real oneofs, enums, reserved
ranges, services.

--self-test doctors the derived set, one way after the other, and fails when a
doctored set passes. Both modes print one line per check and end with a count.
"""

import copy
import sys

from google.protobuf import descriptor_pb2


def load(path):
    files = descriptor_pb2.FileDescriptorSet()
    with open(path, "rb") as source:
        files.ParseFromString(source.read())
    return files


def flatten(files, published):
    """Every declaration as {path: facts}, comparable by =="""
    facts = {}

    def add_enum(prefix, enum):
        facts["enum " + prefix + enum.name] = enum.SerializeToString(
            deterministic=True
        )

    def add_message(prefix, message):
        name = prefix + message.name
        rest = descriptor_pb2.DescriptorProto()
        rest.CopyFrom(message)
        for part in ("field", "nested_type", "enum_type", "oneof_decl"):
            rest.ClearField(part)
        facts["message " + name] = rest.SerializeToString(deterministic=True)

        real_oneofs = {}
        for at, oneof in enumerate(message.oneof_decl):
            members = [
                field
                for field in message.field
                if field.HasField("oneof_index") and field.oneof_index == at
            ]
            optional = len(members) == 1 and (
                members[0].proto3_optional
                if published
                else oneof.name == "_" + members[0].name
            )
            if not optional:
                real_oneofs[at] = oneof.name
                facts["oneof %s.%s" % (name, oneof.name)] = (
                    oneof.SerializeToString(deterministic=True)
                )
        for order, field in enumerate(message.field):
            presence = "none"
            if field.HasField("oneof_index"):
                presence = real_oneofs.get(field.oneof_index, "optional")
            facts["field %s.%s" % (name, field.name)] = {
                "order": order,
                "number": field.number,
                "type": field.type,
                "label": field.label,
                "json_name": field.json_name,
                "type_name": field.type_name,
                "default": field.default_value,
                "options": field.options.SerializeToString(deterministic=True),
                "presence": presence,
            }
        for enum in message.enum_type:
            add_enum(name + ".", enum)
        for nested in message.nested_type:
            add_message(name + ".", nested)

    for file in files.file:
        rest = descriptor_pb2.FileDescriptorProto()
        rest.CopyFrom(file)
        for part in ("message_type", "enum_type", "source_code_info"):
            rest.ClearField(part)
        # Imports, package, syntax, options and services, as they are.
        facts["file " + file.name] = rest.SerializeToString(deterministic=True)
        prefix = file.package + "." if file.package else ""
        for enum in file.enum_type:
            add_enum(prefix, enum)
        for message in file.message_type:
            add_message(prefix, message)
    return facts


def differences(published, derived):
    ours = flatten(published, published=True)
    theirs = flatten(derived, published=False)
    found = []
    for key in sorted(ours.keys() | theirs.keys()):
        if key not in theirs:
            found.append("only published: " + key)
        elif key not in ours:
            found.append("only derived: " + key)
        elif ours[key] != theirs[key]:
            found.append(
                "differs: %s: %s / %s" % (key, ours[key], theirs[key])
            )
    return found


def first_field(files, wanted):
    """The first field of our own messages that `wanted` accepts."""
    for file in files.file:
        if file.package.startswith("mneme."):
            for message in file.message_type:
                for field in message.field:
                    if wanted(field):
                        return message, field
    raise LookupError("the schema has no such field")


def doctored(derived):
    """Yields (what was done, a copy of `derived` with that done to it)."""
    Field = descriptor_pb2.FieldDescriptorProto

    def edit(what, change, wanted=lambda field: True):
        files = copy.deepcopy(derived)
        change(*first_field(files, wanted))
        return what, files

    def in_oneof(field):
        return field.HasField("oneof_index")

    def rename_type(_, field):
        field.type_name += "Other"

    yield edit(
        "another number",
        lambda _, field: setattr(field, "number", field.number + 1000),
    )
    yield edit(
        "another type",
        lambda _, field: setattr(field, "type", Field.TYPE_BYTES),
        lambda field: field.type == Field.TYPE_STRING,
    )
    yield edit(
        "another label",
        lambda _, field: setattr(field, "label", Field.LABEL_REPEATED),
        lambda field: field.label == Field.LABEL_OPTIONAL,
    )
    yield edit(
        "another JSON name",
        lambda _, field: setattr(field, "json_name", "other"),
    )
    yield edit(
        "another message type", rename_type, lambda field: field.type_name
    )
    yield edit(
        "a field less", lambda message, field: message.field.remove(field)
    )
    yield edit(
        "presence lost",
        lambda _, field: field.ClearField("oneof_index"),
        in_oneof,
    )

    def without_oneof_name(message, field):
        message.oneof_decl[field.oneof_index].name = "choice"

    yield edit("a real oneof in its place", without_oneof_name, in_oneof)

    files = copy.deepcopy(derived)
    ours = [f for f in files.file if f.package.startswith("mneme.")]
    next(f for f in ours if f.service).service[0].method[0].name += "Other"
    yield "another method name", files

    files = copy.deepcopy(derived)
    ours = [f for f in files.file if f.package.startswith("mneme.")]
    next(f for f in ours if f.enum_type).enum_type[0].value[0].name += "_X"
    yield "another enum value", files

    files = copy.deepcopy(derived)
    del files.file[-1]
    yield "a file less", files


def main():
    arguments = sys.argv[1:]
    self_test = arguments[:1] == ["--self-test"]
    published, derived = (load(path) for path in arguments[self_test:])

    passed = failed = 0
    if not self_test:
        found = differences(published, derived)
        optional = sum(
            fact["presence"] == "optional"
            for key, fact in flatten(published, True).items()
            if key.startswith("field ")
        )
        print("%d optional fields" % optional)
        for line in found:
            print(line)
        # A schema without one optional field would pass without a look.
        failed = int(bool(found) or optional == 0)
        passed = 1 - failed
    else:
        for what, files in doctored(derived):
            seen = bool(differences(published, files))
            print("%s: %s" % ("seen" if seen else "NOT SEEN", what))
            passed += seen
            failed += not seen
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
