"""A wake has the branch looked at now; a thousand of them have it looked at once."""

import asyncio
from pathlib import Path

from controller.source.git.address import parse_git_address
from controller.source.git.repository import GitSource
from controller.source.git.wake import sleep_or_wake, wake, wake_file, woken_at
from tests.source.git.repository import ESTATE, SITE, Repository, repository

__all__ = ["repository"]
DAY_S = 86400.0


def test_a_commit_is_noticed_by_a_wake_long_before_the_next_poll(
        repository: Repository, tmp_path: Path) -> None:
    repository.commit(estate=ESTATE)
    state = tmp_path / "state"
    source = GitSource(parse_git_address(repository.address), state, poll_s=DAY_S, least_s=0.02)

    async def noticed() -> None:
        await source.load()
        changes = aiter(source.changes())
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        repository.commit(more=SITE % "milan")
        async with asyncio.timeout(60):
            while not waiting.done():
                wake(state)
                await asyncio.wait({waiting}, timeout=0.1)
        await waiting
        assert set((await source.load()).sites) == {"milan", "paris"}

    asyncio.run(noticed())


def test_a_wake_ends_a_wait_and_one_that_was_seen_does_not(tmp_path: Path) -> None:
    async def waits() -> None:
        wake(tmp_path)
        async with asyncio.timeout(60):
            first = await sleep_or_wake(tmp_path, 0, DAY_S, 0.01)
            assert first == woken_at(tmp_path) > 0
            assert await sleep_or_wake(tmp_path, first, 0.05, 0.01) == first

    asyncio.run(waits())


def test_a_flood_of_wakes_shortens_no_wait_below_the_least(tmp_path: Path) -> None:
    async def looks() -> tuple[int, float]:
        count, seen, begun_s = 0, 0, asyncio.get_running_loop().time()
        async with asyncio.timeout(60):
            flood = asyncio.create_task(flooded())
            while not flood.done():
                seen = await sleep_or_wake(tmp_path, seen, DAY_S, 0.5)
                count += 1
        return count, asyncio.get_running_loop().time() - begun_s

    async def flooded() -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 1.0
        while loop.time() < until_s:
            wake(tmp_path)
            await asyncio.sleep(0)

    count, took_s = asyncio.run(looks())
    assert count <= took_s / 0.5 + 1


def test_a_wake_says_nothing_and_follows_no_link(tmp_path: Path) -> None:
    wake(tmp_path)
    assert wake_file(tmp_path).read_bytes() == b""
    assert wake_file(tmp_path).stat().st_mode & 0o077 == 0
