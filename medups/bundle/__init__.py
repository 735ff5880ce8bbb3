"""A trained model as one MONAI bundle folder: made by training, run by prediction."""

from medups.bundle.model import Model, load_bundle, write_bundle
from medups.bundle.predict import Predictor

__all__ = ["Model", "Predictor", "load_bundle", "write_bundle"]
