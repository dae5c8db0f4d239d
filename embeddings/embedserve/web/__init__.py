"""ASGI middleware that the embedding service and the embedded Qdrant share; knows neither of them."""
