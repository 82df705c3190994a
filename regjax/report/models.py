"""The figures, controls and tables of the report's page, as models of Bokeh; report.js fills them.

`html` calls `document_of`. No text of a user becomes the name of an axis, a title or HTML: names of classes
are labels, and all other texts are of this package.
"""

# pyright: reportArgumentType=false
# Bokeh's stubs allow fewer arguments of its models than its documentation.

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh import models
from bokeh.document import Document
from bokeh.plotting import figure

from regjax.core.metrics import without_split
from regjax.plot.backend import matplotlib
from regjax.plot.palette import BLUE, CHOSEN, GREEN, NOTHING, THEMES, VERDICTS, VERMILION, class_look
from regjax.report.arrays import points_of
from regjax.report.networks import BARS, labels_of
from regjax.report.sparks import HEIGHT, WIDTH
from regjax.report.themes import CONTROLS, DAY, FIGURES, ROLES, painted
from regjax.report.words import MOST_COLUMNS, SCRIPT, baseline_in_words
from regjax.study.comparison import Comparison
from regjax.study.design import Design
from regjax.study.importance import Importance
from regjax.study.words import SPLITS

GREY = DAY["grey"]
# Most configurations of the forest: the best and the worst half of so many.
MOST_SHOWN = 24
# Most classes whose counts are written into the confusion matrix, and most that each have a tick.
MOST_WRITTEN, MOST_TICKS = 12, 20
# Strength of a plane's colour where nothing is known, and what is added where a class is certain.
PAINT = (0.2, 0.6)
# Colours of metrics of which less is better, and of those of which more is.
PALETTES = tuple(
    [matplotlib.colors.to_hex(c) for c in matplotlib.colormaps[name](np.linspace(0, 1, 256))]
    for name in ("viridis_r", "viridis")
)

# A curve of the table; the numbers beside it say the same to who hears the page.
SPARK = (
    f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">'
    '<path d="<%= value %>"/></svg>'
)

SMALL: dict[str, Any] = {"height": 300, "tools": "pan,box_zoom,reset,save"}


class Part(NamedTuple):
    """A part of the page: the models that the frame places, and those that the script reads, by name."""

    shown: dict[str, Any]
    joined: dict[str, Any]


def document_of(
    data: dict[str, Any],
    design: Design,
    comparison: Comparison | None,
    importance: Importance | str | None,
    every: int | None,
) -> Document:
    """Returns the models of the page, its arrays, and the script that joins them.

    Args:
        data: the result of `arrays.arrays_of`.
        design: the design of the sweep.
        comparison: the comparison to the first baseline, or None.
        importance: which columns matter, or None or a text where that is not known.
        every: seconds after which the page loads itself again, or None.
    """
    num_classes = 2 if data["real"] else len(labels_of(design))
    page = data | {
        "words": SCRIPT,
        "baseline": baseline_in_words(comparison),
        "every": every or 0,
        "most_shown": MOST_SHOWN,
        "themes": THEMES,
        # Each verdict's role of a colour, and its marker.
        "verdicts": {verdict: [ROLES[look.colour], look.shape] for verdict, look in VERDICTS.items()},
        # A line of some letters each: long labels would leave no room for the intervals.
        "folded": [re.sub(r"(.{22,}?), ", r"\1,\n", name) for name in data["names"]],
        "palettes": PALETTES,
        "paint": PAINT,
        "colours": [_bytes_of(class_look(k).colour) for k in range(num_classes)],
    }
    detail = _plane(data, design) if data["networks"] else _predictions(data, design)
    parts = [draw(data) for draw in (_maps, _gap, _choices, _forest, _curves, _weights, _table)]
    parts += [_dots(data, design), _numbers(), detail]
    if isinstance(importance, Importance):
        parts.append(_importance(importance, design))
    document = Document()
    # Of the last two the page has one; the script needs both names.
    joined = {"page": page, "plane_source": None, "prediction_source": None}
    for part in parts:
        joined |= part.joined
        for name, model in part.shown.items():
            model.name = name
            if isinstance(model, models.Widget):
                model.stylesheets = [CONTROLS]
            document.add_root(model)
    document.theme = FIGURES
    joined["painted"] = painted(document)
    code = importlib.resources.files("regjax.report").joinpath("report.js").read_text("utf-8")
    document.js_on_event("document_ready", models.CustomJS(args=joined, code=code, module=False))
    return document


