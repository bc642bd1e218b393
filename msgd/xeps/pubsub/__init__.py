"""Publish-subscribe (XEP-0060): nodes, who may do what with them, and how they are kept.

    requests, owner_requests ─▶ service ─▶ change ─▶ store     what clients ask for
                                             └─────▶ notices ─▶ router     who is told of it

`people` is who is what at a node, in the database. `configuration` is what a node is like, `rules` what some
have to be, `access` who reads it. The nodes are those of accounts (XEP-0163).
"""
