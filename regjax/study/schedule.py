"""A schedule: hyperparameters that change at steps of a run; what population-based training finds.

`Population.schedule` makes it, `engine.population.train_schedule` trains along it; it is kept as JSON.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from regjax.core.checks import check_known, shown
from regjax.core.config import Config
from regjax.core.hparams import ABSENT
from regjax.study.configuration import Configuration, canonical
from regjax.study.groups import Group, Kernel
from regjax.study.words import describe


class Program(NamedTuple):
    """The compiled program and the chunk shape of a run, on which its last bits depend.

    Attributes:
        on: regularisers that are compiled in.
        slots: number of slots of a chunk.
        lanes: number of lanes of a slot.
        shared: whether the lanes of a slot share what is drawn.
        kernel: what trained it.
    """

    on: tuple[str, ...] = ()
    slots: int = 1
    lanes: int = 1
    shared: bool = False
    kernel: Kernel = "auto"

    def shape(self, group: Group) -> Group:
        """Returns a group in chunks of this shape."""
        return group._replace(slots=self.slots, lanes=self.lanes, shared=self.shared, kernel=self.kernel)


class Schedule(NamedTuple):
    """Hyperparameters that change at steps of a run; `str(schedule)` has a line for each change.

    Attributes:
        changes: (step, configuration that holds from there), ascending; the first is at step 0.
        program: how the network was computed that it is the schedule of.

    Example:
        >>> schedule = Schedule(((0, {"l2": 0.1}), (200, {"l2": 0.08})))
        >>> print(schedule)
        from step 0: l2=0.1
        from step 200: l2=0.08
        >>> Schedule.from_json(schedule.to_json()) == schedule
        True
    """

    changes: tuple[tuple[int, Configuration], ...]
    program: Program = Program()

    def __str__(self) -> str:
        return "\n".join(f"from step {step:,}: {describe(found, digits=4)}" for step, found in self.changes)

    def at(self, step: int) -> Configuration:
        """Returns the configuration that holds at a step."""
        return next(found for begin, found in reversed(self.changes) if begin <= step)

    def to_json(self) -> str:
        """Returns the schedule as JSON, from which `from_json` reads it, to the bit."""
        return json.dumps(as_plain(self))

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Returns the schedule that `to_json` wrote.

        Raises:
            ValueError: the text is no schedule.
        """
        try:
            found = json.loads(text)
            changes = tuple(
                (int(change["step"]), _spelled(change["configuration"])) for change in found["changes"]
            )
            program = Program(**found["program"] | {"on": tuple(found["program"]["on"])})
            for name in program.on:
                check_known("on", name, ABSENT)
            return cls(changes, program)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"text must be the JSON of a schedule, got {shown(text)}: {error}") from None


def as_plain(schedule: Schedule) -> dict[str, Any]:
    """Returns a schedule as what JSON holds."""
    changes = [{"step": step, "configuration": found} for step, found in schedule.changes]
    return {"changes": changes, "program": schedule.program._asdict()}


def _spelled(configuration: dict[str, Any]) -> Configuration:
    return {name: canonical(name, value) for name, value in configuration.items()}


def check_schedule(schedule: Schedule, config: Config) -> Schedule:
    """Returns a schedule whose changes are at records of a run.

    Raises:
        TypeError: it is no `Schedule`.
        ValueError: it does not begin at step 0, or a change is at no record before the last step.
    """
    if not isinstance(schedule, Schedule):
        raise TypeError(f"schedule must be a regjax.Schedule, got {type(schedule).__name__}")
    steps = [step for step, _ in schedule.changes]
    every, last = config.eval_every, config.num_steps
    fits = all(step % every == 0 and step < last for step in steps)
    if steps[:1] != [0] or steps != sorted(set(steps)) or not fits:
        raise ValueError(
            f"schedule must change at 0 and then at ascending multiples of eval_every, {every}, below "
            f"num_steps, {last}, got {shown(steps)}"
        )
    return schedule
