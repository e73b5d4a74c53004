"""The parts of `tools/device.py`, a file each, and what they share."""
