"""Where the values of a hyperparameter stand on an axis; `along`, `cells` and `weights` call it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import MaxNLocator

from regjax.core.hparams import OFF_VALUES
from regjax.plot.canvas import DIGITS, NAMED
from regjax.study.words import as_text, in_order

# A range of values wider than this factor is drawn on a logarithmic axis.
WIDE = 20
# Most ticks of words, and of powers of ten.
MOST_WORDS, MOST_POWERS = 12, 7


class Scale(NamedTuple):
    """Where the values of a hyperparameter stand on an axis.

    Attributes:
        label: the label of the axis.
        places: value -> its place on the axis.
        ticks: the places that have a tick.
        names: the text of each tick.
        cut: the place between the value "off" and a logarithmic range beside it, or None.
    """

    label: str
    places: dict[Any, float]
    ticks: list[float]
    names: list[str]
    cut: float | None

    @property
    def span(self) -> float:
        """Distance from the first place to the last, or 1 where there is one place."""
        return float(np.ptp(list(self.places.values()))) or 1.0

    def put_on(self, axis: XAxis | YAxis) -> None:
        """Gives an axis its range, ticks and label, and draws a dotted line at the cut."""
        first, last = min(self.places.values()), max(self.places.values())
        axis.set_ticks(self.ticks, self.names)
        axis.axes.set(**{f"{axis.axis_name}lim": (first - 0.06 * self.span, last + 0.06 * self.span)})
        axis.set_label_text(self.label)
        if self.cut is not None:
            draw = axis.axes.axvline if axis.axis_name == "x" else axis.axes.axhline
            draw(self.cut, color="#999999", linestyle=":", linewidth=1, zorder=0)


def scale_of(name: str, values: Iterable[Any]) -> Scale:
    """Returns the scale of a hyperparameter: logarithmic where its values span more than a factor of 20.

    The value "off" (0, or ∞) stands beside a logarithmic range, cut off from it. Words and values per layer
    stand at equal distances.

    Args:
        name: the name of the hyperparameter.
        values: the values that it takes, in any order, also repeated.

    >>> scale = scale_of("l2", [1.0, 0.0, 0.01, 0.1])
    >>> scale.places
    {0.0: -3.0, 0.01: -2.0, 0.1: -1.0, 1.0: 0.0}
    >>> scale.names, scale.cut
    (['0\\n(off)', '0.01', '0.1', '1'], -2.5)
    """
    found = in_order(values)
    if not all(isinstance(value, int | float) for value in found):
        every = -(-len(found) // MOST_WORDS)
        texts = [as_text(value, DIGITS) for value in found]
        places = {value: float(place) for place, value in enumerate(found)}
        return Scale(name, places, list(map(float, range(len(found))))[::every], texts[::every], None)
    numbers = np.array(found, float)
    inside = numbers[(numbers > 0) & np.isfinite(numbers)]
    logarithmic = len(inside) > 1 and np.log(inside[-1]) - np.log(inside[0]) > np.log(WIDE)
    with np.errstate(divide="ignore"):
        at = np.log10(numbers) if logarithmic else numbers.copy()
    usual = at[np.isfinite(at)]
    low, high = (usual[0], usual[-1]) if len(usual) else (0.0, 0.0)
    # 0 and ∞ have no place on a logarithmic axis: "off" stands beyond the end, by one usual step, but at
    # least by a tenth of the range.
    step = max(float(np.median(np.diff(usual))), 0.1 * (high - low)) if len(usual) > 1 else 1.0
    at = np.where(at == -np.inf, low - step, np.where(at == np.inf, high + step, at))
    places = dict(zip(found, at.tolist(), strict=True))
    cut = None
    if len(usual) not in (0, len(at)):
        cut = float(low - step / 2 if at[0] < low else high + step / 2)
    ticks = _spaced(_ticks(places, low, high, logarithmic), 0.05 * float(np.ptp(at)))
    off = OFF_VALUES.get(name)
    names = [
        "off" if v == off == np.inf else f"{as_text(float(v), DIGITS)}" + ("\n(off)" if v == off else "")
        for v, _ in ticks
    ]
    label = f"{name} (log scale)" if logarithmic else name
    return Scale(label, places, [place for _, place in ticks], names, cut)


def _ticks(places: dict[Any, float], low: float, high: float, logarithmic: bool) -> list[tuple[Any, float]]:
    """Returns (value, place) of the ticks: of every value where they are few, else of round numbers."""
    if len(places) <= NAMED:
        return list(places.items())
    if logarithmic:
        powers = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
        powers = powers[:: -(-len(powers) // MOST_POWERS)] if len(powers) > 1 else np.array([low, high])
        named = [(10.0**power, float(power)) for power in powers]
    else:
        found = MaxNLocator(6).tick_values(low, high)
        named = [(float(tick), float(tick)) for tick in found if low <= tick <= high]
    return named + [(value, place) for value, place in places.items() if not low <= place <= high]


def _spaced(ticks: list[tuple[Any, float]], least: float) -> list[tuple[Any, float]]:
    """Returns the ticks in order, without those that stand nearer than `least` to the one before."""
    kept: list[tuple[Any, float]] = []
    for value, place in sorted(ticks, key=lambda entry: entry[1]):
        if not kept or place - kept[-1][1] >= least:
            kept.append((value, place))
    return kept
