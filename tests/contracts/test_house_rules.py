"""Files and functions are short, public ones are documented, and no module is hidden by a function."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [path for folder in ("medups", "scripts", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
SOURCES = [path for path in FILES if path.relative_to(ROOT).parts[0] == "medups"]


def test_no_file_is_longer_than_300_lines():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert len(lengths) > 200
    assert {path: length for path, length in lengths.items() if length > 300} == {}


def test_no_function_is_longer_than_60_lines():
    too_long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 60:
                too_long.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert too_long == []


def test_no_module_is_hidden_by_a_function_of_its_name():
    """``medups.ops.reassembly`` holds ``reassemble``: a package and its function have different names."""
    hidden = []
    for path in SOURCES:
        if path.name != "__init__.py":
            continue
        submodules = {entry.stem for entry in path.parent.iterdir() if entry.suffix == ".py" or entry.is_dir()}
        package = ".".join(path.parent.relative_to(ROOT).parts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module != package:  # from there come the modules themselves
                hidden += [f"{path.parent.name}.{alias.name}" for alias in node.names if alias.name in submodules]
    assert hidden == []


def test_every_public_function_and_class_is_documented():
    missing = []
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if public and path.name != "kernels.py" and ast.get_docstring(node) is None:
                missing.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert missing == []
