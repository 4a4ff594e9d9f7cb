"""What the columns of a run's two tables mean: the one place where they are written down."""

COUNTS = frozenset({"iteration", "env_steps", "episodes"})
"""Columns of whole numbers, int64; all other numbers are float64."""

CURVES = {
    "iteration": "from 1; a gradient step of policy_gradient, else a fixed number of env steps or a sweep",
    "env_steps": "valid environment steps so far",
    "episodes": "episodes so far",
    "return_mean": "mean undiscounted return of the episodes that ended in this iteration, NaN where none did",
    "return_std": "standard deviation of these returns",
    "episode_length_mean": "steps an episode, over the episodes of this iteration",
    "entropy": "of the policy, mean over the steps of this iteration",
    "grad_norm": "norm of the policy-gradient estimate, before clipping; of other algorithms what their yaml says",
    "optimal_action_share": "share of the episodes that took the best arm (testbed)",
    "critic_loss": "mean squared error of the critic against its targets; of V where there are V and Q",
    "critic_explained_variance": "1 - Var[target - value] / Var[target]",
    "evaluation_return_mean": "mean undiscounted return of the greedy policy on fresh episodes, where `evaluate.every` "
    "is set; NaN after the other iterations",
    "evaluation_return_std": "standard deviation of these returns",
    "wall_time": "seconds since the run began; the only column that differs from one repetition to another",
}
"""curves.parquet, a row per iteration; those of the critic only where there is one. An algorithm's yaml adds its own
(`about.columns`)."""

PROBE = {
    "iteration": "of the policy that was judged",
    "mode": "online, matched (on shared trajectories) or exact",
    "phi": "of the estimator",
    "baseline": "of the estimator; of probe=matched also the advantage and the aggregation that stand in its place",
    "critic": "where its V and Q came from: none, run (its own), fitted, exact, or clockless (exact values averaged "
    "over time)",
    "return_mean": "mean undiscounted return of the probe's episodes",
    "J": "the expected return itself (exact)",
    "episodes": "episodes of the probe (none where exact)",
    "batch": "N, the episodes of one gradient step, on average where it has `batch_steps`",
    "informative": "from how many of the probe's episodes (or batches, where episodes share b) the noise comes, "
    "(sum |g_i - m|^2)^2 / sum |g_i - m|^4: all if each makes as much of it, 1 if one makes it all; below 8 every "
    "interval is unbounded",
    "trace_variance": "tr C of the one-trajectory gradient; N Var of the estimate where episodes share b",
    "work_variance": "trace_variance x mean env steps of an episode: what a budget of env steps buys. (Not its "
    "seconds: they would differ from one repetition to another; see wall_time)",
    "optimizer_trace_variance": "trace_variance of g / (sqrt(v) + eps), along which Adam and RMSprop step, at the "
    "run's own v (NaN before its first step); for SGD that of g",
    "optimizer_snr": "snr of the same",
    "fisher_trace_variance": "tr F^+ C, F = E[sum_t z_t z_t'] the Fisher information of an episode, exact or by the "
    "sample: the noise that no change of parameters alters. NaN where the sample has fewer than 8 episodes for each "
    "direction of the scores, or theta more than 1024 numbers. No limits",
    "fisher_snr": "mu' F^+ mu over it",
    "share_layer_1": "share of trace_variance of the first layer's parameters; share_layer_2 and so on likewise",
    "share_free": "share of trace_variance of a free log sigma",
    "split_directional_variance": "the variance along the direction of the mean of half of the episodes, in the other "
    "half",
    "squared_signal": "|mu|^2, unbiased and so at times negative",
    "snr": "|mu|^2 / tr C",
    "nsr": "tr C / |mu|^2, inf where the sample sets no bound",
    "pairwise_cosine": "between the means of 16 batches of the probe's episodes",
    "log_ratio": "log of trace_variance over the reference's, on the same trajectories (matched, exact)",
    "log_ratio_unpaired": "the same as if each had had trajectories of its own (matched)",
    "effective_rank": "(tr C)^2 / tr C^2 (matched)",
    "distance_squared": "|mu - mu of the reference|^2, unbiased: bias^2 where the reference has none (matched)",
    "crossover": "up to how many episodes distance_squared + tr C / N is below the reference's tr C / N (matched; inf: "
    "always, 0: never)",
    "bias_squared": "|mu - grad J|^2, where grad J is known",
    "mse": "of the estimate of N episodes against grad J",
    "cosine": "of batch means to grad J",
    "directional_variance": "the variance along grad J",
    "projection": "<mu, grad J> / |grad J|^2, 1 where unbiased",
    "wald_p": "the p-value of mu = grad J, NaN where the sample does not move in every direction that the scores span",
    "v_s0": "the part of the trace variance that comes from the first state (exact)",
    "v_action": "the part that comes from the actions (exact): all that a baseline can lower",
    "v_transition": "the part that comes from the transitions (exact)",
    "v_coupling": "the part that comes from the baseline's use of the other episodes of a batch (exact)",
}
"""probe.parquet, a row per (iteration, estimator); NAME_low and NAME_high are 95% limits of NAME."""
