"""Cases, label sets, readers, phantoms, caches and samplers; independent of network code."""