def _bytes_of(colour: str) -> list[int]:
    """Returns red, green and blue of "#RRGGBB", 0 … 255."""
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


def _figure(title: str, **options: Any) -> Any:
    """Returns a figure as wide as its place, without tools unless they are given."""
    found = figure(title=title, **{"sizing_mode": "stretch_width", "height": 400, "tools": ""} | options)
    found.toolbar.logo = None
    found.toolbar_location = "above" if options.get("tools") else None
    return found


def _source(*columns: str) -> models.ColumnDataSource:
    """Returns empty columns, which report.js fills."""
    return models.ColumnDataSource({name: [] for name in columns})


def _clickable(plot: Any, drawn: Any, *more: tuple[str, str]) -> None:
    """Gives glyphs a tooltip, and lets a click on one choose its configuration."""
    drawn.nonselection_glyph = drawn.selection_glyph = drawn.glyph  # a click changes no look
    plot.add_tools(models.TapTool(renderers=[drawn]))
    plot.add_tools(models.HoverTool(renderers=[drawn], tooltips=[("", "@name"), *more]))


def _by_category(*axes: Any) -> None:
    """Takes the ticks of axes away: report.js sets them to the levels of a hyperparameter."""
    for axis in axes:
        axis.ticker = models.FixedTicker(ticks=[])


def _name_ticks(axis: Any, names: Sequence[str], places: Iterable[int]) -> None:
    """Gives an axis ticks at these places, with the names of classes or columns as the text they are."""
    short = [name if len(name) <= 40 else f"{name[:19]}…{name[-20:]}" for name in names]
    axis.ticker = models.FixedTicker(ticks=[int(place) for place in places])
    # Plain text: Bokeh would typeset a label between dollars as mathematics.
    axis.major_label_overrides = {i: models.PlainText(text=name) for i, name in enumerate(short)}


def _zero_line(plot: Any, dimension: str) -> None:
    """Draws a dashed line at 0, across the "width" or along the "height" of a figure."""
    plot.add_layout(models.Span(location=0, dimension=dimension, line_color=GREY, line_dash="dashed"))


def _legend_below(plot: Any) -> None:
    plot.add_layout(plot.legend[0], "below")
    plot.legend.orientation = "horizontal"


