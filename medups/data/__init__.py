"""Cases, label sets, readers, phantoms, caches and samplers. Needs no network code."""
