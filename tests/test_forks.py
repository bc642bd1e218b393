"""A forked server is what a started one is, in all that can be seen of it, and nobody is left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forks import ROOT, Forked, ForkServer, server_environment
from tests.harness import PATIENCE, Msgd, ServerFailed

#: Masks of signals, and what a process may: as the kernel tells them.
_KEPT = ("Umask", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "CapEff", "Groups")


def _picture(server: Msgd) -> dict[str, object]:
    """What is to be seen of a process from outside."""
    process = Path(f"/proc/{server.pid}")
    lines = (line.partition(":\t") for line in (process / "status").read_text().splitlines())
    opened = [str(link.readlink()) for link in (process / "fd").iterdir()]
    # How many threads have opened the database by now is a matter of time.
    database = {file for file in opened if "/msgd.sqlite" in file}
    files = [*database, *(file for file in opened if file not in database)]
    return {
        **{name: value for name, _, value in lines if name in _KEPT},
        "files": sorted(re.sub(r"\[\d+\]", "", file).replace(str(server.data), "") for file in files),
        "directory": (process / "cwd").readlink() == server.data,
        "limits": (process / "limits").read_text(),
        "group and session": (os.getpgid(server.pid), os.getsid(server.pid)),
        "commands": [line.partition(" ")[0] for line in server.command("help").splitlines()],
        "said": re.sub(r"\d+", "", server.log.read_text().replace(str(server.data), "")),
    }


@pytest.mark.parametrize("movable", [False, True], ids=["ordinary", "movable"])
def test_a_forked_server_looks_as_one_that_was_started(
    tmp_path: Path, forks: ForkServer, movable: bool
) -> None:
    pictures = []
    for name, source in (("started", None), ("forked", forks)):
        server = Msgd(tmp_path / name, movable=movable, forks=source)
        server.start()
        try:
            pictures.append(_picture(server))
            command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
            assert (b"msgd" in command) == (source is None)
        finally:
            server.kill()
    started, forked = pictures
    assert forked == started


def test_forked_servers_share_no_secrets(tmp_path: Path, forks: ForkServer) -> None:
    keys = set()
    for name in ("one", "two", "three"):
        server = Msgd(tmp_path / name, forks=forks)
        server.start()
        server.stop()
        keys.add((server.data / "certificates" / "localhost.key").read_bytes())
    assert len(keys) == 3


def test_the_environment_is_that_of_the_moment(
    tmp_path: Path, forks: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_clock = Msgd(tmp_path / "one", movable=True, forks=forks)
    with_clock.start()
    with_clock.advance(3600)
    without = Msgd(tmp_path / "two", forks=forks)
    without.start()
    with pytest.raises(ServerFailed, match="unknown command"):
        without.advance(3600)
    for server in (with_clock, without):
        server.kill()
    monkeypatch.setenv("LD_PRELOAD", "/nowhere/shim.so")
    with pytest.raises(ValueError, match="LD_PRELOAD"):
        without.start()


def test_how_it_ended_is_told(tmp_path: Path, forks: ForkServer) -> None:
    server = Msgd(tmp_path / "data", forks=forks)
    server.start()
    process = server.process
    assert isinstance(process, Forked)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    server.stop()
    assert process.wait() == 0
    process.kill()  # too late, and it may be another's number by now
    server.start()
    process = server.process
    assert process is not None
    server.kill()
    assert process.wait() == -signal.SIGKILL
    server.configure(["spool.windwo = 3"])
    with pytest.raises(ServerFailed, match="did you mean `window`"):
        server.start()


def test_a_wrong_call_has_its_exit_code(tmp_path: Path, forks: ForkServer) -> None:
    with (tmp_path / "said").open("wb") as said:
        process = forks.start(["sevre"], tmp_path, server_environment({}), said.fileno(), said.fileno())
        assert process.wait(PATIENCE) == 2
    assert "No such command 'sevre'" in (tmp_path / "said").read_text()


_OWNER = """
import sys
from pathlib import Path
from tests.forks import ForkServer
from tests.harness import Msgd

server = Msgd(Path(sys.argv[1]), forks=ForkServer())
server.start()
print(server.address()[1], flush=True)
sys.stdin.read()
"""


def test_who_is_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _OWNER, str(tmp_path / "data")]
    owner = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    assert owner.stdout is not None
    with socket.create_connection(("127.0.0.1", int(owner.stdout.readline())), PATIENCE) as client:
        owner.kill()
        assert client.recv(1) == b""  # the server has ended
    # The fork server has the same standard error, which ends with the last who has it.
    assert owner.communicate(timeout=PATIENCE) == (b"", b"")


def test_ctrl_c_is_not_for_the_fork_server(tmp_path: Path) -> None:
    with ForkServer() as forks:
        server = Msgd(tmp_path / "data", forks=forks)
        server.start()
        os.kill(forks.pid, signal.SIGINT)
        server.stop()
        server.start()
        assert server.process is not None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(PATIENCE) == 0


def test_servers_end_with_their_fork_server(tmp_path: Path) -> None:
    forks = ForkServer()
    server = Msgd(tmp_path / "data", forks=forks)
    server.start()
    with socket.create_connection(server.address(), PATIENCE) as client:
        forks.close()
        assert client.recv(1) == b""
    assert server.process is not None and server.process.wait(PATIENCE) == -signal.SIGKILL


def test_a_fork_server_that_fails_is_no_reason_to_wait(tmp_path: Path) -> None:
    with ForkServer(applied=("tests.nowhere", "")) as forks, pytest.raises(ConnectionError):
        Msgd(tmp_path / "data", forks=forks).start()
