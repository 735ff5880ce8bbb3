"""Every setting of ``medups train`` and related commands: type, range, unit, meaning and default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from medups.data.volumes.volume import CT_WINDOW
from medups.settings.fields import setting

SAMPLING_OF_TASK = {
    "volume": ("slices", "patches"), "semantic_image": ("pictures",), "detection": ("objects",),
    "panoptic": ("segments",),
}  # fmt: skip
FORMATS_OF_TASK = {
    "volume": ("synapse", "transunet", "datalist", "nnunet", "folders", "list"), "semantic_image": ("pictures", "voc"),
    "detection": ("coco",), "panoptic": ("coco",),
}  # fmt: skip
_SAMPLING = tuple(kind for kinds in SAMPLING_OF_TASK.values() for kind in kinds)
_FORMATS = tuple(dict.fromkeys(name for names in FORMATS_OF_TASK.values() for name in names))
_LAYOUTS = (
    "medups", "transunet-imagenet21k", "transunet", "swin-imagenet", "swin-unet", "segformer-imagenet", "segformer",
    "mscan-imagenet", "segnext", "vit-timm", "resnet-torchvision", "rcnn-torchvision", "rcnn-mmdetection",
)  # fmt: skip


@dataclass
class SplitSettings:
    """Case names by part; null uses the split of the dataset's own files."""

    train: list[str] | None = setting(None, "cases to train on; null: all labeled cases in no other part")
    val: list[str] | None = setting(None, "cases for validation, which selects the checkpoint; never trained on")
    test: list[str] | None = setting(None, "cases to test on; stored in the bundle for predict --cases test")


@dataclass
class DataSettings:
    """Where the dataset is, and how to split it."""

    format: str = setting("synapse", "format of the dataset on disk", choices=_FORMATS)
    root: str | None = setting(None, "folder of the dataset, or the JSON file of a datalist; ~ is expanded")
    images: str = setting(
        "images", "folder of the scans or pictures below root; {part} stands for train, val and test for data=coco"
    )
    labels: str = setting("labels", "folder of the masks below root; for data=coco the annotation file, with {part}")
    cases: list[dict[str, Any]] = setting(list, "name, image and label of each case, for data=list")
    source_labels: str | None = setting(
        None, "label set of the masks: a shipped name or a file; null: the dataset's own"
    )
    cache: str = setting("~/.cache/medups", "folder for cases in canonical form; safe to delete")
    fold: int | None = setting(None, "set by the top-level setting fold", low=0)
    split: SplitSettings = setting(SplitSettings, "case names by part")


@dataclass
class NetworkSettings:
    """The network and how scans are passed to it."""

    name: str = setting("transunet", "name of the network, for folders and logs")
    size: int | None = setting(
        None,
        "height and width of slices, or of crops of pictures; null for patches",
        low=1,
        unit="pixels",
    )
    spacing: list[float] | None = setting(
        None, "spacing that scans are resampled to, along slices, rows and columns; null: no resampling", unit="mm"
    )
    sampling: str = setting("slices", "kind of training sample", choices=_SAMPLING)
    patches_per_case: int = setting(4, "patches per case in one epoch, on average", low=1)
    module: dict[str, Any] = setting(dict, "_target_ and arguments of the network")
    inferer: dict[str, Any] = setting(dict, "_target_ and arguments of the inferer; roi_size is also the patch size")
    sample_transforms: list[Any] = setting(list, "transforms between preprocessing and augmentation")


@dataclass
class UpsamplerSettings:
    """The upsampler of the decoder."""

    name: str | None = setting(None, "name of the upsampler; null keeps the network's own")
    options: dict[str, Any] = setting(dict, "further arguments of the upsampler")


