"""Cases of the phantoms, shared by tests of data."""

from __future__ import annotations

from medups.data.formats.synapse import synapse
from medups.data.labels import label_set
from medups.settings.schema import DataSettings

BTCV, SYNAPSE = label_set("btcv13"), label_set("synapse8")


def synapse_cases(root):
    """Cases by name."""
    return synapse(DataSettings(root=str(root))).cases
