"""The OpenAI-compatible HTTP API: middleware, request parsing, routes, and the uvicorn server around them."""
