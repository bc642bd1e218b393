"""The failures of SASL, as every mechanism raises them (RFC 6120 §6.5)."""

#: The conditions of RFC 6120 §6.5, each an element inside `<failure/>`.
CONDITIONS = frozenset(
    {
        "aborted",
        "account-disabled",
        "credentials-expired",
        "encryption-required",
        "incorrect-encoding",
        "invalid-authzid",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "not-authorized",
        "temporary-auth-failure",
    }
)


class SaslFailure(Exception):
    """The login failed. `condition` is one of `CONDITIONS`, `text` for people or empty.

    The text never depends on whether an account exists.
    """

    def __init__(self, condition: str, text: str = "") -> None:
        if condition not in CONDITIONS:
            raise ValueError(f"no SASL condition: {condition}")
        super().__init__(condition, text)
        self.condition = condition
        self.text = text
