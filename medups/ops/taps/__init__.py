"""Taps: the input pixels around each output pixel. Reassembly, similarity and resizing are built on them."""
