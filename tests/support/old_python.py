"""Code that has to run on Python 3.8."""

import ast


def annotation_faults(code: str) -> list[str]:
    """Annotations that Python 3.8 evaluates when it imports the code, and cannot.

    Raises:
        SyntaxError: when the code has syntax of a newer Python.
    """
    tree = ast.parse(code, feature_version=(3, 8))
    if any(isinstance(each, ast.ImportFrom) and each.module == "__future__" for each in tree.body):
        return []
    found = []
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            annotation = getattr(node, field, None)
            if isinstance(annotation, ast.Subscript | ast.BinOp):
                found.append(f"line {annotation.lineno}: {ast.unparse(annotation)}")
    return found