def _maps(data: dict[str, Any]) -> Part:
    """Returns the heatmap."""
    colours = models.LinearColorMapper(palette=list(PALETTES[1]), low=0, high=1, nan_color=NOTHING)
    cells = _source("x", "y", "value", "c", "name", "lost", "here", "star", "text", "near", "noise", "up")
    heat = _figure("", x_range=models.Range1d(0, 1), y_range=models.Range1d(0, 1))
    shade: Any = {"field": "value", "transform": colours}
    drawn = heat.rect("x", "y", 1, 1, source=cells, fill_color=shade, line_color="white")
    # What was not shown to differ from the baseline is dotted, as noise.
    dotted: dict[str, Any] = {"fill_alpha": 0, "line_alpha": 0, "hatch_pattern": ".", "hatch_scale": 7}
    heat.rect("x", "y", 1, 1, source=cells, hatch_color="white", hatch_alpha="noise", **dotted)
    cross: dict[str, Any] = {"marker": "x", "size": 11, "line_color": CHOSEN, "line_width": 2.5}
    heat.scatter("x", "y", source=cells, line_alpha="lost", **cross)
    star: dict[str, Any] = {"marker": "star", "size": 20, "fill_color": "white", "line_color": "black"}
    heat.scatter("x", "y", source=cells, fill_alpha="star", line_alpha="star", **star)
    text: dict[str, Any] = {"text_align": "center", "text_baseline": "middle", "text_font_size": "11px"}
    paper: dict[str, Any] = {"background_fill_color": "white", "background_fill_alpha": 0.65, "padding": 0}
    heat.text("x", "y", "text", source=cells, y_offset=16, **text, **paper)
    heat.text("x", "y", "near", source=cells, y_offset="up", text_font_style="bold", **text, **paper)
    frame: dict[str, Any] = {"fill_alpha": 0, "line_color": CHOSEN, "line_width": 3.5}
    heat.rect("x", "y", 1, 1, source=cells, line_alpha="here", **frame)
    heat.add_layout(models.ColorBar(color_mapper=colours, width=10), "right")
    heat.xaxis.major_label_orientation = 0.7
    heat.grid.visible = False
    _clickable(heat, drawn, ("mean", "@value{0.0000}"))
    _by_category(heat.xaxis[0], heat.yaxis[0])
    return Part({"heat": heat}, {"heat": heat, "cell_source": cells, "colours": colours})


def _gap(data: dict[str, Any]) -> Part:
    """Returns the gap between training and validation samples along an axis."""
    source = _source("x", "c", "name", "mean", "low", "high")
    gap = _figure("", x_range=models.Range1d(0, 1))
    _zero_line(gap, "width")
    gap.segment("x", "low", "x", "high", source=source, line_width=2.5, line_color=BLUE)
    drawn = gap.scatter("x", "mean", source=source, size=10, color=BLUE)
    _clickable(gap, drawn, ("gap", "@mean{0.0000}"))
    gap.xaxis.major_label_orientation = 0.7
    gap.yaxis.axis_label = f"gap in {data['units'][without_split(data['metric'])]}"
    _by_category(gap.xaxis[0])
    return Part({"gap": gap}, {"gap": gap, "gap_source": source})


def _choices(data: dict[str, Any]) -> Part:
    """Returns the select boxes for samples, metric, axes and the configuration that is shown."""
    axes, metric = data["axes"], data["metric"]
    splits = [(name, SPLITS[name]) for name in SPLITS if f"{name}_loss" in data["scores"]]
    names = list(dict.fromkeys(without_split(name) for name in data["scores"]))
    split = models.Select(title="samples", value=metric.split("_")[0], options=splits, width=96)
    of = models.Select(title="metric", value=without_split(metric), options=names, width=106)
    places = [(str(k), axis["name"]) for k, axis in enumerate(axes)]
    longest, *others = sorted(places, key=lambda place: -len(axes[int(place[0])]["texts"]))
    across = models.Select(title="across", value=longest[0], options=places, width=96)
    down = models.Select(title="down", options=places, width=96)
    if others:
        down.value = others[0][0]
    else:
        down.update(value="-1", options=[("-1", "–")], visible=False)
    first = next((place for place, name in places if name == "l2"), "0")
    along = models.Select(title="along", value=first, options=places, width=130)
    levels = [[(str(k), text) for k, text in enumerate(axis["texts"])] for axis in axes]
    pickers = [
        models.Select(title=axis["name"], options=options, width=130)
        for axis, options in zip(axes, levels, strict=True)
    ]
    choices = {"split": split, "metric": of, "across": across, "down": down, "along": along}
    shown = choices | {f"picker{k}": picker for k, picker in enumerate(pickers)}
    return Part(shown, choices | {"pickers": pickers})


