"""The figures, controls and tables of the report's page, as models of Bokeh; report.js fills them.

No text of a user is an axis, a title or HTML: names of classes are labels, and the rest are ours.
"""

# pyright: reportArgumentType=false
# (What Bokeh's stubs say of the arguments of its models is narrower than what its documentation does.)

from __future__ import annotations

import importlib.resources
from typing import Any, NamedTuple

import matplotlib
import matplotlib.colors
import numpy as np
from bokeh import models
from bokeh.document import Document
from bokeh.plotting import figure

from regjax.core.metrics import without_split
from regjax.report import arrays as report_data
from regjax.study.design import Design

SPLITS = {"train": "training", "val": "validation", "test": "test"}
# Okabe & Ito's, so that colour-blind eyes can tell them apart; classes differ in marker too.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000", "#999999",
           "#882255")  # fmt: skip
MARKERS = (
    "circle",
    "triangle",
    "square",
    "diamond",
    "star",
    "hex",
    "inverted_triangle",
    "plus",
    "x",
    "cross",
)
CHOSEN, OTHER, GREY = COLOURS[0], COLOURS[1], "#777777"
VERDICTS = {
    "helps": ("#009E73", "circle"),
    "hurts": ("#D55E00", "triangle"),
    "not separated": (GREY, "square"),
}
# Of a forest, from its two ends.
MOST_SHOWN = 24
PALETTES = tuple(
    [matplotlib.colors.to_hex(c) for c in matplotlib.colormaps[name](np.linspace(0, 1, 256))]
    for name in ("viridis_r", "viridis")
)

SMALL: dict[str, Any] = {"height": 300, "tools": "pan,box_zoom,reset,save"}


class Part(NamedTuple):
    """Of the page: what it shows, by name, and which models the script is told of."""

    shown: dict[str, Any]
    joined: dict[str, Any]


