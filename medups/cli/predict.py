"""Segment a scan or a folder of scans."""

from __future__ import annotations

import argparse

from medups.cli.terminal import Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--model", required=True, metavar="BUNDLE")
    parser.add_argument("--input", required=True, metavar="SCAN|FOLDER|ZIP")
    parser.add_argument("--output", required=True, metavar="FILE|FOLDER")
    parser.add_argument("--formats", default="nifti", help="of masks in a folder: nifti, nrrd, dicom-seg, rtstruct")
    parser.add_argument("--organs", help="write only these, comma-separated")
    parser.add_argument("--largest-component", metavar="ORGANS", help="keep only the largest part of these")
    parser.add_argument("--fill-holes", metavar="ORGANS", help="fill the holes of these")
    parser.add_argument("--mirror", action="store_true", help="average over mirrored images: 4 or 8 times longer")
    parser.add_argument("--bf16", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--uncertainty", action="store_true", help="write the uncertainty of each voxel in percent")
    parser.add_argument("--preview", action="store_true", help="write a picture of each mask")
    parser.add_argument("--cases", help="comma-separated names, or train, val or test from the bundle's split")
    parser.add_argument("--series", help="only DICOM series with this description, number or uid")
    parser.add_argument("--resample", action="store_true", help="interpolate DICOM slices at uneven distances")
    parser.add_argument("--force", action="store_true", help="accept another modality or intensities")
    parser.add_argument("--skip-existing", action="store_true", help="keep existing masks, whatever made them")
    parser.add_argument("--device", default=None, help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from medups.workflows.options import PredictOptions
    from medups.workflows.predict import predict

    chosen = PredictOptions(
        formats=_names(options.formats),
        organs=_names(options.organs) if options.organs is not None else None,
        uncertainty=options.uncertainty,
        preview=options.preview,
        series=options.series,
        resample=options.resample,
        force=options.force,
        mirror=options.mirror,
        bf16=options.bf16,
        largest_component=_names(options.largest_component),
        fill_holes=_names(options.fill_holes),
    )
    with Terminal().live() as terminal:
        predict(
            options.model,
            options.input,
            options.output,
            cases=options.cases,
            skip_existing=options.skip_existing,
            options=chosen,
            device=options.device,
            progress=terminal,
        )


def _names(text: str | None) -> tuple[str, ...]:
    """Comma-separated names, sorted."""
    return tuple(sorted(name.strip() for name in (text or "").split(",") if name.strip()))
