"""What exact values take, and which models are too large for them."""

from ablate.errors import UserError
from ablate.mdp import MDP

LARGEST = 25_000_000  # numbers in one array: some 20 of them are held at a time, 4 GiB
SECONDS, STEP, CELL = 600.0, 2e-3, 4e-7  # the longest run, and what a step and a number of it take on one core


def check_size(name: str, mdp: MDP, states: int, directions: int, *, passes: float = 1.0) -> None:
    """Refuse what takes more than `LARGEST` numbers or `SECONDS`, and say what would fit.

    states: how many are kept of those of the MDP; directions: parameters a feature, of the A logits that it moves;
    passes: how often the work of the command's table is done.
    """
    A, K = mdp.successors.shape[1:]
    K *= 1 if mdp.reward_std is None else 2  # of `two_point`
    one_hot = mdp.features.shape[1] == mdp.num_states
    features = states if one_hot else mdp.features.shape[1]
    scores, tables = states * A * features * directions, states * A * K
    about = f"{name}: {states} states x {A} actions"
    if max(scores, tables) > LARGEST:
        fit = min(
            int((LARGEST / (A * directions)) ** 0.5) if one_hot else states * LARGEST // scores, LARGEST // (A * K)
        )
        raise UserError(f"{about} do not fit into memory; give at most {fit} states that can be reached")
    step = passes * (STEP + CELL * (scores + tables))
    longest = min(int(SECONDS / step), LARGEST // (states * A))
    if mdp.horizon > longest:
        minutes = mdp.horizon * step / 60
        raise UserError(
            f"{about} x {mdp.horizon} steps take about {minutes:.0f} minutes; give a horizon of {longest} or less"
        )
