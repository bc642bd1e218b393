"""What an account uses beyond the core, as bits of its row."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody uses anything yet."""
    op.add_column("account", sa.Column("uses", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
