"""An MDP as a graph: everything that may happen is written once, and states stand by how soon they can be reached."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Circle, FancyArrowPatch

from ablate.analysis.html_page import Picture
from ablate.analysis.verdicts import mdp_graph
from ablate.analysis.verdicts.claim import chosen
from ablate.analysis.verdicts.estimates import Exact
from ablate.analysis.verdicts.page import group
from ablate.analysis.verdicts.variances import NAMED, prize, sure_bandit
from ablate.analysis.verdicts.verdict import Condition, Verdict
from ablate.envs import tabular
from ablate.mdp import MDP


def coin() -> MDP:
    """From state 0 action 0 goes to 1 or 2 by chance, action 1 stays; state 3 is never reached."""
    P = np.zeros((4, 2, 4))
    P[0, 0, [1, 2]] = [0.25, 0.75]
    P[0, 1, 0] = 1
    P[1:, :, 3] = 1
    P[1, :] = P[2, :] = [0, 0, 1, 0]
    R = np.zeros((4, 2))
    R[0] = [2.0, -1.5]
    return MDP.from_dense(P, R, [1, 0, 0, 0], 3, terminal=[False, False, True, True])


def test_what_may_happen_is_written_with_its_reward_and_chance() -> None:
    assert mdp_graph.ways(prize()) == [
        (0, 1, "action 0: −10"),
        (0, 1, "action 1: −10.5"),
        (1, 2, "action 0: +10"),
        (1, 2, "action 1: +11"),
    ]
    assert mdp_graph.ways(coin())[:3] == [
        (0, 1, "action 0: +2, p = 0.25"),
        (0, 2, "action 0: +2, p = 0.75"),
        (0, 0, "action 1: −1.5"),
    ]


def test_states_stand_by_how_soon_they_can_be_reached() -> None:
    at = mdp_graph.places(coin())
    assert set(at) == {0, 1, 2}
    assert at[0][0] < at[1][0] == at[2][0]
    assert at[1][1] != at[2][1]


@pytest.mark.parametrize("problem", [prize, sure_bandit, coin])
def test_a_graph_has_a_circle_a_state_and_an_arrow_a_way(problem) -> None:
    mdp = problem()
    figure = mdp_graph.graph(mdp)
    (panel,) = figure.axes
    moves = [way for way in mdp_graph.ways(mdp) if way[0] != way[1]]
    assert sum(isinstance(patch, FancyArrowPatch) for patch in panel.patches) == len(moves)
    ends = sum(bool(mdp.terminal[state]) for state in mdp_graph.places(mdp))
    assert sum(isinstance(patch, Circle) for patch in panel.patches) == len(mdp_graph.places(mdp)) + ends
    written = [text.get_text() for text in panel.texts]
    assert all(any(text.endswith(way) for text in written) for _, _, way in mdp_graph.ways(mdp))
    plt.close(figure)


def test_only_small_problems_are_drawn() -> None:
    assert [name for name, made in NAMED.items() if mdp_graph.drawable(made())] == [
        "chain (20 steps)",
        "cost, then prize",
        "sure two-armed bandit",
    ]
    assert not mdp_graph.drawable(tabular.frozenlake())


@pytest.mark.parametrize(("answer", "drawn"), [(64.0, 1), (0.5, 0)])
def test_a_claims_page_draws_the_small_problem_where_it_fails(answer: float, drawn: int) -> None:
    (claim,) = chosen("C7")
    place = Condition("sure two-armed bandit: rtg - V against rtg", {"ratio": Exact(answer)})
    verdict = Verdict(claim.id, claim.questions, (place,))
    pictures = [block for block in group(claim, verdict, None, "outputs", "quick").blocks if isinstance(block, Picture)]
    assert len(pictures) == drawn
    for picture in pictures:
        assert picture.caption.startswith("Where it fails: sure two-armed bandit. The policy takes its actions with ")
        assert "action 0: +1; action 1: 0." in picture.alternative
