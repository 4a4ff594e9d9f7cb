"""From a configuration to its parts."""

from functools import partial

from conftest import compose

from ablate import build, phi


def test_a_function_of_a_configuration_is_called_as_it_is() -> None:
    """Hydra's own partial examines its target at every call, which takes longer than an iteration on a bandit."""
    made = build.part(compose("phi=advantage", "phi.gae_lambda=0.5").config["phi"])
    assert type(made) is partial
    assert made.func is phi.advantage
    assert made.keywords == {"gae_lambda": 0.5}
