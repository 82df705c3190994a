"""The tables of the run store; docs/store.md has them in words, and queries to type into `sqlite3`."""

from __future__ import annotations

from regjax.core.metrics import RECORDED
from regjax.store.codec import ASKED_COLUMNS
from regjax.study.configuration import NAMES

# "rgjx": what tells a store from other programs' SQLite files.
APPLICATION_ID = 0x72676A78
SCHEMA_VERSION = 3

SCHEMA = f"""
CREATE TABLE data (                -- a safetensors file of x, y and weights, cut into parts
    fingerprint TEXT NOT NULL,     -- SHA-256 of what they hold
    part INTEGER NOT NULL,
    num_samples INTEGER NOT NULL, num_features INTEGER NOT NULL,
    arrays BLOB NOT NULL,
    PRIMARY KEY (fingerprint, part)
);
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE, -- SHA-256 of its rows' identities, in order
    begun TEXT NOT NULL, finished TEXT,
    source TEXT,                   -- name or path of the data
    source_hash TEXT,              -- SHA-256 of that file
    data TEXT NOT NULL, test TEXT, -- fingerprints
    num_rows INTEGER NOT NULL,
    asked TEXT NOT NULL,           -- JSON: whose parameters are kept, and what is asked of the results
    design TEXT NOT NULL,          -- JSON
    splits BLOB NOT NULL,
    shapes TEXT NOT NULL,          -- JSON: slots and lanes of each group's chunks
    provenance TEXT NOT NULL,      -- JSON: where it was begun
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
CREATE TABLE checkpoints (
    identity TEXT PRIMARY KEY,
    step INTEGER NOT NULL, seconds REAL NOT NULL, provenance TEXT NOT NULL,
    arrays BLOB NOT NULL,
    checksum TEXT NOT NULL
);
CREATE TABLE processes (           -- that are sweeping into this store
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    host TEXT NOT NULL, pid INTEGER NOT NULL, started TEXT NOT NULL, seen REAL NOT NULL
);
CREATE TABLE claims (              -- rows that a process is training
    identity TEXT PRIMARY KEY, process INTEGER NOT NULL
) WITHOUT ROWID;
CREATE VIEW results AS
    SELECT sweep_rows.sweep, sweep_rows.row, rows.* FROM sweep_rows JOIN rows USING (identity);
"""
# Of a row, in the order of its table and of its checksum.
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
