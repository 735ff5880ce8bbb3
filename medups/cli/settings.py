"""The training configuration: hydra groups under ``configs/`` and the user's overrides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from medups.data.labels import label_set
from medups.errors import InputError
from medups.files import configs_dir


def compose(overrides: Sequence[str], name: str = "train") -> dict[str, Any]:
    """The resolved configuration as plain values. Raises InputError for an unknown or missing setting."""
    OmegaConf.register_new_resolver("num_classes", lambda labels: max(label_set(labels).organs) + 1, replace=True)
    OmegaConf.register_new_resolver(
        "suffix", lambda name, value: "" if value is None else f"-{name}{value}", replace=True
    )
    try:
        with initialize_config_dir(str(configs_dir()), version_base="1.3"):
            config = hydra_compose(name, overrides=list(overrides))
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise InputError(f"a setting is missing: {error}; give it as key=value") from error
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error) or str(error.__cause__)
        raise InputError(f"wrong setting: {reason}; groups and keys are in {configs_dir()}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
