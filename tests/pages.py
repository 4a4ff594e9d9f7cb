"""A page with one of everything and with hostile names, for the tests of the renderer and of the browser."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.analysis.html_page import (
    Code,
    Columns,
    Definitions,
    Details,
    Equation,
    Group,
    Link,
    Note,
    Page,
    Picture,
    Section,
    Table,
    Text,
    VerdictBlock,
)

HOSTILE = "<script>alert(1)</script> \"quoted\" & 'so' </script><img src=x onerror=alert(2)>"
LONG = "probe.variants.q_value.phi.about.label=" + "a_long_word_without_a_space" * 8
TEX = r"\nabla_\theta J = \mathrm{E}\left[\sum_t \nabla_\theta \log \pi_\theta(a_t\,|\,s_t)\,G_t\right]"


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "variant": [HOSTILE, "return", "reward-to-go", "advantage", LONG],
            "final": [np.nan, 164.3, 487.4, 500.0, -12.0],
            "low": [np.nan, 106.5, 454.1, 500.0, -13.0],
            "high": [np.nan, 252.4, 496.3, 500.0, -11.0],
            "nsr": [1.2e-5, np.inf, 9.13, 13.5, -4e9],
            "seeds": [0, 10, 10, 9, 100],
            "verdict": [VerdictBlock(w) for w in ("SUPPORTED", "REFUTED", "CONDITIONAL", "INCONCLUSIVE", "SUPPORTED")],
            "see": [Link("part", "part")] * 5,
            **{f"column {k}": np.arange(5) * 1000.5**k for k in range(6)},
        }
    )


def figure(label: str) -> Figure:
    drawn = Figure(figsize=(7.2, 3), layout="constrained")
    axes = drawn.add_subplot()
    axes.plot([0, 1, 2], [1, 3, 2], color="#0173b2", label=label)
    axes.set(xlabel="environment steps", ylabel="return", title=label)
    axes.legend()
    return drawn


def sample() -> Page:
    table = Table(
        frame(),
        f"Five variants, one of them named {HOSTILE}",
        titles={"final": "final return"},
        meanings={"nsr": "noise-to-signal ratio", "final": HOSTILE},
        intervals={"final": ("low", "high")},
    )
    parts = [VerdictBlock("CONDITIONAL"), Equation(TEX), Columns([Text(HOSTILE), Text("right")]), Text("plain")]
    return Page(
        f"Study {HOSTILE}",
        [HOSTILE, "A second paragraph."],
        [
            Section("Tables", "tables", [Text(HOSTILE), table, Note(HOSTILE)]),
            Section(
                HOSTILE,
                "figures",
                [
                    Picture(figure(HOSTILE), f"A line, named {HOSTILE}", HOSTILE),
                    Picture(figure("$E = x^2$"), "the same line"),
                    Group(HOSTILE, parts, id="part"),
                ],
            ),
            Section("How", "how", [Code(f"python -m ablate {LONG} {HOSTILE}"), Details(LONG, [Code(HOSTILE)])]),
            Section("Terms", "terms", [Definitions({HOSTILE: HOSTILE, LONG: "a meaning"})]),
        ],
        byline=HOSTILE,
    )
