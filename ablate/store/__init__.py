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

Columns: `columns.CURVES` and `columns.PROBE` say what each of them means.

Fields of manifest.json: schema, status, seed, config (the digest of the configuration), iterations, env_steps,
wall_time_s, started and finished (ISO 8601), versions, git_revision (None without a checkout), files (rows and sha256
of each); for a diverged run also iteration and reason; last sha256, of all that stands before it. Schema 1 had neither
config nor sha256.
"""

from ablate.store.cell import Cell, Status
from ablate.store.checkpoint import Checkpoint
from ablate.store.columns import COUNTS, CURVES, PROBE
from ablate.store.damage import Damaged
from ablate.store.jobs import check_writable, forget_jobs, read_jobs, record_job
from ablate.store.manifest import FIELDS, READ, SCHEMA
from ablate.store.naming import PRESENTATION, RUNTIME, config_digest, config_hash, names_cell, study_folder
from ablate.store.provenance import machine
from ablate.store.survey import Stray, cells, survey

__all__ = [
    "COUNTS",
    "CURVES",
    "FIELDS",
    "PRESENTATION",
    "PROBE",
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
    "machine",
    "names_cell",
    "read_jobs",
    "record_job",
    "study_folder",
    "survey",
]
