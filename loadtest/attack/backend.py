"""A toy backend: a few bytes for most paths, after a second for /slow, ten megabytes for /big. Bodies
are thrown away.

    backend.py FD    serves at the listening socket of that number
"""

import asyncio
import socket
import sys

SMALL = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"
BIG = 10_000_000
BIG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG
PIECE = bytes(65536)


class Backend(asyncio.Protocol):
    """One connection. Knows as much of HTTP/1.1 as the gateway sends."""

    def connection_made(self, transport):
        # what the kernel holds of answers that nobody takes is not the gateway's
        sending = transport.get_extra_info("socket")
        sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        self.transport, self.read, self.body, self.owed = transport, b"", 0, 0
        self.may_write = True

    def data_received(self, data):
        self.read += data
        while self.read:
            if self.body:
                taken = min(self.body, len(self.read))
                self.read, self.body = self.read[taken:], self.body - taken
                if not self.body:
                    self.answer()
                continue
            head, end, rest = self.read.partition(b"\r\n\r\n")
            if not end:
                return
            self.read = rest
            self.path = head.split(b" ", 2)[1]
            at = head.lower().find(b"content-length:")
            self.body = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if not self.body:
                self.answer()

    def answer(self):
        if self.path == b"/slow":
            asyncio.get_running_loop().call_later(1, self.transport.write, SMALL)
            return
        if self.path != b"/big":
            self.transport.write(SMALL)
            return
        self.transport.write(BIG_HEAD)
        self.owed = BIG
        self.pour()

    def pour(self):
        """Writes on as long as the gateway takes it; a copy for each client is never made."""
        while self.owed and self.may_write:
            piece = PIECE[: self.owed]
            self.owed -= len(piece)
            self.transport.write(piece)

    def pause_writing(self):
        self.may_write = False

    def resume_writing(self):
        self.may_write = True
        self.pour()


async def main():
    listener = socket.socket(fileno=int(sys.argv[1]))
    server = await asyncio.get_running_loop().create_server(Backend, sock=listener, backlog=4096)
    await server.serve_forever()


asyncio.run(main())
