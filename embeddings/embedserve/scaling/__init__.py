"""More than one machine: the same service and the same index on engines that exist (Ray Serve, Ray Data).

Nothing here is a cluster of our own. `app.build` makes a Ray Serve application out of the ASGI application that
`embedserve serve` runs; `bulk` makes a Ray Data pipeline out of the functions that `embedserve index` runs. A plain
`serve` never imports this package (a test reads sys.modules). The extra is `scale`.
"""
