"""A bundle whose members are other bundles' networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medups.bundle.model import load_bundle, make_model, write_bundle
from medups.errors import InputError


def write_ensemble(bundles: Sequence[Path], output: Path) -> None:
    """Write a bundle that averages the class probabilities of ``bundles``.

    Its split says as trained on what any member trained or validated on; test cases are those of all that none saw.

    Raises:
        InputError: fewer than two, one twice or in the output's place, a damaged bundle, or bundles that differ in
            labels, preprocessing, spacing or inferer.
    """
    places = [folder.resolve() for folder in bundles]
    if len(set(places)) < max(2, len(places)):
        raise InputError(f"an ensemble needs two different bundles at least, got {', '.join(map(str, bundles))}")
    if output.resolve() in places:
        raise InputError(f"{output}: is one of the members, which the ensemble would replace; give another output")
    models = [load_bundle(folder) for folder in bundles]
    first = models[0].definition
    for folder, model in zip(bundles, models, strict=True):
        for section in ("preprocessing", "inferer"):
            if model.definition[section] != first[section]:
                raise InputError(f"{folder}: its {section} differs from that of {bundles[0]}; train them alike")
        for key in ("labels", "orientation", "spacing"):
            if model.definition["medups"][key] != first["medups"][key]:
                raise InputError(f"{folder}: its {key} differs from that of {bundles[0]}; train them alike")
    seen = {name for model in models for part in ("train", "val") for name in model.split[part]}
    test = [name for name in models[0].split["test"] if all(name in model.split["test"] for model in models)]
    split = {"train": sorted(seen), "val": [], "test": [name for name in test if name not in seen]}
    members = [model.definition["network_def"] for model in models]
    definition = {
        **first,
        "network_def": {"_target_": "medups.networks.Ensemble", "members": members},
        "medups": {**first["medups"], "split": split},
    }
    weights = {
        f"members.{number}.{name}": value
        for number, model in enumerate(models)
        for name, value in model.network.state_dict().items()
    }
    write_bundle(output, make_model(definition, "ensemble"), weights, f"the mean of {len(models)} members")
