"""The SQL tables that a package declares, and whether the database can create them."""

import sys
from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import Table
from sqlalchemy.engine import URL

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin_api import Plugin
from sparkle_app.storage.creation import compile_ddl, dangling_key, kind_of, max_name
from sparkle_app.storage.data_tables import data_table, key_to_view, left_out
from sparkle_app.storage.models import Base


def tables_of_package(package: str, before: Collection[str]) -> list[Table]:
    """The tables that a package has declared: all new ones, except those of other packages that it imports.

    Arguments:
        package: the name of its folder.
        before: names of the tables that existed before it was imported.
    """
    modules = {
        data_table(each.local_table): each.class_.__module__
        for each in Base.registry.mappers
        if isinstance(each.local_table, Table)
    }

    def is_own(name: str, table: Table) -> bool:
        module = modules.get(table, "")
        # That of a package that cannot be imported is not kept.
        if module.startswith("plugins.") and module in sys.modules:
            return f"{module}.".startswith(f"plugins.{package}.")
        return name not in before

    return [table for name, table in Base.metadata.tables.items() if is_own(name, table)]


def remove_tables(tables: Iterable[Table]) -> None:
    """Forget tables of a package that is not used: no worker is to create them."""
    for table in tables:
        Base.metadata.remove(table)


def check_creation(tables: Iterable[Table], url: URL, where: str) -> None:
    """Check that a database can create the tables of a package: otherwise it could create no table at all.

    Raises:
        ConfigurationError: if it cannot, as far as this can be known without a connection.
    """
    for table in sorted(tables, key=lambda each: each.name):
        if key := key_to_view(table):
            target = key.rpartition("> ")[2].rpartition(".")[0]
            raise ConfigurationError(
                where,
                expected=f"foreign keys to tables; the rows of {target} are in {target}_data",
                found=f"{table.name}.{key}, a view",
                hint=f'write ForeignKey("{target}_data.id")',
            )
        if len(table.name) > max_name(url):
            raise ConfigurationError(
                where,
                expected=f"names of tables with at most {max_name(url)} characters",
                found=table.name,
                hint="shorten the name",
            )
        try:
            found = dangling_key(table)
            compile_ddl(table, url)
        # A type of the package's own may raise any exception.
        except Exception as error:
            # Without the address of a page about the kind of error.
            found = " ".join(str(error).split()).partition(" (Background on")[0]
        if found:
            raise ConfigurationError(
                where,
                expected=f"tables that can be created in {kind_of(url)}, and foreign keys to such tables",
                found=found,
                hint="correct the declaration, or install the plugin that declares the other table",
            )


def left_out_warnings(plugin: Plugin, where: str) -> Iterator[str]:
    """Warnings about indexes and constraints that a plugin declares, and that its tables do not have."""
    for model in ("DataFrame", "Aggregates"):
        if (table := getattr(getattr(plugin, model, None), "__table__", None)) is None:
            continue
        for each in left_out(table):
            yield (
                f"{where}: not created: {each}: rows are stored in {data_table(table).name}, where series_id stands"
                " for hostname and metric, which have an index; remove it, or use series_id in a revision of the plugin"
            )
