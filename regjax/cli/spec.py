"""What a sweep is asked to do, in TOML or in flags: the arguments of `regjax.sweep` under their own names.

A flag is its Python name with dashes, and overrides the file. Nothing is loaded or compiled here.
`regjax sweep` and `regjax plan` call `resolve` and `as_toml`.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from regjax.cli.options import FLAGS, SECTIONS
from regjax.cli.stored import STORE
from regjax.cli.values import assignments_of, values_of
from regjax.core.checks import check_known, shortened, shown
from regjax.data.names import DEFAULT
from regjax.data.splits import check_fraction
from regjax.study.configuration import CONFIG_AXES, ELSEWHERE, NAMES, value_of
from regjax.study.grid import resolve_axes
from regjax.study.questions import Questions
from regjax.study.resolve import CONFIG_FIELDS, as_config, check_seeds
from regjax.study.resolve import DEFAULTS as PYTHON_DEFAULTS
from regjax.study.samples import standardizes

# Two names for one thing; a flag of the one takes the other out of the file.
RIVALS = (("folds", "validation"), ("num_steps", "epochs"), ("keep_prob", "dropout"))
# The grid where no axis is named: the tutorial's λ for data that come scaled; decades for tables, whose rows
# are often few, and networks then need stronger penalties (docs/tables.md says what that gains).
DEFAULT_GRID = {"l2": [0.0, 0.01, 0.1, 0.7], "keep_prob": [1.0, 0.9, 0.8]}
TABLE_GRID = {"l2": [0.0, 0.1, 1.0, 10.0], "keep_prob": [1.0, 0.9, 0.8]}
# Hidden layers of a table's networks where none are named: three units after twenty are the tutorial's.
TABLE_HIDDEN = (32,)
# The options that are not given: more seeds than in Python, and a store.
DEFAULTS = {
    "seeds": 4,
    "pairing": PYTHON_DEFAULTS.get("pairing"),
    "stopping": PYTHON_DEFAULTS.get("stopping"),
    "rule": Questions.rule,
    "allow_diverged": Questions.allow_diverged,
    "store": STORE,
}
DEFAULT_FOLDS = 5
QUESTIONS = tuple(field.name for field in dataclasses.fields(Questions))
# Lists and tables inside a value: folds as index pairs have three.
MAX_NESTED = 4


class Spec(NamedTuple):
    """A resolved sweep, section by section; keys that are not there have no value (a test set, a metric).

    Attributes:
        data: data, target, task, what says how a table is read, test, standardize, standardize_target.
        config: fields of `Config`, with `hidden` in place of `layer_sizes`.
        grid: name -> canonical values, of all hyperparameters.
        sweep: seeds, folds, …, the questions, and the path of the store.
    """

    data: dict[str, Any]
    config: dict[str, Any]
    grid: dict[str, list[Any]]
    sweep: dict[str, Any]

    def arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of `study.resolve.make_design`."""
        options = {name: self.sweep[name] for name in PYTHON_DEFAULTS if name in self.sweep}
        return {**self.data, "config": self.config, "grid": self.named(), **options}

    @property
    def questions(self) -> Questions:
        """What will be asked of the results."""
        return Questions(**{name: self.sweep[name] for name in QUESTIONS if name in self.sweep})

    @property
    def store(self) -> str | None:
        """Path of the store, or None."""
        return None if self.sweep["store"] == "none" else self.sweep["store"]

    def named(self) -> dict[str, list[Any]]:
        """Returns the axes that say more than the defaults do: those that tables and pictures name."""
        return {n: v for n, v in self.grid.items() if len(v) > 1 or v[0] != value_of({}, n)}


