"""Frames of HTTP/2, made by hand: what libraries refuse to send is what an attack is made of."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1

INITIAL_WINDOW_SIZE = 4


def frame(kind, flags, stream, payload=b""):
    """One frame (RFC 9113 §4.1)."""
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 255, kind, flags, stream) + payload


def settings(**named):
    """The client's first frame; `window` is how much it takes of an answer before it says more."""
    pairs = b""
    if "window" in named:
        pairs = struct.pack(">HI", INITIAL_WINDOW_SIZE, named["window"])
    return frame(SETTINGS, 0, 0, pairs)


def field(name, value):
    """A field that enters no table (RFC 7541 §6.2.2). Both are shorter than 127 bytes."""
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def get(path=b"/", *fields):
    """The block of a GET: the usual fields are in the static table (RFC 7541, appendix A)."""
    where = b"\x84" if path == b"/" else b"\x04" + bytes([len(path)]) + path
    return b"\x82\x86" + where + b"\x01\x04test" + b"".join(field(*pair) for pair in fields)


def request(stream, block):
    """A request without a body."""
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def reset(stream):
    """Takes the request back (CANCEL)."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
