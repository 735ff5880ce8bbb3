"""What ``python -m monai.bundle run`` calls in a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medups.workflows.evaluate import evaluate
from medups.workflows.predict import predict


@dataclass(frozen=True)
class Predictor:
    """Segments scans."""

    bundle: str
    device: str = "cpu"

    def __call__(self, source: str, output: str) -> None:
        """Write the masks of ``source`` to ``output``, see :func:`medups.predict`."""
        predict(self.bundle, source, output, device=self.device)


@dataclass(frozen=True)
class Evaluator:
    """Segments scans and compares the masks with labels."""

    bundle: str
    device: str = "cpu"

    def __call__(self, source: str, label: str, output: str, label_labels: str = "") -> None:
        """Write masks and scores to ``output``.

        Args:
            label_labels: the label set of ``label``, such as btcv13; by default the table beside each label.
        """
        masks = Path(output, "masks")
        predict(self.bundle, source, masks, device=self.device)
        evaluate(masks, label, image=source, label_labels=label_labels or None, output=output)
