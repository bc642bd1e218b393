"""Waiting for what another process makes so: looked at again and again, until it is there or too late.

What is looked at is what servers say of themselves on their console. Never is time itself waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from msgd.console.client import NoConsole, ask
from tests.harness import PATIENCE, Msgd, ServerFailed

T = TypeVar("T")
#: Seconds between two looks.
_PAUSE: Final = 0.02


def wait_until(condition: Callable[[], T], what: str | Callable[[], object], seconds: float = PATIENCE) -> T:
    """What `condition` says, once that is true. Fails with `what` when it never is, a function of what is."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"not within {seconds:g} s: {told}")
        time.sleep(_PAUSE)
    return found


def until_told(server: Msgd, command: str, wanted: str, seconds: float = PATIENCE) -> str:
    """Until the console's answer to `command` has `wanted` in it; the answer."""
    told = ""

    def look() -> bool:
        nonlocal told
        told = server.command(command)
        return wanted in told

    wait_until(look, lambda: f"'{wanted}' in the answer to `{command}`, at last: {told}", seconds)
    return told


def rows(server: Msgd, command: str) -> list[dict[str, Any]]:
    """The table that a command of the console answers with. Raises ServerFailed."""
    try:
        answer = ask(server.data / "console", command)
    except NoConsole as error:
        raise ServerFailed(str(error)) from None
    return list(answer["rows"])


def links(server: Msgd, domain: str) -> list[dict[str, Any]]:
    """The links of a server with a domain, as `links` tells."""
    return [each for each in rows(server, "links") if domain in each["theirs"].split(", ")]


def waiting(server: Msgd, domain: str) -> int:
    """How many messages wait for a domain or are on their way, and may have to be sent again."""
    return sum(each["messages"] for each in rows(server, f"link {domain}"))


def until_waiting(server: Msgd, domain: str, count: int, seconds: float = PATIENCE) -> None:
    """Until so many messages wait for a domain or are on their way."""
    wait_until(
        lambda: waiting(server, domain) == count,
        lambda: f"{count} messages wait for {domain}, at last {waiting(server, domain)}",
        seconds,
    )


def until_none_waits(server: Msgd, domain: str, seconds: float = PATIENCE) -> None:
    """Until the other server has acknowledged everything."""
    until_waiting(server, domain, 0, seconds)


def until_attempts_failed(server: Msgd, domain: str, number: int, seconds: float = PATIENCE) -> None:
    """Until it was tried so often in vain to make a link, since the last one."""
    wait_until(
        lambda: [each["failed attempts"] for each in rows(server, f"link {domain}")] == [number],
        lambda: f"attempt {number} has failed, at last: {rows(server, f'link {domain}')}",
        seconds,
    )


def taken(server: Msgd, domain: str, accepted: int) -> int:
    """How many of the `accepted` messages the other server has at least; 0 where we are down just now."""
    with suppress(ServerFailed):
        return accepted - waiting(server, domain)
    return 0
