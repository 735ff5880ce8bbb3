"""Dataset formats: each module has a function that turns the ``data`` settings into a Listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from medups.data.cases import DataSpec, Listing
from medups.data.formats.datalist import datalist
from medups.data.formats.folders import folders
from medups.data.formats.listed import listed
from medups.data.formats.nnunet import nnunet
from medups.data.formats.synapse import synapse
from medups.data.formats.transunet import transunet

FORMATS: Mapping[str, Callable[[DataSpec], Listing]] = {
    "synapse": synapse,
    "transunet": transunet,
    "datalist": datalist,
    "nnunet": nnunet,
    "folders": folders,
    "list": listed,
}
