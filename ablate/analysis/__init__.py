"""`analysis/` at the top of the checkout, under the name that it has everywhere; a wheel carries it in this place."""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "analysis")]
