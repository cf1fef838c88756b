"""The load: clients that keep their connection, clients that come on a new one each second, and
WebSockets that stay open. Each is bound by its cookie and checks with every answer that it is where
it was. Nothing is tried twice: what fails once is counted.

Commands come on stdin, one a line (`figures`, `calm` for an end to all but the WebSockets, `hang-up` for
an end to those); each is answered by the figures so far, one line of JSON. With `sockets` on the command
line there is nothing but WebSockets."""

import asyncio
import base64
import json
import os
import struct
import sys
import time

ADDRESS = ("127.0.0.1", 8080)
KEEPING, COMING, SOCKETS = 64, 200, 50
KEEPING_PAUSE, COMING_PAUSE, SOCKET_PAUSE = 0.25, 1.0, 0.5
PATIENCE = 20
PAGE = 1024


class Figures:
    def __init__(self):
        self.kept = self.came = self.echoed = self.opened = 0
        self.slowest = 0.0
        self.failed, self.moved, self.broken = [], [], []
        self.begun = time.monotonic()

    def note(self, where, what):
        where.append(f"{time.strftime('%H:%M:%S')} {what}")

    def line(self):
        lists = ("failed", "moved", "broken")
        told = {key: value for key, value in vars(self).items() if key not in lists}
        for key in lists:
            told[key] = len(getattr(self, key))
            told[f"{key}_first"] = getattr(self, key)[:10]
        told["seconds"] = time.monotonic() - self.begun
        return json.dumps(told)


class Client:
    """One that was never here before; its first answer binds it."""

    def __init__(self, figures, name):
        self.figures, self.name = figures, name
        self.cookie = self.home = None
        self.reader = self.writer = None

    async def connect(self):
        self.reader, self.writer = await asyncio.open_connection(*ADDRESS)

    def hang_up(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    async def send(self, more=""):
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        self.writer.write(f"GET / HTTP/1.1\r\nHost: a.example\r\n{cookie}{more}\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = [line.split(": ", 1) for line in head[1:] if line]
        fields = [(key.lower(), value) for key, value in fields]
        return int(head[0].split(" ")[1]), dict(fields), [v for k, v in fields if k == "set-cookie"]

    def check(self, fields, cookies):
        backend = fields.get("x-backend")
        if self.home is None:
            self.home = backend
            self.cookie = cookies[0].split(";")[0] if cookies else None
            if not cookies:
                self.figures.note(self.figures.failed, f"{self.name}: was not bound")
        elif backend != self.home or cookies:
            was = f"{self.name}: from {self.home} to {backend}, cookies {len(cookies)}"
            self.figures.note(self.figures.moved, was)

    async def ask(self):
        """One request; true if it was answered as it should."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                if self.writer is None:
                    await self.connect()
                status, fields, cookies = await self.send()
                await self.reader.readexactly(int(fields["content-length"]))
        except (OSError, EOFError, KeyError, ValueError, IndexError) as why:
            self.figures.note(self.figures.failed, f"{self.name}: {why!r}")
            self.hang_up()
            return False
        self.figures.slowest = max(self.figures.slowest, time.monotonic() - start)
        if status != 200 or int(fields["content-length"]) != PAGE:
            self.figures.note(self.figures.failed, f"{self.name}: status {status}")
            return False
        self.check(fields, cookies)
        if fields.get("connection", "").lower() == "close":
            self.hang_up()
        return True


async def paced(pause, nth, of):
    """Turns at a steady pace; who is late makes up for it. `nth` of the many spread over a pause."""
    due = time.monotonic() + pause * nth / of
    while True:
        await asyncio.sleep(max(0, due - time.monotonic()))
        yield
        due += pause


async def keep(figures, nth):
    client = Client(figures, f"keeping {nth}")
    async for _ in paced(KEEPING_PAUSE, nth, KEEPING):
        served = await client.ask()
        figures.kept += served


async def come(figures, nth):
    client = Client(figures, f"coming {nth}")
    async for _ in paced(COMING_PAUSE, nth, COMING):
        served = await client.ask()
        figures.came += served
        client.hang_up()


class Socket:
    """A WebSocket, which says something again and again and wants to hear it from its backend."""

    def __init__(self, figures, nth):
        self.figures, self.client = figures, Client(figures, f"WebSocket {nth}")
        self.wanted = True

    def frame(self, kind, said):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(said))
        self.client.writer.write(struct.pack("BB", 0x80 | kind, 0x80 | len(said)) + mask + masked)

    async def hear(self):
        first, length = await self.client.reader.readexactly(2)
        return first & 0x0F, await self.client.reader.readexactly(length)

    async def run(self):
        client = self.client
        try:
            async with asyncio.timeout(PATIENCE):
                await client.connect()
                key = base64.b64encode(os.urandom(16)).decode()
                status, fields, cookies = await client.send(
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    f"Sec-WebSocket-Key: {key}\r\n")
            if status != 101:
                raise ValueError(f"status {status}")
            client.check(fields, cookies)
            self.figures.opened += 1
            count = 0
            async for _ in paced(SOCKET_PAUSE, 0, 1):
                count += 1
                self.frame(1, str(count).encode())
                async with asyncio.timeout(PATIENCE):
                    kind, said = await self.hear()
                if (kind, said.decode("latin-1")) != (1, f"{client.home} {count}"):
                    raise ValueError(f"heard {kind} {said!r}")
                self.figures.echoed += 1
                if not self.wanted:
                    self.frame(8, struct.pack(">H", 1000))
                    async with asyncio.timeout(PATIENCE):
                        if (await self.hear())[0] != 8:
                            raise ValueError("no close in answer to ours")
                    break
        except (OSError, EOFError, KeyError, ValueError, IndexError) as why:
            self.figures.note(self.figures.broken, f"{client.name}: {why!r}")
        finally:
            client.hang_up()


async def main():
    figures = Figures()
    sockets = [Socket(figures, nth) for nth in range(SOCKETS)]
    talks = [asyncio.create_task(socket.run()) for socket in sockets]
    others = []
    if "sockets" not in sys.argv:
        others += [asyncio.create_task(keep(figures, nth)) for nth in range(KEEPING)]
        others += [asyncio.create_task(come(figures, nth)) for nth in range(COMING)]
    for task in (*talks, *others):
        task.add_done_callback(lambda task: task.cancelled() or task.result())
    while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if command == "hang-up":
            for socket in sockets:
                socket.wanted = False
            await asyncio.gather(*talks)
        elif command == "calm":
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        print(figures.line(), flush=True)


asyncio.run(main())
