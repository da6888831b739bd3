"""Reads the stream of a page many times over: `python -m tests.bench.desk.readers URL PAGES`.

Says `all` once each has heard the rows; ends with its standard input.
"""

import asyncio
import sys
from urllib.parse import urlsplit


async def read(host: str, port: int, heard: asyncio.Semaphore) -> None:
    """Read one stream for ever."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET /api/v1/stream HTTP/1.1\r\nhost: {host}:{port}\r\n"
                 "accept-encoding: gzip\r\n\r\n".encode())
    taken = 0
    while piece := await reader.read(1 << 16):
        if taken < 20_000 <= taken + len(piece):
            heard.release()
        taken += len(piece)
    raise EOFError("a stream has ended")


async def main(url: str, pages: int) -> None:
    """Read until standard input ends."""
    where, heard = urlsplit(url), asyncio.Semaphore(0)
    assert where.hostname is not None
    assert where.port is not None
    reading = [asyncio.create_task(read(where.hostname, where.port, heard)) for _ in range(pages)]
    for _ in reading:
        await heard.acquire()
    print("all", flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    done, _ = await asyncio.wait([ended, *reading], return_when=asyncio.FIRST_COMPLETED)
    for one in reading:
        one.cancel()
    for one in done:
        one.result()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
