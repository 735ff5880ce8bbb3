"""How datasets lie on disk: one file a form, each a function from the ``data`` configuration to a Listing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from medups.data.cases import Listing
from medups.data.layouts.datalist import datalist
from medups.data.layouts.folders import folders
from medups.data.layouts.listed import listed
from medups.data.layouts.nnunet import nnunet
from medups.data.layouts.synapse import synapse
from medups.data.layouts.transunet import transunet

LAYOUTS: Mapping[str, Callable[[Mapping[str, Any]], Listing]] = {
    "synapse": synapse,
    "transunet": transunet,
    "datalist": datalist,
    "nnunet": nnunet,
    "folders": folders,
    "list": listed,
}
