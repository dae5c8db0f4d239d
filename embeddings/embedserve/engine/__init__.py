"""The engine: admission, batch planning, workers, memory governor, cache. Knows no HTTP and no tensor library.

The way of a request: `Admission` gives it a slot; `Engine.embed` tokenises in a thread, looks in the cache and
puts what is missing into the `Backlog` as one `Job`; `Worker` threads take length-sorted micro-batches out of it
and run the backend; the job's future resolves when its last text is done or its first one has failed.
"""
