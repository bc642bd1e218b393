"""The spool's rows can be an archive too, and accounts have a say in it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All that is there waits, and is in no archive."""
    op.add_column("spool", sa.Column("waiting", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.add_column("spool", sa.Column("archived", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("spool", sa.Column("sent", sa.Boolean(), server_default=sa.false(), nullable=False))
    for name in ("peer", "peer_resource", "message"):
        op.add_column("spool", sa.Column(name, sa.Text(), server_default=sa.text("''"), nullable=False))
    op.create_index(
        "ix_spool_waiting",
        "spool",
        ["account_id", "id"],
        unique=False,
        sqlite_where=sa.text("waiting IS 1"),
        postgresql_where=sa.text("waiting IS true"),
    )
    op.create_index(
        "ix_spool_archived",
        "spool",
        ["account_id", "peer", "id"],
        unique=False,
        sqlite_where=sa.text("archived IS 1"),
        postgresql_where=sa.text("archived IS true"),
    )
    op.create_table(
        "archive_preference",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("default", sa.Text(), nullable=False),
        sa.Column("always", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("never", sa.Text(), server_default=sa.text("'[]'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
            name="fk_archive_preference_account_id_account",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", name="pk_archive_preference"),
    )
