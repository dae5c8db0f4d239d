"""Embeddings for code, served on the machine you have."""

__version__ = "0.1.0"
