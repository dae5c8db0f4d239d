"""The machine under us: CPU and memory, as this process may use them. Knows nothing of models and servers."""
