"""The backends behind the gateway under test: they name themselves in a header and echo WebSockets.
The last of the ports named on the command line belongs to one that takes connections and is mute,
which it reports: a process that checks its backends is half-way through its start."""

import asyncio
import base64
import hashlib
import struct
import sys

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8
PAGE = b"0123456789abcdef" * 64


async def serve(name, reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            fields = {key.lower(): value for key, value in fields.items()}
            if "sec-websocket-key" in fields:
                digest = hashlib.sha1((fields["sec-websocket-key"] + MAGIC).encode()).digest()
                accept = base64.b64encode(digest).decode()
                writer.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
                             f"X-Backend: {name}\r\n\r\n".encode())
                await echo(name, reader, writer)
                return
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(PAGE)}\r\n"
                         f"X-Backend: {name}\r\n\r\n".encode() + PAGE)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def echo(name, reader, writer):
    """Short frames only, which is all that the load sends."""
    while True:
        first, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length & 0x7F)
        said = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        kind = first & 0x0F
        if kind == TEXT:
            said = f"{name} ".encode() + said
        writer.write(struct.pack("BB", 0x80 | kind, len(said)) + said)
        await writer.drain()
        if kind == CLOSE:
            return


async def be_mute(reader, writer):
    print("asked", flush=True)
    await reader.read()
    writer.close()


async def main(ports):
    def naming(name):
        return lambda reader, writer: serve(name, reader, writer)

    *speaking, mute = ports
    for number, port in enumerate(speaking, 1):
        await asyncio.start_server(naming(f"b{number}"), "127.0.0.1", port, backlog=4096)
    await asyncio.start_server(be_mute, "127.0.0.1", mute)
    print("ready", flush=True)
    # until whoever started this ends, or closes the pipe
    await asyncio.to_thread(sys.stdin.read)


asyncio.run(main([int(port) for port in sys.argv[1:]]))
