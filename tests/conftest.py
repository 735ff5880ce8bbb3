"""Shared fixtures: reference data if available, and small phantoms."""

from __future__ import annotations

import functools
import importlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # run kernels in Triton's interpreter; Triton reads this at import

try:
    importlib.import_module("torchvision")
except ImportError:
    pass
except RuntimeError:  # the wheel's operators need CUDA libraries, but the import needs only their names
    _OPERATORS = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

SHARED = Path(os.environ.get("MEDUPS_SHARED", Path(__file__).resolve().parents[2] / "shared"))


class Golden:
    """A golden file: arrays by name, published weights and metadata."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as archive:
            self.arrays = {name: archive[name] for name in archive.files}
        self.meta: dict[str, Any] = json.loads(str(self.arrays["meta"]))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def weights(self) -> dict[str, np.ndarray]:
        return {name[3:]: value for name, value in self.arrays.items() if name.startswith("sd/")}

    def formula_weights(self) -> dict[str, np.ndarray]:
        return {key: _formula(key, shape) for key, shape in json.loads(str(self.arrays["keys"]))}


@pytest.fixture(scope="session")
def golden() -> Any:
    """``golden(name)`` reads a file of published numbers; the largest are not part of the project and may be absent."""

    def read(name: str) -> Golden:
        for folder in (Path(__file__).parent / "golden", SHARED / "golden"):
            if (path := folder / f"{name}.npz").is_file():
                return Golden(path)
        pytest.skip(f"{name}.npz is not in tests/golden, and MEDUPS_SHARED has no golden/{name}.npz")

    return read


@pytest.fixture(scope="session")
def formula() -> Any:
    """``formula(name, shape)``: the weights of the network goldens."""
    return _formula


@pytest.fixture(scope="session")
def opcheck() -> Any:
    """torch's operator checks except tracing, which the contract's test_compile covers."""
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    return functools.partial(torch.library.opcheck, test_utils=checks)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the two real CT scans; skips the test if it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("real scans are absent")
    return SHARED / "data"


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four small phantoms in the Synapse layout."""
    from medups.data.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("phantoms")
    assert list(write_phantoms(folder, 4, seed=5, size=64, slices=16)) == ["0001", "0002", "0003", "0004"]
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def relative_error(computed: torch.Tensor | np.ndarray, expected: np.ndarray) -> float:
    """Largest difference over the largest expected value."""
    values = computed.detach().cpu().numpy() if isinstance(computed, torch.Tensor) else computed
    return float(np.abs(values - expected).max() / np.abs(expected).max())


def _formula(key: str, shape: list[int]) -> np.ndarray:
    """The weights of the network goldens, as their README defines them."""
    z = np.random.RandomState(zlib.crc32(key.encode()) & 0xFFFFFFFF).standard_normal(shape)
    if len(shape) > 1:
        z = z / np.sqrt(np.prod(shape[1:]))
    elif key.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif key.endswith(("weight", "scale")):
        z = 1 + 0.1 * z
    else:
        z = 0.1 * z
    return z.astype(np.float32)
