"""Real Prosody and ejabberd (Debian packages) as peers, each with its own configuration, ports and data."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.harness import PASSWORD, free_ports
from tests.links.waiting import wait_until
from tests.links.world import Someone, World

_PROSODY = """
run_as_root = true
daemonize = false
pidfile = "{data}/prosody.pid"
data_path = "{data}/data"
plugin_paths = {{ "{data}/modules" }}
unbound = {{ resolvconf = "{resolv}"; hoststxt = false; options = {{ ["do-not-query-localhost:"] = "no" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {plain} }}
c2s_direct_tls_ports = {{ {direct} }}
s2s_ports = {{ {server} }}
s2s_direct_tls_ports = {{ {server_direct} }}
http_ports = {{ }}
https_ports = {{ }}
use_ipv6 = false
modules_enabled = {{ "names"; "roster"; "saslauth"; "tls"; "disco"; "smacks"; "vcard_legacy"; "pep"; "ping";
  "time"; "version"; "lastactivity"; "offline"; {modules} }}
modules_disabled = {{ {without} }}
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = {secure}
smacks_enabled_s2s = true
authentication = "internal_hashed"
log = {{ {level} = "{data}/prosody.log" }}
ssl = {{ key = "{key}"; certificate = "{certificate}"; cafile = "{authority}"; }}
c2s_direct_tls_ssl = {{ key = "{key}"; certificate = "{certificate}"; }}
s2s_direct_tls_ssl = {{ key = "{key}"; certificate = "{certificate}"; cafile = "{authority}"; }}
{extra}
VirtualHost "{domain}"
"""

#: Prosody without libunbound asks the servers of /etc/resolv.conf only.
_NAMES = """
module:set_global();
local resolver = getmetatable(require "net.dns".resolver());
if resolver then
    resolver.adddefaultnameservers = function (self) self:addnameserver("{address}"); end
end
"""

_EJABBERD = """
hosts: [{hosts}]
loglevel: {level}
log_rotate_count: 0
certfiles: ["{data}/both.pem"]
ca_file: "{authority}"
listen:
  - {{port: {plain}, ip: "127.0.0.1", module: ejabberd_c2s, starttls_required: true, access: all}}
  - {{port: {direct}, ip: "127.0.0.1", module: ejabberd_c2s, tls: true, access: all}}
  - {{port: {server}, ip: "127.0.0.1", module: ejabberd_s2s_in}}
s2s_use_starttls: {starttls}
s2s_cafile: "{authority}"
s2s_max_retry_delay: 1
s2s_dns_timeout: 5
s2s_dns_retries: 1
auth_method: sql
auth_password_format: scram
registration_timeout: infinity
default_db: sql
sql_type: sqlite
sql_database: "{data}/ejabberd.sqlite"
sql_pool_size: 1
queue_type: ram
fqdn: "{domain}"
acl: {{local: {{user_regexp: ""}}}}
modules:
  mod_caps: {{}}
  mod_disco: {{}}
  mod_last: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_pubsub: {{plugins: ["flat", "pep"]}}
  mod_register: {{access: all, ip_access: all, password_strength: 0}}
  mod_roster: {{versioning: true}}
  mod_stream_mgmt: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
{modules}
"""


def need(world: World, program: str) -> str:
    """The address of the name server for programs that know port 53 only; skips when there is none."""
    if shutil.which(program) is None and not Path("/usr/bin", program).exists():
        pytest.skip(f"{program} is not installed (Debian package)")
    if world.dns.standard is None:
        pytest.skip("port 53 of a loopback address cannot be bound (needs root or CAP_NET_BIND_SERVICE)")
    return world.dns.standard


class Peer:
    """A server of another make."""

    #: Where what they log costs something that counts.
    quiet = False

    def __init__(self, world: World, domain: str) -> None:
        self.domain = domain
        self.data = world.directory / domain
        self.data.mkdir(parents=True)
        self.plain, self.direct, self.server, self.server_direct = free_ports(4)
        self.process: subprocess.Popen[bytes] | None = None
        world.servers.append(self)
        # Each asks DNS, or the system, for addresses of hosts; both know this one.
        world.dns.service(domain, "localhost", self.server)
        self.resolv = self.data / "resolv.conf"

    def address(self, direct: bool = False) -> tuple[str, int]:
        """Where clients connect."""
        return "127.0.0.1", self.direct if direct else self.plain

    def _await_ports(self, *ports: int) -> None:
        wait_until(lambda: self._listens(ports), lambda: f"{self.domain} listens:\n{self._said()}")

    def _listens(self, ports: tuple[int, ...]) -> bool:
        assert self.process is not None
        try:
            for port in ports:
                socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if self.process.poll() is not None:
                raise OSError(self._said()) from None
            return False
        return True

    def _said(self) -> str:
        return (self.data / "stdout").read_text()[-3000:]

    def start(self) -> None:
        """Start, ready when this returns."""
        raise NotImplementedError

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End its whole process group, and wait."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, how)
            except ProcessLookupError:
                pass
            self.process.wait(30)
            self.process = None

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)


class Prosody(Peer):
    """Prosody 0.12."""

    def __init__(
        self,
        world: World,
        domain: str,
        people: Iterable[str] = (),
        pair: tuple[Path, Path] | None = None,
        modules: Iterable[str] = (),
        without: Iterable[str] = ("dialback",),
        secure: bool = True,
        extra: str = "",
    ) -> None:
        address = need(world, "prosody")
        super().__init__(world, domain)
        certificate, key = pair or world.authority.issue(domain, domain)
        self.resolv.write_text(f"nameserver {address}\n")
        (self.data / "modules").mkdir()
        (self.data / "modules" / "mod_names.lua").write_text(_NAMES.format(address=address))
        for each in people:
            name, _, place = each.partition("@")
            directory = self.data / "data" / (place or domain).replace(".", "%2e") / "accounts"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / f"{name}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}"; }};\n')
        (self.data / "prosody.cfg.lua").write_text(
            _PROSODY.format(
                level="warn" if self.quiet else "debug",
                data=self.data, domain=domain, plain=self.plain, direct=self.direct, server=self.server,
                server_direct=self.server_direct, key=key, certificate=certificate, extra=extra,
                authority=world.authority.file, resolv=self.resolv, secure=str(secure).lower(),
                modules="".join(f'"{name}"; ' for name in modules),
                without="".join(f'"{name}"; ' for name in without),
            )
        )  # fmt: skip

    def start(self) -> None:
        """Start, ready when this returns."""
        with (self.data / "stdout").open("ab") as out:
            self.process = subprocess.Popen(
                ["/usr/bin/lua5.4", "/usr/bin/prosody", "-F", "--config", str(self.data / "prosody.cfg.lua")],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._await_ports(self.plain, self.direct, self.server)


class Ejabberd(Peer):
    """ejabberd 23.01, without a node name and without epmd.

    On SQLite: what its own database has stored does not survive a kill for some seconds.
    """

    def __init__(
        self,
        world: World,
        domain: str,
        people: Iterable[str] = (),
        pair: tuple[Path, Path] | None = None,
        dialback: bool = False,
        starttls: str = "required",
        others: Iterable[str] = (),
        modules: str = "",
    ) -> None:
        address = need(world, "ejabberdctl")
        if not any(Path("/usr/lib/erlang/lib").glob("p1_sqlite3-*")):
            pytest.skip("ejabberd cannot use SQLite (Debian package erlang-p1-sqlite3)")
        super().__init__(world, domain)
        certificate, key = pair or world.authority.issue(domain, domain)
        self.people = list(people)
        self._registered = False
        self.resolv.write_text(f"nameserver {address}\n")
        (self.data / "inetrc").write_text(f'{{resolv_conf, "{self.resolv}"}}.\n{{lookup, [dns]}}.\n')
        (self.data / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
        (self.data / "mnesia").mkdir()
        modules += "  mod_s2s_dialback: {}\n" if dialback else ""
        (self.data / "ejabberd.yml").write_text(
            _EJABBERD.format(
                level="warning" if self.quiet else "debug",
                hosts=", ".join(f'"{each}"' for each in (domain, *others)),
                data=self.data, domain=domain, plain=self.plain, direct=self.direct, server=self.server,
                authority=world.authority.file, starttls=starttls, modules=modules,
            )
        )  # fmt: skip

    def start(self) -> None:
        """Start, ready when this returns, with its people registered."""
        environment = {
            **os.environ,
            "EJABBERD_CONFIG_PATH": str(self.data / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self.data / "ejabberd.log"),
            "ERL_LIBS": "/usr/lib/x86_64-linux-gnu",
            "ERL_CRASH_DUMP_BYTES": "0",
            "ERL_INETRC": str(self.data / "inetrc"),
            "HOME": str(self.data),
        }
        with (self.data / "stdout").open("ab") as out:
            self.process = subprocess.Popen(
                ["/usr/bin/erl", "+K", "true", "+S", "2:2", "+sbwt", "none", "-noinput", "-mnesia", "dir",
                 f'"{self.data}/mnesia"', "-s", "ejabberd"],
                cwd=self.data, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                start_new_session=True,
            )  # fmt: skip
        self._await_ports(self.plain, self.direct, self.server)
        if not self._registered:
            self._registered = True
            for each in self.people:
                name, _, place = each.partition("@")
                # Its modules start behind its listeners.
                registers = partial(self._registers, name, place or self.domain)
                wait_until(registers, f"{self.domain} registers {name}")

    def _registers(self, name: str, domain: str) -> bool:
        """In-band registration: the database is ejabberd's own affair."""
        actor = Someone(self, name, domain=domain).actor
        actor.open_connection()
        actor.negotiate_tls()
        actor.open_stream()
        actor.send(
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'>"
            f"<username>{name}</username><password>{PASSWORD}</password></query></iq>"
        )
        answer = actor.until_result("r")
        assert actor.connection is not None
        actor.connection.close()
        return answer.get("type") == "result"
