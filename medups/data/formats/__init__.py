"""Dataset formats: each module has a function that turns the ``data`` settings into a Listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medups.data.cases import DataSpec, Listing
from medups.data.formats import coco, datalist, folders, listed, nnunet, pictures, synapse, transunet

FORMATS: Mapping[str, Callable[[DataSpec], Listing]] = {
    "synapse": synapse.synapse,
    "transunet": transunet.transunet,
    "datalist": datalist.datalist,
    "nnunet": nnunet.nnunet,
    "folders": folders.folders,
    "list": listed.listed,
    "pictures": pictures.pictures,
    "voc": pictures.voc,
    "coco": coco.coco,
}
