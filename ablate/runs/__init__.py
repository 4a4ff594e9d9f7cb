"""Running: the sweep, its jobs, blocks of seeds, worker processes, and what is seen meanwhile."""
