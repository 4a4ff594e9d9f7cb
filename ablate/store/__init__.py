"""What is on disk: the only package that writes or reads outputs/.

A run = one configuration and one seed = one folder. A cell = one configuration without its seed.

    outputs/<study>/<cell>/config.yaml               the overrides, the resolved configuration, a checksum
    outputs/<study>/<cell>/seed=7/curves.parquet     a row per iteration
    outputs/<study>/<cell>/seed=7/probe.parquet      a row per (iteration, estimator), where there is a probe
    outputs/<study>/<cell>/seed=7/manifest.json      which run this is, checksums of the files beside it and of itself
    outputs/<study>/<cell>/.unfinished/seed=7/       checkpoint.npz; failed.txt; diverged/ with its curves and manifest
    outputs/<study>/<cell>/.damaged/seed=7-1/        what could not be read, set aside

A cell is what its config.yaml says. Its name ends in the first 16 digits of the SHA-256 of all in it that may change a
number (8 in earlier versions, which are found and gone on with); manifests and checkpoints name the whole digest. A
folder whose configuration is another than its name says, a copy of a cell, a link, and whatever does not fit is listed
(`survey`) and counts for nothing. outputs may be a link; nothing inside it is read, written or removed through one.

A finished run is put together under .unfinished and renamed into place as a whole, a file likewise; files and folders
are brought to the disk before and after. So a kill or a loss of power at any moment leaves nothing half-written in
sight, and what a call has published or saved when it returns is there after it. There are no locks: processes may
finish other seeds of the cell, or the same seed, at the same time. Scratch names end in `~<process>-<random>` and go
when their seed finishes. Nothing is pickled, and every number is kept bit for bit. Only regular files of bounded size
are read: results may be of others.

Columns of curves.parquet (int64 for counts, float64 otherwise; those of the critic only where there is one):

    iteration                   from 1; a gradient step of policy_gradient, else a fixed number of env steps or a sweep
    env_steps                   valid environment steps so far
    episodes                    episodes so far
    return_mean, return_std     undiscounted return over the episodes that ended in this iteration, NaN where none did
    episode_length_mean         steps an episode, over the episodes of this iteration
    entropy                     of the policy, mean over the steps of this iteration
    grad_norm                   norm of the policy-gradient estimate, before clipping; of a2c that of actor and critic
                                as one, of q_actor_critic its mean step, of dqn the gradient of its loss; of td and
                                q_learning the root mean square TD error, of q_iteration the Bellman residual
    critic_loss                 mean squared error of the critic against its targets; of V where there are V and Q
    critic_explained_variance   1 - Var[target - value] / Var[target]
    evaluation_return_mean, evaluation_return_std
                                undiscounted return of the greedy policy on fresh episodes, where `evaluate.every` is
                                set; NaN after the other iterations
    value_rms_error             td: root mean square of V - V^pi over the states that the policy can reach, all alike
    visit_distance              td: total variation distance of the visits so far to the exact occupancy
    q_error                     q_iteration: sup norm of Q - Q*
    epsilon                     q_learning, dqn: the chance of a random action, at the end of the iteration
    wall_time                   seconds since the run began; the only column that differs from one repetition to another

Columns of probe.parquet, a row per (iteration, estimator); NAME_low and NAME_high are 95% limits of NAME:

    iteration, mode             of the policy that was judged; online, matched (on shared trajectories) or exact
    phi, baseline               the estimator
    critic                      where its V and Q came from: none, run (its own), fitted, exact, or clockless (exact
                                values averaged over time)
    return_mean, J              undiscounted return of the probe's episodes; J itself where mode is exact
    episodes, batch             episodes of the probe (none where exact); N, those of one gradient step
    informative                 how many of the probe's episodes (or batches, where episodes share b) carry the noise,
                                (sum |g_i - m|^2)^2 / sum |g_i - m|^4; below 8 every interval is unbounded
    trace_variance              tr C of the one-trajectory gradient; N Var of the estimate where episodes share b
    work_variance               trace_variance x mean env steps of an episode: what a budget of env steps buys. (Not
                                its seconds: they would differ from one repetition to another; see wall_time)
    optimizer_trace_variance, optimizer_snr
                                trace_variance and snr of g / (sqrt(v) + eps), along which Adam and RMSprop step, at the
                                run's own v (NaN before its first step); for SGD those of g
    fisher_trace_variance, fisher_snr
                                tr F^+ C and mu' F^+ mu over it, F the Fisher matrix of an episode by the sample: the
                                noise that no change of parameters alters. NaN where the sample has fewer than 8
                                episodes for each direction of the scores, or theta more than 1024 numbers. No limits
    share_layer_1, ..., share_free
                                the shares of trace_variance of each layer's parameters and of a free log sigma
    split_directional_variance  the variance along the direction of the mean of half of the episodes, in the other half
    squared_signal              |mu|^2, unbiased and so at times negative
    snr, nsr                    |mu|^2 / tr C and its inverse, inf where the sample sets no bound
    pairwise_cosine             between the means of 16 batches of the probe's episodes
    log_ratio                   log of trace_variance over the reference's, on the same trajectories (matched, exact)
    log_ratio_unpaired          the same as if each had had trajectories of its own (matched)
    effective_rank              (tr C)^2 / tr C^2 (matched)
    distance_squared            |mu - mu of the reference|^2, unbiased: bias^2 where the reference has none (matched)
    crossover                   up to how many episodes distance_squared + tr C / N is below the reference's tr C / N
                                (matched; inf: always, 0: never)
    bias_squared, mse           against grad J, where it is known; mse of the estimate of N episodes
    cosine                      of batch means to grad J;  directional_variance: the variance along grad J
    projection                  <mu, grad J> / |grad J|^2, 1 where unbiased;  wald_p: the p-value of mu = grad J,
                                NaN where the sample does not move in every direction that the scores span
    fisher_trace_variance       tr(F^+ C), F = E[sum_t z_t z_t'] the Fisher information of a trajectory: the same
                                whatever parameters describe the policy (exact)
    v_s0, v_action, v_transition, v_coupling
                                the parts of the trace variance (exact), the last between the episodes of a batch

Fields of manifest.json: schema, status, seed, config (the digest of the configuration), iterations, env_steps,
wall_time_s, started and finished (ISO 8601), versions, git_revision (None without a checkout), files (rows and sha256
of each); for a diverged run also iteration and reason; last sha256, of all that stands before it. Schema 1 had neither
config nor sha256.
"""

from ablate.store.cell import Cell, Status
from ablate.store.checkpoint import Checkpoint
from ablate.store.damage import Damaged
from ablate.store.jobs import check_writable, forget_jobs, read_jobs, record_job
from ablate.store.manifest import FIELDS, READ, SCHEMA
from ablate.store.naming import PRESENTATION, RUNTIME, config_digest, config_hash, names_cell, study_folder
from ablate.store.survey import Stray, cells, survey
from ablate.store.tables import COUNTS

__all__ = [
    "COUNTS",
    "FIELDS",
    "PRESENTATION",
    "READ",
    "RUNTIME",
    "SCHEMA",
    "Cell",
    "Checkpoint",
    "Damaged",
    "Status",
    "Stray",
    "cells",
    "check_writable",
    "config_digest",
    "config_hash",
    "forget_jobs",
    "names_cell",
    "read_jobs",
    "record_job",
    "study_folder",
    "survey",
]
