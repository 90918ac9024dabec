"""Painting for many: once for all who want it, in a queue that ends, and for nobody who has left."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tilegen.server.cache import ByteCache
from tilegen.server.painter import BusyError, Painter
from tilegen.server.pyramid import Pyramid
from tilegen.testing.imagery import AddressImagery


class Slow:
    """Paints when it is told to."""

    def __init__(self):
        self.gate, self.begun, self.keys = threading.Event(), threading.Semaphore(0), []

    def __call__(self, *key):
        self.keys.append(key)
        self.begun.release()
        assert self.gate.wait(60)
        return np.full((1, 2, 2), key[0], np.uint8)


async def begun(slow):
    """Wait until something more was begun."""
    with ThreadPoolExecutor(1) as pool:
        assert await asyncio.get_running_loop().run_in_executor(pool, slow.begun.acquire, True, 60)


def test_a_block_that_many_want_is_painted_once():
    async def story():
        slow, kept = Slow(), []
        painter = Painter(slow, lambda key, pixels: kept.append(key), num_threads=2, most_waiting=4)
        wanted = [asyncio.create_task(painter.block(5)) for _ in range(9)]
        await begun(slow)
        slow.gate.set()
        assert {int(pixels[0, 0, 0]) for pixels in await asyncio.gather(*wanted)} == {5}
        assert slow.keys == kept == [(5,)]
        assert len(painter) == 0
        painter.close()

    asyncio.run(story())


def test_a_full_queue_refuses_what_is_new_and_serves_what_is_in_it():
    async def story():
        slow = Slow()
        painter = Painter(slow, lambda key, pixels: None, num_threads=1, most_waiting=3)
        wanted = [asyncio.create_task(painter.block(number)) for number in range(3)]
        await begun(slow)
        with pytest.raises(BusyError):
            await painter.block(3)
        again = asyncio.create_task(painter.block(2))
        slow.gate.set()
        assert [int(pixels[0, 0, 0]) for pixels in await asyncio.gather(*wanted, again)] == [0, 1, 2, 2]
        painter.close()

    asyncio.run(story())


def test_who_leaves_frees_the_place_unless_another_waits_or_it_was_begun():
    async def story():
        slow, kept = Slow(), []
        painter = Painter(slow, lambda key, pixels: kept.append(key), num_threads=1, most_waiting=9)
        first, lonely, shared, staying = (asyncio.create_task(painter.block(n)) for n in (0, 1, 2, 2))
        await begun(slow)
        for task in (first, lonely, shared):
            task.cancel()
        await asyncio.wait({first, lonely, shared})
        assert len(painter) == 2
        slow.gate.set()
        assert int((await staying)[0, 0, 0]) == 2
        assert kept == [(0,), (2,)]  # what was begun is finished, what nobody wanted never was
        painter.close()

    asyncio.run(story())


def test_who_comes_after_one_who_left_begins_afresh():
    async def story():
        slow = Slow()
        painter = Painter(slow, lambda key, pixels: None, num_threads=1, most_waiting=9)
        busy, lonely = asyncio.create_task(painter.block(0)), asyncio.create_task(painter.block(1))
        await begun(slow)
        lonely.cancel()
        await asyncio.wait({lonely})
        again = asyncio.create_task(painter.block(1))
        slow.gate.set()
        assert int((await again)[0, 0, 0]) == 1
        await busy
        painter.close()

    asyncio.run(story())


def test_a_tile_that_fails_frees_all_its_places():
    async def story():
        imagery = AddressImagery()
        pyramid = Pyramid(imagery, cache_bytes=1 << 24, num_threads=1, most_waiting=10)
        with pytest.raises(BusyError):
            await pyramid.tile(0, 3, 0, 0)  # needs sixteen
        imagery.gate.set()
        await pyramid.tile(0, 0, 50, 50)  # the queue is of use again
        assert set(imagery.painted) <= {(0, 0, 0, 0), (0, 0, 25, 25)}
        pyramid.close()

    asyncio.run(story())


def test_a_painter_that_fails_says_so_to_all_and_paints_on():
    async def story():
        def paint(number):
            if number:
                raise ValueError("paint is dry")
            return np.zeros((1, 1, 1), np.uint8)

        painter = Painter(paint, lambda key, pixels: None, num_threads=1, most_waiting=9)
        failed = await asyncio.gather(painter.block(1), painter.block(1), return_exceptions=True)
        assert [str(error) for error in failed] == ["paint is dry"] * 2
        assert (await painter.block(0)).shape == (1, 1, 1)
        painter.close()

    asyncio.run(story())


# What is kept


@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30), st.booleans()), max_size=40))
@settings(max_examples=60)
def test_a_cache_never_holds_more_than_it_may_and_forgets_the_oldest(most_bytes, story):
    """Beside a plain list of what was used, oldest first."""
    cache, plain = ByteCache(most_bytes), []
    for key, num_bytes, is_put in story:
        if is_put:
            cache.put(key, (key, num_bytes), num_bytes)
            plain = [entry for entry in plain if entry[0] != key]
            plain += [(key, num_bytes)] if num_bytes <= most_bytes else []
            while sum(size for _, size in plain) > most_bytes:
                plain.pop(0)
        else:
            found = next((entry for entry in plain if entry[0] == key), None)
            assert cache.get(key) == found
            if found:
                plain.remove(found)
                plain.append(found)
        assert (len(cache), cache.num_bytes) == (len(plain), sum(size for _, size in plain))
        assert cache.num_bytes <= most_bytes
