"""The nodes of accounts, and what is known of clients."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _of_account(table: str, *columns: sa.schema.SchemaItem, key: tuple[str, ...]) -> None:
    op.create_table(
        table,
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        *columns,
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=f"fk_{table}_account_id_account", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", *key, name=f"pk_{table}"),
    )


def upgrade() -> None:
    """Nobody has nodes yet."""
    _of_account(
        "pubsub_node",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("configuration", sa.Text(), nullable=False),
        key=("name",),
    )
    _of_account(
        "pubsub_item",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("xml", sa.LargeBinary(), nullable=False),
        key=("node", "id"),
    )
    op.create_index("ix_pubsub_item_account_id_node_number", "pubsub_item", ["account_id", "node", "number"])
    _of_account(
        "pubsub_affiliation",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("jid", sa.Text(), nullable=False),
        sa.Column("affiliation", sa.Text(), nullable=False),
        key=("node", "jid"),
    )
    _of_account(
        "pubsub_subscription",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("jid", sa.Text(), nullable=False),
        key=("node", "jid"),
    )
    op.create_table(
        "client_capabilities",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", "version", name="pk_client_capabilities"),
    )
    op.create_index("ix_client_capabilities_used", "client_capabilities", ["used"])
