"""The stream: each page hears what changed since what it knows, once."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.plan.survey.context import Suspension
from controller.store.store import Store
from controller.web.app import Web
from controller.web.stream import GZIP, Stream, packed
from tests.plan import builders as b
from tests.web.estates import SQL, opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def web(store: Store) -> Web:
    web = Web(store, lambda: b.NOW_S)
    web.feed.look()
    return web


async def heard(pieces: AsyncIterator[bytes], *names: str) -> dict[str, tuple[str, Any]]:
    """Take events until each of these was heard; return each one's last id and data."""
    found: dict[str, tuple[str, Any]] = {}
    while not found.keys() >= set(names):
        lines = dict(line.split(": ", 1) for line in (await anext(pieces)).decode().splitlines()
                     if ": " in line)
        if lines:
            found[lines["event"]] = lines.get("id", ""), json.loads(lines["data"])
    return found


def pause(store: Store) -> None:
    store.suspend(Suspension(SQL, "ann", "a test", b.NOW_S + 60))


def test_first_all_rows_then_only_news(web: Web, store: Store) -> None:
    async def whole() -> None:
        pieces = Stream(web.feed, web.head, "").pieces()
        first = await heard(pieces, "rows", "head")
        assert first["rows"][1].keys() == web.feed.desk.rows.keys()
        assert first["head"][1]["suspended"] == []
        keeping = asyncio.create_task(web.feed.keep())
        pause(store)
        then = await heard(pieces, "head")
        assert then["head"][1]["suspended"][0]["why"] == "a test"
        assert "rows" not in then, "no row says anything else yet"
        keeping.cancel()
    asyncio.run(whole())


def test_a_page_that_comes_back_hears_what_it_missed(web: Web, store: Store) -> None:
    async def whole() -> None:
        (last, _), = (await heard(Stream(web.feed, web.head, "").pieces(), "rows")).values()
        store.save_declared({target: one for target, one in store.declared().items()
                             if target != SQL})
        web.feed.look()
        again = await heard(Stream(web.feed, web.head, last).pieces(), "rows")
        assert again["rows"][1] == {SQL: None}
        assert "reset" not in again
    asyncio.run(whole())


@pytest.mark.parametrize("last", ["other-5", "-", "x", f"{'9' * 60}"])
def test_an_id_of_another_process_begins_anew(web: Web, last: str) -> None:
    async def whole() -> None:
        found = await heard(Stream(web.feed, web.head, last).pieces(), "reset", "rows")
        assert found["rows"][1].keys() == web.feed.desk.rows.keys()
    asyncio.run(whole())


def test_pieces_packed_one_by_one_are_one_stream() -> None:
    pieces = [b"", b"event: beat\ndata: {}\n\n" * 3, bytes(range(256)) * 1000, b"x"]
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(GZIP) == b""
    for piece in pieces:    # each is read whole as soon as it is there
        assert reader.decompress(packed(piece)) == piece


def test_pages_at_the_same_version_are_given_the_same_bytes(web: Web) -> None:
    assert web.feed.piece(0)[1] is web.feed.piece(0)[1]


def test_a_reader_that_takes_nothing_is_left(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.web.stream.BLOCKED_S", 0.05)

    async def whole() -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        async def blocked(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()
        async with asyncio.timeout(30):
            await Stream(web.feed, web.head, "")({"type": "http"}, never, blocked)
    asyncio.run(whole())