def _forest(data: dict[str, Any]) -> Part:
    """Returns the paired differences with their intervals."""
    source = _source("y", "c", "name", "colour", "marker", "size", *data["first"])
    plot = _figure("", y_range=models.Range1d(0, 1))
    _zero_line(plot, "height")
    for low, high, width in (("family_low", "family_high", 1.2), ("low", "high", 4.0)):
        plot.segment(low, "y", high, "y", source=source, line_color="colour", line_width=width)
    drawn = plot.scatter(
        "difference", "y", source=source, marker="marker", size="size", color="colour", line_color="white"
    )
    _clickable(plot, drawn, ("difference", "@difference{+0.0000}"), ("", "@verdict"))
    _by_category(plot.yaxis[0])
    return Part({"forest": plot}, {"forest": plot, "forest_source": source})


def _curves(data: dict[str, Any]) -> Part:
    """Returns the figures of loss and metric against the step, each with all splits."""
    means = data["curves"]["means"]
    source, shown = _source("step", *means), {}
    for key, name in (("loss", "loss"), ("curve", data["curve"])):
        look = SMALL | ({"y_axis_type": "log"} if name == "loss" else {})
        title = f"{name}: mean over seeds and folds" + (", not below −1" if name == "r2" else "")
        plot = _figure(title, x_axis_label="step", y_axis_label=data["units"][name], **look)
        styles = zip(SPLITS.items(), (BLUE, VERMILION, GREEN), ("solid", "dashed", "dotted"), strict=True)
        for (split, words), colour, dash in styles:
            if f"{split}_{name}" in means:
                look = {"color": colour, "line_dash": dash, "line_width": 2, "legend_label": words}
                plot.line("step", f"{split}_{name}", source=source, **look)
        _legend_below(plot)
        shown[key] = plot
    return Part(shown, {"curve_source": source})


