"""Data sets of photographs: find, sample, import, download, read and describe them."""
