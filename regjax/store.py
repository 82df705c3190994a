"""The run store: every finished network in one SQLite file, so that nothing is trained twice.

A row is kept under its *identity*, what was asked for: configuration, hyperparameters, seed, split, data.
How it was computed, its *provenance*, stands beside it. Arrays are `.npy` bytes and never pickled.
docs/store.md has the tables, and queries to type into `sqlite3`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import io
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from regjax.config import Config, HParams, check_hparams, local_x64
from regjax.data import Data
from regjax.design import Design
from regjax.grid import NAMES, as_cell, as_hparams, value_of
from regjax.identity import as_npy, checksum_of, digest, fingerprint
from regjax.metrics import METRICS
from regjax.mlp import Layer, Params
from regjax.plan import Plan, num_records
from regjax.provenance import device, versions
from regjax.splits import Splits
from regjax.train import TrainState, init_state

# "rgjx": what tells a store from other programs' SQLite files.
APPLICATION_ID = 0x72676A78
SCHEMA_VERSION = 1
# Seconds to wait for another process's transaction.
PATIENCE = 60.0
# What sqlite3 raises; the second where the text of the first is damaged itself.
_BROKEN = (sqlite3.Error, UnicodeDecodeError)
METRIC_COLUMNS = (
    "train_cost",
    *(f"{split}_{metric}" for split in ("train", "val", "test") for metric in METRICS),
)

SCHEMA = f"""
CREATE TABLE data (
    fingerprint TEXT PRIMARY KEY,  -- SHA-256 of what x, y and weights hold
    num_samples INTEGER NOT NULL, num_features INTEGER NOT NULL,
    x BLOB NOT NULL, y BLOB NOT NULL, weights BLOB NOT NULL
);
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE, -- SHA-256 of its rows' identities, in order
    begun TEXT NOT NULL, finished TEXT,
    source TEXT, data TEXT NOT NULL REFERENCES data, test TEXT REFERENCES data,
    num_rows INTEGER NOT NULL,
    design TEXT NOT NULL,          -- JSON
    train BLOB NOT NULL, val BLOB NOT NULL, classes BLOB,
    checksum TEXT NOT NULL,        -- SHA-256 of the four
    plan TEXT NOT NULL,            -- JSON: slots and lanes of each group's chunks, and their SHA-256
    versions TEXT NOT NULL, device TEXT NOT NULL
);
CREATE TABLE rows (
    identity TEXT PRIMARY KEY,
    {", ".join(NAMES)},
    layer_sizes TEXT NOT NULL, num_steps INTEGER NOT NULL, eval_every INTEGER NOT NULL,
    seed INTEGER NOT NULL, fold INTEGER NOT NULL,
    status TEXT NOT NULL, diverged_at INTEGER, last_finite_cost REAL,
    {", ".join(f"{name} REAL" for name in METRIC_COLUMNS)},
    seconds REAL NOT NULL, finished TEXT NOT NULL, provenance TEXT NOT NULL,
    checksum TEXT NOT NULL         -- SHA-256 of this row and its arrays: SQLite does not notice changed bytes
) WITHOUT ROWID;
CREATE TABLE arrays (
    identity TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (identity, name)
) WITHOUT ROWID;
CREATE TABLE sweep_rows (
    sweep INTEGER NOT NULL REFERENCES sweeps, row INTEGER NOT NULL, identity TEXT NOT NULL,
    PRIMARY KEY (sweep, row)
) WITHOUT ROWID;
CREATE INDEX sweep_rows_by_identity ON sweep_rows (identity);
CREATE TABLE checkpoints (
    identity TEXT PRIMARY KEY, step INTEGER NOT NULL, seconds REAL NOT NULL, chunk INTEGER NOT NULL,
    checksum TEXT NOT NULL         -- SHA-256 of this row and its arrays
) WITHOUT ROWID;
CREATE VIEW results AS
    SELECT sweep_rows.sweep, sweep_rows.row, rows.* FROM sweep_rows JOIN rows USING (identity);
