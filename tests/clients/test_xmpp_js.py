"""xmpp.js, which speaks SASL2, Bind 2, FAST and inline resumption: what it negotiates, how often it waits.

Runs where `npm install` was run in tests/clients/xmpp_js.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.clients.conftest import People
from tests.harness import PASSWORD, PATIENCE, Msgd

_FOLDER: Final = Path(__file__).parent / "xmpp_js"


@pytest.mark.skipif(
    not ((_FOLDER / "node_modules" / "@xmpp" / "client").exists() and shutil.which("node")),
    reason="npm install was not run in tests/clients/xmpp_js",
)
def test_three_logins(server: Msgd, people: People) -> None:
    port = server.address(direct=True)[1]
    certificate = server.data / "certificates" / f"{server.domain}.crt"
    command = ["node", "login.mjs", f"xmpps://localhost:{port}", "localhost"]
    done = subprocess.run(
        [*command, people("romeo").partition("@")[0], PASSWORD],
        cwd=_FOLDER,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(certificate)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    password, resumed, token, pong = (json.loads(line) for line in done.stdout.splitlines())
    # By password: one challenge, and everything is there.
    assert password["mechanism"] == "SCRAM-SHA-1"
    assert password["sent"] == ["authenticate", "response"]
    assert "<bound " in password["success"]
    assert "<enabled " in password["success"]
    assert password["token"]
    # With the token there is one element each way behind the features, which xmpp.js waits for.
    for login in (resumed, token):
        assert login["mechanism"] == "HT-SHA-256-NONE"
        assert login["sent"] == ["authenticate"]
        assert login["jid"] == password["jid"]
    assert "<resumed " in resumed["success"]
    assert "<bound " in token["success"]
    assert pong["what"] == "result"
