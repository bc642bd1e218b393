"""The configuration: its sections, and how it is loaded and reloaded.

Written in TOML; one line is required, `domain`. `load` reads and checks everything at once and raises
`ConfigError` with every fault. The sections are declared in `sections` and `limits`; `declare` adds those of
extensions.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from msgd.limits import (
    Archive,
    Federation,
    Limits,
    Overload,
    Ping,
    PrivateStorage,
    PubSub,
    Push,
    Sessions,
    Spool,
    StreamManagement,
    VCard,
)
from msgd.options import ConfigError, Fault, Source, declared_options, read_section, remedy_for
from msgd.sections import (
    Component,
    Console,
    Contact,
    ExternalServices,
    Host,
    Listen,
    Log,
    Login,
    Registration,
    Tls,
    Version,
)

__all__ = ["Config", "ConfigError", "Fault", "Reloaded", "declare", "load", "parse_override"]

_Section = TypeVar("_Section")
#: What `[host."…"]` and `[component."…"]` are called in the file, and what stands before the first section.
_HOST, _COMPONENT, _TOP = "host", "component", ("domain", "data")
DEFAULT_DATA: Final = "data"


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration: one attribute for each section."""

    domains: tuple[str, ...]
    #: The data directory, absolute.
    data: Path
    listen: Listen = Listen()
    tls: Tls = Tls()
    login: Login = Login()
    registration: Registration = Registration()
    sessions: Sessions = Sessions()
    stream_management: StreamManagement = StreamManagement()
    spool: Spool = Spool()
    archive: Archive = Archive()
    federation: Federation = Federation()
    ping: Ping = Ping()
    limits: Limits = Limits()
    overload: Overload = Overload()
    private_storage: PrivateStorage = PrivateStorage()
    vcard: VCard = VCard()
    pubsub: PubSub = PubSub()
    push: Push = Push()
    contact: Contact = Contact()
    external_services: ExternalServices = ExternalServices()
    version: Version = Version()
    console: Console = Console()
    log: Log = Log()
    #: Domains with a section of their own.
    hosts: Mapping[str, Host] = field(default_factory=dict)
    #: Domains that components speak for.
    components: Mapping[str, Component] = field(default_factory=dict)
    #: Where it came from; None when there is no file.
    file: Path | None = None
    #: What the command line said instead of the file: see `load`.
    overrides: Mapping[str, object] = field(default_factory=dict)
    extensions: Mapping[type[Any], Any] = field(default_factory=dict)

    def section(self, section: type[_Section]) -> _Section:
        """The section that an extension declared with `declare`."""
        found: _Section = self.extensions[section]
        return found

    def certificate_files(self, domain: str) -> tuple[Path | None, Path | None]:
        """The configured certificate and key of a domain; None when they are the server's to make."""
        host = self.hosts.get(domain)
        if host is not None and host.certificate is not None:
            return host.certificate, host.key
        return self.tls.certificate, self.tls.key

    @property
    def console_socket(self) -> Path | None:
        """The absolute path of the console's socket."""
        return self.data / self.console.socket if self.console.socket else None

    def reload(self) -> Reloaded:
        """Read the file again. Raises ConfigError, and this one stays good.

        Options that are read at the start only keep their old values in the new configuration.
        """
        new = load(self.file, self.overrides)
        changed: list[str] = []
        restart: list[str] = []
        kept: dict[str, Any] = {}
        for name in ("domains", "data"):
            if getattr(self, name) != getattr(new, name):
                restart.append(name.removesuffix("s"))
                kept[name] = getattr(self, name)
        for name, section in sections().items():
            old_section, new_section = self._get(name, section), new._get(name, section)
            stays: dict[str, Any] = {}
            for each in declared_options(section):
                old = getattr(old_section, each.name)
                if old == getattr(new_section, each.name):
                    continue
                if each.option.restart:
                    stays[each.name] = old
                    restart.append(f"{name}.{each.name}")
                else:
                    changed.append(f"{name}.{each.name}")
            if stays and name in _BUILT_IN:
                kept[name] = replace(new_section, **stays)
            elif stays:
                mixed = {**new.extensions, section: replace(new_section, **stays)}
                new = replace(new, extensions=mixed)
        if self.hosts != new.hosts:
            changed.append(_HOST)
        if self.components != new.components:
            changed.append(_COMPONENT)
        return Reloaded(replace(new, **kept), changed, restart)

    def _get(self, name: str, section: type[Any]) -> Any:
        return getattr(self, name) if name in _BUILT_IN else self.extensions[section]


