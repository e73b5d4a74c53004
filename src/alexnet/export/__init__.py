"""Trained networks as files for other engines: preprocessing, network and answers in one, proven to answer the same.

A format is a module of this room with an entry in `formats.FORMATS`; `run.export` is the way to all of them.
"""
