"""`ablate audit module:function`: what an advantage function or a loss of your own trainer is, exactly.

Exit code 0: no fault, whichever estimator it is, known here or not. 1: a fault was found. 2: it could not be run.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ablate.commands import Parser
from ablate.files import OUT, write
from ablate.sequences.audit import audit
from ablate.sequences.definitions import EXPECTED
from ablate.sequences.findings import as_markdown, summary
from ablate.sequences.kl import ESTIMATORS
from ablate.sequences.subject import load


def main(arguments: Sequence[str]) -> int:
    """The exit code; a UserError is 2."""
    parser = Parser(
        prog="ablate audit",
        description="Run an advantage function or a loss on small token problems, every batch of which is listed, and "
        "tell of what it is the gradient, its variance, what it depends on and where it breaks. "
        "advantage(rewards [B,N]) or loss(log_probs [B,N,L], rewards [B,N], mask [B,N,L]), of torch tensors; a loss "
        "may take old_log_probs and ref_log_probs [B,N,L] besides: clipping and the KL term are then told too.",
    )
    parser.epilog = "Exit code: 0 no fault, whichever estimator it is; 1 a fault; 2 it could not be run."
    parser.add_argument("function", metavar="MODULE:FUNCTION", help="in the present folder or installed")
    parser.add_argument("--expect", metavar="NAME", help=f"another definition is a fault: {', '.join(EXPECTED)}")
    parser.add_argument("--kl", choices=ESTIMATORS, help="another term in ref_log_probs is a fault")
    parser.add_argument("--out", metavar="FILE.md", help="also write the table to a Markdown file")
    options = parser.parse_args(arguments)
    findings = audit(load(options.function), options.expect, options.kl)
    table = Table("", "check", "found", box=None, pad_edge=False, header_style="bold")
    for finding in findings:
        table.add_row("[red]fault[/]" if finding.fault else "", finding.check, escape(finding.found))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{escape(options.function)}: {summary(findings)}")
    if options.out:
        write(Path(options.out), as_markdown(options.function, findings), OUT)
    return int(any(finding.fault for finding in findings))
