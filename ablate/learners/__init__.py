"""Algorithms: a run as a pure function of its seed, many seeds at a time."""
