"""Collecting: a batch of episodes, the rollout that fills it, and endless environments for online learners."""
