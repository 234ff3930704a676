"""Servers and ports for the end-to-end checks, the benchmarks and `make run`.

Everything is on loopback, and whatever is started ends with the program that
started it.
"""
