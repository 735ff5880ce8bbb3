"""The public names and their signatures. A change here is a change for users: state it in CHANGELOG.md.

Rewrite the list with: python tests/api/test_surface.py
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

LIST = Path(__file__).with_name("surface.txt")
MODULES = ("medups", "medups.upsamplers", "medups.networks", "medups.weights", "medups.metrics", "medups.errors")


def surface() -> list[str]:
    lines = []
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", None) or [name for name in vars(module) if name.endswith("Error")]
        for name in sorted(names):
            value = getattr(module, name)
            if isinstance(value, type) and issubclass(value, Exception):
                lines.append(f"{module_name}.{name}: exception")
            elif callable(value):
                parameters = inspect.signature(value).parameters.values()
                lines.append(f"{module_name}.{name}({', '.join(map(_shown, parameters))})")
            else:
                lines.append(f"{module_name}.{name}: {type(value).__name__}")
    return lines


def _shown(parameter: inspect.Parameter) -> str:
    prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**", parameter.KEYWORD_ONLY: "*, "}
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return f"{prefix.get(parameter.kind, '')}{parameter.name}{default}"


def test_the_public_names_are_those_of_the_list():
    assert surface() == LIST.read_text(encoding="utf-8").splitlines()


def test_the_package_says_that_it_has_types():
    package = importlib.import_module("medups")
    assert package.__file__ is not None
    assert Path(package.__file__).with_name("py.typed").is_file()


if __name__ == "__main__":
    LIST.write_text("\n".join(surface()) + "\n", encoding="utf-8")
