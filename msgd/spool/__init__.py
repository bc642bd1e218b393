"""The spool: nothing acknowledged is lost; every message is kept until it was delivered."""
