"""Qdrant's gRPC API, for the clients that speak nothing else (Go, Rust, Java, .NET): the handlers of REST behind it.

    stubs.py     Qdrant's message classes, as qdrant-client carries them, without importing the client
    requests.py  a message -> the JSON body of the same request over REST
    replies.py   a handler's result -> the message of the answer
    infos.py     the same for what a collection is made of
    methods.py   which method is which handler
    server.py    the server: key, limits, errors, log lines

A request becomes REST's JSON, so that everything after that is one code with one set of limits and errors. What it
costs: a point's vector becomes a Python list, as it does from JSON. Not served: TLS, reflection, streaming.
"""
