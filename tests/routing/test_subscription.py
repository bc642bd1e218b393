"""The subscription state machine against RFC 6121 Appendix A, its tables written down once more."""

import itertools

import pytest

from msgd.routing.subscription import (
    SUBSCRIPTION_TYPES,
    Contact,
    State,
    inbound,
    outbound,
    removal,
)

STATES = {
    "None": State.NONE,
    "None + Pending Out": State.NONE_OUT,
    "None + Pending In": State.NONE_IN,
    "None + Pending Out+In": State.NONE_OUT_IN,
    "To": State.TO,
    "To + Pending In": State.TO_IN,
    "From": State.FROM,
    "From + Pending Out": State.FROM_OUT,
    "Both": State.BOTH,
}

# Existing state | routed or delivered | new state ('=' is 'no state change') | automatic reply
TABLES = {
    ("out", "subscribe"): """
        None                  | MUST | None + Pending Out
        None + Pending Out    | MUST | =
        None + Pending In     | MUST | None + Pending Out+In
        None + Pending Out+In | MUST | =
        To                    | MUST | =
        To + Pending In       | MUST | =
        From                  | MUST | From + Pending Out
        From + Pending Out    | MUST | =
        Both                  | MUST | =
    """,
    ("out", "unsubscribe"): """
        None                  | MUST | =
        None + Pending Out    | MUST | None
        None + Pending In     | MUST | =
        None + Pending Out+In | MUST | None + Pending In
        To                    | MUST | None
        To + Pending In       | MUST | None + Pending In
        From                  | MUST | =
        From + Pending Out    | MUST | From
        Both                  | MUST | From
    """,
    ("out", "subscribed"): """
        None                  | M.N. | =
        None + Pending Out    | M.N. | =
        None + Pending In     | MUST | From
        None + Pending Out+In | MUST | From + Pending Out
        To                    | M.N. | =
        To + Pending In       | MUST | Both
        From                  | M.N. | =
        From + Pending Out    | M.N. | =
        Both                  | M.N. | =
    """,
    ("out", "unsubscribed"): """
        None                  | S.N. | =
        None + Pending Out    | S.N. | =
        None + Pending In     | MUST | None
        None + Pending Out+In | MUST | None + Pending Out
        To                    | S.N. | =
        To + Pending In       | MUST | To
        From                  | MUST | None
        From + Pending Out    | MUST | None + Pending Out
        Both                  | MUST | To
    """,
    ("in", "subscribe"): """
        None                  | MUST | None + Pending In
        None + Pending Out    | MUST | None + Pending Out+In
        None + Pending In     | S.N. | =
        None + Pending Out+In | S.N. | =
        To                    | MUST | To + Pending In
        To + Pending In       | S.N. | =
        From                  | S.N. | = | subscribed
        From + Pending Out    | S.N. | = | subscribed
        Both                  | S.N. | = | subscribed
    """,
    ("in", "unsubscribe"): """
        None                  | S.N. | =
        None + Pending Out    | S.N. | =
        None + Pending In     | MUST | None | unsubscribed
        None + Pending Out+In | MUST | None + Pending Out | unsubscribed
        To                    | S.N. | =
        To + Pending In       | MUST | To | unsubscribed
        From                  | MUST | None | unsubscribed
        From + Pending Out    | MUST | None + Pending Out | unsubscribed
        Both                  | MUST | To | unsubscribed
    """,
    ("in", "subscribed"): """
        None                  | S.N. | =
        None + Pending Out    | MUST | To
        None + Pending In     | S.N. | =
        None + Pending Out+In | MUST | To + Pending In
        To                    | S.N. | =
        To + Pending In       | S.N. | =
        From                  | S.N. | =
        From + Pending Out    | MUST | Both
        Both                  | S.N. | =
    """,
    ("in", "unsubscribed"): """
        None                  | S.N. | =
        None + Pending Out    | MUST | None
        None + Pending In     | S.N. | =
        None + Pending Out+In | MUST | None + Pending In
        To                    | MUST | None
        To + Pending In       | MUST | None + Pending In
        From                  | S.N. | =
        From + Pending Out    | MUST | From
        Both                  | MUST | From
    """,
}


def rows() -> list[tuple[str, str, State, bool, State, str | None]]:
    """All cells of the tables: direction, type, state, done, new state, reply."""
    found = []
    for (direction, kind), text in TABLES.items():
        for line in text.strip().splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            state = STATES[cells[0]]
            new = state if cells[2] == "=" else STATES[cells[2]]
            reply = cells[3] if len(cells) > 3 else None
            found.append((direction, kind, state, cells[1] == "MUST", new, reply))
    return found


def contact(state: State) -> Contact:
    """A contact that is listed as far as its state requires."""
    return Contact(state, False, state.subscription != "none" or state.ask)


def test_the_tables_have_every_state_and_every_stanza() -> None:
    cells = {(direction, kind, state) for direction, kind, state, *_ in rows()}
    assert cells == set(itertools.product(("in", "out"), SUBSCRIPTION_TYPES, State))


@pytest.mark.parametrize(
    ("direction", "kind", "state", "done", "new", "reply"),
    rows(),
    ids=lambda value: value.name if isinstance(value, State) else str(value),
)
def test_appendix_a(
    direction: str, kind: str, state: State, done: bool, new: State, reply: str | None
) -> None:
    for listed in {True, contact(state).listed}:
        before = contact(state)._replace(listed=listed)
        if direction == "out":
            sent = outbound(kind, before)
            assert (sent.contact.state, sent.route) == (new, done)
        else:
            received = inbound(kind, before)
            assert (received.contact.state, received.deliver, received.reply) == (new, done, reply)
            assert received.contact.approved is False