@dataclass
class TrainingSettings:
    """The training recipe."""

    precision: str = setting("32-true", "number format", choices=("32-true", "16-mixed", "bf16-mixed"))
    accelerator: str = setting("auto", "kind of device", choices=("auto", "cpu", "gpu", "cuda", "mps"))
    devices: int | str = setting(1, "processes on this machine, or auto; torchrun and SLURM override it")
    num_nodes: int = setting(1, "machines; torchrun and SLURM override it", low=1)
    workers: int = setting(4, "processes that prepare samples", low=0)
    epochs: int | None = setting(None, "passes over the training samples; null if steps is given", low=1)
    steps: int | None = setting(
        None, "optimizer steps; null if epochs is given; 0 keeps the weights of weights.path", low=0
    )
    batch_size: int = setting(24, "samples per optimizer step, of all processes together", low=1)
    accumulate: int = setting(1, "gradient accumulation: parts of each batch; the samples stay the same", low=1)
    validations: int = setting(30, "validations in the whole run", low=1)
    patience: int | None = setting(None, "stop after this many validations without a better score; null: never", low=1)
    save_seconds: float = setting(120, "longest time between checkpoints", low=0, unit="s")
    schedule: str = setting("poly", "learning rate after the warm-up", choices=("poly", "cosine", "steps"))
    poly_power: float = setting(0.9, "exponent of the poly schedule", low=0)
    milestones: list[float] | None = setting(
        None, "fractions of the run after which the steps schedule divides the rate by 10; null for other schedules"
    )
    warmup_steps: int = setting(0, "steps of linear warm-up", low=0)
    balanced: float = setting(0, "fraction of slices drawn evenly by organ; always half for patches", low=0, high=1)
    clip_norm: float | None = setting(None, "clip the gradient to this norm; null: off", low=0)
    decay_all: bool = setting(True, "apply weight decay to biases and norms too")
    rates: dict[str, float | None] = setting(
        dict,
        "factors on the learning rate, and their inverse on the weight decay, by part of the upsamplers or by pattern "
        "of parameter names; null: the upsampler's default",
    )
    watch_every: int | None = setting(
        None, "log measures of the upsamplers (kernels, offsets, gradients) every this many steps; null: off", low=1
    )
    deep_supervision: bool = setting(False, "also apply the loss to the coarser logits, if the network has them")
    ema_decay: float | None = setting(
        None, "validate and keep a running mean of the weights with this decay; null: off", low=0, high=1
    )
    optimizer: dict[str, Any] = setting(
        dict, "_target_ and arguments of the optimizer; lr and weight_decay are required"
    )
    loss: dict[str, Any] = setting(dict, "_target_ and arguments of the loss")
    augmentation: dict[str, list[Any]] = setting(
        dict, "transforms by sampling: slices, patches, pictures, objects, segments"
    )


@dataclass
class WeightsSettings:
    """Published weights to start from."""

    path: str | None = setting(None, "file of published weights; null: start from random weights")
    layout: str = setting("transunet-imagenet21k", "naming scheme of the file", choices=_LAYOUTS)
    strict: bool = setting(True, "false: missing weights and those of another shape stay random")


@dataclass
class Settings:
    """Everything that a training run depends on."""

    data: DataSettings = setting(DataSettings, "the dataset")
    network: NetworkSettings = setting(NetworkSettings, "the network")
    upsampler: UpsamplerSettings = setting(UpsamplerSettings, "the upsampler")
    training: TrainingSettings = setting(TrainingSettings, "the recipe")
    weights: WeightsSettings = setting(WeightsSettings, "published weights to start from")
    task: str = setting("volume", "kind of task: what is read, learned and scored", choices=tuple(SAMPLING_OF_TASK))
    name: str = setting("", "title of the run, for logs and the bundle")
    output: str = setting("", "run folder; ~ is expanded")
    seed: int = setting(0, "random seed of initial weights, samples and dropout", low=0)
    fold: int | None = setting(None, "validate on this fold of the train and val cases, and train on the rest", low=0)
    label_set: str = setting("synapse8", "organs to learn: a shipped label set or a file")
    modality: str = setting("CT", "kind of scans, stored in the bundle")
    display_window: list[float] = setting(
        lambda: list(CT_WINDOW), "intensities that pictures show as black and as white", unit="HU for CT"
    )
    preprocessing: list[Any] = setting(list, "voxel-wise intensity transforms, in training and prediction")
