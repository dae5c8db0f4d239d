"""Backends: from token ids to pooled vectors, each behind the contract of `base`."""
