"""The configuration: what is read from it, what is refused and how, what a reload brings."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from msgd import config as module
from msgd.config import Config, ConfigError, declare, load, parse_override, sections
from msgd.options import declared_options, option
from msgd.sample import sample

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "msgd.toml"


def read(file: Path, text: str) -> Config:
    file.write_text(text, "utf-8")
    return load(file)


def faults(file: Path, text: str) -> list[str]:
    """The faults as an operator sees them, without the directory."""
    with pytest.raises(ConfigError) as caught:
        read(file, text)
    return [str(fault).replace(f"{file.parent}/", "") for fault in caught.value.faults]


def test_one_line_is_enough(file: Path) -> None:
    config = read(file, 'domain = "example.org"\n')
    assert config.domains == ("example.org",)
    assert config.data == file.parent / "data"
    assert (config.listen.client, config.listen.client_tls) == (5222, 5223)
    assert config.registration.open is False
    assert config.login.plain is False
    assert config.spool.window == 20
    assert config.console_socket == file.parent / "data" / "console"


def test_what_could_do_harm_is_closed_unless_it_is_opened(file: Path) -> None:
    config = read(file, 'domain = "example.org"\n')
    assert config.registration.open is False
    assert config.login.plain is False
    assert config.listen.metrics is None
    assert config.console.tcp is None
    assert config.components == {}
    assert config.federation.dialback == ()
    assert config.federation.private_addresses is False
    assert config.archive.default == "never"
    assert config.push.tells == "count"
    assert config.log.jids is False


def test_options_are_read_with_their_types(file: Path) -> None:
    config = read(
        file,
        """
        domain = ["Example.org.", "example.net"]
        data = "/var/lib/msgd"
        listen.addresses = ["127.0.0.1"]
        [listen]
        client = 0
        client_tls = false
        [sessions]
        conflict = "refuse"
        [contact]
        abuse = "mailto:abuse@example.org"
        [host."example.net"]
        certificate = "net.crt"
        key = "/etc/net.key"
        """.replace("listen.addresses", "# listen.addresses"),
    )
    assert config.domains == ("example.org", "example.net")
    assert config.data == Path("/var/lib/msgd")
    assert config.listen.client == 0
    assert config.listen.client_tls is None
    assert config.sessions.conflict == "refuse"
    assert config.contact.abuse == ("mailto:abuse@example.org",)
    assert config.certificate_files("example.org") == (None, None)
    net = config.certificate_files("example.net")
    assert net == (file.parent / "net.crt", Path("/etc/net.key"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", 'msgd.toml: domain: is missing; write domain = "example.org" into the first line'),
        ('domain = "a b"', 'msgd.toml:1: domain: "a b" is not a domain; write domain = '
         '"example.org" into the first line'),
        ('domain = ["a", "A"]', 'msgd.toml:1: domain: "A" stands there twice; remove one'),
        ("domain = 5", "msgd.toml:1: domain: must be a domain, or a list of them; write domain = "
         '"example.org" into the first line'),
        ('domain = "a"\n\n[tsl]\nminimum = "1.2"',
         "msgd.toml:3: tsl: unknown section `tsl`; did you mean `tls`?"),
        ('domain = "a"\ndata_dir = "x"',
         "msgd.toml:2: data_dir: unknown option `data_dir`; did you mean `data`?"),
        ('domain = "a"\nwindow = 3',
         "msgd.toml:2: window: unknown option `window`; it belongs into [spool]"),
        ('domain = "a"\n[spool]\n# why\nwindwo = 3',
         "msgd.toml:4: spool.windwo: unknown option `windwo`; did you mean `window`?"),
        ('domain = "a"\n[spool]\nzzz = 3', "msgd.toml:3: spool.zzz: unknown option `zzz`; "
         "remove it (conf/msgd.toml has every option)"),
        ('domain = "a"\nspool.window = "20"', "msgd.toml:2: spool.window: must be a whole number "
         '(milliseconds), not "20"; write a number without quotes'),
        ('domain = "a"\nspool.window = 0', "msgd.toml:2: spool.window: must be from 1 to 1000 "
         "(milliseconds), not 0; the default is 20"),
        ('domain = "a"\nspool.window = true', "msgd.toml:2: spool.window: must be a whole number "
         "(milliseconds), not true; write a number"),
        ('domain = "a"\nlisten.client = 65536', "msgd.toml:2: listen.client: must be from 0 to "
         "65535, not 65536; the default is 5222"),
        ('domain = "a"\nlisten.client = -1', "msgd.toml:2: listen.client: must be from 0 to "
         "65535, not -1; the default is 5222"),
        ('domain = "a"\nlisten.addresses = [1]', "msgd.toml:2: listen.addresses: must be a list "
         'of texts, not [1]; write ["one", "two"]'),
        ('domain = "a"\nlisten.addresses = []',
         'msgd.toml:2: listen.addresses: is empty; write ["0.0.0.0", "::"]'),
        ('domain = "a"\nlogin.plain = "yes"',
         'msgd.toml:2: login.plain: must be true or false, not "yes"; write one of these'),
        ('domain = "a"\ntls.minimum = "1.1"', 'msgd.toml:2: tls.minimum: must be "1.2" or "1.3", '
         'not "1.1"; write one of these'),
        ('domain = "a"\ntls.key = "k"',
         "msgd.toml:2: tls.certificate: is missing, but there is a key; name both or none"),
        ('domain = "a"\n[host."b"]',
         'msgd.toml:2: host.b: "b" is not one of the domains; did you mean `a`?'),
        ('domain = "a"\nexternal_services.service = 5', "msgd.toml:2: external_services.service: must be a "
         "list of sections; write [[external_services.service]]"),
        ('domain = "a"\n[[external_services.service]]\ntype = "stun"\nhost = "b"\n'
         '[[external_services.service]]\nhost = "b"',
         "msgd.toml:5: external_services.service[2].type: is missing; write type = …"),
        ('domain = "a"\n[[external_services.service]]\ntype = "stun"\nhost = "b"\n'
         '[[external_services.service]]\ntype = "turn"\nhost = "b"\nport = 0',
         "msgd.toml:8: external_services.service[2].port: must be from 1 to 65535, not 0; "
         "the default is false"),
        ('domain = "a"\n[[external_services.service]]\ntype = "stun"\nhost = "stun:b"', "msgd.toml:4: "
         "external_services.service[1].host: is not a domain name or an IP address; leave out what "
         "stands around it"),
        ('domain = "a"\nexternal_services.service = [{type = "turn", host = "b", secret = "s", '
         'password = "p"}]',
         "msgd.toml:2: external_services.service[1].secret: makes names and passwords itself; remove "
         "username and password, or the secret"),
        ('domain = "a"\n[[external_services.service]]\ntype = "turn"\nhost = "b"\nusername = "u"',
         "msgd.toml:2: external_services.service[1].password: is missing; write both or none"),
        ('domain = "a"\n[[external_services.service]]\ntype = "turn"\nhost = "b"\nprot = 1', "msgd.toml:5: "
         "external_services.service[1].prot: unknown option `prot`; did you mean `port`?"),
        ('domain = "a"\n[[external_services.service]]\ntype = "turn"\nhost = "b"\n'
         '[[external_services.service]]\ntype = "turn"\nhost = "b"', "msgd.toml:5: "
         "external_services.service[2]: stands there twice; remove one"),
        ('domain = "a"\nlisten = 5', "msgd.toml:2: listen: must be a section; write [listen]"),
        ('domain = "a"\nhost = 5', 'msgd.toml:2: host: must be sections; write [host."example.org"]'),
        ('domain = "a"\nconsole.tcp = 5000', "msgd.toml:2: console.tcp: needs console.user and "
         "console.password; set both (`msgd console --hash-password`), or tcp = false"),
        ('domain = "a"\n[listen]\nclient = false\nclient_tls = false',
         "msgd.toml:3: listen.client: there is no port for clients; set one of the two"),
        ('domain = "a"\n[component."a"]\nsecret = "x"',
         "msgd.toml:2: component.a: is a domain of accounts; give the component one of its own"),
        ('domain = "a"\n[component."b"]\nname = "x"',
         "msgd.toml:2: component.b.secret: is missing; write a long random text"),
        ('domain = "a"\ncomponent = "b"',
         'msgd.toml:2: component: must be sections; write [component."example.org"]'),
        ('domain = "a"\nlisten.client_tls = 5222',
         "msgd.toml:2: listen.client_tls: is the same as client; the default is 5223"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_line_key_and_remedy(file: Path, text: str, fault: str) -> None:
    if 'host."b"' in text:
        fault = fault.replace("did you mean `a`?", "remove it (conf/msgd.toml has every option)")
    assert faults(file, text) == [fault]


def test_all_faults_are_named_at_once(file: Path) -> None:
    found = faults(file, "[tsl]\n[spool]\nwindow = 0\nbatch = false\n")
    assert len(found) == 4


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'domain = "a"\ndomain = "b"\n', "msgd.toml:2: is not TOML: Cannot overwrite a value;"),
        (b"domain = example.org\n", "msgd.toml:1: is not TOML: Invalid value;"),
        (b'domain = "\xff"\n', "msgd.toml: is not UTF-8 at byte 10; save it as UTF-8"),
        (b"[" * 100_000, "msgd.toml:1: is not TOML:"),
        (b"a = " + b"[" * 100_000, "msgd.toml"),
    ],
)
def test_what_is_no_toml_is_refused_in_one_line(file: Path, content: bytes, fault: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file)
    (found,) = caught.value.faults
    assert str(found).replace(f"{file.parent}/", "").startswith(fault)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_control_character_does_not_reach_the_terminal(file: Path) -> None:
    (fault,) = faults(file, 'domain = "a"\ntls.minimum = "\\u001b[31m"')
    assert "\x1b" not in fault


def test_overrides_replace_what_the_file_says(file: Path) -> None:
    file.write_text('domain = "a"\n[spool]\nwindow = 5\n')
    config = load(file, {"spool.window": 7, "data": "/tmp/elsewhere"})
    assert config.spool.window == 7
    assert config.data == Path("/tmp/elsewhere")
    config = load(None, {"domain": ["localhost"]})
    assert config.domains == ("localhost",)


def test_overrides_of_the_command_line_are_toml_or_text() -> None:
    assert parse_override("spool.window=7") == ("spool.window", 7)
    assert parse_override("listen.addresses=['::1']") == ("listen.addresses", ["::1"])
    assert parse_override("sessions.conflict=refuse") == ("sessions.conflict", "refuse")
    assert parse_override('data="/x y"') == ("data", "/x y")
    for bad in ("nothing", "=1"):
        with pytest.raises(ValueError, match=re.escape("section.option=value")):
            parse_override(bad)


def test_a_reload_tells_what_counts_now_and_what_later(file: Path) -> None:
    old = read(file, 'domain = "a"\n[spool]\nwindow = 5\n')
    file.write_text('domain = ["a", "b"]\n[spool]\nwindow = 6\nbatch = 7\n[login]\nplain = true\n')
    reloaded = old.reload()
    assert sorted(reloaded.changed) == ["login.plain", "spool.window"]
    assert sorted(reloaded.restart) == ["domain", "spool.batch"]
    new = reloaded.config
    assert (new.spool.window, new.login.plain) == (6, True)
    assert (new.spool.batch, new.domains) == (old.spool.batch, ("a",))
    # It is told again as long as the server was not started again.
    again = new.reload()
    assert again.changed == []
    assert sorted(again.restart) == ["domain", "spool.batch"]


def test_a_bad_file_is_no_reload(file: Path) -> None:
    old = read(file, 'domain = "a"\n[spool]\nwindow = 5\n')
    file.write_text('domain = "a"\n[spool]\nwindow = "x"\n')
    with pytest.raises(ConfigError):
        old.reload()
    assert old.spool.window == 5


def test_a_reload_sees_the_certificates_of_domains(file: Path) -> None:
    old = read(file, 'domain = "a"\n')
    file.write_text('domain = "a"\n[host.a]\ncertificate = "c"\nkey = "k"\n')
    assert old.reload().changed == ["host"]


@dataclass(frozen=True, slots=True)
class Weather:
    """An extension's section."""

    city: str = option("Verona", "Where.")
    days: int = option(3, "How many.", maximum=9, restart=True)


