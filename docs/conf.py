"""How the pages of this folder become the site: `sphinx-build -W docs docs/_build`."""

import re
import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generated  # noqa: E402

project = "ablate"
copyright = "2026, the ablate authors"
extensions = ["myst_nb"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "ablate"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # which browsers show by themselves, without a script from elsewhere
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120
nb_execution_excludepatterns = ["notebooks/exercises/*"]  # where nothing is written yet
OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:ablate|analysis|conf|tests|benchmarks|README)[\w/.#-]*\)")


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Write what a page asks of the code in its place; what it links to outside of this folder is named, not linked."""
    source[0] = OUTSIDE.sub(r"\1", generated.filled(source[0]))


def write_report(app: Sphinx, exception: Exception | None) -> None:
    """The lecture's results on one page, beside the site's own."""
    from ablate.analysis import report

    if exception is None and app.builder.format == "html":
        report.write(HERE.parent / "outputs", "lecture", Path(app.outdir) / "report.html")


def visit_inline(self, node: nodes.Node) -> None:
    self.body.append(convert(node.astext()))
    raise nodes.SkipNode


def visit_block(self, node: nodes.Node) -> None:
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", fill)
    app.connect("build-finished", write_report)
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True}
