"""SQLAlchemy Core expressions, compiled once into what a database driver takes.

SQLAlchemy writes the SQL; the driver runs it. Executing through SQLAlchemy costs about twice the time
of the writer, so only the text, the order of the parameters and the columns to convert are kept.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, cast

from sqlalchemy import Boolean, ClauseElement, Executable, Insert, Table, UpdateBase
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import ReturnsRows

from msgd.storage.database import Parameters, StatementError

# Above this, statements are evidently being built anew for each call: forget the old ones.
_MOST_STATEMENTS = 1000

Row = tuple[Any, ...]


class Prepared:
    """A statement as the driver takes it."""

    __slots__ = ("_constants", "_count", "_names", "_pick", "booleans", "statement", "text")

    def __init__(self, statement: Executable, dialect: Dialect, names: Parameters) -> None:
        # Inserts and updates without explicit values set the columns that the first caller names.
        keys = list(names) if isinstance(statement, UpdateBase) else None
        compiled = cast(
            SQLCompiler,
            cast(ClauseElement, statement).compile(dialect=dialect, column_keys=keys),
        )
        if compiled.post_compile_params:
            # The length of an IN list would be part of the text, so it could not be compiled once.
            raise StatementError(f"lists of values are not supported: {compiled.string}")
        order = compiled.positiontup or []
        self.statement = statement  # keeps it alive: its identity is the key of the cache
        self.text = compiled.string
        self._constants = {
            name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required
        }
        self._names = {name for name in order if name not in self._constants}
        self._count = len(self._names)
        self._pick = _picker(order)
        self.booleans = _boolean_columns(statement)

    def takes(self, parameters: Parameters) -> bool:
        """Whether the names of `parameters` are exactly those that this text wants."""
        return parameters.keys() == self._names

    def values(self, parameters: Parameters) -> Row:
        """Return the parameters in the order of the text. Raises StatementError for other names."""
        if len(parameters) == self._count:
            try:
                if not self._constants:
                    return self._pick(parameters)
                return self._pick({**self._constants, **parameters})
            except KeyError:
                pass
        raise StatementError(
            f"parameters {sorted(parameters)} given, {sorted(self._names)} wanted: {self.text}"
        )

    def row(self, row: Row) -> Row:
        """Return `row` with real booleans in the columns that are declared Boolean."""
        values = list(row)
        for at in self.booleans:
            if values[at] is not None:
                values[at] = bool(values[at])
        return tuple(values)


def _picker(order: list[str]) -> Callable[[Parameters], Row]:
    """Return what takes the values of the names in `order` out of a mapping, as a tuple."""
    if not order:
        return lambda parameters: ()
    if len(order) == 1:
        (name,) = order
        return lambda parameters: (parameters[name],)
    return cast(Callable[[Parameters], Row], itemgetter(*order))


def _boolean_columns(statement: Executable) -> frozenset[int]:
    """Return the positions of Boolean columns in the rows that `statement` returns.

    SQLite has no boolean; only statements that return such columns pay for the conversion.
    """
    if not isinstance(statement, ReturnsRows):
        return frozenset()
    columns = enumerate(statement.exported_columns)
    return frozenset(at for at, column in columns if isinstance(column.type, Boolean))


class Statements:
    """The compiled statements of one SQL dialect, shared by all its connections and threads."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[int, Prepared] = {}
        # An insert that is used with several sets of columns has one text for each.
        self._by_names: dict[tuple[int, frozenset[str]], Prepared] = {}

    def prepare(self, statement: Executable, parameters: Parameters) -> Prepared:
        """Return the compiled form of `statement` for these parameter names."""
        prepared = self._prepared.get(id(statement))
        if prepared is None:
            if len(self._prepared) >= _MOST_STATEMENTS:
                self._prepared.clear()
            prepared = Prepared(statement, self._dialect, parameters)
            self._prepared[id(statement)] = prepared
        elif isinstance(statement, UpdateBase) and not prepared.takes(parameters):
            prepared = self._other_names(statement, parameters)
        return prepared

    def _other_names(self, statement: Executable, parameters: Parameters) -> Prepared:
        key = (id(statement), frozenset(parameters))
        prepared = self._by_names.get(key)
        if prepared is None or prepared.statement is not statement:
            if len(self._by_names) >= _MOST_STATEMENTS:
                self._by_names.clear()
            prepared = Prepared(statement, self._dialect, parameters)
            self._by_names[key] = prepared
        return prepared


def upsert(table: Table, *columns: str) -> Insert:
    """Return an insert into `table` which replaces `columns` where the row's key is already there.

    Without `columns` the row that is there stays as it is. SQLite and PostgreSQL share the syntax,
    and PostgreSQL's construct compiles for both.
    """
    statement = postgresql.insert(table)
    key = list(table.primary_key.columns)
    if not columns:
        return statement.on_conflict_do_nothing(index_elements=key)
    new: Mapping[str, Any] = {name: statement.excluded[name] for name in columns}
    return statement.on_conflict_do_update(index_elements=key, set_=new)
