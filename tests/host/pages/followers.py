"""Many who follow one job over HTTP, and some who ask to and then take nothing: run in the network of a test host.

usage: followers.py PATH COUNT SILENT

Prints "following" when all of them do, and when the job has ended, as one line of JSON: how many lines each of those
who listen has got, and when each of them had the end, in seconds after the first one had it.
"""

import asyncio
import json
import socket
import sys
import time
from contextlib import suppress

PLACE = ("127.0.0.1", 8190)
LIMIT = 240.0


async def follow(path: str, begun: "asyncio.Queue[None]") -> tuple[int, float]:
    """Number of the last line, and when the end came."""
    reader, writer = await asyncio.open_connection(*PLACE, limit=1 << 20)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: pages\r\nAccept: text/event-stream\r\n\r\n".encode())
    status = await reader.readline()
    assert b" 200 " in status, status
    begun.put_nowait(None)
    last, kind = 0, b""
    async with asyncio.timeout(LIMIT):
        async for line in reader:
            if line.startswith(b"id: "):
                last = int(line[4:])
            elif line.startswith(b"event: "):
                kind = line[7:].strip()
                if kind == b"end":
                    break
    writer.close()
    return last, time.monotonic()


def silent(path: str) -> socket.socket:
    """Asks, with as little room for an answer as there may be, and never reads one."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    made.connect(PLACE)
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: pages\r\n\r\n".encode())
    return made


async def main() -> None:
    path, count, mute = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    held = [silent(path) for _ in range(mute)]
    begun: asyncio.Queue[None] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        all_of_them = [group.create_task(follow(path, begun)) for _ in range(count)]
        async with asyncio.timeout(60):
            for _ in range(count):
                await begun.get()
        print("following", flush=True)
    found = [each.result() for each in all_of_them]
    first = min(when for _, when in found)
    ended = sorted(when - first for _, when in found)
    print(json.dumps({"lines": sorted({last for last, _ in found}), "median": ended[count // 2], "last": ended[-1]}))
    for each in held:
        with suppress(OSError):
            each.close()


if __name__ == "__main__":
    asyncio.run(main())
