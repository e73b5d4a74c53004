"""Benchmarks: our speed compared with the limits of the machine and with stock PyTorch and Keras."""
