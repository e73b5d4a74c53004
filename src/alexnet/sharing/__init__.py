"""Runs published on a model hub."""
