"""Measuring a gradient estimator's noise without disturbing what is measured."""
