"""A model behind HTTP: one process speaks with clients, another decodes and computes.

    client -> guard (who may ask) -> app (what is asked) -> gate (how many at once) -> process -> worker

No file of a client is written or logged, and no name of one is ever used. docs/serving.md says how it is used,
docs/security.md what it promises and which test shows it.
"""
