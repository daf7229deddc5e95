"""The tests that `make mutation` runs are those of the core, and docs/mutation.md explains what survives them."""

import ast
import re
import tomllib
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

from tests.support.worker import PROJECT

MUTMUT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
SELECTED = MUTMUT["pytest_add_cli_args_test_selection"]


def imported(file: Path) -> set[str]:
    """The modules from which a test imports something."""
    nodes = [node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
    return {f"{node.module}.{each.name}" for node in nodes for each in node.names} | {
        str(node.module) for node in nodes
    }


def test_mutants_are_run_with_the_tests_whose_coverage_is_required() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    found = re.search(r"^CORE_TESTS := .*?addsuffix \.py,(.*?)\)\)$", makefile, re.DOTALL | re.MULTILINE)
    assert found is not None
    names = found[1].replace("\\", "").split()
    assert [f"tests/unit/test_{name}.py" for name in names] == SELECTED


def test_each_mutated_module_has_its_unit_test_among_them() -> None:
    tested = set().union(*(imported(PROJECT / file) for file in SELECTED))
    names = [str(path.relative_to(PROJECT)) for path in (PROJECT / "sparkle_app").rglob("*.py")]
    mutated = {
        name.removesuffix(".py").replace("/", ".")
        for name in names
        if any(fnmatch(name, pattern) for pattern in MUTMUT["only_mutate"])
        and name not in MUTMUT["do_not_mutate"]
        and not name.endswith("/__init__.py")
    }
    assert len(mutated) > 15
    assert mutated - tested == set()


def test_tests_that_are_left_out_exist() -> None:
    arguments = MUTMUT["pytest_add_cli_args"]
    left_out = [name for option, name in pairwise(arguments) if option == "--deselect"]
    assert left_out
    for file, _, name in (each.partition("::") for each in left_out):
        assert file in SELECTED
        assert f"def {name}(" in (PROJECT / file).read_text("utf-8")


def test_each_surviving_mutant_is_explained() -> None:
    page = (PROJECT / "docs" / "mutation.md").read_text("utf-8")
    figures, _, rest = page.partition("## Surviving mutants")
    explained, _, _ = rest.partition("## What is not mutated")
    *rows, total = [
        [int(number) for number in row]
        for row in re.findall(r"\| (\d+) \| (\d+) \| (\d+) \|$", figures, re.M)
    ]
    assert len(rows) == 5
    assert total == [sum(column) for column in zip(*rows, strict=True)]
    mutants, killed, survived = total
    assert mutants == killed + survived
    assert sum(map(int, re.findall(r"^\| `[a-z_/.]+` \| (\d+) \|", explained, re.M))) == survived
