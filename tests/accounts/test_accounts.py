"""Accounts: who exists, whose password it is, what is kept, and who hears of changes."""

import pytest
from sqlalchemy import insert, select
from twisted.python.failure import Failure

from msgd.accounts import accounts as accounts_module
from msgd.accounts import store
from msgd.accounts.accounts import CACHED_SECONDS, Account, AccountError, Accounts, open_accounts
from msgd.accounts.credentials import HASHES, LEAST_ITERATIONS, Verifier, new_verifiers
from msgd.accounts.passwords import prepare_password
from msgd.storage.database import Connection, DatabaseFault
from msgd.storage.schema import credential, metadata, private_xml, roster_item, spool, vcard
from msgd.wire.jid import JID
from tests.accounts.world import World

ROMEO = JID.parse("romeo@montague.example")
JULIET = JID.parse("juliet@montague.example")


def _refusal(world: World, work: object) -> str:
    with pytest.raises(AccountError) as error:
        world.wait(work)  # type: ignore[arg-type]  # any of the coroutines of Accounts
    return error.value.condition


def test_an_account_is_found_with_its_password_only(world: World) -> None:
    accounts = world.accounts
    assert world.wait(accounts.find(ROMEO)) is None
    made = world.wait(accounts.create(ROMEO, "wherefore"))
    assert made.jid == ROMEO
    assert world.wait(accounts.find(ROMEO)) == made
    assert world.wait(accounts.find(ROMEO.with_resource("orchard"))) == made
    assert world.wait(accounts.check_password(ROMEO, "wherefore")) == made
    for wrong in ("Wherefore", "wherefore ", "", "\x00", "x" * 5000, "\ud800"):
        assert world.wait(accounts.check_password(ROMEO, wrong)) is None
    assert world.wait(accounts.check_password(JULIET, "wherefore")) is None


def test_accounts_are_still_there_after_a_restart(world: World) -> None:
    world.wait(world.accounts.create(ROMEO, "wherefore"))
    verifier = world.wait(world.accounts.credential(ROMEO, "SCRAM-SHA-256"))
    again = open_accounts(world.database, world)
    assert world.wait(again.credential(ROMEO, "SCRAM-SHA-256")) == verifier


def test_a_name_is_given_once(world: World) -> None:
    world.wait(world.accounts.create(ROMEO, "wherefore"))
    assert _refusal(world, world.accounts.create(ROMEO, "other")) == "conflict"
    assert world.wait(world.accounts.check_password(ROMEO, "wherefore")) is not None


def test_of_two_who_want_a_name_at_once_one_gets_it(world: World) -> None:
    first = world.start(world.accounts.create(ROMEO, "first"))
    second = world.start(world.accounts.create(ROMEO, "second"))
    while not (first and second):
        world.turn()
    outcomes = [first[0], second[0]]
    lost = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert len(lost) == 1
    assert isinstance(lost[0].value, AccountError)
    assert lost[0].value.condition == "conflict"
    winner = "second" if isinstance(first[0], Failure) else "first"
    assert world.wait(world.accounts.check_password(ROMEO, winner)) is not None


@pytest.mark.parametrize(
    "text", ["montague.example", "romeo@montague.example/orchard", "r" * 256 + "@montague.example"]
)
def test_not_every_address_can_be_an_account(world: World, text: str) -> None:
    assert _refusal(world, world.accounts.create(JID.parse(text), "x")) == "jid-malformed"


@pytest.mark.parametrize("password", ["", "a\nb", "\x00", "\u0378", "x" * 2000, "\u200b"], ids=ascii)
def test_not_everything_can_be_a_password(world: World, password: str) -> None:
    assert _refusal(world, world.accounts.create(ROMEO, password)) == "not-acceptable"
    assert world.wait(world.accounts.find(ROMEO)) is None
    world.wait(world.accounts.create(ROMEO, "x"))
    assert _refusal(world, world.accounts.set_password(ROMEO, password)) == "not-acceptable"
    assert world.wait(world.accounts.check_password(ROMEO, "x")) is not None


def test_a_password_is_the_same_however_it_is_typed(world: World) -> None:
    world.wait(world.accounts.create(ROMEO, "A\u030a\u00a0b"))
    assert world.wait(world.accounts.check_password(ROMEO, "\u00c5 b")) is not None
    assert prepare_password("A\u030a\u3000b") == "\u00c5 b".encode()


def test_only_verifiers_are_stored(world: World) -> None:
    world.wait(world.accounts.create(ROMEO, "wherefore"))
    rows = world.database.read_now(lambda c: c.all(select(credential)))
    assert {row[1] for row in rows} == set(HASHES)
    assert len({row[2] for row in rows}) == len(HASHES)  # a salt for each
    files = b"".join(file.read_bytes() for file in world.path.parent.iterdir())
    assert b"romeo" in files
    assert b"wherefore" not in files


