"""Tensors as networks hand them on: inside tuples and dicts, as maps, channels last, or tokens."""
