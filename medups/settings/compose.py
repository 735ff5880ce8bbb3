"""Settings from Hydra groups under ``configs/`` and the user's overrides."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import hydra
import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from medups.data.labels import label_set
from medups.errors import InputError
from medups.io.shipped import configs_dir
from medups.settings.checks import check, check_complete
from medups.settings.errors import explain
from medups.settings.schema import Settings

Log = Callable[[str], None]


def compose(overrides: Sequence[str], log: Log | None = None, name: str = "train", complete: bool = True) -> Settings:
    """The checked settings that ``overrides`` select.

    Args:
        overrides: Hydra overrides, such as ``network=unet_3d`` or ``training.batch_size=8``.
        log: receives the settings that a choice implies.
        complete: require the settings without which no dataset can be opened, such as ``data.root``.

    Raises:
        InputError: an unknown, missing or invalid setting.
    """
    _register()
    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3"):
            config = hydra_compose(name, overrides=_home_quoted(overrides), return_hydra_config=True)
            choices = dict(config.hydra.runtime.choices)
            with open_dict(config):
                del config["hydra"]
            settings = _typed(config, complete)
    except InputError:
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # ValueError: a group that is not a name
        raise explain(error) from error
    if log is not None:
        _log_implied(choices, overrides, log)
    return settings


def multirun(
    overrides: Sequence[str], run: Callable[[Settings], None], log: Log | None = None, name: str = "train"
) -> dict[str, Exception]:
    """Call ``run`` for each combination of swept values, with the launcher that ``hydra/launcher`` selects.

    Returns:
        The error of each run that failed in this process, by output. Processes of a launcher raise their own errors.
    """
    _register()
    failed: dict[str, Exception] = {}
    parent = os.getpid()

    @hydra.main(version_base="1.3", config_path=str(configs_dir()), config_name=name)
    def job(config: DictConfig) -> None:
        _register()
        output = f"run {HydraConfig.get().job.num}"
        try:
            try:
                output = str(config.output)
                settings = _typed(config)
            except OmegaConfBaseException as error:
                raise explain(error) from error
            if log is not None:
                _log_implied(dict(HydraConfig.get().runtime.choices), overrides, log)
            run(settings)
        except Exception as error:
            if os.getpid() != parent:
                raise
            error.__traceback__ = error.__cause__ = error.__context__ = None  # they hold the run's network and data
            failed[output if output not in failed else f"{output} (run {HydraConfig.get().job.num})"] = error

    arguments, sys.argv = sys.argv, [sys.argv[0], "--multirun", "hydra/job_logging=disabled", *_home_quoted(overrides)]
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # otherwise Hydra prints its own errors and exits
    try:
        job()
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error
    except SystemExit as error:
        raise InputError("invalid setting, see above") from error
    finally:
        sys.argv = arguments
    return failed


def as_dict(settings: Settings) -> dict[str, Any]:
    """The settings as plain values, for JSON."""
    return asdict(settings)


def _home_quoted(overrides: Sequence[str]) -> list[str]:
    """Values that begin with ``~`` in quotes, without which hydra does not accept them."""
    path = r"~(?:\$\{[^{}]*\}|[^,\[\]{}'\"$])*"
    return [re.sub(rf"([=,\[:]\s*)({path})", r"\1'\2'", override) for override in overrides]


def _typed(config: DictConfig, complete: bool = True) -> Settings:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"missing settings: {', '.join(missing)}; set each with key=value")
    OmegaConf.resolve(config)
    settings = OmegaConf.to_object(config)
    assert isinstance(settings, Settings)
    check(settings)
    if complete:
        check_complete(settings)
    return settings


def _log_implied(choices: dict[str, Any], overrides: Sequence[str], log: Log) -> None:
    """Log the upsampler and recipe that a network's file selects, unless the user chose them."""
    network = choices.get("network")
    file = configs_dir() / "network" / f"{network}.yaml"
    defaults = yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", []) if file.is_file() else []
    implied = []
    for entry in defaults:
        for key, value in entry.items() if isinstance(entry, dict) else ():
            group = key.removeprefix("override /").partition("@")[0]
            if key.startswith("override /") and not any(text.startswith(f"{group}=") for text in overrides):
                implied.append(f"{group}={value}")
    if implied:
        log(f"network={network} selects {' and '.join(implied)}; add your own choice to override that")


def _register() -> None:
    def suffix(name: str, value: object) -> str:
        return "" if value is None else f"-{name}{value}"

    def num_classes(labels: str) -> int:
        return max(label_set(labels).organs) + 1

    def num_channels(labels: str) -> int:
        return len(label_set(labels).channels)

    def num_things(labels: str) -> int:
        return len(label_set(labels).things)

    def num_stuff(labels: str) -> int:
        return len(label_set(labels).stuff)

    ConfigStore.instance().store("schema", Settings)
    OmegaConf.register_new_resolver("num_classes", num_classes, replace=True)

    def given(value: str | None, otherwise: str) -> str:
        return value or otherwise

    OmegaConf.register_new_resolver("given", given, replace=True)
    OmegaConf.register_new_resolver("num_channels", num_channels, replace=True)
    OmegaConf.register_new_resolver("num_things", num_things, replace=True)
    OmegaConf.register_new_resolver("num_stuff", num_stuff, replace=True)
    OmegaConf.register_new_resolver("suffix", suffix, replace=True)
