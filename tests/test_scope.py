"""A block ended from outside: it ends wherever it waits, swallows its own cancellation only, and nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dgrid_async.scope import Scope


def scope_here() -> Scope:
    return Scope(asyncio.get_running_loop())


@pytest.mark.parametrize("end", [Scope.end, Scope.end_soon])
async def test_it_ends_a_block_that_waits(end: Callable[[Scope], None]) -> None:
    done: list[str] = []
    scopes: list[Scope] = []

    async def wait() -> None:
        with scope_here() as scope:
            scopes.append(scope)
            await asyncio.Event().wait()
            done.append("inside")
        done.append("behind")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    end(scopes[0])
    end(scopes[0])
    await task
    assert done == ["behind"]
    assert task.cancelling() == 0


async def test_a_block_that_nobody_ends_changes_nothing() -> None:
    with scope_here():
        await asyncio.sleep(0)
    with pytest.raises(KeyError), scope_here():
        raise KeyError


async def test_a_cancellation_from_elsewhere_passes_through() -> None:
    async def wait() -> None:
        with scope_here():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("first", ["scope", "task"])
async def test_a_cancellation_at_the_same_moment_passes_through(first: str) -> None:
    scopes: list[Scope] = []

    async def wait() -> None:
        with scope_here() as scope:
            scopes.append(scope)
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    ends = [scopes[0].end, task.cancel]
    for end in ends if first == "scope" else reversed(ends):
        end()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


async def test_what_the_block_raises_as_it_is_ended_passes_through() -> None:
    scopes: list[Scope] = []

    async def wait() -> int:
        with scope_here() as scope:
            scopes.append(scope)
            try:
                await asyncio.Event().wait()
            finally:
                raise KeyError
        return 1

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    scopes[0].end()
    with pytest.raises(KeyError):
        await task
    assert task.cancelling() == 0, "its own cancellation is taken back all the same"


async def test_an_end_that_comes_too_late_harms_nobody() -> None:
    with scope_here() as scope:
        scope.end_soon()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_scopes_in_each_other_end_their_own_block() -> None:
    done: list[str] = []
    scopes: list[Scope] = []

    async def wait() -> None:
        with scope_here() as outer:
            with scope_here() as inner:
                scopes.extend([outer, inner])
                await asyncio.Event().wait()
            done.append("between")
            await asyncio.Event().wait()
        done.append("behind")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    scopes[1].end()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert done == ["between"]
    scopes[0].end()
    await task
    assert done == ["between", "behind"]
