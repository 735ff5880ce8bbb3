"""Predictions against labels, by case and organ."""

from medups.evaluation.pairs import Pair, beside, find_pairs, label_set_reader, shared_organs
from medups.evaluation.scoring import CaseResult, Evaluation, evaluate

__all__ = ["CaseResult", "Evaluation", "Pair", "beside", "evaluate", "find_pairs", "label_set_reader", "shared_organs"]
