"""A gRPC call in bare HTTP/2, for what no gRPC client lets through: a deadline
that has passed before the request leaves, headers of any size.

Headers go out as HPACK literals; those that come back are not decoded: the
tests ask with a proper client what has happened.
"""

import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def hpack_length(number):
    """A string's length: 7 bits, then groups of 7, without Huffman."""
    if number < 127:
        return bytes([number])
    out = bytearray([127])
    number -= 127
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def literal(name, value):
    name, value = name.encode(), value.encode()
    return (
        b"\x00" + hpack_length(len(name)) + name + hpack_length(len(value)) + value
    )


def frame(kind, flags, stream, payload=b""):
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


class Connection:
    """One connection; every call is a stream of its own."""

    def __init__(self, port, timeout):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)
        )
        self.buffer = b""
        self.next_stream = 1

    def close(self):
        self.socket.close()

    def open(self, path, headers=()):
        """Sends the headers of a call; returns its stream."""
        stream = self.next_stream
        self.next_stream += 2
        block = b"".join(
            literal(*each)
            for each in [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "localhost"),
                ("te", "trailers"),
                ("content-type", "application/grpc"),
            ]
            + list(headers)
        )
        self.socket.sendall(frame(HEADERS, END_HEADERS, stream, block))
        return stream

    def send(self, stream, message):
        """Sends a call's only message."""
        body = b"\x00" + struct.pack(">I", len(message)) + message
        self.socket.sendall(frame(DATA, END_STREAM, stream, body))

    def start(self, path, message, headers=()):
        """Sends a whole unary call; returns its stream."""
        stream = self.open(path, headers)
        self.send(stream, message)
        return stream

    def read_frame(self):
        while True:
            if len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + size:
                    kind, flags = self.buffer[3], self.buffer[4]
                    stream = int.from_bytes(self.buffer[5:9], "big")
                    payload = self.buffer[9 : 9 + size]
                    self.buffer = self.buffer[9 + size :]
                    if kind == SETTINGS and not flags & ACK:
                        self.socket.sendall(frame(SETTINGS, ACK, 0))
                    if kind == PING and not flags & ACK:
                        self.socket.sendall(frame(PING, ACK, 0, payload))
                    return kind, flags, stream & 0x7FFFFFFF, payload
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed by the server")
            self.buffer += data

    def finish(self, streams):
        """Reads until each of the streams has ended, one way or another."""
        open_streams = set(streams)
        while open_streams:
            kind, flags, stream, _ = self.read_frame()
            ended = kind in (DATA, HEADERS) and flags & END_STREAM
            if ended or kind == RST_STREAM:
                open_streams.discard(stream)
            if kind == GOAWAY:
                return
