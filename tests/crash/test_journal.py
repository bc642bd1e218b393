"""The judgement over a run: each breach of the promise is found, and nothing else is."""

from __future__ import annotations

from tests.crash.journal import Delivery, Journal, Message, Tally


def _message(number: int, sender: str = "ann") -> Message:
    return Message(sender, "bob", number)


def _delivery(number: int, *, resource: str = "one", connection: int = 1, id: str = "") -> Delivery:
    return Delivery(_message(number), resource, connection, id or f"id{number}")


def _judged(acknowledged: list[int], *deliveries: Delivery, refused: tuple[int, ...] = ()) -> Tally:
    journal = Journal(
        sent={_message(number) for number in range(1, 10)},
        acknowledged={_message(number) for number in acknowledged},
        refused={_message(number) for number in refused},
        deliveries=list(deliveries),
    )
    tally = journal.tallies(lambda name: "any")["any"]
    assert bool(journal.breaches) is not tally.kept
    return tally


def test_all_is_well() -> None:
    tally = _judged([1, 2], _delivery(1), _delivery(2), _delivery(3))
    assert tally == Tally(sent=9, acknowledged=2, received=3)


def test_what_was_acknowledged_and_never_came_is_lost() -> None:
    assert _judged([1, 2], _delivery(2)).lost == 1


def test_what_came_back_with_an_error_is_answered() -> None:
    assert _judged([1, 2], _delivery(2), refused=(1,)).lost == 0


def test_a_gap_is_no_disorder() -> None:
    assert _judged([], _delivery(1), _delivery(5)).kept


def test_an_older_message_that_comes_for_the_first_time_is_out_of_order() -> None:
    assert _judged([], _delivery(2), _delivery(1, connection=2)).out_of_order == 1


def test_each_resource_has_its_own_order() -> None:
    assert _judged([], _delivery(2), _delivery(1, resource="two")).kept


def test_a_new_connection_may_begin_with_what_came_before() -> None:
    tally = _judged([], _delivery(1), _delivery(2), _delivery(1, connection=2), _delivery(2, connection=2))
    assert tally.kept
    assert tally.again == 2


def test_nothing_comes_twice_on_one_connection() -> None:
    assert _judged([], _delivery(1), _delivery(1)).out_of_order == 1


def test_what_comes_again_with_another_stanza_id_is_a_duplicate() -> None:
    assert _judged([], _delivery(1), _delivery(1, connection=2, id="other")).duplicates == 1


def test_text_and_id_say_which_message_it_is() -> None:
    message = Message("ann", "bob", 7, 300)
    assert Message.from_id(message.id) == message
    assert len(message.text) == 308
