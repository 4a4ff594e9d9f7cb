"""Environments: batches of episodes, S seeds x N of them, stepped together."""
