"""Protobuf bytes made by hand: what no stub would ever send."""

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(number, wire_type):
    return varint(number << 3 | wire_type)


def number(field, value):
    return tag(field, VARINT) + varint(value)


def data(field, value):
    if isinstance(value, str):
        value = value.encode()
    return tag(field, BYTES) + varint(len(value)) + value


def nested_list(levels):
    """Bytes of a google.protobuf.Value: lists within lists, built from the
    inside without recursion."""
    value = number(1, 0)  # null_value
    for _ in range(levels):
        value = data(6, data(1, value))  # list_value { values }
    return value


def struct_of(key, value):
    """Bytes of a google.protobuf.Struct with one key and a Value's bytes."""
    return data(1, data(1, key) + data(2, value))
