"""Failed logins by address and by account: how many, for how long, and whom they hold up."""

from twisted.internet.task import Clock

from msgd.accounts.throttle import LoginThrottle
from msgd.wire.jid import JID

ROMEO = JID.parse("romeo@montague.example")
JULIET = JID.parse("juliet@montague.example")


def _throttle(**options: float) -> tuple[LoginThrottle, Clock]:
    clock = Clock()
    values = {"address_burst": 5, "address_seconds": 10, "account_burst": 3, "account_seconds": 30}
    return LoginThrottle(clock, **{**values, **options}), clock  # type: ignore[arg-type]  # some are int


def test_an_account_is_closed_after_some_failures_and_opens_again() -> None:
    throttle, clock = _throttle()
    for number in range(3):
        assert throttle.wait("192.0.2.1", ROMEO) == 0
        throttle.failed(f"192.0.2.{number}", ROMEO)
    assert throttle.wait("192.0.2.9", ROMEO) == 30
    assert throttle.wait("192.0.2.9", JULIET) == 0
    clock.advance(29.5)
    assert throttle.wait("192.0.2.9", ROMEO) == 0.5
    clock.advance(0.5)
    assert throttle.wait("192.0.2.9", ROMEO) == 0
    throttle.failed("192.0.2.9", ROMEO)
    assert throttle.wait("192.0.2.9", ROMEO) == 30
    clock.advance(10_000)
    for _ in range(3):
        assert throttle.wait("192.0.2.9", ROMEO) == 0
        throttle.failed("192.0.2.9", ROMEO)
    assert throttle.wait("192.0.2.9", ROMEO) > 0


def test_an_address_is_closed_for_all_accounts() -> None:
    throttle, clock = _throttle()
    for number in range(5):
        assert throttle.wait("192.0.2.1", ROMEO) == 0
        throttle.failed("192.0.2.1", JID.make(str(number), "montague.example"))
    assert throttle.wait("192.0.2.1", ROMEO) == 10
    assert throttle.wait("192.0.2.2", ROMEO) == 0
    clock.advance(10)
    assert throttle.wait("192.0.2.1", ROMEO) == 0


def test_failures_elsewhere_do_not_lock_out_the_owner() -> None:
    throttle, _ = _throttle()
    throttle.succeeded("192.0.2.1", ROMEO)
    for number in range(20):
        throttle.failed(f"198.51.100.{number}", ROMEO)
    assert throttle.wait("198.51.100.77", ROMEO) > 0
    assert throttle.wait("192.0.2.1", ROMEO) == 0
    for _ in range(5):
        throttle.failed("192.0.2.1", ROMEO)
    assert throttle.wait("192.0.2.1", ROMEO) > 0
    throttle.forget_account(ROMEO)
    assert throttle.wait("192.0.2.1", ROMEO) > 10


def test_success_with_an_own_account_does_not_open_the_address() -> None:
    throttle, _ = _throttle()
    for _ in range(5):
        throttle.failed("192.0.2.1", JULIET)
        throttle.succeeded("192.0.2.1", ROMEO)
    assert throttle.wait("192.0.2.1", ROMEO) > 0


def test_failures_that_were_under_way_count_but_not_for_ever() -> None:
    throttle, clock = _throttle(account_burst=0)
    for _ in range(1000):
        throttle.failed("192.0.2.1", ROMEO)
    assert 100 < throttle.wait("192.0.2.1", ROMEO) < 300
    clock.advance(300)
    assert throttle.wait("192.0.2.1", ROMEO) == 0


def test_an_ipv6_network_is_one_address() -> None:
    throttle, _ = _throttle()
    for number in range(5):
        throttle.failed(f"2001:db8:0:1::{number:x}", ROMEO)
    assert throttle.wait("2001:db8:0:1:ffff::1%eth0", JULIET) > 0
    assert throttle.wait("2001:db8:0:2::1", JULIET) == 0
    for _ in range(5):
        throttle.failed("::ffff:192.0.2.1", ROMEO)
    assert throttle.wait("192.0.2.1", JULIET) > 0
    assert throttle.wait("::ffff:192.0.2.2", JULIET) == 0
    assert throttle.wait(":not an address", JULIET) == 0


def test_each_limit_can_be_switched_off() -> None:
    throttle, _ = _throttle(address_burst=0, account_burst=0)
    for _ in range(100):
        throttle.failed("192.0.2.1", ROMEO)
    assert throttle.wait("192.0.2.1", ROMEO) == 0


def test_a_clock_set_back_locks_nobody_out() -> None:
    throttle, clock = _throttle()
    clock.advance(1_000_000)
    for _ in range(3):
        throttle.failed("192.0.2.1", ROMEO)
    clock.rightNow = 5.0
    assert throttle.wait("192.0.2.2", ROMEO) == 30
    clock.advance(30)
    assert throttle.wait("192.0.2.2", ROMEO) == 0


def test_memory_is_bounded() -> None:
    throttle, _ = _throttle(remembered=50)
    for number in range(500):
        jid = JID.make(str(number), "montague.example")
        throttle.failed(f"2001:db8:{number:x}::1", jid)
        throttle.succeeded(f"2001:db8:{number:x}::1", jid)
    assert len(throttle._addresses) == len(throttle._accounts) == len(throttle._used_from) == 50
