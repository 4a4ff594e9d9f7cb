"""`ablate groups --rates pass_rates.csv`: dead groups, noise and the best group size for the prompts you train on."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from ablate.commands import Parser
from ablate.errors import UserError
from ablate.files import picture, write
from ablate.sequences import pass_rates


def main(arguments: Sequence[str]) -> int:
    """Print the table and a paragraph; draw the chart where asked to."""
    parser = Parser(
        prog="ablate groups",
        description="From the pass rates of prompts: how many groups are dead, how noisy an update of RLOO, GRPO, "
        "Dr. GRPO and REINFORCE is at a fixed number of samples, and the best group size for each.",
    )
    parser.add_argument(
        "--rates", required=True, metavar="FILE.csv", help="columns prompt,k,n (k of n right) or prompt,p"
    )
    parser.add_argument("--budget", type=int, default=1024, metavar="SAMPLES", help="of an update (1024)")
    parser.add_argument("--sizes", default="2,4,8,16,32,64", metavar="N,N,...", help="group sizes (2,4,8,16,32,64)")
    parser.add_argument("--csv", metavar="FILE.csv", help="also write the table")
    parser.add_argument("--plot", metavar="FILE.png", help="also draw it (.png, .pdf or .svg)")
    options = parser.parse_args(arguments)
    try:
        sizes = [int(size) for size in options.sizes.split(",")]
    except ValueError:
        raise UserError(f"--sizes {options.sizes} is no list of whole numbers; write --sizes 2,4,8") from None
    found = pass_rates.read(options.rates)
    table = pass_rates.by_group_size(found, options.budget, sizes)
    console = Console(highlight=False)
    console.print(_shown(table))
    console.print(pass_rates.paragraph(found, table, options.budget))
    if options.csv:
        write(Path(options.csv), table.to_csv(index=False))
    if options.plot:
        _draw(table, options.budget, Path(options.plot))
    return 0


def _shown(table: pd.DataFrame) -> Table:
    result = Table("N", "dead groups", "effective prompts", "estimator", box=None, pad_edge=False, header_style="bold")
    result.add_column("NSR of an update [95%]", justify="right")
    for N, rows in table.groupby("N", sort=False):
        dead, effective = rows.iloc[0][["dead", "effective"]]
        head = [str(N), f"{dead:.1%}", f"{effective:.4g}"]
        for row in rows.itertuples():
            result.add_row(*head, row.estimator, f"{row.nsr:.3g} [{row.nsr_low:.3g}, {row.nsr_high:.3g}]")
            head = ["", "", ""]
    return result


def _draw(table: pd.DataFrame, budget: int, path: Path) -> None:
    from matplotlib.figure import Figure

    if path.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"--plot {path} is no picture; write .png, .pdf or .svg")
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, (name, rows) in enumerate(table.groupby("estimator", sort=False)):
        same = name == "Dr. GRPO"  # the ratio of RLOO
        left.plot(
            rows["N"], rows["nsr"], "s--" if same else "o-", color=f"C{place}", mfc="none" if same else None, label=name
        )
        left.fill_between(rows["N"], rows["nsr_low"], rows["nsr_high"], color=f"C{place}", alpha=0.15, lw=0)
    first = table.drop_duplicates("N")
    right.plot(first["N"], first["dead"], "o-", color="0.3")
    for axes in (left, right):
        axes.set(xscale="log", xticks=list(first["N"]), xticklabels=list(map(str, first["N"])), xlabel="group size N")
        axes.minorticks_off()
    left.set(yscale="log", ylabel="noise-to-signal ratio of an update", title=f"{budget:,} samples an update")
    right.set(ylabel="share of dead groups", ylim=(0, None), title="all right or all wrong")
    left.legend(frameon=False)
    write(path, picture(figure, path.suffix[1:]))