"""


class StoreError(ValueError):
    """A file that is no store, or one that this version cannot use: says which and why."""


class Row(NamedTuple):
    """A network as the store keeps it.

    Attributes:
        records: metric -> `(records,)`, NaN after divergence.
        diverged_at: step, or -1.
        last_finite_cost: NaN where it did not diverge.
        seconds: of a worker.
        params: NumPy leaves in order, or None where they were not kept.
        examples: per-example validation scores, or None.
        provenance: how it was computed, JSON.
    """

    records: dict[str, np.ndarray]
    diverged_at: int
    last_finite_cost: float
    seconds: float
    params: list[np.ndarray] | None
    examples: dict[str, np.ndarray] | None
    provenance: str = ""


class Checkpoint(NamedTuple):
    """A network on its way.

    Attributes:
        step: steps done.
        state: NumPy leaves of its `TrainState` in order.
        records: metric -> `(records,)`, NaN where not reached.
        seconds: of a worker.
        chunk: lanes of the chunk it was trained in.
    """

    step: int
    state: list[np.ndarray]
    records: dict[str, np.ndarray]
    seconds: float
    chunk: int


# -- the file -----------------------------------------------------------------------------------------------


def check_store(path: str) -> None:
    """Raises what `Store(path)` would, and makes nothing.

    Raises:
        StoreError: no store, damaged, or of a newer version.
        OSError: it cannot be opened, or not be made where it is missing.
    """
    if os.path.exists(path):
        with Store(path):
            return
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise OSError(13, "store cannot be written", path)


class Store:
    """An open store; use it from one thread, in `with`.

    Args:
        path: of the file; made where it is missing and `create` is true.
        create: whether to make it.

    Raises:
        StoreError: no store, damaged, or of a newer version; the file is left as it is.
        OSError: it cannot be opened or written.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.path = os.fspath(path)
        if os.path.isdir(self.path):
            raise IsADirectoryError(21, "Is a directory", self.path)
        exists = os.path.exists(self.path)
        if not exists and not create:
            raise FileNotFoundError(2, "No such file or directory", self.path)
        if exists:
            self._check_header()
        try:
            self.connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            # Damaged text must come to its checksum, and be refused there.
            self.connection.text_factory = lambda raw: raw.decode(errors="replace")
            self._prepare()
        except _BROKEN as error:
            with contextlib.suppress(AttributeError):
                self.connection.close()
            raise _said(self.path, error) from error
        except StoreError:
            self.connection.close()
            raise

    def _check_header(self) -> None:
        """Raises StoreError for a file that SQLite would not know, before SQLite may touch it."""
        with open(self.path, "rb") as file:
            header = file.read(100)
        if len(header) == 0:
            raise StoreError(f"{self.path}: must be a store of regjax, got an empty file")
        if header[:16] != b"SQLite format 3\0" or len(header) < 100:
            raise StoreError(f"{self.path}: must be a store of regjax, got another kind of file")
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise StoreError(f"{self.path}: must be a store of regjax, got another program's SQLite file")

    def _prepare(self) -> None:
        run = self.connection.execute
        run("PRAGMA foreign_keys = ON")
        run("BEGIN IMMEDIATE")
        version = run("PRAGMA user_version").fetchone()[0]
        empty = run("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and version == 0:
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            for statement in SCHEMA.split(";\n"):
                if statement.strip():
                    run(statement)
        run("COMMIT")
        version = run("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            what = "a newer regjax" if version > SCHEMA_VERSION else "an unknown version"
            raise StoreError(
                f"{self.path}: must have schema version {SCHEMA_VERSION}, got {version}, of {what}"
            )
        wanted = {"data", "sweeps", "rows", "arrays", "sweep_rows", "checkpoints", "results"}
        there = {name for (name,) in run("SELECT name FROM sqlite_master")}
        if not wanted <= there:
            missing = ", ".join(sorted(wanted - there))
            raise StoreError(f"{self.path}: must be a store of regjax, and lacks {missing}")
        damage = run("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise StoreError(f"{self.path}: must be a whole store, and is damaged ({damage.splitlines()[0]})")
        run("PRAGMA journal_mode = WAL")
        # Against a killed process; after a power cut the last commits may be missing, and nothing is damaged.
        run("PRAGMA synchronous = NORMAL")

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yields the connection inside one transaction: all of it is committed, or nothing."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")
        except _BROKEN as error:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")
            raise _said(self.path, error) from error

    def query(self, text: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns the rows of a query."""
        try:
            return self.connection.execute(text, values).fetchall()
        except _BROKEN as error:
            raise _said(self.path, error) from error

    # -- sweeps -----------------------------------------------------------------------------------------

    def begin(self, design: Design, plan: Plan, rows: Sequence[str], source: str | None) -> tuple[int, Plan]:
        """Returns the number of a sweep, and the plan that holds for it: the first one's, if it was begun."""
        identity = digest(list(rows))
        found = self.query("SELECT id, plan FROM sweeps WHERE identity = ?", [identity])
        if found:
            number, stored = found[0]
            return number, self._with_shapes(plan, stored)
        sets = [design.data] if design.test is None else [design.data, design.test]
        prints = [fingerprint(data) for data in sets]
        kept = {
            "design": json.dumps(_design_as_json(design)),
            "train": as_npy(design.splits.train),
            "val": as_npy(design.splits.val),
            "classes": None if design.classes is None else as_npy(design.classes),
        }
        columns = {
            **kept,
            "checksum": checksum_of(kept.values()),
            "identity": identity,
            "begun": _now(),
            "source": source,
            "data": prints[0],
            "test": prints[1] if len(prints) > 1 else None,
            "num_rows": design.num_rows,
            "plan": _shapes(plan),
            "versions": json.dumps(versions()),
            "device": device(),
        }
        with self.transaction() as connection:
            for data, print_ in zip(sets, prints, strict=True):
                values = [print_, data.x.shape[1], len(data.x), *(as_npy(leaf) for leaf in data)]
                connection.execute("INSERT OR IGNORE INTO data VALUES (?, ?, ?, ?, ?, ?)", values)
            _insert(connection, "sweeps", columns, "OR IGNORE")
            (number,) = connection.execute("SELECT id FROM sweeps WHERE identity = ?", [identity]).fetchone()
            connection.executemany(
                "INSERT OR IGNORE INTO sweep_rows VALUES (?, ?, ?)",
                [(number, index, row) for index, row in enumerate(rows)],
            )
        return number, plan

    def halved(self, sweep: int, plan: Plan) -> None:
        """Remembers chunk shapes that a lack of memory made smaller."""
        with self.transaction() as connection:
            values = [_shapes(plan), sweep]
            connection.execute("UPDATE sweeps SET plan = ? WHERE id = ?", values)

    def end(self, sweep: int) -> None:
        """Marks a sweep as finished."""
        with self.transaction() as connection:
            values = [_now(), sweep]
            connection.execute("UPDATE sweeps SET finished = ? WHERE id = ? AND finished IS NULL", values)

    # -- rows -------------------------------------------------------------------------------------------

    def finished(self, rows: Iterable[str]) -> set[str]:
        """Returns which of these identities are finished."""
        return {
            row for part in _parts(list(rows)) for (row,) in self._where("SELECT identity FROM rows", part)
        }

    def read(self, rows: Sequence[str]) -> dict[str, Row]:
        """Returns those of these rows that are finished."""
        found: dict[str, Row] = {}
        names = _names(self.query, "rows")
        for part in _parts(rows):
            arrays = self._arrays(part, on_the_way=False)
            for stored in self._where("SELECT * FROM rows", part):
                columns = dict(zip(names, stored, strict=True))
                identity = columns["identity"]
                own = self._checked(columns, arrays.get(identity, {}))
                cost = columns["last_finite_cost"]
                found[identity] = Row(
                    records=_under(own, "records/"),
                    diverged_at=-1 if columns["diverged_at"] is None else columns["diverged_at"],
                    last_finite_cost=np.nan if cost is None else cost,
                    seconds=columns["seconds"],
                    params=_in_order(own, "params/"),
                    examples=_under(own, "examples/") or None,
                    provenance=columns["provenance"],
                )
        return found

    def checkpoints(self, rows: Sequence[str]) -> dict[str, Checkpoint]:
        """Returns those of these rows that are on their way."""
        found: dict[str, Checkpoint] = {}
        names = _names(self.query, "checkpoints")
        for part in _parts(rows):
            points = self._where("SELECT * FROM checkpoints", part)
            arrays = self._arrays([point[0] for point in points], on_the_way=True)
            for stored in points:
                columns = dict(zip(names, stored, strict=True))
                own = self._checked(columns, arrays.get(columns["identity"], {}))
                found[columns["identity"]] = Checkpoint(
                    step=columns["step"],
                    state=_in_order(own, "state/") or [],
                    records=_under(own, "so_far/"),
                    seconds=columns["seconds"],
                    chunk=columns["chunk"],
                )
        return found

    def write(
        self,
        design: Design,
        finished: Mapping[int, Row],
        begun: Mapping[int, Checkpoint],
        rows: Sequence[str],
    ) -> None:
        """Commits what a task brought, in one transaction.

        Args:
            design: of the sweep.
            finished: index of a row -> what is kept of it.
            begun: index of a row -> where it stands.
            rows: identities by index.
        """
        with self.transaction() as connection:
            for index, row in finished.items():
                arrays = {f"records/{name}": values for name, values in row.records.items()}
                arrays |= {f"params/{i}": leaf for i, leaf in enumerate(row.params or ())}
                arrays |= {f"examples/{name}": values for name, values in (row.examples or {}).items()}
                _forget(connection, rows[index])
                # Another process may have been quicker; its row stands, and is the same.
                _keep(connection, "rows", {"identity": rows[index]} | _columns(design, index, row), arrays)
            for index, point in begun.items():
                arrays = {f"so_far/{name}": values for name, values in point.records.items()}
                arrays |= {f"state/{i}": leaf for i, leaf in enumerate(point.state)}
                values = {"step": point.step, "seconds": point.seconds, "chunk": point.chunk}
                _forget(connection, rows[index])
                _keep(connection, "checkpoints", {"identity": rows[index]} | values, arrays)

    def _where(self, select: str, rows: Sequence[str]) -> list[Any]:
        return self.query(f"{select} WHERE identity IN ({', '.join('?' * len(rows))})", rows)

    def _arrays(self, rows: Sequence[str], *, on_the_way: bool) -> dict[str, dict[str, bytes]]:
        """Returns the arrays of finished rows, or of their checkpoints: another process may have both."""
        found: dict[str, dict[str, bytes]] = {}
        for identity, name, value in self._where("SELECT identity, name, value FROM arrays", rows):
            if str(name).startswith(("state/", "so_far/")) == on_the_way:
                found.setdefault(identity, {})[name] = value
        return found

    def _checked(self, columns: dict[str, Any], arrays: dict[str, bytes]) -> dict[str, np.ndarray]:
        """Returns a row's arrays; raises StoreError unless it is all as it was written."""
        checksum = columns["checksum"]
        columns = {name: value for name, value in columns.items() if name != "checksum"}
        if checksum != checksum_of([*columns.values(), *_flat(arrays)]):
            raise StoreError(f"{self.path}: row {str(columns['identity'])[:12]} is damaged")
        return {name: _array(value) for name, value in arrays.items()}

    # -- what is there ------------------------------------------------------------------------------------

    def sweep_number(self, sweep: int | str = -1) -> int:
        """Returns the number of a sweep: itself, or counted from the end (-1 or "last")."""
        numbers = [number for (number,) in self.query("SELECT id FROM sweeps ORDER BY id")]
        if not numbers:
            raise StoreError(f"{self.path}: must hold a sweep, got none")
        if sweep == "last":
            return numbers[-1]
        number = int(sweep)
        if number < 0 and -number <= len(numbers):
            return numbers[number]
        if number not in numbers:
            raise ValueError(f"sweep must be one of {', '.join(map(str, numbers))}, got {sweep!r}")
        return number

    def overview(self) -> list[dict[str, Any]]:
        """Returns what there is to say of each sweep: id, source, data, rows done and diverged, where."""
        found = []
        columns = ("id", "source", "data", "begun", "finished", "num_rows")
        for values in self.query(f"SELECT {', '.join(columns)} FROM sweeps ORDER BY id"):
            sweep: dict[str, Any] = dict(zip(columns, values, strict=True))
            counts = self.query(
                "SELECT count(*), coalesce(sum(status = 'diverged'), 0) FROM results WHERE sweep = ?",
                [sweep["id"]],
            )
            where = self.query(
                "SELECT provenance, count(*) FROM results WHERE sweep = ? GROUP BY provenance", [sweep["id"]]
            )
            sweep["done"], sweep["diverged"] = counts[0]
            sweep["provenance"] = dict(where)
            found.append(sweep)
        return found

    def design_of(self, sweep: int) -> tuple[Design, list[str]]:
        """Returns the design of a sweep, and the identities of its rows."""
        columns = "data, test, design, train, val, classes"
        ((data, test, text, train, val, classes, checksum),) = self.query(
            f"SELECT {columns}, checksum FROM sweeps WHERE id = ?", [sweep]
        )
        if checksum != checksum_of([text, train, val, classes]):
            raise StoreError(f"{self.path}: sweep {sweep} is damaged")
        found = json.loads(text)
        configs = tuple(_config(entry) for entry in found["configs"])
        configurations = tuple(
            {name: _as_tuple(value) for name, value in entry.items()} for entry in found["configurations"]
        )
        design = Design(
            data=self._data(data),
            test=None if test is None else self._data(test),
            classes=None if classes is None else _array(classes),
            splits=Splits(_array(train), _array(val), found["kind"], tuple(found["split_notes"])),
            configurations=configurations,
            configs=configs,
            hparams=tuple(
                check_hparams(config, as_hparams(configuration))
                for config, configuration in zip(configs, configurations, strict=True)
            ),
            num_batches=tuple(found["num_batches"]),
            seeds=tuple(found["seeds"]),
            pairing=found["pairing"],
            standardize=found["standardize"],
            notes=tuple(found["notes"]),
        )
        rows = [
            row
            for (row,) in self.query("SELECT identity FROM sweep_rows WHERE sweep = ? ORDER BY row", [sweep])
        ]
        if [(digest(rows),)] != self.query("SELECT identity FROM sweeps WHERE id = ?", [sweep]):
            raise StoreError(f"{self.path}: the rows of sweep {sweep} are damaged")
        return design, rows

    def plan_of(self, sweep: int, plan: Plan) -> Plan:
        """Returns `plan` with the chunk shapes that hold for a sweep."""
        ((stored,),) = self.query("SELECT plan FROM sweeps WHERE id = ?", [sweep])
        return self._with_shapes(plan, stored)

    def _with_shapes(self, plan: Plan, stored: str) -> Plan:
        """Returns a plan whose groups have these chunk shapes: what was decided is not decided again."""
        try:
            found = json.loads(stored)
            shapes = found["shapes"]
            whole = found["checksum"] == checksum_of([json.dumps(shapes)]) and len(shapes) == len(plan.groups)
        except (ValueError, KeyError, TypeError):
            whole, shapes = False, []
        if not whole:
            raise StoreError(f"{self.path}: the plan of a sweep is damaged")
        groups = (
            group._replace(slots=slots, lanes=lanes)
            for group, (slots, lanes) in zip(plan.groups, shapes, strict=True)
        )
        return dataclasses.replace(plan, groups=tuple(groups))

    def _data(self, print_: str) -> Data:
        ((x, y, weights),) = self.query("SELECT x, y, weights FROM data WHERE fingerprint = ?", [print_])
        data = Data(_array(x), _array(y), _array(weights))
        if fingerprint(data) != print_:
            raise StoreError(f"{self.path}: data {print_[:12]} is damaged")
        return data


def _said(path: str, error: Exception) -> Exception:
    """Returns what an error of SQLite means, in words."""
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return OSError(28, f"no room to write ({text}); what was committed is kept", path)
    if "readonly" in text or "unable to open" in text:
        return OSError(13, f"cannot be written ({text})", path)
    if "locked" in text or "busy" in text:
        return OSError(11, f"another process has been writing for {PATIENCE:.0f} s ({text})", path)
    return StoreError(f"{path}: must be a whole store of regjax, and is damaged ({text})")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any], how: str = "") -> int:
    """Inserts a row and returns how many that were: 0 where it was there and is ignored."""
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    text = f"INSERT {how} INTO {table} ({names}) VALUES ({marks})"
    return connection.execute(text, list(values.values())).rowcount


def _keep(
    connection: sqlite3.Connection, table: str, values: dict[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Inserts a row of a table and its arrays, unless it is there."""
    identity = values["identity"]
    names = _names(connection.execute, table)
    kept = {name: as_npy(value) for name, value in arrays.items()}
    ordered = {name: values.get(name) for name in names if name != "checksum"}
    ordered["checksum"] = checksum_of([*ordered.values(), *_flat(kept)])
    if _insert(connection, table, ordered, "OR IGNORE"):
        connection.executemany(
            "INSERT INTO arrays VALUES (?, ?, ?)", [(identity, name, value) for name, value in kept.items()]
        )


def _names(query: Callable[[str], Iterable[Any]], table: str) -> list[str]:
    """Returns the columns of a table, in the order that its checksums are taken in."""
    return [name for _, name, *_ in query(f"PRAGMA table_info({table})")]


def _flat(arrays: Mapping[str, bytes]) -> list[Any]:
    return [part for name in sorted(arrays) for part in (name, arrays[name])]


def _forget(connection: sqlite3.Connection, identity: str) -> None:
    """Deletes a checkpoint."""
    connection.execute("DELETE FROM checkpoints WHERE identity = ?", [identity])
    connection.execute(
        "DELETE FROM arrays WHERE identity = ? AND (name LIKE 'state/%' OR name LIKE 'so_far/%')", [identity]
    )


@functools.lru_cache(maxsize=1024)  # of the sweep that is running
def _asked(design: Design, index: int) -> dict[str, Any]:
    """Returns the columns of a configuration."""
    config, configuration = design.configs[index], design.configurations[index]
    own = {name: getattr(config, name) for name in NAMES if hasattr(config, name)}
    own["hidden"] = config.layer_sizes[1:-1]
    values = {name: as_cell(own[name] if name in own else value_of(configuration, name)) for name in NAMES}
    return values | {
        "layer_sizes": "-".join(map(str, config.layer_sizes)),
        "num_steps": config.num_steps,
        "eval_every": config.eval_every,
    }


def _columns(design: Design, index: int, row: Row) -> dict[str, Any]:
    """Returns a row's columns but its identity."""
    place = design.row(index)
    config = design.configs[place.configuration]
    last = num_records(config) - 1
    metrics = {name: float(values_[last]) for name, values_ in row.records.items()}
    diverged = row.diverged_at >= 0
    return {
        **_asked(design, place.configuration),
        "seed": place.seed,
        "fold": place.fold,
        "status": "diverged" if diverged else "ok",
        "diverged_at": row.diverged_at if diverged else None,
        "last_finite_cost": None if np.isnan(row.last_finite_cost) else float(row.last_finite_cost),
        **{name: None if np.isnan(value) else value for name, value in metrics.items()},
        "seconds": float(row.seconds),
        "finished": _now(),
        "provenance": row.provenance,
    }


def _array(value: bytes) -> np.ndarray:
    try:
        return np.load(io.BytesIO(value), allow_pickle=False)
    except Exception as error:
        raise StoreError("an array of the store is damaged") from error


def _parts(rows: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Yields parts as long as a query of SQLite may name."""
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): v for name, v in arrays.items() if name.startswith(prefix)}


def _in_order(arrays: Mapping[str, np.ndarray], prefix: str) -> list[np.ndarray] | None:
    found = _under(arrays, prefix)
    return [found[str(i)] for i in range(len(found))] or None


def _design_as_json(design: Design) -> dict[str, Any]:
    return {
        "configs": [dataclasses.asdict(config) for config in design.configs],
        "configurations": list(design.configurations),
        "num_batches": list(design.num_batches),
        "seeds": list(design.seeds),
        "pairing": design.pairing,
        "standardize": design.standardize,
        "notes": list(design.notes),
        "kind": design.splits.kind,
        "split_notes": list(design.splits.notes),
    }


def _config(entry: dict[str, Any]) -> Config:
    fields: dict[str, Any] = entry | {"layer_sizes": tuple(entry["layer_sizes"])}
    return Config(**fields)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shapes(plan: Plan) -> str:
    """Returns the chunk shapes of a plan as JSON."""
    shapes = [[group.slots, group.lanes] for group in plan.groups]
    return json.dumps({"shapes": shapes, "checksum": checksum_of([json.dumps(shapes)])})


def leaves(tree: Any) -> list[np.ndarray]:
    """Returns the leaves of a pytree as NumPy arrays, in order."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def as_params(found: Sequence[Any]) -> Params:
    """Returns parameters from their leaves in order."""
    return tuple(Layer(w, b) for w, b in zip(found[::2], found[1::2], strict=True))


def as_state(found: Sequence[np.ndarray], config: Config, hparams: HParams) -> TrainState:
    """Returns the state of a training run from its leaves in order."""
    with local_x64(config.dtype):
        key = jax.random.key(0, impl="threefry2x32")
        shape = jax.eval_shape(lambda key: init_state(key, hparams, config=config), key)
    return jax.tree.unflatten(jax.tree.structure(shape), found)
