"""Push notifications (XEP-0357): who is registered, what is sent, and what app servers answer.

`store` keeps the registrations, `registration` is one in memory, `notification` writes what is published,
`publisher` sends it and copes with slow and failing app servers. When: `xep_0357_push.py`.
"""
