"""Finds packages that declare the same SQL tables, as a copied plugin does, without importing them."""

import ast
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sparkle_app.model.errors import ConfigurationError
from sparkle_app.plugin.manifest import Manifest


def copies(manifests: Sequence[Manifest]) -> dict[str, ConfigurationError]:
    """The packages, by NAME, that declare a table of another one. Of several packages, the owner of a table is not one.

    The owner is the package whose folder or NAME the table's name begins with; failing that, the oldest one.
    """
    declared = {manifest.name: set(_declared(manifest.folder)) for manifest in manifests}
    errors: dict[str, ConfigurationError] = {}
    for table in sorted(set().union(*declared.values())):
        claimants = [manifest for manifest in manifests if table in declared[manifest.name]]
        owner, *others = sorted(claimants, key=lambda each: (-_similarity(each, table), _age(each.folder)))
        for manifest in others:
            errors.setdefault(
                manifest.name,
                ConfigurationError(
                    f"plugin {manifest.name} ({manifest.folder})",
                    expected="a __tablename__ that no other plugin has",
                    found=f"{table}, which plugin {owner.name} ({owner.folder}) has",
                    hint="rename the tables of this plugin",
                ),
            )
    return errors


def _declared(folder: Path) -> Iterator[str]:
    """The constants that classes of a package assign to __tablename__."""
    for file in sorted(folder.glob("*.py")):
        with suppress(OSError, SyntaxError, ValueError):
            for node in ast.walk(ast.parse(file.read_text("utf-8"), str(file))):
                if isinstance(node, ast.ClassDef):
                    yield from _assigned(node)


def _assigned(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets: Sequence[ast.expr] = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        named = any(isinstance(target, ast.Name) and target.id == "__tablename__" for target in targets)
        if named and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str):
            yield statement.value.value


def _similarity(manifest: Manifest, table: str) -> int:
    """The length of the folder's or the plugin's name, if the table's name begins with it."""
    names = (re.sub(r"\W+", "_", name).lower() for name in (manifest.folder.name, manifest.name))
    return max((len(name) for name in names if table.lower().startswith(name)), default=0)


def _age(folder: Path) -> float:
    return min((file.stat().st_mtime for file in folder.glob("*.py")), default=0.0)
