"""How many steps a task of each group takes: short enough to be answered soon, long enough to be worth it.

`engine/scheduler.py` hands in the seconds of each task that is done, and asks for the steps of the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from regjax.study.groups import Group
from regjax.study.records import num_params

# Seconds that a task should take: short, so that Ctrl-C is answered and freed lanes are filled soon; long
# enough that copying states between host and device costs nothing beside it.
TASK_SECONDS = 1.0
# The same for rows that may stop early: their lanes become free more often.
STOPPING_SECONDS = 0.1
# Workers of a cluster up to which the host answers them all once in TASK_SECONDS: it takes several
# milliseconds for each task. With more of them each task is longer.
MANY_WORKERS = 32
# A task's steps should take so many times as long as moving its inputs, but no longer than TASK_SECONDS.
LEAST_SHARE = 5
# For the first guess of a step's seconds: operations per second of a chunk, and seconds of overhead. On an
# accelerator it only bounds the first task of a group and weighs the progress of groups.
CPU_GUESS, NATIVE_GUESS, ACCELERATOR_GUESS = (1e10, 2e-6), (5e10, 1e-6), (1e12, 1e-4)
# Steps of the first task of a group on an accelerator, which measures how long a step takes. Until a task has
# LONGER times as many steps as any before, the seconds of a step are mostly what a task costs at all.
FIRST_STEPS, LONGER = 100, 4


class Pace:
    """The seconds of a step of each group.

    Args:
        groups: groups of the plan.
        num_samples: number of padded samples.
        accelerated: whether the devices are accelerators.

    Attributes:
        step_seconds: seconds of one step of a chunk, for each group: a guess until its first task is done.
        stacking: seconds in which the inputs of the task made last were stacked.
    """

    def __init__(self, groups: Sequence[Group], num_samples: int, *, accelerated: bool) -> None:
        self.groups, self.accelerated = groups, accelerated
        self.step_seconds = [self._guess(group, num_samples) for group in groups]
        self.stacking = 0.0
        # Seconds that a task takes whatever its steps: inputs are stacked and go to the device.
        self._moving = [0.0] * len(groups)
        # Steps of the longest task of each group so far.
        self._longest = [0] * len(groups)

    def task_seconds(self, index: int) -> float:
        """Returns the seconds that a task of a group should take."""
        return min(TASK_SECONDS, STOPPING_SECONDS) if self.groups[index].stops_early else TASK_SECONDS

    def seconds(self, index: int, steps: int, part: float = 1.0) -> float:
        """Returns about how many seconds a part of a chunk of a group takes for so many steps."""
        return steps * self.step_seconds[index] * part

    def steps(self, index: int, workers: int = 1, part: float = 1.0) -> int:
        """Returns the steps that the next task of a group should take, at least 1.

        Args:
            index: number of the group.
            workers: number of workers of a cluster.
            part: the part of a chunk that holds rows, where the others are not trained.
        """
        # Large inputs that are moved for few steps would take more time than the steps.
        least = min(TASK_SECONDS, LEAST_SHARE * self._moving[index])
        wanted = max(self.task_seconds(index), least, TASK_SECONDS * workers / MANY_WORKERS)
        steps = max(1, int(wanted / self.seconds(index, 1, part)))
        return min(steps, FIRST_STEPS) if self.accelerated and not self._longest[index] else steps

    def take(self, index: int, steps: int, seconds: float, moving: float) -> None:
        """Takes in a task of a group.

        Args:
            index: number of the group.
            steps: its steps.
            seconds: seconds of a worker for a whole chunk, without `moving`.
            moving: seconds in which data went to the device.
        """
        self._moving[index] += 0.5 * (moving + self.stacking - self._moving[index])
        # By half of the difference: one slow task must not make the next ones much too short.
        share = 1.0 if self.accelerated and steps >= LONGER * self._longest[index] else 0.5
        self.step_seconds[index] += share * (seconds / steps - self.step_seconds[index])
        self._longest[index] = max(steps, self._longest[index])

    def fraction(
        self,
        groups: Sequence[Group],
        lasts: Sequence[int],
        steps: np.ndarray,
        finished: np.ndarray,
        wanted: np.ndarray,
    ) -> float:
        """Returns the fraction of the work that is done, the steps of a group weighted by their seconds.

        Args:
            groups: the groups as they are now, with smaller chunks where memory was short.
            lasts: the step at which rows of each group end or wait.
            steps: number of steps of each row, `(configurations, replicates)`.
            finished: which rows are finished, of the same shape.
            wanted: which rows are to be trained, of the same shape.
        """
        done = total = 0.0
        for cost, group, last in zip(self.step_seconds, groups, lasts, strict=True):
            members = list(group.configurations)
            so_far = np.where(finished[members], last, np.minimum(steps[members], last))
            done += cost / group.chunk * float(so_far[wanted[members]].sum())
            total += cost / group.chunk * last * int(wanted[members].sum())
        return done / total if total else 1.0

    def _guess(self, group: Group, num_samples: int) -> float:
        """Returns a guess of the seconds of a chunk's step, too long rather than too short."""
        size = group.config.batch_size or num_samples
        rate, overhead = ACCELERATOR_GUESS if self.accelerated else CPU_GUESS
        if group.kernel == "native":
            rate, overhead = NATIVE_GUESS
        return (
            group.chunk
            * (6 * num_params(group.config if group.kernel == "native" else group.program) * size / rate)
            + overhead
        )
