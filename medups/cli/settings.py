"""The training configuration: hydra groups under ``configs/`` and the user's overrides."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hydra
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from medups.data.labels import label_set
from medups.errors import InputError
from medups.files import configs_dir

Settings = dict[str, Any]


def compose(overrides: Sequence[str], name: str = "train") -> Settings:
    """The resolved configuration as plain values. Raises InputError for an unknown or missing setting."""
    _register()
    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3"):
            return _plain(hydra_compose(name, overrides=list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error) or str(error.__cause__)
        if isinstance(error, OverrideParseException):
            reason = f"{error.override}: expected key=value; text with other signs is quoted twice: \"key='text'\""
        raise InputError(f"wrong setting: {reason}; groups and keys are in {configs_dir()}") from error


def multirun(
    overrides: Sequence[str], run: Callable[[Mapping[str, Any]], None], name: str = "train"
) -> dict[str, Exception]:
    """``run`` for each combination of swept values, by the launcher that ``hydra/launcher`` names.

    Returns:
        Each run's output that failed in this process, and why. A launcher's own processes fail by themselves.
    """
    _register()
    failed: dict[str, Exception] = {}
    here = os.getpid()

    @hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name=name)
    def one(config: DictConfig) -> None:
        _register()
        name = "each run"
        try:
            settings = _plain(config)
            name = str(settings["output"])
            run(settings)
        except Exception as error:
            if os.getpid() != here:
                raise
            failed[name] = error

    arguments, sys.argv = sys.argv, [sys.argv[0], "--multirun", "hydra/job_logging=disabled", *overrides]
    try:
        one()
    except SystemExit as error:
        raise InputError("wrong setting, see above") from error
    finally:
        sys.argv = arguments
    return failed


def _plain(config: DictConfig) -> Settings:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise InputError(f"a setting is missing: {error}; give it as key=value") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _register() -> None:
    def suffix(name: str, value: object) -> str:
        return "" if value is None else f"-{name}{value}"

    def num_classes(labels: str) -> int:
        return max(label_set(labels).organs) + 1

    OmegaConf.register_new_resolver("num_classes", num_classes, replace=True)
    OmegaConf.register_new_resolver("suffix", suffix, replace=True)
