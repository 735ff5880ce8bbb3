"""Predictions against labels, case by case and organ by organ."""

from medups.evaluation.evaluate import CaseResult, Evaluation, Pair, evaluate, find_pairs

__all__ = ["CaseResult", "Evaluation", "Pair", "evaluate", "find_pairs"]
