"""Figures from what the engine wrote. Reads the store and pure mathematics, never the engine."""
