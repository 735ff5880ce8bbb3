"""Cases on disk in canonical form, from which a slice or a patch is read without its volume."""

from medups.data.cache.cases import CachedCase, StoredCase, cached, prepared, read_cases
from medups.data.cache.entries import StoredArray

__all__ = ["CachedCase", "StoredArray", "StoredCase", "cached", "prepared", "read_cases"]