def test_a_new_password_replaces_the_old_everywhere(world: World) -> None:
    heard: list[tuple[str, str]] = []
    world.accounts.changed.append(lambda jid, what: heard.append((jid, what)))
    world.wait(world.accounts.create(ROMEO, "old"))
    old = {name: world.wait(world.accounts.credential(ROMEO, name)) for name in HASHES}
    world.now += 5
    world.wait(world.accounts.set_password(ROMEO, "new"))
    for name in HASHES:
        assert world.wait(world.accounts.credential(ROMEO, name)) not in (None, old[name])
    assert world.wait(world.accounts.check_password(ROMEO, "old")) is None
    assert world.wait(world.accounts.check_password(ROMEO, "new")) is not None
    record = world.wait(world.accounts.list("montague.example"))[0]
    assert record.password_changed == record.created + 5
    assert heard == [(ROMEO, "password")]


def test_a_disabled_account_is_told_from_others_only_by_its_password(world: World) -> None:
    heard: list[str] = []
    world.accounts.changed.append(lambda jid, what: heard.append(what))
    world.wait(world.accounts.create(ROMEO, "x"))
    verifier = world.wait(world.accounts.for_login(ROMEO, "SCRAM-SHA-1"))[1]
    world.wait(world.accounts.disable(ROMEO))
    assert world.wait(world.accounts.for_login(ROMEO, "SCRAM-SHA-1"))[1] == verifier
    assert world.wait(world.accounts.check_password(ROMEO, "wrong")) is None
    assert _refusal(world, world.accounts.check_password(ROMEO, "x")) == "not-allowed"
    world.wait(world.accounts.enable(ROMEO))
    assert world.wait(world.accounts.check_password(ROMEO, "x")) is not None
    assert heard == ["disabled"]


def test_what_does_not_exist_cannot_be_changed(world: World) -> None:
    accounts = world.accounts
    for work in (
        accounts.set_password(ROMEO, "x"),
        accounts.disable(ROMEO),
        accounts.enable(ROMEO),
        accounts.delete(ROMEO),
    ):
        assert _refusal(world, work) == "item-not-found"


def test_who_gets_the_name_of_a_deleted_account_inherits_nothing(world: World) -> None:
    heard: list[str] = []
    world.accounts.changed.append(lambda jid, what: heard.append(what))
    old = world.wait(world.accounts.create(ROMEO, "old"))
    own = {"account_id": old.id}
    rows = [
        (vcard, {**own, "xml": b"<x/>"}),
        (private_xml, {**own, "namespace": "a", "name": "b", "xml": b"<x/>"}),
        (roster_item, {**own, "jid": "juliet@capulet.example"}),
        (spool, {**own, "id": 1, "size": 4, "checksum": 1, "stanza": b"<m/>"}),
    ]
    for table, row in rows:
        world.database.write_now(lambda c, table=table, row=row: c.run(insert(table), row))  # type: ignore[misc]  # mypy cannot infer a lambda's type from defaults
    world.wait(world.accounts.disable(ROMEO))
    world.wait(world.accounts.delete(ROMEO))
    assert heard == ["disabled", "deleted"]
    assert world.wait(world.accounts.find(ROMEO)) is None
    assert world.wait(world.accounts.check_password(ROMEO, "old")) is None
    for table in metadata.sorted_tables:
        if "account_id" in table.c:
            assert world.database.read_now(lambda c, table=table: c.all(select(table))) == []  # type: ignore[misc]  # as above

    new = world.wait(world.accounts.create(ROMEO, "new"))
    assert new.id > old.id
    assert not new.disabled
    assert world.wait(world.accounts.check_password(ROMEO, "old")) is None


def test_a_name_without_account_looks_like_one_and_always_the_same(world: World) -> None:
    made = world.wait(world.accounts.create(ROMEO, "x"))
    for mechanism in HASHES:
        account, real = world.wait(world.accounts.for_login(ROMEO, mechanism))
        assert account == made
        account, pretended = world.wait(world.accounts.for_login(JULIET, mechanism))
        assert account is None
        assert world.wait(world.accounts.credential(JULIET, mechanism)) is None
        assert pretended.iterations == real.iterations
        assert len(pretended.salt) == len(real.salt)
        assert len(pretended.stored_key) == len(real.stored_key)
        world.accounts.forget()
        assert world.wait(world.accounts.for_login(JULIET, mechanism))[1] == pretended
        restarted = open_accounts(world.database, world, LEAST_ITERATIONS)
        assert world.wait(restarted.for_login(JULIET, mechanism))[1] == pretended
        elsewhere = Accounts(world.database, world, b"another server's secret", LEAST_ITERATIONS)
        assert world.wait(elsewhere.for_login(JULIET, mechanism))[1].salt != pretended.salt
    other = JID.parse("juliet@capulet.example")
    salt = world.wait(world.accounts.for_login(JULIET, "SCRAM-SHA-1"))[1].salt
    assert world.wait(world.accounts.for_login(other, "SCRAM-SHA-1"))[1].salt != salt


