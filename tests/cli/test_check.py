"""`msgd check` names each fault in one line, with file, key and remedy, and changes nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgd.cli.faults import all_faults
from msgd.config import Config, load
from msgd.wire.certificates import certificate_for, self_signed
from tests.cli.command import msgd, msgd_process

PORTS = "listen.addresses = ['127.0.0.1']\nlisten.client = 0\nlisten.client_tls = 0\n"


def configure(directory: Path, text: str = "") -> Config:
    file = directory / "msgd.toml"
    file.write_text(f'domain = "localhost"\n{PORTS}{text}')
    return load(file)


def lines(config: Config) -> list[str]:
    faults = [str(fault) for fault in all_faults(config, running=False)]
    assert all("\n" not in line for line in faults)
    directory = config.file.parent if config.file else Path()
    return [line.replace(f"{directory}/", "") for line in faults]


def test_a_good_configuration_has_no_faults(tmp_path: Path) -> None:
    assert lines(configure(tmp_path)) == []
    done = msgd_process(tmp_path, "check")
    assert (done.code, done.errors) == (0, "")
    assert done.output == f"no faults: {tmp_path}/msgd.toml, localhost; the server does not run\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["msgd.toml"]


def test_every_fault_of_the_file_is_one_line_and_the_code_is_1(tmp_path: Path) -> None:
    (tmp_path / "msgd.toml").write_text('domain = "a b"\n[tsl]\n')
    done = msgd(tmp_path, "check")
    assert done.code == 1
    assert done.output.splitlines() == [
        'msgd.toml:1: domain: "a b" is not a domain; write domain = "example.org" into the first line',
        "msgd.toml:2: tsl: unknown section `tsl`; did you mean `tls`?",
    ]


def test_a_domain_that_no_address_can_have(tmp_path: Path) -> None:
    (tmp_path / "msgd.toml").write_text('domain = "b\\u00fccher-.example"\n')
    done = msgd(tmp_path, "check")
    assert done.code == 1
    assert 'msgd.toml: domain: "b\u00fccher-.example" cannot be a domain: ' in done.output


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = configure(tmp_path).file
        assert config is not None
        config.write_text(config.read_text().replace("client = 0", f"client = {port}"))
        (line,) = lines(load(config))
        served = msgd_process(tmp_path, "serve")
    assert line == (
        f"msgd.toml: listen.client: port {port} of 127.0.0.1 is in use; "
        f"stop what uses it (ss -ltnp 'sport = :{port}') or take another port"
    )
    assert served.code == 1
    assert served.errors == f"msgd: {line}\n".replace("msgd.toml", f"{tmp_path}/msgd.toml")


def test_an_address_that_is_not_here(tmp_path: Path) -> None:
    config = configure(tmp_path)
    addresses = {"listen.addresses": ["nowhere", "192.0.2.1"], "listen.client_tls": False}
    config = load(config.file, addresses)
    found = [str(fault) for fault in all_faults(config, running=False)]
    assert [line.split(" (")[0] for line in found if "listen" in line] == [
        f'{config.file}: listen.addresses: "nowhere" is no address of this machine',
        f'{config.file}: listen.addresses: "192.0.2.1" is no address of this machine',
    ]


def test_certificates_of_all_sorts(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    sorts = {
        "good": self_signed("localhost"),
        "other": self_signed("example.net"),
        "expired": self_signed("localhost", now - timedelta(days=4000)),
        "future": self_signed("localhost", now + timedelta(days=40)),
        "soon": self_signed("localhost", now - timedelta(days=3645)),
    }
    for name, (certificate, key) in sorts.items():
        (tmp_path / f"{name}.crt").write_bytes(certificate)
        (tmp_path / f"{name}.key").write_bytes(key)
        (tmp_path / f"{name}.key").chmod(0o600)
    (tmp_path / "empty").write_bytes(b"")

    def of(certificate: str, key: str) -> list[str]:
        text = f"tls.certificate = '{certificate}'\ntls.key = '{key}'\n"
        return [line.partition("domain localhost: ")[2] for line in lines(configure(tmp_path, text))]

    assert of("good.crt", "good.key") == []
    assert of("other.crt", "other.key") == [
        "is not for this domain but for example.net; have one issued for it"
    ]
    assert of("expired.crt", "expired.key")[0].startswith("expired on 20")
    assert of("soon.crt", "soon.key") == ["expires in 4 days; renew it, then send SIGHUP to msgd"]
    assert of("future.crt", "future.key")[0].startswith("is valid only from ")
    assert of("good.crt", "other.key") == [
        "is not the key of good.crt; name the two that were issued together"
    ]
    assert of("empty", "good.key") == ["holds no certificate; it must be in PEM form"]
    assert of("good.crt", "empty") == ["holds no private key; it must be in PEM form"]
    assert of("good.crt", "none") == [
        "cannot be read: No such file or directory; name the file that there is"
    ]
    (tmp_path / "good.key").chmod(0o644)
    (line,) = of("good.crt", "good.key")
    assert line == f"everybody can read this key; chmod 600 {tmp_path / 'good.key'}".replace(
        f"{tmp_path}/", ""
    )


def test_data_that_others_can_read(tmp_path: Path) -> None:
    config = configure(tmp_path)
    config.data.mkdir()
    config.data.chmod(0o755)
    (config.data / "msgd.sqlite").write_bytes(b"")
    (config.data / "msgd.sqlite").chmod(0o644)
    assert lines(config) == [
        f"msgd.toml: data: others on this machine can look into data; chmod 700 {'data'}",
        "data/msgd.sqlite: data: others on this machine can read it; chmod 600 data/msgd.sqlite",
    ]


def test_a_database_that_is_none(tmp_path: Path) -> None:
    config = configure(tmp_path)
    config.data.mkdir(mode=0o700)
    (config.data / "msgd.sqlite").write_bytes(b"not a database" * 100)
    (config.data / "msgd.sqlite").chmod(0o600)
    assert lines(config) == [
        "data/msgd.sqlite: data: cannot be opened: file is not a database; "
        "restore it from a backup, or move it away to begin with an empty one"
    ]
    done = msgd_process(tmp_path, "serve")
    assert done.code == 1
    assert done.errors.count("\n") == 1


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    config = configure(tmp_path)
    config.data.write_text("")
    assert lines(config) == ["msgd.toml: data: data is not a directory; name another"]
    done = msgd_process(tmp_path, "serve")
    assert done.code == 1
    assert done.errors.count("\n") == 1


def as_nobody(work: Callable[[], list[str]]) -> list[str]:
    """What `work` returns in a child that is not root (who may write everywhere)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(writing, "\n".join(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found = answer.read().splitlines()
    os.waitpid(child, 0)
    return found


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    config = configure(tmp_path, "data = '/nowhere/data'\n")
    found = as_nobody(lambda: lines(config))
    assert any(line.startswith("msgd.toml: data: /nowhere/data is missing and / cannot") for line in found)


def test_a_socket_path_that_is_too_long(tmp_path: Path) -> None:
    config = configure(tmp_path, f"console.socket = '/tmp/{'x' * 110}'\n")
    (line,) = lines(config)
    assert line.startswith("msgd.toml: console.socket: the path /tmp/xxx")


def test_no_configuration_at_all(tmp_path: Path) -> None:
    done = msgd(tmp_path, "check", "-c", "none.toml")
    assert done.code == 1
    assert done.output == (
        "none.toml: cannot be read: No such file or directory; name another file with -c\n"
    )


def test_the_made_certificate_has_no_faults(tmp_path: Path) -> None:
    config = configure(tmp_path)
    certificate, key = certificate_for(config, "localhost")
    assert certificate_for(config, "localhost") == (certificate, key)
    assert key.stat().st_mode & 0o777 == 0o600
    config.data.chmod(0o700)
    assert lines(config) == []
