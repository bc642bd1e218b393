"""The metrics: what a scrape says is right, OpenMetrics, and holds nobody's address."""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.crash.client import Client
from tests.forks import ForkServer
from tests.harness import Msgd, NewAccount

_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@pytest.fixture
def server(tmp_path: Path, forks: ForkServer) -> Iterator[Msgd]:
    made = Msgd(
        tmp_path / "data",
        ["login.plain = true", "listen.metrics = 0"],
        [NewAccount("canary"), NewAccount("absent")],
        forks=forks,
    )
    made.start()
    yield made
    made.kill()


def _get(server: Msgd, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str, str]:
    """Status, type and content of an answer."""
    host, _, port = server.ready["metrics"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request(method, path, body, {"accept": "application/openmetrics-text; version=1.0.0"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("content-type", ""), answer.read().decode()
    finally:
        connection.close()


def _values(text: str) -> dict[str, float]:
    """What a strict reader finds."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # has no types
        for sample in family.samples
        if not sample.labels
    }


def test_a_scrape_says_what_is(server: Msgd) -> None:
    async def talk() -> dict[str, float]:
        canary = Client("canary", "cage")
        await canary.log_in(server.address(direct=True), manage=True, presence=True)
        for number in range(7):
            canary.send(None, b"<message to='absent@localhost' id='%d'><body>tweet</body></message>" % number)
        canary.request()
        while canary.outstanding:
            await canary.acknowledged.wait()
            canary.acknowledged.clear()
        _, kind, text = await asyncio.to_thread(_get, server, "/metrics")
        assert kind.startswith(_OPENMETRICS)
        await canary.close()
        assert "@" not in text and "canary" not in text and "tweet" not in text
        return _values(text)

    values = asyncio.run(asyncio.wait_for(talk(), 30))
    assert values["msgd_sessions"] == values["msgd_sessions_bound_total"] == 1
    assert values["msgd_messages_accepted_total"] == values["msgd_messages_written_total"] == 7
    assert values["msgd_mailbox_waiting"] == 0  # its row is enough
    assert values["msgd_commits_total"] >= 1
    assert values["process_open_fds"] > 5
    assert values["msgd_strangers_bound"] == 4096


def test_every_queue_with_a_bound_says_it(server: Msgd) -> None:
    values = _values(_get(server, "/metrics")[2])
    bounds = {name for name in values if name.endswith("_bound")}
    assert len(bounds) >= 6
    for name in bounds:
        assert 0 <= values[name.removesuffix("_bound")] <= values[name] / 2


def test_health(server: Msgd) -> None:
    assert _get(server, "/health")[::2] == (200, "well\n")
    assert _get(server, "/nothing")[0] == 404
    assert _get(server, "/metrics", "DELETE")[0] in (405, 501)


def test_a_body_is_not_kept(server: Msgd) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        _get(server, "/metrics", "POST", b"x" * 1_000_000)


def test_connections_are_few(server: Msgd) -> None:
    host, _, port = server.ready["metrics"].rpartition(":")
    held = [socket.create_connection((host, int(port))) for _ in range(16)]
    one_more = socket.create_connection((host, int(port)))
    one_more.settimeout(20)
    try:
        assert one_more.recv(1) == b""
    except ConnectionResetError:
        pass  # the same, in another way
    for each in (*held, one_more):
        each.close()
    # Their end may be noticed after the next connection has come.
    for _ in range(200):
        try:
            assert _get(server, "/health")[0] == 200
            return
        except OSError:
            continue
    raise AssertionError("the places are not free again")


def test_there_is_no_door_unless_it_is_asked_for(tmp_path: Path, forks: ForkServer) -> None:
    server = Msgd(tmp_path / "data", forks=forks)
    server.start()
    assert "metrics" not in server.ready
    maps = Path(f"/proc/{server.pid}/net/tcp").read_text()
    inodes = {
        match[1]
        for link in Path(f"/proc/{server.pid}/fd").iterdir()
        if (match := re.match(r"socket:\[(\d+)\]", str(link.readlink())))
    }
    listening = [line.split() for line in maps.splitlines()[1:] if line.split()[3] == "0A"]
    assert sum(line[9] in inodes for line in listening) == 2  # the two for clients
    server.stop()
