"""Bringing a database to the schema of this msgd, with Alembic: forward only, at start.

All steps run in one transaction that excludes every other writer, so two processes that start at once
do it once, and a step that fails leaves the database as it was.
"""

from sqlalchemy import Connection, inspect, text

from msgd.storage.database import DatabaseUnusable

#: The newest revision in `versions/`. Kept here so that a start with nothing to do need not load Alembic
#: (a tenth of a second and several MiB); a test compares the two.
HEAD = "0009"


def migrate(connection: Connection) -> None:
    """Bring the database of `connection`, which is inside a transaction, to `HEAD`.

    Raises DatabaseUnusable when its revision is none that this msgd knows.
    """
    revision = current(connection)
    if revision == HEAD:
        return
    # Not at the top: see HEAD.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "msgd.storage:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise DatabaseUnusable(
            f"the database has schema revision {revision}, which this msgd does not know: "
            "it was written by a newer msgd; start that one, or restore a backup"
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """Return the schema revision of the database, None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