def _dots(data: dict[str, Any], design: Design) -> Part:
    """Returns every network of the shown configuration and of its baseline as a dot."""
    spots, x = data["dots"], data["dots"]["x"]
    who = ("shown", "its baseline")
    source = models.ColumnDataSource(
        {
            "x": np.concatenate([x - 0.12, x + 0.12]),
            "who": [name for name in who for _ in x],
            "value": np.full(2 * spots["count"], np.nan),
        }
    )
    unit = "fold" if design.splits.kind == "folds" else "seed"
    every = spots["seeds"] == len(design.seeds)
    title = "every network" if every else f"networks of {spots['seeds']} of {len(design.seeds)} seeds"
    span = (float(x.min()) - 0.5, float(x.max()) + 0.5)
    dots = _figure(title, x_axis_label=unit, x_range=span, **SMALL)
    for name, colour, marker in zip(who, (CHOSEN, GREY), ("circle", "square"), strict=True):
        view = models.CDSView(filter=models.GroupFilter(column_name="who", group=name))
        look: dict[str, Any] = {"color": colour, "marker": marker, "size": 8, "alpha": 0.7}
        dots.scatter("x", "value", source=source, view=view, legend_label=name, **look)
    _legend_below(dots)
    places = np.unique(x)
    dots.xaxis.ticker = models.FixedTicker(ticks=places[:: -(-len(places) // 12)].tolist())
    return Part({"dots": dots}, {"dot_figure": dots, "dot_source": source})


def _weights(data: dict[str, Any]) -> Part:
    """Returns the histogram of the weights of the shown configuration."""
    edge = data["bars"]["edge"]
    ends = np.linspace(-edge, edge, BARS + 1)
    source = models.ColumnDataSource({"left": ends[:-1], "right": ends[1:], "top": np.zeros(BARS)})
    bars = _figure("weights of its networks", x_axis_label="weight", y_axis_label="share of weights", **SMALL)
    bars.quad("left", "right", "top", 0, source=source, fill_color=BLUE, line_color="white")
    bars.y_range.start = 0
    return Part({"bars": bars}, {"bar_source": source})


def _numbers() -> Part:
    """Returns the table of the shown configuration's numbers."""
    source = _source("name", "value")
    titles = {"name": "its numbers", "value": ""}
    columns = [models.TableColumn(field=field, title=title) for field, title in titles.items()]
    look: dict[str, Any] = {"sizing_mode": "stretch_width", "index_position": None, "selectable": False}
    table = models.DataTable(source=source, columns=columns, height=300, **look)
    return Part({"numbers": table}, {"numbers_source": source})


def _plane(data: dict[str, Any], design: Design) -> Part:
    """Returns the figure of two features: what a network predicts at each point, and the samples."""
    x0, x1, y0, y1 = data["plane"]
    box = {"x": [x0], "y": [y0], "dw": [x1 - x0], "dh": [y1 - y0]}
    image = models.ColumnDataSource({"image": [np.zeros((2, 2), np.uint32)], **box})
    x, y = design.input_names
    plot = _figure("its first network, and the samples", x_axis_label=x, y_axis_label=y,
                   x_range=(x0, x1), y_range=(y0, y1), **SMALL)  # fmt: skip
    plot.image_rgba("image", "x", "y", "dw", "dh", source=image)
    points = points_of(design)
    style: dict[str, Any] = {"line_color": "white", "line_width": 0.5, "size": 6}
    joined = {"plane_source": image, "detail": plot}
    if data["real"]:
        low, high = data["real"]
        colours = models.LinearColorMapper(palette=_blend(), low=low, high=high)
        colour: Any = {"field": "y", "transform": colours}
        source = models.ColumnDataSource(points)
        plot.scatter("x1", "x2", source=source, fill_color=colour, **style | {"line_color": "black"})
        plot.add_layout(models.ColorBar(color_mapper=colours, width=10), "right")
        return Part({"detail": plot}, joined)
    items = []
    for k, label in enumerate(labels_of(design)):
        mine = points["y"] == k
        source = models.ColumnDataSource({name: points[name][mine] for name in ("x1", "x2")})
        look = class_look(k)
        drawn = plot.scatter("x1", "x2", source=source, marker=look.shape, fill_color=look.colour, **style)
        items.append(models.LegendItem(label={"value": label}, renderers=[drawn]))
    plot.add_layout(models.Legend(items=items, orientation="horizontal"), "below")
    return Part({"detail": plot}, joined)


def _blend() -> list[str]:
    """Returns the colours from the lowest to the highest target, those of report.js's plane."""
    t = np.linspace(0, 1, 256)[:, None]
    ends = np.array([matplotlib.colors.to_rgb(class_look(k).colour) for k in (0, 1)])
    paint = PAINT[0] + PAINT[1] * np.abs(2 * t - 1)
    return [matplotlib.colors.to_hex(c) for c in 1 - (1 - np.where(t < 0.5, ends[0], ends[1])) * paint]


def _predictions(data: dict[str, Any], design: Design) -> Part:
    """Returns the confusion matrix, or the residuals, of held-out samples."""
    columns = data["predictions"]["columns"]
    if data["real"]:
        source = _source(*columns)
        names = {"x_axis_label": "predicted", "y_axis_label": "target − predicted"}
        plot = _figure("residuals of held-out samples", **names, **SMALL)
        _zero_line(plot, "width")
        plot.scatter("predicted", "residual", source=source, color=BLUE, alpha=0.6, size=6)
    else:
        source, plot = _confusion(list(columns), labels_of(design))
    return Part({"detail": plot}, {"prediction_source": source, "detail": plot})


def _confusion(columns: list[str], labels: list[str]) -> tuple[models.ColumnDataSource, Any]:
    """Returns the confusion matrix: its columns and its figure."""
    k = len(labels)
    place = np.arange(k * k)
    source = models.ColumnDataSource(
        {"x": place % k, "y": place // k, **{name: np.zeros(k * k) for name in columns}}
    )
    ranges = {"x_range": (-0.5, k - 0.5), "y_range": (k - 0.5, -0.5)}  # the first class on top
    names = {"x_axis_label": "predicted class", "y_axis_label": "true class"}
    plot = _figure("held-out samples by class", **names, **ranges, **SMALL | {"tools": ""})
    colours = models.LinearColorMapper(palette=list(PALETTES[0]), low=0, high=1)
    shade: Any = {"field": "share", "transform": colours}
    drawn = plot.rect("x", "y", 1, 1, source=source, fill_color=shade, line_color="white")
    tooltips = [("samples", "@samples"), ("of the class", "@share{0.0%}")]
    plot.add_tools(models.HoverTool(renderers=[drawn], tooltips=tooltips))
    plot.xaxis.major_label_orientation = 0.5
    for axis in (plot.xaxis[0], plot.yaxis[0]):
        _name_ticks(axis, labels, range(0, k, -(-k // MOST_TICKS)))
    if k <= MOST_WRITTEN:
        ink = models.LinearColorMapper(palette=["#000000", "#FFFFFF"], low=0, high=1)
        look: dict[str, Any] = {"text_align": "center", "text_baseline": "middle", "text_font_size": "11px"}
        text: Any = {"field": "share", "transform": ink}
        plot.text("x", "y", "samples", source=source, text_color=text, **look)
    return source, plot


def _importance(importance: Importance, design: Design) -> Part:
    """Returns how much worse the chosen configuration predicts without each column, the best on top."""
    table = importance.table.head(MOST_COLUMNS)
    places = np.arange(len(table))
    source = models.ColumnDataSource({name: table[name].to_numpy() for name in table} | {"y": places})
    span, look = (len(table) - 0.4, -0.6), {"height": 90 + 22 * len(table), "tools": "save"}
    plot = _figure("", y_range=span, **look)
    _zero_line(plot, "height")
    for low, high, width in (("family_low", "family_high", 1.2), ("low", "high", 4.0)):
        plot.segment(low, "y", high, "y", source=source, line_color=BLUE, line_width=width)
    drawn = plot.scatter("importance", "y", source=source, size=9, color=BLUE, line_color="white")
    tooltips = [("", "@column"), ("importance", "@importance{+0.0000}")]
    plot.add_tools(models.HoverTool(renderers=[drawn], tooltips=tooltips))
    plot.xaxis.axis_label = f"how much worse {design.in_units(importance.metric)} gets"
    _name_ticks(plot.yaxis[0], table["column"], places)
    return Part({"importance": plot}, {})


def _table(data: dict[str, Any]) -> Part:
    """Returns the table of all configurations, and what filters and sorts it."""
    axes = [axis["name"] for axis in data["axes"]]
    columns = [*data["columns"], *data["first"]]
    source = _source("c", "curve", *columns)
    number = models.ScientificFormatter(precision=4, power_limit_low=-4, power_limit_high=6, nan_format="")
    plain = models.StringFormatter()
    words = ("rank", "networks", "verdict", *axes)
    shown = [
        models.TableColumn(field=c, title=c.replace("_", " "), formatter=plain if c in words else number,
                           width=120 if c == "verdict" else max(70, 8 * len(c)))
        for c in columns
    ]  # fmt: skip
    picture = models.HTMLTemplateFormatter(template=SPARK)
    line = models.TableColumn(field="curve", title=f"{data['curve']} by step", formatter=picture,
                              width=WIDTH + 44, sortable=False)  # fmt: skip
    shown.insert(len(axes) + ("rank" in columns), line)
    height = min(420, 60 + 26 * len(data["rank"]))
    table = models.DataTable(source=source, columns=shown, height=height, sizing_mode="stretch_width",
                             index_position=None, autosize_mode="none")  # fmt: skip
    asked = models.TextInput(title="only lines with, such as: l2=0.1 difference>0", value="", width=290)
    options = [(c, f"{c}, lowest first") for c in columns]
    options += [(f"-{c}", f"{c}, highest first") for c in columns]
    order = models.Select(title="sorted by", value=columns[0], options=options, width=250)
    controls = {"filter": asked, "order": order}
    return Part({"table": table, **controls}, {"table_source": source, **controls})
