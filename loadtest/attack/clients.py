"""Clients that behave: requests at a fixed rate over kept connections, whatever the answers take.

    clients.py HOST PORT RATE CONNECTIONS [FRESH]

FRESH: every so many requests one is made over a new connection, as a newcomer would. Reads `begin`
and `end` from its input, and answers the latter with a line of JSON: the latencies in microseconds
of what was asked in between, and what failed. Time that a request waits for a free connection counts.
"""

import json
import os
import select
import socket
import sys
import time
from collections import deque

GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
PATIENCE = 10


class Connection:
    def __init__(self, address, kept):
        self.kept, self.due, self.read = kept, None, b""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)

    def ask(self, due):
        self.due, self.read = due, b""
        self.socket.send(GET)

    def is_answered(self):
        """Whether the answer is complete; raises when there will be none."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self.read += data
        head, end, body = self.read.partition(b"\r\n\r\n")
        if not end:
            return False
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.split(b"\r\n", 1)[0].decode("latin1"))
        return True


class Crowd:
    def __init__(self, address, rate, connections, fresh):
        self.address, self.pause, self.fresh = address, 1 / rate, fresh
        self.poll = select.epoll()
        self.poll.register(sys.stdin, select.EPOLLIN)
        self.open, self.free, self.waiting = {}, deque(), deque()
        self.measuring, self.latencies, self.failures, self.asked = False, [], {}, 0
        for _ in range(connections):
            connection = self.connect(True)
            # the others come only when it has been taken in
            select.select([], [connection.socket], [], PATIENCE)
            self.free.append(connection)

    def connect(self, kept):
        connection = Connection(self.address, kept)
        self.open[connection.socket.fileno()] = connection
        self.poll.register(connection.socket, select.EPOLLIN if kept else select.EPOLLOUT)
        return connection

    def close(self, connection):
        self.open.pop(connection.socket.fileno(), None)
        connection.socket.close()

    def failed(self, connection, why):
        if self.measuring and connection.due is not None:
            self.failures[str(why)] = self.failures.get(str(why), 0) + 1
        if connection in self.free:
            self.free.remove(connection)
        kept = connection.kept
        self.close(connection)
        if kept:
            self.free.append(self.connect(True))

    def due(self, at):
        self.asked += 1
        if self.fresh and self.asked % self.fresh == 0:
            # asks as soon as it is connected
            self.connect(False).due = at
        else:
            self.waiting.append(at)

    def hand_out(self):
        while self.waiting and self.free:
            connection = self.free.popleft()
            try:
                connection.ask(self.waiting.popleft())
            except OSError as why:
                self.failed(connection, why)

    def happened(self, connection, event):
        try:
            if event & select.EPOLLOUT:
                connection.socket.send(GET)
                self.poll.modify(connection.socket, select.EPOLLIN)
                return
            if not connection.is_answered():
                return
        except OSError as why:
            self.failed(connection, why)
            return
        if self.measuring:
            self.latencies.append(int((time.monotonic() - connection.due) * 1e6))
        connection.due = None
        if connection.kept:
            self.free.append(connection)
        else:
            self.close(connection)

    def commands(self):
        # not `readline`, which may keep a second line back from the poll
        words = os.read(sys.stdin.fileno(), 4096).decode().split()
        for word in words or ["leave"]:
            self.command(word)

    def command(self, word):
        if word == "begin":
            self.latencies, self.failures, self.measuring = [], {}, True
        elif word == "end":
            now = time.monotonic()
            self.measuring = False
            # what is still open counts as long as it has taken so far
            late = [c.due for c in self.open.values() if c.due is not None] + list(self.waiting)
            self.latencies += [int((now - due) * 1e6) for due in late]
            print(json.dumps({"latencies": self.latencies, "failures": self.failures}), flush=True)
        else:
            sys.exit()

    def run(self):
        due = time.monotonic()
        while True:
            now = time.monotonic()
            while due <= now:
                # not `due`: when this process is late itself, that is not the gateway's fault
                self.due(now)
                due += self.pause
            self.hand_out()
            for number, event in self.poll.poll(max(due - time.monotonic(), 0)):
                if number == sys.stdin.fileno():
                    self.commands()
                elif number in self.open:
                    self.happened(self.open[number], event)


host, port, rate, connections = sys.argv[1], *map(int, sys.argv[2:5])
Crowd((host, port), rate, connections, int(sys.argv[5]) if len(sys.argv) > 5 else 0).run()
