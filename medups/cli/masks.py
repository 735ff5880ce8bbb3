"""Commands about scans and masks alone: they start without loading torch and MONAI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medups.cli.display import Terminal
from medups.data.labels import LabelSet, beside, label_set, organ_names
from medups.errors import InputError
from medups.evaluation import CaseResult, find_pairs
from medups.evaluation import evaluate as evaluate_pairs
from medups.files import require_writable, write_text
from medups.metrics.case import Protocol
from medups.report.overlay import overlay_png, write_overlays
from medups.report.page import results_page
from medups.report.tables import print_comparison, print_summary, write_results


def phantom(folder: str, cases: int, seed: int, size: int, slices: int) -> None:
    from medups.data.phantom import write_phantoms

    require_writable(folder)
    with Terminal().live() as terminal:
        update = terminal.share("phantoms")
        for number, _ in enumerate(write_phantoms(Path(folder), cases, seed, size, slices), start=1):
            update(number / cases)
        terminal.log(f"{cases} phantoms in {folder}")


def evaluate(
    pred: str,
    label: str,
    image: str | None,
    pred_labels: str | None,
    label_labels: str | None,
    organs: str | None,
    protocol: Protocol,
    output: str,
) -> None:
    pairs, unused = find_pairs(Path(pred), Path(label), Path(image) if image else None)
    read_pred, read_label = _label_reader(pred_labels, "--pred-labels"), _label_reader(label_labels, "--label-labels")
    own = _organs([read_pred(pair.pred) for pair in pairs], [pair.pred for pair in pairs], organs)
    others = _organs([read_label(pair.label) for pair in pairs], [pair.label for pair in pairs], organs)
    names = organ_names(organs, [*own, *others]) if organs else [name for name in own if name in others]
    if not names:
        raise InputError(
            f"{pred} and {label}: no organ is in both label sets, {', '.join(own)} against {', '.join(others)}; "
            "name the sets they were made with by --pred-labels and --label-labels"
        )
    folder = Path(output)
    require_writable(folder)
    with Terminal().live() as terminal:
        update = terminal.share("cases")
        # masks of a folder are scored before anything is written, so that wrong input leaves nothing behind
        pictures: dict[str, bytes] = {}

        def each(result: CaseResult) -> None:
            masks = {"prediction": result.pred, "label": result.label}
            ids = dict(enumerate(names, start=1))
            title = f"case {result.name}"
            pictures[result.name] = overlay_png(result.image, masks, ids, result.spacing_mm, title)
            update(len(pictures) / len(pairs))

        evaluation = evaluate_pairs(pairs, read_pred, read_label, names, protocol, each)
        write_overlays(folder, pictures)
        write_text(folder / "report.html", results_page(evaluation, pictures))
        write_results(folder, evaluation)
        if left_out := [name for name in dict.fromkeys([*own, *others]) if name not in names]:
            terminal.log(f"organs not compared: {', '.join(left_out)}")
        if unused:
            terminal.log(f"{len(unused)} labels without a prediction were left out: {', '.join(unused)}")
        print_summary(evaluation.summary(), terminal.console)
        terminal.log(f"{folder / 'report.html'}, summary.json, cases.csv and {len(pairs)} pictures in overlays")


def _organs(sets: Sequence[LabelSet], masks: Sequence[Path], chosen: str | None) -> list[str]:
    """The organs of all masks, which have the same unless some were ``chosen``."""
    for labels, mask in zip(sets, masks, strict=True):
        if set(labels.names) != set(sets[0].names) and not chosen:
            differing = ", ".join(sorted(set(labels.names) ^ set(sets[0].names)))
            raise InputError(f"{mask}: its organs are not those of {masks[0]}: {differing}; choose some by --organs")
    return list(dict.fromkeys(name for labels in sets for name in labels.names))


def compare(folders: Sequence[str]) -> None:
    print_comparison([Path(folder) for folder in folders], Terminal().console)


def _label_reader(name: str | None, option: str) -> Callable[[Path], LabelSet]:
    if name is not None:
        labels = label_set(name)
        return lambda _: labels

    def read(mask: Path) -> LabelSet:
        table = beside(mask)
        if not table.is_file():
            raise InputError(f"{mask}: no {table.name} beside it; say with {option} which label set the file has")
        return label_set(str(table))

    return read
