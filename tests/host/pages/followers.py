"""Many followers of one job over HTTP, some of which take nothing: run outside a test host, by the path of its socket.

usage: followers.py SOCKET PATH COUNT SILENT

Prints "following" when all of them follow. When the job has ended, prints one line of JSON: the numbers of lines that
followers got, and the median and last delay of the end, in seconds after the first follower had it.
"""

import asyncio
import json
import socket
import sys
import time
from contextlib import suppress

LIMIT = 240.0


async def follow(path: str, beginnings: "asyncio.Queue[None]") -> tuple[int, float]:
    """Follow to the end; return the number of the last line, and the time of the end."""
    reader, writer = await asyncio.open_unix_connection(sys.argv[1], limit=1 << 20)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
    status = await reader.readline()
    assert b" 200 " in status, status
    beginnings.put_nowait(None)
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


def connect_silently(path: str) -> socket.socket:
    """Send a request with the smallest buffer for the answer, and never read it."""
    connection = socket.socket(socket.AF_UNIX)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    connection.connect(sys.argv[1])
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection


async def main() -> None:
    path, count, silent_count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    connections = [connect_silently(path) for _ in range(silent_count)]
    beginnings: asyncio.Queue[None] = asyncio.Queue()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(follow(path, beginnings)) for _ in range(count)]
        async with asyncio.timeout(60):
            for _ in range(count):
                await beginnings.get()
        print("following", flush=True)
    results = [each.result() for each in tasks]
    first = min(when for _, when in results)
    delays = sorted(when - first for _, when in results)
    print(
        json.dumps({"lines": sorted({last for last, _ in results}), "median": delays[count // 2], "last": delays[-1]})
    )
    for each in connections:
        with suppress(OSError):
            each.close()


if __name__ == "__main__":
    asyncio.run(main())
