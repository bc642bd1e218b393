"""The error of the accounts: what was asked of an account cannot be done."""


class AccountError(Exception):
    """`condition` is a stanza error condition (RFC 6120 §8.3.3), `text` one line for people.

    Conditions: "jid-malformed" (no address of an account), "not-acceptable" (no possible password),
    "conflict" (exists already), "item-not-found" (does not exist), "not-allowed" (is disabled),
    "resource-constraint" (too much waits; later again).
    """

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition
        self.text = text