def resolve(path: str | None, flags: Mapping[str, Any]) -> Spec:
    """Returns the sweep that a file and flags ask for.

    Args:
        path: path of a TOML file, or None.
        flags: Python name -> what was written, a text or a truth value.

    Raises:
        OSError: the file cannot be read.
        TypeError: a value of the wrong kind; names the key.
        ValueError: no TOML, an unknown key, a value out of its range; names the key.
    """
    sections = {name: {} for name in SECTIONS} if path is None else read(path)
    for name, text in flags.items():
        for section in sections.values():
            section.pop(name, None)
            for rival in _rivals(name):
                if rival not in flags:
                    section.pop(rival, None)
        value = _read(name, text)
        # One value of a field of Config holds for all configurations; several are an axis.
        one = name in CONFIG_AXES and len(value) == 1
        sections["config" if one else _section(name)][name] = value[0] if one else value
    for one, other in (*RIVALS, *((name, name) for name in CONFIG_AXES)):
        holders = [s for s in sections if one in sections[s] or other in sections[s]]
        if one == other and len(holders) > 1:
            raise ValueError(f"{one} must be given once, got it in [config] and in [grid]")
        if one != other and all(any(n in s for s in sections.values()) for n in (one, other)):
            raise ValueError(f"{one} and {other} must not both be given")
    data = _data(sections["data"])
    is_table = standardizes(data["data"])
    grid = _grid(sections["grid"], TABLE_GRID if is_table else DEFAULT_GRID)
    hidden = {"hidden": TABLE_HIDDEN} if is_table else {}
    own = grid["hidden"][0] if "hidden" in grid else None
    config = _config(hidden | sections["config"], "epochs" in sections["sweep"], own)
    config = {name: value for name, value in config.items() if name not in grid}
    return Spec(data, config, grid, _sweep(sections["sweep"]))


