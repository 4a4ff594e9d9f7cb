"""A hand-written REINFORCE on a Gymnasium task, probed: is reward-to-go less noisy than the return on this policy?

    python examples/reinforce.py

A sample is an episode, since its steps depend on one another.
"""

import gymnasium
import torch
from torch import Tensor, nn

import ablate

Episode = tuple[Tensor, Tensor, Tensor]  # observations [T, D], actions [T], rewards [T]


def episode(env: gymnasium.Env, policy: nn.Module, seed: int) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    observation, _ = env.reset(seed=seed)
    observations, actions, rewards, over = [], [], [], False
    while not over:
        observations.append(torch.as_tensor(observation, dtype=torch.float32))
        with torch.no_grad():
            chances = torch.softmax(policy(observations[-1]), -1)
        actions.append(torch.multinomial(chances, 1, generator=generator)[0])
        observation, reward, terminated, truncated, _ = env.step(actions[-1].item())
        rewards.append(reward)
        over = terminated or truncated
    return torch.stack(observations), torch.stack(actions), torch.tensor(rewards, dtype=torch.float32)


def log_probs(policy: nn.Module, taken: Episode) -> Tensor:
    observations, actions, _ = taken
    return torch.log_softmax(policy(observations), -1).gather(1, actions[:, None])[:, 0]


def with_return(policy: nn.Module, taken: Episode) -> Tensor:
    """-sum_t log pi(a_t|s_t) R."""
    return -(log_probs(policy, taken) * taken[2].sum()).sum()


def with_reward_to_go(policy: nn.Module, taken: Episode) -> Tensor:
    """-sum_t log pi(a_t|s_t) G_t."""
    to_go = taken[2].flip(0).cumsum(0).flip(0)
    return -(log_probs(policy, taken) * to_go).sum()


def main(episodes: int = 256) -> "ablate.probes.module.GradientNoise":
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    env = gymnasium.make("CartPole-v1")
    taken = [episode(env, policy, seed) for seed in range(episodes)]
    return ablate.probe(policy, {"return": with_return, "reward-to-go": with_reward_to_go}, taken)


if __name__ == "__main__":
    print(main().table.T)
