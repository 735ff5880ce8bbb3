"""A bundle whose members are the networks of other bundles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medups.bundle.model import load_bundle, make_model, write_bundle
from medups.errors import InputError
from medups.io.files import require_writable, user_path
from medups.tasks import VolumeTask


def ensemble(bundles: Sequence[str | Path], output: str | Path) -> Path:
    """Write a bundle that averages the class probabilities of ``bundles``.

    In its split, every case that a member trained or validated on is a training case; its test cases are those that
    all members list for testing.

    Returns:
        The folder of the ensemble's bundle.

    Raises:
        InputError: fewer than two bundles, a repeated bundle, a bundle at the output, a damaged bundle, or bundles that
            differ in labels, preprocessing, spacing or inferer.
    """
    folders, target = [user_path(folder) for folder in bundles], user_path(output)
    require_writable(target)
    resolved = [folder.resolve() for folder in folders]
    if len(set(resolved)) < max(2, len(resolved)):
        raise InputError(f"an ensemble needs at least two different bundles, got {', '.join(map(str, bundles))}")
    if target.resolve() in resolved:
        raise InputError(f"{target}: is one of the members and would be overwritten; choose another output")
    models = [load_bundle(folder) for folder in folders]
    for folder, model in zip(folders, models, strict=True):
        if model.task != VolumeTask.name:
            raise InputError(f"{folder}: an ensemble is for models of scans, this one has the task {model.task}")
    first = models[0].definition
    for folder, model in zip(folders, models, strict=True):
        for section in ("preprocessing", "inferer"):
            if model.definition[section] != first[section]:
                raise InputError(f"{folder}: {section} differs from {folders[0]}; use members with the same {section}")
        for key in ("labels", "orientation", "spacing"):
            if model.definition["medups"][key] != first["medups"][key]:
                raise InputError(f"{folder}: {key} differs from {folders[0]}; use members with the same {key}")
    seen = {name for model in models for part in ("train", "val") for name in model.split[part]}
    test = [name for name in models[0].split["test"] if all(name in model.split["test"] for model in models)]
    split = {"train": sorted(seen), "val": [], "test": [name for name in test if name not in seen]}
    members = [model.definition["network_def"] for model in models]
    definition = {
        **first,
        "network_def": {"_target_": "medups.networks.Ensemble", "members": members},
        "medups": {**first["medups"], "split": split},
    }
    definition["medups"]["data_format"] = VolumeTask(models[0].labels).data_format(definition)
    weights = {
        f"members.{number}.{name}": value
        for number, model in enumerate(models)
        for name, value in model.network.state_dict().items()
    }
    write_bundle(target, make_model(definition, "ensemble"), weights, f"the mean of {len(models)} members")
    return target
