"""Which columns matter to the chosen configuration, for the page: `html` calls `importance_of`."""

from __future__ import annotations

from regjax.core.checks import counted
from regjax.study.choice import Choice
from regjax.study.importance import Importance
from regjax.study.records import num_params
from regjax.study.results import Results

# Permutations of each column, and the multiplications that all of them may take: a few seconds of two cores.
REPEATS, WORK = 5, 2e10
# Of fewer held-out samples a mean says too little.
FEWEST_SAMPLES = 50


def importance_of(results: Results, choice: Choice) -> Importance | str:
    """Returns the importance of the columns for the chosen configuration, or why there is none.

    Where all held-out samples would take too long a random part of them is used, and a note says so.
    """
    design = results.design
    networks = sum(design.row(row).configuration == choice.index for row in results.kept)
    per_sample = REPEATS * networks * len(design.column_inputs) * num_params(design.configs[choice.index])
    most = int(WORK / max(1, per_sample))
    if most < FEWEST_SAMPLES:
        count = counted(len(design.column_inputs), "column")
        return f"{count} and {counted(networks, 'network')} are too many for a page: see Results.importance"
    try:
        return results.importance(
            configuration=choice.index,
            metric=choice.metric,
            repeats=REPEATS,
            max_samples=None if most >= design.splits.num_val.max() else most,
        )
    except ValueError as error:
        return str(error)
