"""Who may log in: accounts, credentials, throttling."""
