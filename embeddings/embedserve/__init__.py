"""Embeddings for code, served on the machine you have."""

from embedserve.telemetry import silence

__version__ = "0.1.0"

silence()
