"""HTML pages that need no network: an evaluation with a slice viewer, masks without labels, and training runs."""

from medups.report.page.results import results_page
from medups.report.page.volumes import ViewedCase, viewed

__all__ = ["ViewedCase", "results_page", "viewed"]
