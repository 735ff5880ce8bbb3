"""Cases stored in canonical form; reads a slice or a patch without loading the volume."""

from medups.data.cache.cases import CachedCase, StoredCase, cached, prepared, read_cases
from medups.data.cache.entries import StoredArray

__all__ = ["CachedCase", "StoredArray", "StoredCase", "cached", "prepared", "read_cases"]
