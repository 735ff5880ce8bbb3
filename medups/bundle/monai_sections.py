"""The sections of a bundle that only MONAI's own tools read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_RUN = {"bundle_root": ".", "input": "", "output": "", "device": "cpu"}

EVALUATION: Mapping[str, Any] = {
    **_RUN,
    "label": "",
    "label_labels": "",
    "evaluator": {"_target_": "medups.workflows.monai_run.Evaluator", "bundle": "@bundle_root", "device": "@device"},
    "run": ["$@evaluator(@input, @label, @output, @label_labels)"],
}
"""Segments the scans ``input`` and compares the masks with ``label``, whose label set is ``label_labels``."""


def inference_sections(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A program for ``python -m monai.bundle run``, and the transforms before and after MONAI Label's inference.

    MONAI Label passes what ``pre_transforms`` returns to ``inferer``; ``post_transforms`` brings the ids back to the
    grid of the scan.
    """
    about = definition["medups"]
    program = {
        **_RUN,
        "predictor": {
            "_target_": "medups.workflows.monai_run.Predictor",
            "bundle": "@bundle_root",
            "device": "@device",
        },
        "run": ["$@predictor(@input, @output)"],
    }
    if about.get("task", "volume") != "volume":  # MONAI Label shows volumes
        return program
    load: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": about["orientation"], "labels": None},
    ]
    if about["spacing"]:
        load.append({"_target_": "medups.data.transforms.ToSpacingd", "keys": "image", "spacing": about["spacing"]})
    back = {
        "_target_": "Invertd", "keys": "pred", "transform": "@pre_transforms", "orig_keys": "image",
        "nearest_interp": True,
    }  # fmt: skip
    return {
        **program,
        "pre_transforms": {"_target_": "Compose", "transforms": [*load, *definition["preprocessing"]]},
        "post_transforms": {"_target_": "Compose", "transforms": [back]},
    }