def document_of(data: dict[str, Any], design: Design, baseline: str, every: int | None) -> Document:
    """Returns the models of the page, its arrays, and the script that joins them.

    Args:
        data: as `report_data.arrays_of` returns it.
        design: of the sweep.
        baseline: what the first differences are to, in words.
        every: seconds after which the page loads itself again, or None.
    """
    colours = [[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in COLOURS]
    num_classes = 2 if data["real"] else len(report_data.labels_of(design))
    told = data | {
        "baseline": baseline, "every": every or 0, "most_shown": MOST_SHOWN, "verdicts": VERDICTS,
        "palettes": PALETTES, "colours": [colours[k % len(colours)] for k in range(num_classes)],
    }  # fmt: skip
    detail = _plane(data, design) if data["networks"] else _said(data, design)
    parts = [_maps(data), _forest(data), _curves(data), _networks(data, design), detail, _table(data)]
    document = Document()
    joined = {"page": told, "plane_source": None, "said_source": None}
    for part in parts:
        joined |= part.joined
        for name, model in part.shown.items():
            model.name = name
            document.add_root(model)
    code = importlib.resources.files("regjax.report").joinpath("report.js").read_text("utf-8")
    document.js_on_event("document_ready", models.CustomJS(args=joined, code=code, module=False))
    return document


def _figure(title: str, **options: Any) -> Any:
    found = figure(title=title, **{"sizing_mode": "stretch_width", "height": 400, "tools": ""} | options)
    found.toolbar.logo = None
    found.toolbar_location = "above" if options.get("tools") else None
    return found


def _source(*columns: str) -> models.ColumnDataSource:
    return models.ColumnDataSource({name: [] for name in columns})


def _clickable(plot: Any, drawn: Any, *more: tuple[str, str]) -> None:
    """Makes a renderer's glyphs say what they are, and choose it at a click."""
    drawn.nonselection_glyph = drawn.selection_glyph = drawn.glyph
    plot.add_tools(models.TapTool(renderers=[drawn]))
    plot.add_tools(models.HoverTool(renderers=[drawn], tooltips=[("", "@name"), *more]))


def _by_category(*axes: Any) -> None:
    for axis in axes:
        axis.ticker = models.FixedTicker(ticks=[])


def _maps(data: dict[str, Any]) -> Part:
    """Returns the heatmap, the train-validation gap, and what chooses rows, metric, axes, configuration."""
    axes, metric = data["axes"], data["metric"]
    colours = models.LinearColorMapper(palette=list(PALETTES[1]), low=0, high=1, nan_color="#DDDDDD")
    cells = _source("x", "y", "value", "c", "name", "lost", "here", "star", "text")
    heat = _figure("", x_range=models.Range1d(0, 1), y_range=models.Range1d(0, 1))
    shade: Any = {"field": "value", "transform": colours}
    drawn = heat.rect("x", "y", 1, 1, source=cells, fill_color=shade, line_color="white")
    heat.scatter(
        "x", "y", source=cells, marker="x", size=11, line_color=CHOSEN, line_width=2.5, line_alpha="lost"
    )
    heat.scatter("x", "y", source=cells, marker="star", size=20, fill_color="white", line_color="black",
                 fill_alpha="star", line_alpha="star")  # fmt: skip
    paper: dict[str, Any] = {"background_fill_color": "white", "background_fill_alpha": 0.65, "padding": 1}
    heat.text("x", "y", "text", source=cells, text_align="center", text_baseline="middle", y_offset=16,
              text_font_size="11px", **paper)  # fmt: skip
    heat.rect(
        "x", "y", 1, 1, source=cells, fill_alpha=0, line_color=CHOSEN, line_width=3.5, line_alpha="here"
    )
    heat.add_layout(models.ColorBar(color_mapper=colours, width=10), "right")
    heat.xaxis.major_label_orientation = 0.7
    heat.grid.visible = False
    _clickable(heat, drawn, ("mean", "@value{0.0000}"))
    gaps = _source("x", "c", "name", "mean", "low", "high")
    gap = _figure("", x_range=models.Range1d(0, 1))
    gap.add_layout(models.Span(location=0, dimension="width", line_color=GREY, line_dash="dashed"))
    gap.segment("x", "low", "x", "high", source=gaps, line_width=2.5, line_color=OTHER)
    _clickable(gap, gap.scatter("x", "mean", source=gaps, size=10, color=OTHER), ("gap", "@mean{0.0000}"))
    gap.xaxis.major_label_orientation = 0.7
    gap.yaxis.axis_label = f"gap in {data['units'][without_split(metric)]}"
    _by_category(heat.xaxis[0], heat.yaxis[0], gap.xaxis[0])

    splits = [(name, SPLITS[name]) for name in SPLITS if f"{name}_loss" in data["scores"]]
    names = list(dict.fromkeys(without_split(name) for name in data["scores"]))
    split = models.Select(title="rows", value=metric.split("_")[0], options=splits, width=96)
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
    return Part(
        {"heat": heat, "gap": gap, "split": split, "metric": of, "across": across, "down": down,
         "along": along, **{f"picker{k}": picker for k, picker in enumerate(pickers)}},
        {"heat": heat, "gap": gap, "cell_source": cells,
         "gap_source": gaps, "colours": colours, "split": split, "metric": of, "across": across,
         "down": down, "along": along, "pickers": pickers},
    )  # fmt: skip


def _forest(data: dict[str, Any]) -> Part:
    """Returns the paired differences with their intervals."""
    source = _source("y", "c", "name", "colour", "marker", "size", *data["first"])
    plot = _figure("", y_range=models.Range1d(0, 1))
    plot.add_layout(models.Span(location=0, dimension="height", line_color=GREY, line_dash="dashed"))
    for low, high, width in (("family_low", "family_high", 1.2), ("low", "high", 4.0)):
        plot.segment(low, "y", high, "y", source=source, line_color="colour", line_width=width)
    drawn = plot.scatter(
        "difference", "y", source=source, marker="marker", size="size", color="colour", line_color="white"
    )
    _clickable(plot, drawn, ("difference", "@difference{+0.0000}"), ("", "@verdict"))
    _by_category(plot.yaxis[0])
    plot.xaxis.axis_label = f"difference in {data['units'][data['metric']]}"
    return Part({"forest": plot}, {"forest": plot, "forest_source": source})


def _curves(data: dict[str, Any]) -> Part:
    """Returns loss and metric against the step, of all splits."""
    means = data["curves"]["means"]
    source, shown = _source("step", *means), {}
    for key, name in (("loss", "loss"), ("curve", data["curve"])):
        look = SMALL | ({"y_axis_type": "log"} if name == "loss" else {})
        title = f"{name}: mean over seeds and folds" + (", not below −1" if name == "r2" else "")
        plot = _figure(title, x_axis_label="step", y_axis_label=data["units"][name], **look)
        styles = zip(SPLITS.items(), (OTHER, CHOSEN, COLOURS[2]), ("solid", "dashed", "dotted"), strict=True)
        for (split, words), colour, dash in styles:
            if f"{split}_{name}" in means:
                look = {"color": colour, "line_dash": dash, "line_width": 2, "legend_label": words}
                plot.line("step", f"{split}_{name}", source=source, **look)
        plot.add_layout(plot.legend[0], "below")
        plot.legend.orientation = "horizontal"
        shown[key] = plot
    return Part(shown, {"curve_source": source})


def _networks(data: dict[str, Any], design: Design) -> Part:
    """Returns every network as a dot, their weights as bars, and the configuration's numbers."""
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
        dots.scatter("x", "value", source=source, view=view, color=colour, marker=marker, size=8, alpha=0.7,
                     legend_label=name)  # fmt: skip
    dots.add_layout(dots.legend[0], "below")
    dots.legend.orientation = "horizontal"
    places = np.unique(x)
    dots.xaxis.ticker = models.FixedTicker(ticks=places[:: -(-len(places) // 12)].tolist())
    edge = data["bars"]["edge"]
    ends = np.linspace(-edge, edge, report_data.BARS + 1)
    tops = models.ColumnDataSource({"left": ends[:-1], "right": ends[1:], "top": np.zeros(report_data.BARS)})
    bars = _figure("weights of its networks", x_axis_label="weight", y_axis_label="share of weights", **SMALL)
    bars.quad("left", "right", "top", 0, source=tops, fill_color=OTHER, line_color="white")
    bars.y_range.start = 0
    told = _source("name", "value")
    columns = [
        models.TableColumn(field="name", title="its numbers"),
        models.TableColumn(field="value", title=""),
    ]
    numbers = models.DataTable(source=told, columns=columns, height=300, sizing_mode="stretch_width",
                               index_position=None, selectable=False)  # fmt: skip
    return Part(
        {"dots": dots, "bars": bars, "numbers": numbers},
        {"dot_figure": dots, "dot_source": source, "bar_source": tops, "numbers_source": told},
    )


def _plane(data: dict[str, Any], design: Design) -> Part:
    """Returns the figure of two features: what a network says of each point, and the rows."""
    x0, x1, y0, y1 = data["plane"]
    box = {"x": [x0], "y": [y0], "dw": [x1 - x0], "dh": [y1 - y0]}
    image = models.ColumnDataSource({"image": [np.zeros((2, 2), np.uint32)], **box})
    plot = _figure("what its first network says, and the rows", x_axis_label="x1", y_axis_label="x2",
                   x_range=(x0, x1), y_range=(y0, y1), **SMALL)  # fmt: skip
    plot.image_rgba("image", "x", "y", "dw", "dh", source=image)
    points = report_data.points_of(design)
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
    for k, label in enumerate(report_data.labels_of(design)):
        mine = points["y"] == k
        source = models.ColumnDataSource({name: points[name][mine] for name in ("x1", "x2")})
        look = {"marker": MARKERS[k % len(MARKERS)], "fill_color": COLOURS[k % len(COLOURS)]}
        drawn = plot.scatter("x1", "x2", source=source, **style, **look)
        items.append(models.LegendItem(label={"value": label}, renderers=[drawn]))
    plot.add_layout(models.Legend(items=items, orientation="horizontal"), "below")
    return Part({"detail": plot}, joined)


def _blend() -> list[str]:
    """Returns the colours from the lowest to the highest target, as report.js shades a plane."""
    t = np.linspace(0, 1, 256)[:, None]
    ends = np.array([matplotlib.colors.to_rgb(c) for c in COLOURS[:2]])
    paint = 0.2 + 0.6 * np.abs(2 * t - 1)
    return [matplotlib.colors.to_hex(c) for c in 1 - (1 - np.where(t < 0.5, ends[0], ends[1])) * paint]


def _said(data: dict[str, Any], design: Design) -> Part:
    """Returns the confusion matrix, or the residuals, of held-out rows."""
    columns = data["said"]["columns"]
    if data["real"]:
        source = _source(*columns)
        plot = _figure(
            "residuals of held-out rows", x_axis_label="predicted", y_axis_label="target − predicted", **SMALL
        )
        plot.add_layout(models.Span(location=0, dimension="width", line_color=GREY, line_dash="dashed"))
        plot.scatter("predicted", "residual", source=source, color=OTHER, alpha=0.6, size=6)
        return Part({"detail": plot}, {"said_source": source, "detail": plot})
    labels = report_data.labels_of(design)
    k = len(labels)
    place = np.arange(k * k)
    source = models.ColumnDataSource(
        {"x": place % k, "y": place // k, **{name: np.zeros(k * k) for name in columns}}
    )
    plot = _figure("held-out rows by class", x_axis_label="predicted class", y_axis_label="true class",
                   x_range=(-0.5, k - 0.5), y_range=(k - 0.5, -0.5), **SMALL | {"tools": ""})  # fmt: skip
    colours = models.LinearColorMapper(palette=list(PALETTES[0]), low=0, high=1)
    shade: Any = {"field": "share", "transform": colours}
    drawn = plot.rect("x", "y", 1, 1, source=source, fill_color=shade, line_color="white")
    plot.add_tools(
        models.HoverTool(renderers=[drawn], tooltips=[("rows", "@rows"), ("of the class", "@share{0.0%}")])
    )
    plot.xaxis.major_label_orientation = 0.5
    for axis in (plot.xaxis[0], plot.yaxis[0]):
        axis.ticker = models.FixedTicker(ticks=list(range(0, k, -(-k // 20))))
        short = [label if len(label) <= 40 else f"{label[:39]}…" for label in labels]
        axis.major_label_overrides = {i: models.PlainText(text=label) for i, label in enumerate(short)}
    if k <= 12:
        ink = models.LinearColorMapper(palette=["#000000", "#FFFFFF"], low=0, high=1)
        text: Any = {"field": "share", "transform": ink}
        plot.text("x", "y", "rows", source=source, text_color=text, text_align="center",
                  text_baseline="middle", text_font_size="11px")  # fmt: skip
    return Part({"detail": plot}, {"said_source": source, "detail": plot})


def _table(data: dict[str, Any]) -> Part:
    """Returns the table of all configurations, and what filters and sorts it."""
    axes = [axis["name"] for axis in data["axes"]]
    columns = [*data["columns"], *data["first"]]
    source = _source("c", *columns)
    number = models.ScientificFormatter(precision=4, power_limit_low=-4, power_limit_high=6, nan_format="")
    plain = models.StringFormatter()
    words = ("rank", "networks", "verdict", *axes)
    shown = [
        models.TableColumn(field=c, title=c.replace("_", " "), formatter=plain if c in words else number,
                           width=120 if c == "verdict" else max(70, 8 * len(c)))
        for c in columns
    ]  # fmt: skip
    height = min(420, 60 + 26 * len(data["rank"]))
    table = models.DataTable(source=source, columns=shown, height=height, sizing_mode="stretch_width",
                             index_position=None)  # fmt: skip
    asked = models.TextInput(title="only rows with, such as: l2=0.1 difference>0", value="", width=340)
    options = [(c, f"{c}, lowest first") for c in columns] + [
        (f"-{c}", f"{c}, highest first") for c in columns
    ]
    order = models.Select(title="sorted by", value=columns[0], options=options, width=250)
    return Part(
        {"table": table, "filter": asked, "order": order},
        {"table_source": source, "filter": asked, "order": order},
    )