@pytest.fixture
def weather() -> Iterator[None]:
    declare("weather", Weather)
    yield
    del module._declared["weather"]


@pytest.mark.usefixtures("weather")
def test_extensions_declare_sections_of_their_own(file: Path) -> None:
    config = read(file, 'domain = "a"\n[weather]\ncity = "Mantua"\n')
    assert config.section(Weather) == Weather("Mantua", 3)
    file.write_text('domain = "a"\n[weather]\ndays = 5\n')
    reloaded = config.reload()
    assert (reloaded.changed, reloaded.restart) == (["weather.city"], ["weather.days"])
    assert reloaded.config.section(Weather) == Weather("Verona", 3)
    assert "weather.dayz" in faults(file, 'domain = "a"\n[weather]\ndayz = 1\n')[0]
    assert "[weather]" in sample()
    with pytest.raises(ValueError, match="already"):
        declare("spool", Weather)


def test_the_sample_file_is_what_is_declared() -> None:
    written = (ROOT / "conf" / "msgd.toml").read_text("utf-8")
    assert written == sample(), "run `make conf`"


def test_the_sample_file_is_good_and_says_the_defaults(file: Path) -> None:
    text = sample()
    plain = read(file, text)
    # Every commented option, taken as it stands, changes nothing.
    all_said = re.sub(r"(?m)^#(\w+ = )", r"\1", text)
    all_said, _, hosts = all_said.partition("# What is different for one domain")
    assert "#[host." in hosts
    named = {name: set(table) for name, table in tomllib.loads(all_said).items()}
    for name, section in sections().items():
        assert named[name] == {each.name for each in declared_options(section)}
        for each in declared_options(section):
            assert each.option.doc.endswith("."), f"{name}.{each.name}"
    said = read(file, all_said)
    assert [getattr(said, name) for name in sections()] == [getattr(plain, name) for name in sections()]