class Reloaded(NamedTuple):
    """What a reload brought."""

    config: Config
    #: The options ("section.name") that changed and count from now on.
    changed: list[str]
    #: Those that changed and count after a restart.
    restart: list[str]


_BUILT_IN: Final[dict[str, type[Any]]] = {
    each.name: type(each.default)
    for each in fields(Config)
    if each.default.__class__.__module__.startswith("msgd.")
}
_declared: dict[str, type[Any]] = {}


def sections() -> dict[str, type[Any]]:
    """Every section with its declaration, in the order of the file."""
    return {**_BUILT_IN, **_declared}


def declare(name: str, section: type[Any]) -> None:
    """Add a section: a frozen dataclass of `option`s, before `load`. `Config.section` returns it.

    Raises ValueError for a name that is taken.
    """
    if sections().get(name, section) is not section or name in (_HOST, _COMPONENT, *_TOP):
        raise ValueError(f"there is a section {name} already")
    _declared[name] = section


def parse_override(text: str) -> tuple[str, object]:
    """Read 'section.option=value' or 'data=…', as on the command line; the value is TOML, or a text.

    Raises ValueError.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"{text!r} is not section.option=value")
    try:
        parsed: object = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return name.strip(), parsed


def load(file: Path | None, overrides: Mapping[str, object] | None = None) -> Config:
    """Read the configuration. Raises ConfigError with every fault in it.

    `file` may be None: then all is default, and `overrides` has the domain. Overrides replace what the
    file says; their keys are "domain", "data", "section.option".
    """
    overrides = dict(overrides or {})
    source, table = _read(file)
    if source.faults:
        raise ConfigError(source.faults)
    _override(table, overrides, source)
    if file is not None:
        file = file.absolute()
    values: dict[str, Any] = {"file": file, "overrides": overrides}
    extensions: dict[type[Any], Any] = {}
    known = sections()
    domains = _domains(table.pop("domain", None), source)
    data = _data(table.pop("data", DEFAULT_DATA), source)
    hosts = _hosts(table.pop(_HOST, {}), domains, source)
    components = _components(table.pop(_COMPONENT, {}), domains, source)
    belongs = {each.name: name for name in known for each in declared_options(known[name])}
    for name, content in table.items():
        if name not in known:
            what = "section" if isinstance(content, Mapping) else "option"
            remedy = remedy_for(name, [*known, _HOST, _COMPONENT, *_TOP], belongs)
            source.fault("", name, f"unknown {what} `{name}`", remedy)
    for name, section in known.items():
        read = read_section(section, name, table.get(name, {}), source)
        if name in _BUILT_IN:
            values[name] = read
        else:
            extensions[section] = read
    config = Config(domains, data, hosts=hosts, components=components, extensions=extensions, **values)
    _check_together(config, source)
    if source.faults:
        raise ConfigError(source.faults)
    return config


def _read(file: Path | None) -> tuple[Source, dict[str, Any]]:
    if file is None:
        return Source("command line"), {}
    empty = Source(str(file))
    try:
        text = file.read_text("utf-8")
        source = Source(str(file), text, file.absolute().parent)
        return source, tomllib.loads(text)
    except OSError as error:
        empty.fault("", "", f"cannot be read: {error.strerror}", "name another file with -c")
    except UnicodeDecodeError as error:
        empty.fault("", "", f"is not UTF-8 at byte {error.start}", "save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        line = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        if line:
            empty.name = f"{file}:{line[1]}"
        what = re.sub(r" \(at .*\)$", "", str(error))
        empty.fault("", "", f"is not TOML: {what}", "texts stand in quotes, sections in [ ]")
    except RecursionError:
        empty.fault("", "", "is not TOML: too many brackets", "there is no option like this")
    return empty, {}


def _override(table: dict[str, Any], overrides: Mapping[str, object], source: Source) -> None:
    for name, value in overrides.items():
        section, _, key = name.rpartition(".")
        if not section:
            table[key] = value
        elif isinstance(table.setdefault(section, {}), dict):
            table[section][key] = value


def _domains(value: object, source: Source) -> tuple[str, ...]:
    remedy = 'write domain = "example.org" into the first line'
    if value is None:
        source.fault("", "domain", "is missing", remedy)
        return ()
    listed = list(value) if isinstance(value, list | tuple) else [value]
    texts = [each for each in listed if isinstance(each, str)]
    if not texts or len(texts) < len(listed):
        source.fault("", "domain", "must be a domain, or a list of them", remedy)
        return ()
    domains: list[str] = []
    for each in texts:
        domain = each.strip().rstrip(".").lower()
        if not domain or re.search(r"[\s@/:]", domain):
            source.fault("", "domain", f'"{each}" is not a domain', remedy)
        elif domain in domains:
            source.fault("", "domain", f'"{each}" stands there twice', "remove one")
        domains.append(domain)
    return tuple(domains)


def _data(value: object, source: Source) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        source.fault("", "data", "must be the path of a directory", f'write data = "{DEFAULT_DATA}"')
        return Path()
    return (source.directory / Path(value).expanduser()).absolute()


def _hosts(table: object, domains: Sequence[str], source: Source) -> dict[str, Host]:
    hosts = {}
    for domain, content in _by_domain(table, _HOST, source).items():
        if domain not in domains:
            remedy = remedy_for(domain, domains)
            source.fault(_HOST, domain, f'"{domain}" is not one of the domains', remedy)
        host = read_section(Host, f"{_HOST}.{domain}", content, source)
        hosts[domain] = host
        _check_pair(host.certificate, host.key, f"{_HOST}.{domain}", source)
    return hosts


def _components(table: object, domains: Sequence[str], source: Source) -> dict[str, Component]:
    components = {}
    for domain, content in _by_domain(table, _COMPONENT, source).items():
        section = f"{_COMPONENT}.{domain}"
        if domain in domains:
            source.fault(section, "", "is a domain of accounts", "give the component one of its own")
        read = components[domain] = read_section(Component, section, content, source)
        if not read.secret:
            source.fault(section, "secret", "is missing", "write a long random text")
    return components


def _by_domain(table: object, name: str, source: Source) -> Mapping[str, Any]:
    """The sections `[name."domain"]`."""
    if isinstance(table, Mapping) and all(isinstance(each, Mapping) for each in table.values()):
        return table
    source.fault("", name, "must be sections", f'write [{name}."example.org"]')
    return {}


def _check_pair(certificate: Path | None, key: Path | None, section: str, source: Source) -> None:
    if (certificate is None) != (key is None):
        there, missing = ("key", "certificate") if certificate is None else ("certificate", "key")
        source.fault(section, missing, f"is missing, but there is a {there}", "name both or none")


def _check_together(config: Config, source: Source) -> None:
    """What is wrong only with two options together."""
    _check_pair(config.tls.certificate, config.tls.key, "tls", source)
    listen, console = config.listen, config.console
    if listen.client is None and listen.client_tls is None:
        source.fault("listen", "client", "there is no port for clients", "set one of the two")
    if listen.client and listen.client == listen.client_tls:
        source.fault("listen", "client_tls", "is the same as client", "the default is 5223")
    if not listen.addresses:
        source.fault("listen", "addresses", "is empty", 'write ["0.0.0.0", "::"]')
    if console.tcp is not None and not (console.user and console.password):
        remedy = "set both (`msgd console --hash-password`), or tcp = false"
        source.fault("console", "tcp", "needs console.user and console.password", remedy)
