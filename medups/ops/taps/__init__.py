"""Taps: the input pixels around each output pixel. What reassembly, similarity and resizing are made of."""
