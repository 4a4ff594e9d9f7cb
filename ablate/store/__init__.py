"""What is on disk: the only package that writes or reads outputs/. `layout` describes its files."""

from ablate.store.cell import Cell, Status
from ablate.store.checkpoint import Checkpoint
from ablate.store.columns import COUNTS, CURVES, PROBE
from ablate.store.errors import CorruptFileError
from ablate.store.jobs import check_writable, forget_jobs, read_jobs, record_job
from ablate.store.layout import PRESENTATION, RUNTIME, config_digest, config_hash, names_cell, study_folder
from ablate.store.manifest import FIELDS, READ, SCHEMA
from ablate.store.provenance import machine
from ablate.store.scan import Stray, cells, scan

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
    "CorruptFileError",
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
    "scan",
    "study_folder",
]
