"""A program of the admin's: the notification on its standard input, as JSON; no shell reads it.

It gets few variables of our environment, which may hold secrets. It is ended, with all that it has
started, when its time is over: it may have told somebody by then, so that is an unknown outcome.
"""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Final

from controller.alerting.message import Message, plain
from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.notify.spec import ExecSpec

PASSED: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER")
TRY_LATER: Final = 75
"""EX_TEMPFAIL of sysexits.h."""
REST_S: Final = 0.5
KEPT_BYTES: Final = 4096
SHOWN: Final = 200


async def call(spec: ExecSpec, message: Message, name: str) -> str:
    """Give a message to a program; return what was odd about that, if anything.

    Errors: Refused, Unavailable, OutcomeUnknown.
    """
    what = f"the program {spec.command[0]} of {name}"
    said = bytearray()
    async with _complaints(said) as complaints:
        try:
            process = await asyncio.create_subprocess_exec(
                *spec.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=complaints, start_new_session=True, cwd="/",
                env={key: os.environ[key] for key in PASSED if key in os.environ})
        except OSError as error:
            raise Refused(f"{what} cannot be started: {error.strerror or error}") from error
        try:
            async with asyncio.timeout(spec.timeout_s):
                # a program need not read its message
                assert process.stdin is not None, "it was opened"
                process.stdin.write(json.dumps(message.as_json()).encode() + b"\n")
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    await process.stdin.drain()
                process.stdin.close()
                status = await process.wait()
        except TimeoutError:
            raise OutcomeUnknown(f"{what} had not ended after {spec.timeout_s:g} s and was"
                                 " killed") from None
        finally:
            with contextlib.suppress(ProcessLookupError):    # all that it has started, too
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status == 0:
        return ""
    words = plain(said.decode(errors="replace"), SHOWN)
    sentence = f"{what} ended with {status}" + (f": {words}" if words else "")
    raise (Unavailable if status == TRY_LATER else Refused)(sentence)


@contextlib.asynccontextmanager
async def _complaints(said: bytearray) -> AsyncIterator[int]:
    """Yield a pipe to complain into; the first of it is kept, the rest is read and forgotten.

    Shapes: a pipe of ours, since asyncio waits for the end of its own, which what a program leaves
    behind may hold open for ever.
    """
    from_it, into_it = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_it, "rb"))

    async def read() -> None:
        """Read to the end."""
        while piece := await reader.read(KEPT_BYTES):
            said.extend(piece[:KEPT_BYTES - len(said)])

    reading = asyncio.create_task(read())
    try:
        yield into_it
    finally:
        os.close(into_it)
        await asyncio.wait({reading}, timeout=REST_S)
        reading.cancel()
        transport.close()
