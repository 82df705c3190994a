"""The tables of a store; `database.py` creates them. docs/store.md explains them, with queries for `sqlite3`.

Stored files must stay readable: a change here needs another SCHEMA_VERSION. Columns of new hyperparameters
and metrics are an exception: `store.py` adds those that a file lacks, and reads them as off or NaN.
"""

from __future__ import annotations

from regjax.core.metrics import RECORDED
from regjax.store.codec import ASKED_COLUMNS
from regjax.study.configuration import NAMES

# "rgjx" in the header of the file: tells a store from SQLite files of other programs.
APPLICATION_ID = 0x72676A78
SCHEMA_VERSION = 3

SCHEMA = f"""
CREATE TABLE data (                -- x, y and weights as a safetensors file, cut into parts
    fingerprint TEXT NOT NULL,     -- SHA-256 of the arrays
    part INTEGER NOT NULL,
    num_samples INTEGER NOT NULL, num_features INTEGER NOT NULL,
    arrays BLOB NOT NULL,
    PRIMARY KEY (fingerprint, part)
);
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE, -- SHA-256 of its rows' identities and class labels
    begun TEXT NOT NULL, finished TEXT,
    source TEXT,                   -- name or path of the data
    source_hash TEXT,              -- SHA-256 of that file
    data TEXT NOT NULL, test TEXT, -- fingerprints
    num_rows INTEGER NOT NULL,
    asked TEXT NOT NULL,           -- JSON: whose parameters are kept, and what is asked of the results
    design TEXT NOT NULL,          -- JSON
    splits BLOB NOT NULL,
    shapes TEXT NOT NULL,          -- JSON: slots and lanes of each group's chunks
    provenance TEXT NOT NULL,      -- JSON: how the process that began it computes
    checksum TEXT NOT NULL         -- SHA-256 of data, test, asked, design, shapes and splits
);
CREATE TABLE rows (
    identity TEXT PRIMARY KEY,
    {", ".join(NAMES)},
    layer_sizes TEXT NOT NULL, num_steps INTEGER NOT NULL, eval_every INTEGER NOT NULL,
    seed INTEGER NOT NULL, fold INTEGER NOT NULL,
    status TEXT NOT NULL, diverged_at INTEGER, stopped_at INTEGER, last_finite_cost REAL,
    {", ".join(f"{name} REAL" for name in RECORDED)},
    seconds REAL NOT NULL, finished TEXT NOT NULL, provenance TEXT NOT NULL,
    checksum TEXT NOT NULL         -- SHA-256 of this row and its arrays: SQLite does not notice changed bytes
);
CREATE TABLE arrays (              -- curves, parameters, per-example scores: a safetensors file per row
    identity TEXT PRIMARY KEY, value BLOB NOT NULL
);
CREATE TABLE sweep_rows (
    sweep INTEGER NOT NULL REFERENCES sweeps, row INTEGER NOT NULL, identity TEXT NOT NULL,
    PRIMARY KEY (sweep, row)
) WITHOUT ROWID;
CREATE TABLE checkpoints (         -- rows that are not finished, and their training state
    identity TEXT PRIMARY KEY,
    step INTEGER NOT NULL, seconds REAL NOT NULL, provenance TEXT NOT NULL,
    arrays BLOB NOT NULL,
    checksum TEXT NOT NULL
);
CREATE TABLE processes (           -- that train into this store, and their last sign of life
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, seen REAL NOT NULL
);
CREATE TABLE claims (              -- leases: which process trains a row
    identity TEXT PRIMARY KEY, process INTEGER NOT NULL
) WITHOUT ROWID;
CREATE VIEW results AS
    SELECT sweep_rows.sweep, sweep_rows.row, rows.* FROM sweep_rows JOIN rows USING (identity);
"""
# Tables that a file must have to be a store.
TABLES = {"data", "sweeps", "rows", "arrays", "sweep_rows", "checkpoints", "processes", "claims"}
# Columns of the table `rows` but for its checksum, in the order in which the checksum takes them.
ROW_COLUMNS = (
    "identity",
    *ASKED_COLUMNS,
    "seed",
    "fold",
    "status",
    "diverged_at",
    "stopped_at",
    "last_finite_cost",
    *RECORDED,
    "seconds",
    "finished",
    "provenance",
)
