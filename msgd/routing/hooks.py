"""What extensions do with the stanzas of one account.

Most accounts have none of this: `LiveAccount.hooks` is None, and that is all they pay. An extension that has
something to do for an account is hung on it (`account.hook(extension)`), when the account is loaded or later,
and acts in those phases whose methods it defines, in the order in which the extensions are registered.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from msgd.wire.errors import StanzaError
from msgd.wire.stanza import Stanza

if TYPE_CHECKING:
    from msgd.routing.account import LiveAccount
    from msgd.routing.session import Session
    from msgd.routing.stream_management import Kept, Receipt

#: The phases in the order of a message's way from one account here to another.
PHASES: Final = (
    "amend", "permit_out", "outgoing", "permit_in", "incoming", "accepted", "permit_late", "shown",
)  # fmt: skip


class Dropped(Exception):
    """Raised by `permit_in` and `permit_out`: the stanza goes nowhere, and nobody is told."""


class Acting:
    """The phases; an extension defines those in which it acts."""

    #: Its place among the extensions.
    rank = 0

    def amend(self, account: LiveAccount, session: Session, stanza: Stanza) -> Stanza:
        """`session` sends a stanza of any kind. The stanza as it goes on, before anybody else sees it."""
        return stanza

    def permit_out(self, account: LiveAccount, stanza: Stanza) -> None:
        """A session of `account` sends a stanza of any kind. Raises StanzaError, or Dropped, to stop it.

        Presence that is broadcast is asked for once for each recipient.
        """

    def outgoing(
        self, account: LiveAccount, session: Session, stanza: Stanza, receipt: Receipt | None
    ) -> Stanza:
        """`session` sends a message that was permitted. The sender's own copy, for those that follow."""
        return stanza

    def permit_in(self, account: LiveAccount, stanza: Stanza) -> None:
        """A stanza of any kind comes for `account` or a resource of it. Raises StanzaError, or Dropped.

        For presence StanzaError is the same as Dropped.
        """

    def incoming(
        self, account: LiveAccount, stanza: Stanza, targets: list[Session], kept: Kept | None
    ) -> None:
        """A message for `account` goes to `targets` for the first time, just as it is here.

        `kept` is what the spool keeps of it, None for a message that nobody keeps.
        """

    def accepted(self, account: LiveAccount, stanza: Stanza, takers: list[Session]) -> None:
        """A message for `account` is kept, and goes to `takers` now: once for each, with its stanza-id.

        They may have no connection. Without takers it waits for somebody who can take it.
        """

    def permit_late(self, account: LiveAccount, stanza: Stanza) -> None:
        """A message that was kept for the account, and waited, is to go out now. Raises Dropped: no more."""

    def shown(self, account: LiveAccount, presence: Stanza) -> None:
        """Somebody shows presence to the account: available, unavailable, or an error in answer to its own.

        Of accounts of this server only what is sent directly.
        """


class Hooks:
    """Who acts in each phase; shared by all accounts on which the same extensions hang."""

    __slots__ = ("extensions", *PHASES)

    def __init__(self, extensions: tuple[Acting, ...]) -> None:
        self.extensions = extensions
        self.amend: tuple[Callable[[LiveAccount, Session, Stanza], Stanza], ...] = tuple(
            each.amend for each in extensions if acts(each, "amend")
        )
        self.permit_out: tuple[Callable[[LiveAccount, Stanza], None], ...] = tuple(
            each.permit_out for each in extensions if acts(each, "permit_out")
        )
        self.outgoing: tuple[
            Callable[[LiveAccount, Session, Stanza, Receipt | None], Stanza], ...
        ] = tuple(each.outgoing for each in extensions if acts(each, "outgoing"))  # fmt: skip
        self.permit_in: tuple[Callable[[LiveAccount, Stanza], None], ...] = tuple(
            each.permit_in for each in extensions if acts(each, "permit_in")
        )
        self.incoming: tuple[
            Callable[[LiveAccount, Stanza, list[Session], Kept | None], None], ...
        ] = tuple(each.incoming for each in extensions if acts(each, "incoming"))  # fmt: skip
        self.accepted: tuple[Callable[[LiveAccount, Stanza, list[Session]], None], ...] = tuple(
            each.accepted for each in extensions if acts(each, "accepted")
        )
        self.permit_late: tuple[Callable[[LiveAccount, Stanza], None], ...] = tuple(
            each.permit_late for each in extensions if acts(each, "permit_late")
        )
        self.shown: tuple[Callable[[LiveAccount, Stanza], None], ...] = tuple(
            each.shown for each in extensions if acts(each, "shown")
        )


def acts(extension: Acting | type[Acting], phase: str) -> bool:
    """Whether an extension does anything in a phase."""
    kind = extension if isinstance(extension, type) else type(extension)
    return getattr(kind, phase) is not getattr(Acting, phase)


@lru_cache(maxsize=256)
def hooks_of(extensions: frozenset[Acting]) -> Hooks | None:
    """The hooks of an account on which these hang; None for none."""
    return Hooks(tuple(sorted(extensions, key=lambda each: each.rank))) if extensions else None


def lets_out(account: LiveAccount, stanza: Stanza) -> bool:
    """Whether presence of `account` may go to its address."""
    return account.hooks is None or _passes(account, stanza, account.hooks.permit_out)


def lets_in(account: LiveAccount, stanza: Stanza) -> bool:
    """Whether presence may come to `account`."""
    return account.hooks is None or _passes(account, stanza, account.hooks.permit_in)


def _passes(
    account: LiveAccount, stanza: Stanza, ask: tuple[Callable[[LiveAccount, Stanza], None], ...]
) -> bool:
    try:
        for permit in ask:
            permit(account, stanza)
    except (StanzaError, Dropped):
        return False
    return True
