"""What lies on disk, and the columns of every file and table."""

import inspect

from ablate import store
from ablate.configuration.settings import choices
from generated.configuration import about
from generated.markdown import escaped, literal, table


def layout() -> str:
    """The files of a study, as the store says it."""
    return literal(inspect.getdoc(store.layout) or "")


def columns(name: str) -> str:
    """The columns of curves.parquet or of probe.parquet."""
    documented = {"curves": store.CURVES, "probe": store.PROBE}[name]
    return table(("column", "meaning"), ((f"`{column}`", escaped(text)) for column, text in documented.items()))


def algorithm_columns() -> str:
    """What each algorithm adds to curves.parquet, or means by a column, as its yaml says."""
    rows = []
    for choice in choices("algorithm"):
        for column, text in about("algorithm", choice).get("columns", {}).items():
            rows.append((f"`{choice}`", f"`{column}`", escaped(text)))
    return table(("`algorithm=`", "column", "meaning"), rows)


def table_columns() -> str:
    """The columns of the tables of a study."""
    from ablate.analysis.columns import MEANINGS

    return table(("column", "meaning"), ((f"`{name}`", escaped(text)) for name, text in MEANINGS.items()))
