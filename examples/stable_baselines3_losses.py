"""The losses of Stable-Baselines3's A2C and PPO on a rollout buffer, probed on the same segments.

    python examples/stable_baselines3_losses.py

A sample is what one environment did between two updates: steps of one environment depend on one another. The policy's
part of the loss is compared with the whole, which has the critic's error and the entropy in it too.
"""

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

import ablate

ENVIRONMENTS, STEPS = 32, 16


def segments(algorithm: OnPolicyAlgorithm) -> dict[str, Tensor]:
    """The rollout buffer as tensors [environments, steps, ...]: an update has put its rows in this order."""
    buffer = algorithm.rollout_buffer
    kept = "observations", "actions", "advantages", "returns", "log_probs"
    rows = {name: torch.as_tensor(getattr(buffer, name)) for name in kept}
    return {name: x.reshape(ENVIRONMENTS, STEPS, *x.shape[1:]).squeeze(2) for name, x in rows.items()}


def evaluated(policy: ActorCriticPolicy, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Values, log-probabilities and entropies, [environments, steps] each."""
    shape = batch["advantages"].shape
    observations, actions = batch["observations"].flatten(0, 1), batch["actions"].long().flatten()
    values, log_prob, entropy = policy.evaluate_actions(observations, actions)
    return values.reshape(shape), log_prob.reshape(shape), entropy.reshape(shape)


def a2c_policy(policy: ActorCriticPolicy, batch: dict[str, Tensor]) -> Tensor:
    _, log_prob, _ = evaluated(policy, batch)
    return -(batch["advantages"] * log_prob).mean(1)


def a2c(policy: ActorCriticPolicy, batch: dict[str, Tensor], ent_coef: float = 0.0, vf_coef: float = 0.5) -> Tensor:
    values, log_prob, entropy = evaluated(policy, batch)
    error = (batch["returns"] - values) ** 2
    return (-batch["advantages"] * log_prob - ent_coef * entropy + vf_coef * error).mean(1)


def ppo_policy(policy: ActorCriticPolicy, batch: dict[str, Tensor], clip: float = 0.2) -> Tensor:
    """With advantages normalised over the buffer, as is PPO's default."""
    _, log_prob, _ = evaluated(policy, batch)
    A = batch["advantages"]
    A = (A - A.mean()) / (A.std() + 1e-8)
    ratio = torch.exp(log_prob - batch["log_probs"])
    return -torch.min(A * ratio, A * ratio.clamp(1 - clip, 1 + clip)).mean(1)


def collected(kind: type[OnPolicyAlgorithm]) -> OnPolicyAlgorithm:
    """After one rollout: `learn` collects a buffer, updates, and leaves the buffer as it was."""
    more = {"batch_size": ENVIRONMENTS * STEPS, "n_epochs": 1} if kind is PPO else {}
    env = make_vec_env("CartPole-v1", n_envs=ENVIRONMENTS, seed=0)
    algorithm = kind("MlpPolicy", env, n_steps=STEPS, learning_rate=0.0, seed=0, device="cpu", **more)
    return algorithm.learn(ENVIRONMENTS * STEPS)


def main() -> "ablate.probes.module.GradientNoise":
    algorithm = collected(A2C)
    losses = {"A2C, policy": a2c_policy, "A2C, whole": a2c, "PPO, policy": ppo_policy}
    return ablate.probe(algorithm.policy, losses, segments(algorithm))


if __name__ == "__main__":
    print(main().table.T)