def test_state_of_what_is_stored() -> None:
    for state in State:
        assert State.of(state.subscription, state.ask, state.pending_in) is state
    assert State.of("to", True, False) is State.TO
    assert State.of("from", False, True) is State.FROM
    assert State.of("both", True, True) is State.BOTH
    with pytest.raises(ValueError, match="remove"):
        State.of("remove", False, False)


# -- pre-approval, §3.4 ---------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.NONE, State.NONE_OUT, State.TO])
def test_pre_approval_is_noted_and_not_routed(state: State) -> None:
    sent = outbound("subscribed", contact(state))
    assert sent == (Contact(state, True, True), False)


@pytest.mark.parametrize("state", [s for s in State if s.subscription in ("from", "both") or s.pending_in])
def test_an_approval_is_no_pre_approval(state: State) -> None:
    assert outbound("subscribed", contact(state)).contact.approved is False


@pytest.mark.parametrize(
    ("state", "new"),
    [(State.NONE, State.FROM), (State.NONE_OUT, State.FROM_OUT), (State.TO, State.BOTH)],
)
def test_a_pre_approved_request_is_granted_once(state: State, new: State) -> None:
    received = inbound("subscribe", Contact(state, True, True))
    assert received == (Contact(new, False, True), False, "subscribed")


@pytest.mark.parametrize("state", [State.NONE, State.NONE_OUT, State.TO])
def test_unsubscribed_withdraws_a_pre_approval_in_silence(state: State) -> None:
    sent = outbound("unsubscribed", Contact(state, True, True))
    assert sent == (Contact(state, False, True), False)


@pytest.mark.parametrize("kind", sorted(SUBSCRIPTION_TYPES - {"subscribe"}))
@pytest.mark.parametrize("state", [State.NONE, State.NONE_OUT, State.TO])
def test_other_stanzas_of_the_contact_leave_a_pre_approval(kind: str, state: State) -> None:
    assert inbound(kind, Contact(state, True, True)).contact.approved is True


# -- what clients see -----------------------------------------------------------------------------


def test_a_request_of_a_stranger_makes_no_item() -> None:
    before = Contact()
    after = inbound("subscribe", before).contact
    assert after.state is State.NONE_IN
    assert after.shown == before.shown
    assert outbound("unsubscribed", after).contact == Contact()
    assert outbound("subscribed", after).contact.listed


def test_asking_makes_an_item_and_taking_it_back_keeps_it() -> None:
    asked = outbound("subscribe", Contact()).contact
    assert asked.shown == (True, "none", True, False)
    assert outbound("unsubscribe", asked).contact.shown == (True, "none", False, False)


def test_a_useless_unsubscribe_makes_no_item() -> None:
    assert outbound("unsubscribe", Contact()).contact == Contact()
    assert outbound("unsubscribed", Contact()).contact == Contact()


@pytest.mark.parametrize(
    ("state", "types"),
    [
        (State.NONE, []),
        (State.NONE_OUT, ["unsubscribe"]),
        (State.NONE_IN, ["unsubscribed"]),
        (State.NONE_OUT_IN, ["unsubscribe", "unsubscribed"]),
        (State.TO, ["unsubscribe"]),
        (State.TO_IN, ["unsubscribe", "unsubscribed"]),
        (State.FROM, ["unsubscribed"]),
        (State.FROM_OUT, ["unsubscribe", "unsubscribed"]),
        (State.BOTH, ["unsubscribe", "unsubscribed"]),
    ],
)
def test_removal_ends_everything(state: State, types: list[str]) -> None:
    assert removal(state) == types


# -- two accounts together ------------------------------------------------------------------------


def settle(pair: list[Contact], sender: int, kind: str) -> None:
    """`sender` sends one stanza; all that follows from it on both sides happens."""
    pair[sender], route = outbound(kind, pair[sender])
    waiting = [(1 - sender, kind)] if route else []
    for _ in range(10):
        if not waiting:
            return
        receiver, kind = waiting.pop(0)
        pair[receiver], _, reply = inbound(kind, pair[receiver])
        if reply is not None:
            waiting.append((1 - receiver, reply))
    pytest.fail("the two answer each other without an end")


def test_two_accounts_always_agree() -> None:
    """Whatever two accounts do one after the other, each knows what the other knows."""
    todo = [(Contact(), Contact())]
    seen = set(todo)
    while todo:
        start = todo.pop()
        for sender, kind in itertools.product((0, 1), SUBSCRIPTION_TYPES):
            pair = list(start)
            settle(pair, sender, kind)
            for one, other in (pair, reversed(pair)):
                assert one.state.sees == other.state.seen, (start, sender, kind)
                assert one.state.ask == other.state.pending_in, (start, sender, kind)
                assert not (one.approved and (one.state.seen or one.state.pending_in))
                assert one.listed or one.state in (State.NONE, State.NONE_IN)
            reached = (pair[0], pair[1])
            if reached not in seen:
                seen.add(reached)
                todo.append(reached)
    # Every state is reached, so nothing in the tables is dead.
    assert {one.state for one, _ in seen} == set(State)
