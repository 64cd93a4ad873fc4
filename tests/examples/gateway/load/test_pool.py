"""Connections that are lent one by one: no two calls have the same one, broken ones are replaced, waits are counted."""

from __future__ import annotations

import asyncio

import pytest

from examples.gateway.load.pool import Pool
from tests.examples.gateway.load.virtual_time import in_virtual_time


class Line:
    """A connection that knows how many use it."""

    def __init__(self) -> None:
        self.is_open, self.users = True, 0

    async def close(self) -> None:
        self.is_open = False


class Lines:
    """Opens them."""

    def __init__(self) -> None:
        self.opened: list[Line] = []

    async def open(self) -> Line:
        self.opened.append(Line())
        return self.opened[-1]


async def used(pool: Pool[Line], seconds: float = 1) -> float:
    """Use one for so long; when that began."""
    async with pool.lend() as line:
        began = asyncio.get_running_loop().time()
        line.users += 1
        assert line.users == 1
        await asyncio.sleep(seconds)
        line.users -= 1
    return began


def test_one_is_used_again_by_those_who_come_one_after_another() -> None:
    async def story() -> int:
        lines = Lines()
        pool = Pool(3, lines.open)
        for _ in range(5):
            await used(pool)
        return len(lines.opened)

    assert in_virtual_time(story()) == 1


def test_more_than_there_are_wait_and_are_counted() -> None:
    """Two connections, five users of a second each: two begin at once, two a second later, one two seconds later."""

    async def story() -> tuple[list[float], list[float], int]:
        lines = Lines()
        pool = Pool(2, lines.open)
        began = await asyncio.gather(*(used(pool) for _ in range(5)))
        return began, pool.waits_s, len(lines.opened)

    assert in_virtual_time(story()) == ([0, 0, 1, 1, 2], [1, 1, 2], 2)


def test_one_that_was_closed_is_replaced() -> None:
    async def story() -> list[bool]:
        lines = Lines()
        pool = Pool(1, lines.open)
        async with pool.lend() as line:
            await line.close()
        await used(pool)
        lines.opened[1].is_open = False  # while it lies in the pool
        await used(pool)
        return [line.is_open for line in lines.opened]

    assert in_virtual_time(story()) == [False, False, True]


def test_one_whose_user_was_cut_off_is_closed() -> None:
    async def story() -> list[bool]:
        lines = Lines()
        pool = Pool(1, lines.open)
        user = asyncio.create_task(used(pool))
        await asyncio.sleep(0.5)
        user.cancel()
        await asyncio.wait([user])
        await used(pool)
        return [line.is_open for line in lines.opened]

    assert in_virtual_time(story()) == [False, True]


def test_an_opening_that_fails_gives_its_place_back() -> None:
    async def story() -> None:
        async def fails() -> Line:
            raise ConnectionError

        pool = Pool(1, fails)
        for _ in range(3):
            with pytest.raises(ConnectionError):
                await used(pool)
        assert pool.waits_s == []

    in_virtual_time(story())


def test_closing_ends_all() -> None:
    async def story() -> list[bool]:
        lines = Lines()
        pool = Pool(2, lines.open)
        await asyncio.gather(used(pool), used(pool))
        await pool.close()
        return [line.is_open for line in lines.opened]

    assert in_virtual_time(story()) == [False, False]
