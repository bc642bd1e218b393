"""The log: never what people write, and by default not who they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from msgd.console.client import ask
from tests.clients.person import LoginFailed, Person
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

SECRET = "the nightingale and not the lark"


async def _talk(server: Msgd) -> None:
    async with Person(server, "canary@localhost/cage") as canary:
        canary.xmpp.send_message("canary@localhost", SECRET, mtype="chat")
        canary.xmpp.send_message("absent@localhost", SECRET, mtype="chat")
        canary.xmpp.send_message("nobody@localhost", SECRET, mtype="chat")
        await canary.messages.get()
        await canary.xmpp.plugin["xep_0199"].ping("localhost")
    with pytest.raises(LoginFailed):
        async with Person(server, "canary@localhost/cage", password="wrong"):
            pass


@pytest.mark.parametrize(("level", "jids"), [("info", False), ("debug", False), ("debug", True)])
def test_what_the_log_holds(tmp_path: Path, forks: ForkServer, level: str, jids: bool) -> None:
    server = Msgd(
        tmp_path / "data",
        [f'log.level = "{level}"', f"log.jids = {str(jids).lower()}"],
        [NewAccount("canary"), NewAccount("absent")],
        forks=forks,
    )
    server.start()
    asyncio.run(asyncio.wait_for(_talk(server), 30))
    assert ask(server.data / "console", "user disable canary@localhost")["ok"]
    server.stop()
    text = server.log.read_text()
    assert SECRET not in text and "nightingale" not in text
    assert ("canary" in text) == jids
    assert "disabled" in text and "failed: not-authorized" in text
    assert "Traceback" not in text and "#critical" not in text


def test_the_level_counts_from_a_reload_on(tmp_path: Path, forks: ForkServer) -> None:
    server = Msgd(tmp_path / "data", ['log.level = "error"'], [NewAccount("canary")], forks=forks)
    server.start()
    assert ask(server.data / "console", "user disable canary@localhost")["ok"]
    server.configure(['log.level = "info"'])
    assert "changed: log.level" in ask(server.data / "console", "reload")["text"][0]
    assert ask(server.data / "console", "user delete canary@localhost")["ok"]
    server.stop()
    text = server.log.read_text()
    assert ": deleted" in text and ": disabled" not in text
