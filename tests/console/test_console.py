"""The console of a running server: over its unix socket and over TCP, with `nc`, `telnet` and by program."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from msgd.console.client import ConsoleClient, NoConsole, ask
from tests.clients.person import Person
from tests.forks import ForkServer
from tests.harness import Msgd, ServerFailed

PATIENCE = 30.0


def path_of(server: Msgd) -> Path:
    return server.data / "console"


def rows(server: Msgd, line: str) -> list[dict[str, Any]]:
    answer = ask(path_of(server), line)
    assert answer["ok"], answer
    found: list[dict[str, Any]] = answer["rows"]
    return found


def values(server: Msgd, line: str) -> dict[str, Any]:
    return {row["what"]: row["value"] for row in rows(server, line)}


def plain(server: Msgd) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(path_of(server)))
    return connection


def read_until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while end not in found:
        received = connection.recv(65536)
        assert received, found
        found += received
    return found


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


# -- ways in -----------------------------------------------------------------------------------


def test_nc_asks_one_thing(server: Msgd) -> None:
    done = subprocess.run(
        [program("nc"), "-U", "-N", str(path_of(server))],
        input=b"status\n",
        capture_output=True,
        timeout=PATIENCE,
    )
    assert b"storage" in done.stdout and b"well" in done.stdout


def test_telnet_logs_in(server: Msgd, tcp_port: int) -> None:
    telnet = subprocess.Popen(
        [program("telnet"), "127.0.0.1", str(tcp_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    assert telnet.stdin is not None and telnet.stdout is not None
    said = b""
    talk = ((b"user: ", b"friar"), (b"password: ", b"sleeping draught"), (b"msgd> ", b"status"))
    for question, line in talk:
        while question not in said:
            said += os.read(telnet.stdout.fileno(), 4096)
        said = b""
        telnet.stdin.write(line + b"\n")
    while b"well" not in said:
        said += os.read(telnet.stdout.fileno(), 4096)
    telnet.stdin.write(b"quit\n")
    assert telnet.wait(PATIENCE) is not None
    telnet.stdin.close()
    telnet.stdout.close()


@pytest.mark.parametrize(("user", "password"), [("friar", "poison"), ("romeo", "sleeping draught"), ("", "")])
def test_tcp_refuses_a_wrong_login(server: Msgd, tcp_port: int, user: str, password: str) -> None:
    with socket.create_connection(("127.0.0.1", tcp_port), PATIENCE) as connection:
        read_until(connection, b"user: ")
        connection.sendall(f"{user}\r\n".encode())
        read_until(connection, b"password: ")
        connection.sendall(f"{password}\r\nstatus\r\n".encode())
        said = read_until(connection, b"user: ")
        assert b"refused" in said and b"storage" not in said


def test_tcp_gives_nothing_before_the_login(server: Msgd, tcp_port: int) -> None:
    with socket.create_connection(("127.0.0.1", tcp_port), PATIENCE) as connection:
        read_until(connection, b"user: ")
        with suppress(OSError):  # the server may be faster to hang up than this to send it all
            connection.sendall(b"x" * 100_000)
            connection.shutdown(socket.SHUT_WR)
        said = b""
        while received := _receive(connection):
            said += received
        assert b"msgd>" not in said


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionResetError:
        return b""


def test_the_socket_is_for_its_owner(server: Msgd) -> None:
    assert stat.S_IMODE(path_of(server).stat().st_mode) == 0o600


def test_a_file_in_the_way_is_not_removed(tmp_path: Path, forks: ForkServer) -> None:
    precious = tmp_path / "data" / "console"
    made = Msgd(tmp_path / "data", forks=forks)
    precious.write_text("precious")
    with pytest.raises(ServerFailed):
        made.start()
    assert precious.read_text() == "precious"
    assert "Traceback" not in made.log.read_text()


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path, forks: ForkServer) -> None:
    made = Msgd(tmp_path / "data", forks=forks)
    made.start()
    made.kill()
    with pytest.raises(NoConsole):
        ask(made.data / "console", "status")
    made.start()
    assert ask(made.data / "console", "status")["ok"]
    made.stop()


# -- lines -------------------------------------------------------------------------------------


def test_lines_of_every_kind_get_one_line(server: Msgd) -> None:
    with plain(server) as connection:
        read_until(connection, b"msgd> ")
        for line, said in (
            (b"sesions", b"did you mean `sessions`?"),
            (b"user", b"usage: user list"),
            (b"kick", b"usage: kick JID"),
            (b"kick @@", b"is no address"),
            (b"session nobody@localhost/x", b"no such session"),
            (b"user add romeo@localhost x", b"exists"),
            (b"user add romeo@elsewhere.example x", b"is not a domain of this server"),
            (b"say 'unfinished", b"cannot be read"),
            (b"\xfe\xc3\x01", b"unknown command"),
            (b"", b""),
        ):
            connection.sendall(line + b"\n")
            answer = read_until(connection, b"msgd> ")
            assert said in answer and answer.count(b"\r\n") == (1 if said else 0), line


def test_a_line_without_end(server: Msgd) -> None:
    """A megabyte on one line is one error, and the console goes on."""
    with plain(server) as connection:
        read_until(connection, b"msgd> ")
        connection.sendall(b"x" * 1_000_000 + b"\nstatus\n")
        said = read_until(connection, b"well")
        assert said.count(b"longer than") == 1


def test_telnet_negotiation_is_left_out(server: Msgd) -> None:
    """Options, sub-negotiation and commands, cut anywhere."""
    typed = b"\xff\xfd\x01sta\xff\xfa\x18\x00xterm\xff\xf0t\xff\xf1us\r\n"
    with plain(server) as connection:
        read_until(connection, b"msgd> ")
        for at in range(len(typed)):
            connection.sendall(typed[at : at + 1])
        assert b"well" in read_until(connection, b"msgd> ")


def test_commands_wait_their_turn(server: Msgd) -> None:
    with plain(server) as connection:
        connection.sendall(b"status\nqueues\nmemory\nquit\n")
        said = b""
        while received := connection.recv(65536):
            said += received
    assert said.index(b"storage") < said.index(b"jobs for the database") < said.index(b"resident")


def test_every_command_is_explained(server: Msgd) -> None:
    for row in rows(server, "help"):
        words = [word for word in row["command"].split() if word[0].islower()]
        answer = ask(path_of(server), " ".join(["help", *words]))
        assert answer["ok"] and answer["text"][0] == row["command"] and len(answer["text"]) >= 2


# -- commands ----------------------------------------------------------------------------------


def run(test: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


def test_sessions_and_kick(server: Msgd) -> None:
    async def test() -> None:
        async with Person(server, "romeo@localhost/orchard") as romeo:
            await romeo.xmpp.plugin["xep_0199"].ping("localhost")
            (row,) = rows(server, "sessions romeo@localhost")
            assert row["session"] == "romeo@localhost/orchard" and row["state"].startswith("available")
            assert values(server, "session romeo@localhost/orchard")["encryption"].startswith("TLSv1.3")
            routes = ask(path_of(server), "routes romeo@localhost")["text"]
            assert routes == ["to the session romeo@localhost/orchard (priority 0)"]
            ended = asyncio.Event()
            romeo.xmpp.add_event_handler("disconnected", lambda _: ended.set())
            assert ask(path_of(server), "kick romeo@localhost enough")["text"] == ["1 ended"]
            await ended.wait()
            assert rows(server, "sessions romeo@localhost") == []

    run(test)


def test_what_strangers_choose_is_shown_harmlessly(server: Msgd) -> None:
    """A roster name with escape sequences and a turn of direction reaches the operator as text."""
    name = "\u009b31mred\u202eder"  # XML has no escape character, but C1 controls do the same

    async def test() -> None:
        async with Person(server, "mercutio@localhost/x") as mercutio:
            await mercutio.xmpp.update_roster("tybalt@localhost", name=name)

    run(test)
    with plain(server) as connection:
        read_until(connection, b"msgd> ")
        connection.sendall(b"roster mercutio@localhost\n")
        said = read_until(connection, b"msgd> ").decode()
    assert "tybalt@localhost" in said and "\\u202e" in said
    assert not set(said) & set("\x1b\u009b\u202e")


def test_the_spool_of_an_account(server: Msgd) -> None:
    async def test() -> None:
        async with Person(server, "romeo@localhost/x") as romeo:
            romeo.xmpp.send_message("nurse@localhost", "a secret", mtype="chat")
            await romeo.xmpp.plugin["xep_0199"].ping("localhost")

    run(test)
    (row,) = rows(server, "spool nurse@localhost")
    assert row["state"] in ("waits", "not written yet")
    assert "secret" not in str(row)
    assert values(server, "spool")["state"] == "well"


def test_the_archive_of_an_account(server: Msgd) -> None:
    async def test() -> None:
        async with Person(server, "mercutio@localhost/x", plugins=("xep_0441",)) as mercutio:
            await mercutio.xmpp.plugin["xep_0441"].set_preferences("always")
            mercutio.xmpp.send_message("nurse@localhost", "a secret", mtype="chat")
            await mercutio.xmpp.plugin["xep_0199"].ping("localhost")

    before = values(server, "archive mercutio@localhost")
    assert (before["archived"], before["messages"], before.get("oldest")) == ("never", 0, None)
    run(test)
    after = values(server, "archive mercutio@localhost")
    assert (after["archived"], after["messages"]) == ("always", 1)
    assert after["bytes"] > 100 and after["oldest"] == after["newest"]
    assert "secret" not in str(after)
    assert not ask(path_of(server), "archive nobody@localhost")["ok"]


def test_watching_shows_stanzas_without_their_texts(server: Msgd) -> None:
    async def test() -> None:
        client = ConsoleClient(path_of(server))
        client.send("watch juliet@localhost")
        answers = client.answers()
        assert "watching" in next(answers)["line"]
        async with Person(server, "juliet@localhost/balcony") as juliet:
            juliet.xmpp.send_message("juliet@localhost", "nobody may read this", mtype="chat")
            seen = ""
            while "-> <message" not in seen:
                seen += (await asyncio.to_thread(next, answers))["line"] + "\n"
            assert "<- <message" in seen and "<body>(20)</body>" in seen
            assert "nobody may read this" not in seen
            client.send("")
            while "ok" not in (await asyncio.to_thread(next, answers)):
                pass
        client.close()

    run(test)


def test_a_slow_watcher_stops_nobody(server: Msgd) -> None:
    """Who does not read what he watches misses some of it, and the server goes on."""

    async def test() -> None:
        with plain(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"watch tybalt@localhost\n")
            read_until(connection, b"watching")
            async with Person(server, "tybalt@localhost/x") as tybalt:
                for _ in range(3000):
                    tybalt.xmpp.send_message("tybalt@localhost", "x" * 300, mtype="headline")
                await tybalt.xmpp.plugin["xep_0199"].ping("localhost")
            assert values(server, "status")["storage"] == "well"

    run(test)


def test_accounts(server: Msgd) -> None:
    def said(line: str) -> str:
        answer = ask(path_of(server), line)
        return str(answer.get("text") or answer.get("error"))

    assert "added" in said("user add paris@localhost 'two words \"and quotes\"'")
    assert "exists" in said("user add paris@localhost x")
    assert "paris@localhost" in [row["account"] for row in rows(server, "user list localhost")]

    async def test() -> None:
        async with Person(server, "paris@localhost/x", password='two words "and quotes"') as paris:
            ended = asyncio.Event()
            paris.xmpp.add_event_handler("disconnected", lambda _: ended.set())
            assert "disabled" in said("user disable paris@localhost")
            await ended.wait()

    run(test)
    assert "enabled" in said("user enable paris@localhost")
    assert "changed" in said("user passwd paris@localhost another")
    assert "deleted" in said("user delete paris@localhost")
    assert "no such account" in said("roster paris@localhost")


def test_reload_and_shutdown(tmp_path: Path, forks: ForkServer) -> None:
    made = Msgd(tmp_path / "data", forks=forks)
    made.start()
    assert "changed: nothing" in ask(made.data / "console", "reload")["text"][0]
    made.configure(["spool.window = 0"])
    assert "refused" in ask(made.data / "console", "reload")["text"][0]
    assert ask(made.data / "console", "shutdown")["text"] == ["stopping"]
    assert made.process is not None and made.process.wait(PATIENCE) == 0