def test_names_are_read_once_whether_they_have_an_account_or_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.wait(world.accounts.create(ROMEO, "x"))
    reads: list[str] = []
    read = store.with_verifiers

    def noted(connection: Connection, jid: JID) -> tuple[Account | None, dict[str, Verifier]]:
        reads.append(jid)
        return read(connection, jid)

    monkeypatch.setattr(store, "with_verifiers", noted)
    for _ in range(3):
        world.wait(world.accounts.find(ROMEO))
        world.wait(world.accounts.find(JULIET))
    assert reads == [ROMEO, JULIET]
    world.now += CACHED_SECONDS
    world.wait(world.accounts.find(ROMEO))
    assert reads == [ROMEO, JULIET, ROMEO]


def test_the_memory_of_names_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_module, "CACHED_NAMES", 10)
    for number in range(30):
        world.wait(world.accounts.find(JID.make(str(number), "montague.example")))
    assert len(world.accounts._names) == 10


def test_after_a_login_nothing_is_remembered_for_it(world: World) -> None:
    world.wait(world.accounts.create(JULIET, "secret"))
    account, _ = world.wait(world.accounts.for_login(JULIET, "SCRAM-SHA-1"))
    assert account is not None and len(world.accounts._names) == 1
    world.accounts.logged_in(JULIET)
    assert not world.accounts._names
    assert world.wait(world.accounts.for_login(JULIET, "SCRAM-SHA-1"))[0] == account


def test_a_change_during_a_read_is_not_hidden_by_it(world: World) -> None:
    reading = world.start(world.accounts.find(ROMEO))  # begins before, ends after the change
    creating = world.start(world.accounts.create(ROMEO, "x"))
    while not (reading and creating):
        world.turn()
    assert world.wait(world.accounts.find(ROMEO)) is not None


def test_a_change_by_another_process_is_seen_after_a_while(world: World) -> None:
    assert world.wait(world.accounts.find(ROMEO)) is None
    verifiers = new_verifiers(prepare_password("x"), LEAST_ITERATIONS)
    world.database.write_now(lambda c: store.add(c, ROMEO, verifiers, 7))
    world.now += CACHED_SECONDS
    assert world.wait(world.accounts.check_password(ROMEO, "x")) is not None
    with pytest.raises(AccountError):
        world.database.write_now(lambda c: store.add(c, ROMEO, verifiers, 7))


def test_accounts_are_listed_in_pages(world: World) -> None:
    verifiers = new_verifiers(b"x", LEAST_ITERATIONS)
    for name in ("c", "a", "b"):
        jid = JID.make(name, "montague.example")
        world.database.write_now(lambda c, jid=jid: store.add(c, jid, verifiers, 7))  # type: ignore[misc]  # as above
    listed = world.wait(world.accounts.list("montague.example", most=2))
    assert [record.jid for record in listed] == ["a@montague.example", "b@montague.example"]
    assert listed[0].created == 7
    listed = world.wait(world.accounts.list("montague.example", after="b"))
    assert [record.jid.local for record in listed] == ["c"]
    assert world.wait(world.accounts.list("capulet.example")) == []


def test_a_listener_that_fails_does_not_silence_the_others(world: World) -> None:
    heard: list[str] = []

    def fail(jid: JID, what: str) -> None:
        raise RuntimeError

    world.accounts.changed.extend([fail, lambda jid, what: heard.append(what)])
    world.wait(world.accounts.create(ROMEO, "x"))
    world.wait(world.accounts.delete(ROMEO))
    assert heard == ["deleted"]


def test_only_so_many_passwords_wait_to_be_computed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.wait(world.accounts.create(ROMEO, "x"))
    monkeypatch.setattr(accounts_module, "MOST_WAITING", 2)
    world.wait(world.accounts.find(ROMEO))
    started = [world.start(world.accounts.check_password(ROMEO, "x")) for _ in range(3)]
    assert isinstance(refused := started[2][0], Failure)
    assert isinstance(refused.value, AccountError)
    assert refused.value.condition == "resource-constraint"
    while not (started[0] and started[1]):
        world.turn()
    assert world.wait(world.accounts.check_password(ROMEO, "x")) is not None


def test_a_database_that_is_gone_is_no_answer(world: World) -> None:
    world.database.close_now()
    with pytest.raises(DatabaseFault):
        world.wait(world.accounts.find(ROMEO))
    with pytest.raises(DatabaseFault):
        world.wait(world.accounts.check_password(ROMEO, "x"))


@pytest.mark.parametrize("iterations", [0, 4095, 1_000_001])
def test_iterations_have_bounds(world: World, iterations: int) -> None:
    with pytest.raises(ValueError, match="iterations"):
        Accounts(world.database, world, b"secret", iterations)
