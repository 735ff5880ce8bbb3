"""Networks for natural images: from pictures to logits at a fraction of the size, or to objects."""

from medups.networks.pictures.mask2former import Mask2Former, QueryLoss
from medups.networks.pictures.rcnn import RCNN
from medups.networks.pictures.segformer import SegFormer
from medups.networks.pictures.segmenter import Segmenter
from medups.networks.pictures.segnext import SegNeXt

__all__ = ["RCNN", "Mask2Former", "QueryLoss", "SegFormer", "SegNeXt", "Segmenter"]
