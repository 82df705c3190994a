"""How many steps a task takes: about a second's worth, and more with many workers."""

from regjax.engine import pace
from regjax.study.groups import make_groups
from regjax.study.resolve import make_design


def pace_of():
    design = make_design("two_regions", {"num_steps": 10_000}, {"l2": [0, 1]}, folds=2)
    found = pace.Pace(make_groups(design), design.padded.x.shape[1], accelerated=False)
    for _ in range(20):  # the first guess is forgotten
        found.take(0, 100, 0.5, 0.0)
    return found


def test_a_task_takes_about_a_second():
    found = pace_of()
    assert abs(found.steps(0) - 200 * pace.TASK_SECONDS) <= 1
    assert abs(found.seconds(0, 200) - 1) < 1e-3


def test_tasks_are_longer_with_many_workers():
    found = pace_of()
    assert found.steps(0, 2) == found.steps(0, pace.MANY_WORKERS) == found.steps(0)
    assert abs(found.steps(0, 4 * pace.MANY_WORKERS) - 4 * found.steps(0)) <= 4
