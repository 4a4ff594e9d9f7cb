"""rejax's PPO on CartPole-v1, all seeds under one vmap, as `benchmarks.sweep` takes it; prints seconds of wall and of
processor time as JSON.

    PATH/bin/python benchmarks/rejax_ppo.py SEEDS STEPS_A_SEED BEGAN

for a Python that has the extra `bench-jax`. An iteration is one epoch over 16 environments x 512 steps in 16
minibatches, which is the work of ours with a critic: 16 episodes of up to 500 steps, each forwarded and
differentiated once by policy and critic. Nothing is evaluated on the way. BEGAN is when the process was started, in
seconds since 1970.
"""

import json
import sys
import time

import jax
from rejax import PPO

ENVS, STEPS = 16, 512


def main() -> None:
    seeds, steps, began = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    iterations = max(1, round(steps / (ENVS * STEPS)))
    total = iterations * ENVS * STEPS
    ppo = PPO.create(
        env="CartPole-v1",
        agent_kwargs={"hidden_layer_sizes": (64, 64), "activation": "tanh"},
        num_envs=ENVS,
        num_steps=STEPS,
        num_epochs=1,
        num_minibatches=16,
        learning_rate=3e-3,
        total_timesteps=total,
        eval_freq=total,
        skip_initial_evaluation=True,
    ).replace(eval_callback=lambda *_: ())
    train = jax.jit(jax.vmap(PPO.train, in_axes=(None, 0)))
    spent = []
    for key in (0, 1):  # the first call compiles
        keys = jax.random.split(jax.random.PRNGKey(key), seeds)
        start = time.perf_counter(), time.process_time()
        jax.block_until_ready(train(ppo, keys))
        spent.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        if key == 0:
            whole = time.time() - began, time.process_time()
    print(json.dumps({"steps": seeds * total, "whole": whole, "cold": spent[0], "warm": spent[1]}))


if __name__ == "__main__":
    main()
