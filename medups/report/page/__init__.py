"""An evaluation as one HTML page that needs no network: tables, distributions, and a slice viewer."""

from medups.report.page.page import results_page
from medups.report.page.volumes import ViewedCase, viewed

__all__ = ["ViewedCase", "results_page", "viewed"]