def read(path: str) -> dict[str, dict[str, Any]]:
    """Returns the sections of a TOML file, their keys checked.

    Raises:
        OSError: the file cannot be read.
        TypeError: a value where a section must be.
        ValueError: it is no TOML, or has a section or key that is not known; suggests the nearest.
    """
    try:
        found = tomllib.loads(Path(path).read_bytes().decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        reason = shortened(str(error))
        raise ValueError(f"{path}: must be a TOML file, and could not be read as one ({reason})") from None
    except (ValueError, RecursionError):  # Python's limits: digits of an int, calls in one another
        raise ValueError(
            f"{path}: must be a TOML file without numbers of thousands of digits or lists nested as deep"
        ) from None
    everything = tuple(dict.fromkeys(name for names in SECTIONS.values() for name in names))
    for section, keys in found.items():
        if section not in SECTIONS and section in everything:
            raise ValueError(f"{path}: {section} must stand in a section, [{_section(section)}]")
        check_known(f"{path}: section", section, tuple(SECTIONS))
        if not isinstance(keys, dict):
            raise TypeError(f"{path}: {section} must be a section, [{section}], got {shown(keys)}")
        for key in keys:
            if key in everything and key not in SECTIONS[section]:
                raise ValueError(f"{path}: {key} belongs in [{_section(key)}], got it in [{section}]")
            check_known(f"{path}: key of [{section}]", key, SECTIONS[section], ELSEWHERE)
            _check_value(f"{path}: {key}", keys[key], MAX_NESTED)
    return {name: found.get(name, {}) for name in SECTIONS}


def _check_value(name: str, value: Any, levels: int) -> None:
    """Raises ValueError for what no key has, and what could not be written as TOML again."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} must have whole numbers of 64 bits, as TOML has, got {shown(value)}")
    if isinstance(value, list | dict):
        if levels == 0:
            raise ValueError(f"{name} must not be nested more than {MAX_NESTED} deep")
        for entry in value.values() if isinstance(value, dict) else value:
            _check_value(name, entry, levels - 1)


def as_toml(spec: Spec) -> str:
    """Returns the TOML that asks for this sweep again."""
    import tomli_w

    grid = {name: values[0] if _is_fixed(values) else values for name, values in spec.grid.items()}
    found: dict[str, dict[str, Any]] = spec._asdict() | {"grid": grid}
    ordered = {
        section: {name: _written(name, found[section][name]) for name in names if name in found[section]}
        for section, names in SECTIONS.items()
    }
    # Arrays on one line: a newline inside brackets is never part of a string here.
    text = re.sub(r"\[\n\s*", "[", tomli_w.dumps(ordered))
    return re.sub(r",\n\s+", ", ", re.sub(r",\n\s*\]", "]", text))


def _read(name: str, given: str | bool) -> Any:
    """Returns the value that a flag's text says, as TOML would have it."""
    if isinstance(given, bool):
        return given
    # What may be an axis is read as one, a field of Config too.
    return (values_of if name in SECTIONS["grid"] else FLAGS[name].read)(name, given)


def _section(name: str) -> str:
    """Returns the section of a key: of fields of Config that may be axes, [grid]."""
    order = ("grid", "data", "config", "sweep")
    return next(section for section in order if name in SECTIONS[section])


def _rivals(name: str) -> list[str]:
    return [other for pair in RIVALS if name in pair for other in pair if other != name]


def _data(given: dict[str, Any]) -> dict[str, Any]:
    data = {"data": DEFAULT, "task": "auto"} | given
    for name in ("data", "target", "task", "groups", "time", "weights", "separator", "decimal"):
        if not isinstance(data.get(name, ""), str):
            raise TypeError(f"{name} must be a text, got {shown(data[name])}")
    if not isinstance(data.get("test", ""), str | float):
        raise TypeError(f"test must be none, a fraction or a path, got {shown(data['test'])}")
    return {"standardize": standardizes(data["data"])} | data


def _config(given: dict[str, Any], in_epochs: bool, own: tuple[int, ...] | None) -> dict[str, Any]:
    given = dict(given)
    if isinstance(given.get("hidden"), str):
        layers = values_of("hidden", given["hidden"])
        if len(layers) > 1:
            raise ValueError(f"hidden must be one network in [config], got {shown(given['hidden'])}")
        given["hidden"] = layers[0]
    try:
        hidden, config = as_config(given, own)
    except ValueError as error:
        layers = given.get("hidden") if own is None else own
        # A comma is between networks, so that 8,8 is two of one layer.
        slash = "residual" in str(error) and isinstance(layers, tuple) and len(layers) == 1
        hint = f"; a slash separates layers: {layers[0]}/{layers[0]}" if layers and slash else ""
        raise ValueError(f"{error}{hint}") from None
    fields = {name: getattr(config, name) for name in CONFIG_FIELDS if name != "hidden"}
    if in_epochs:
        del fields["num_steps"]
    return {"hidden": hidden} | fields


def _grid(given: dict[str, Any], default: dict[str, Any]) -> dict[str, list[Any]]:
    axes = {n: values_of(n, v) if isinstance(v, str) else v for n, v in given.items()}
    named = resolve_axes(axes or default)
    others = {name: [value_of({}, name)] for name in NAMES if name not in CONFIG_AXES}
    everything = others | named
    # In one order, whatever the order of asking: so that configurations are numbered alike.
    return {name: everything[name] for name in NAMES if name in everything}


def _sweep(given: dict[str, Any]) -> dict[str, Any]:
    found = DEFAULTS | given
    if "folds" not in found and "validation" not in found:
        found["folds"] = DEFAULT_FOLDS
    for name in ("folds", "validation"):
        if found.get(name) == "none":
            del found[name]
    if isinstance(found.get("over"), str):
        found["over"] = [part.strip() for part in found["over"].split(",")]
    check_seeds(found["seeds"])
    check_fraction("stopping", found["stopping"])
    if not isinstance(found["store"], str) or not found["store"]:
        raise TypeError(f"store must be a path or none, got {shown(found['store'])}")
    if isinstance(found.get("baseline"), str):
        given = assignments_of(found["baseline"], "l2=0,keep_prob=1")
        found["baseline"] = {name: _plain(value) for name, value in given.items()}
    Questions(**{name: found[name] for name in QUESTIONS if name in found})  # raises what is wrong with one
    return found


def _is_fixed(values: list[Any]) -> bool:
    """Returns whether an axis can be written as a scalar: one value, and not one per layer."""
    return len(values) == 1 and not isinstance(values[0], tuple)


def _written(name: str, value: Any) -> Any:
    return "none" if value is None and name != "batch_size" else _plain(value)


def _plain(value: Any) -> Any:
    """Returns a value as TOML has it: tuples as lists, a full batch and no hidden layer as words."""
    if value is None:
        return "full"
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return list(value) if isinstance(value, tuple) and value else "none" if value == () else value
