"""Runs what may have to wait: as far as it can at once, then behind what it waits for.

Twisted's `Deferred.fromCoroutine` does the same and more (it can be cancelled and has a context of its own).
Of a login's steps and of the answers to most requests none has to wait, and they need nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")

_log = Logger("msgd")


def _nothing(_: object) -> None:
    pass


def _defect(error: Exception) -> None:
    _log.failure("something that answers for itself failed", Failure(error))  # type: ignore[no-untyped-call]  # Twisted's are untyped


def begin(
    work: Coroutine[Deferred[Any], Any, T],
    done: Callable[[T], object] = _nothing,
    failed: Callable[[Exception], object] = _defect,
) -> None:
    """Run `work`, which awaits Deferreds; then `done` gets its result, or `failed` what it raises.

    Where it has to wait for nothing, all of this is over when `begin` returns.
    """
    _go_on(None, work, done, failed)


def _go_on(
    got: object,
    work: Coroutine[Deferred[Any], Any, T],
    done: Callable[[T], object],
    failed: Callable[[Exception], object],
) -> None:
    try:
        if isinstance(got, Failure):
            waits_for = got.throwExceptionIntoGenerator(work)  # type: ignore[no-untyped-call]  # the same
        else:
            waits_for = work.send(got)
    except StopIteration as end:
        result: T = end.value
    except Exception as error:
        failed(error)
        return
    else:
        waits_for.addBoth(_go_on, work, done, failed)
        return
    done(result)
