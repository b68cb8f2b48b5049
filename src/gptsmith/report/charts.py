"""Charts as inline SVG: text stays text, ids are unique on the page, colours are the page's own.

Drawn by matplotlib in the light palette, then rewritten: every palette colour becomes the CSS variable
of its role, so that one drawing serves light, dark and print. The values of the points go with the drawing
(`data-points`): report.js shows them under the pointer, by arrow keys and as a table.
"""

import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from gptsmith.report.text import plain

# Role -> the colour it is drawn in. report.css defines the same roles, for light and for dark.
PALETTE = {
    "ink": "#1b2330",
    "muted": "#5b6675",
    "rule": "#dfe3e8",
    "accent": "#1f5f9e",
    "contrast": "#b4560b",
    "calm": "#8a94a3",
    "good": "#1a7a55",
    "paper": "#ffffff",
}

STYLE: Any = {  # matplotlib types the keys as literals
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label with two dollar signs is a label, not a formula
    "font.size": 9,
    "text.color": PALETTE["ink"],
    "axes.labelcolor": PALETTE["muted"],
    "axes.edgecolor": PALETTE["rule"],
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": PALETTE["rule"],
    "grid.linewidth": 0.6,
    "xtick.color": PALETTE["rule"],
    "ytick.color": PALETTE["rule"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.labelcolor": PALETTE["muted"],
    "ytick.labelcolor": PALETTE["muted"],
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
}

POINTS_PER_PIXEL = 0.75
LOG_AXIS_FROM = 10.0  # largest / smallest value from which a logarithmic axis reads better
NEAREST = 1.5  # SVG units between two points of a line whose values are told
SHAPES = {"-": "line", "--": "dashed", "o": "disc", "D": "diamond", "s": "square", "X": "cross"}  # as in the legend


@dataclass(frozen=True)
class Curve:
    """A line. `role` is a key of PALETTE, `style` a matplotlib line style."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    role: str
    style: str = "-"
    width: float = 1.4
    opacity: float = 1.0
    mark: int | None = None  # index of a point to mark


@dataclass(frozen=True)
class Dots:
    """One value a row; rows without a value (None) stay empty. `low` and `high` draw the interval."""

    values: Sequence[float | None]
    role: str
    marker: str = "o"
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class _Series:
    """Points to tell the values of: where they are in the axes, and what is said of each (x, y[, interval])."""

    role: str
    shape: str
    places: npt.NDArray[np.float64]  # [points, 2]
    values: list[list[Any]]


def line_chart(
    name: str,
    title: str,
    curves: Sequence[Curve],
    x_label: str,
    y_label: str,
    y_limits: tuple[float, float] | None = None,
) -> Markup:
    """Values over a course; without `y_limits`, the y axis is logarithmic where they span more than a factor of ten."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(380, 270)
        axes.set(xlabel=x_label, ylabel=y_label)
        series = _draw(axes, curves)
        values = np.concatenate([curve.y for curve in curves])
        if y_limits is not None:
            axes.set_ylim(*y_limits)
        elif values.min() > 0 and values.max() / values.min() > LOG_AXIS_FROM:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(which="minor", length=0)
            axes.set_ylabel(f"{y_label}, log axis")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        return _svg(figure, axes, name, title, (x_label, y_label), series)


def unit_square(name: str, title: str, curves: Sequence[Curve], x_label: str, y_label: str) -> Markup:
    """Curves of a rate over a rate, both from 0 to 1."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(380, 350)
        series = _draw(axes, curves)
        axes.set(xlabel=x_label, ylabel=y_label, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), aspect="equal")
        return _svg(figure, axes, name, title, (x_label, y_label), series)


def dot_chart(name: str, title: str, rows: Sequence[str], groups: Sequence[Dots], x_label: str) -> Markup:
    """One row a label, top to bottom; the groups of a row stand on one line."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(560, 62 + 26 * len(rows))
        places = np.arange(len(rows), dtype=float)
        words = [" ".join(plain(row, 60).split()) for row in rows]
        for group in reversed(groups):
            for place, low, high in zip(places, group.low, group.high, strict=False):
                if low is not None and high is not None:
                    axes.plot([low, high], [place, place], color=PALETTE[group.role], linewidth=2, alpha=0.55, zorder=2)
            given = [(value, place) for value, place in zip(group.values, places, strict=True) if value is not None]
            axes.plot(*zip(*given, strict=True), group.marker, color=PALETTE[group.role], markersize=5.5, zorder=3)
        axes.set_yticks(places, [" ".join(plain(row, 28).split()) for row in rows])
        axes.tick_params(axis="y", labelcolor=PALETTE["ink"])
        axes.spines["left"].set_visible(False)
        axes.set(xlabel=x_label, ylim=(len(rows) - 0.5, -0.5))
        axes.margins(x=0.03)
        return _svg(figure, axes, name, title, (x_label, ""), [_dots(group, words) for group in groups])


def growth_chart(
    name: str, title: str, sizes: Sequence[float], groups: Sequence[Dots], x_label: str, y_label: str
) -> Markup:
    """A line a group over growing sizes, on a logarithmic axis; a value a size, with its interval."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _canvas(560, 300)
        for group in groups:
            color = PALETTE[group.role]
            axes.plot(sizes, [np.nan if v is None else v for v in group.values], f"{group.marker}-", color=color)
            for size, low, high in zip(sizes, group.low, group.high, strict=False):
                if low is not None and high is not None:
                    axes.plot([size, size], [low, high], color=color, linewidth=2, alpha=0.55)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel=f"{x_label}, log axis", ylabel=y_label)
        return _svg(figure, axes, name, title, (x_label, y_label), [_growing(group, sizes) for group in groups])


def _canvas(width: int, height: int) -> tuple[Figure, Axes]:
    """A figure of so many CSS pixels, without pyplot and its global state."""
    inches = (width * POINTS_PER_PIXEL / 72, height * POINTS_PER_PIXEL / 72)
    figure = Figure(figsize=inches, layout="constrained")
    return figure, figure.add_subplot()


def _draw(axes: Axes, curves: Sequence[Curve]) -> list[_Series]:
    for curve in curves:
        color = PALETTE[curve.role]
        axes.plot(curve.x, curve.y, curve.style, color=color, linewidth=curve.width, alpha=curve.opacity)
        if curve.mark is not None:
            axes.plot(curve.x[curve.mark], curve.y[curve.mark], "o", color=color, markersize=4.5)
    points = [np.stack([curve.x, curve.y], axis=1) for curve in curves]
    return [
        _Series(curve.role, SHAPES.get(curve.style, "line"), places, places.tolist())
        for curve, places in zip(curves, points, strict=True)
    ]


def _dots(group: Dots, rows: Sequence[str | float]) -> _Series:
    intervals: Sequence[list[Any]] = [
        [] if low is None or high is None else [[_rounded(low), _rounded(high)]]
        for low, high in zip(group.low, group.high, strict=True)
    ] or [[]] * len(rows)
    given = [place for place, value in enumerate(group.values) if value is not None]
    return _Series(
        group.role,
        SHAPES.get(group.marker, "disc"),
        np.array([(group.values[place], place) for place in given], dtype=np.float64).reshape(-1, 2),
        [[group.values[place], rows[place], *intervals[place]] for place in given],
    )


def _growing(group: Dots, sizes: Sequence[float]) -> _Series:
    """As `_dots`, with the size before the value."""
    values = [[size, value, *interval] for value, size, *interval in _dots(group, sizes).values]
    places = np.array([value[:2] for value in values], dtype=np.float64).reshape(-1, 2)
    return _Series(group.role, SHAPES.get(group.marker, "disc"), places, values)


def _told(figure: Figure, axes: Axes, series: Sequence[_Series], width: float, height: float) -> list[dict[str, Any]]:
    """The points in SVG units with their values; of points that the eye cannot tell apart, the first."""
    to_figure = axes.transData + figure.transFigure.inverted()
    told = []
    for one in series:
        shares = to_figure.transform(one.places) if len(one.places) else one.places
        points: list[list[Any]] = []
        for (x, y), values in zip(shares * [width, -height] + [0, height], one.values, strict=True):
            if np.isfinite([x, y]).all() and (not points or np.hypot(x - points[-1][0], y - points[-1][1]) >= NEAREST):
                points.append([round(x, 1), round(y, 1), *map(_rounded, values)])
        told.append({"role": one.role, "shape": one.shape, "points": points})
    return told


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _svg(
    figure: Figure, axes: Axes, name: str, title: str, labels: tuple[str, str], series: Sequence[_Series]
) -> Markup:
    """The figure as an element to put into HTML. `name` makes its ids unique, `title` is read aloud, `labels`
    say what the values of the points are."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # Only the width of a label is measured with matplotlib's font; the browser draws it with its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())  # noqa: S314 (written by matplotlib a line above)
    _, _, width, height = root.attrib["viewBox"].split()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {
            key.rpartition("}")[2]: _adapted(key, text, name)
            for key, text in element.attrib.items()
            if not (key == "id" and element.tag == "g")  # nothing refers to a group
        }
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in {"metadata", "style"}]:
            parent.remove(child)
    told = _told(figure, axes, series, float(width), float(height))
    root.attrib = {
        "class": "chart",
        "role": "img",
        "aria-labelledby": f"{name}-title",
        "data-points": json.dumps(
            {"x": labels[0], "y": labels[1], "series": told}, ensure_ascii=False, separators=(",", ":")
        ),
        "viewBox": f"0 0 {width} {height}",
        "style": f"width: {float(width) / POINTS_PER_PIXEL:.0f}px",
    }
    caption = ElementTree.Element("title", {"id": f"{name}-title"})
    caption.text = plain(title)
    root.insert(0, caption)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 (serialised, hence escaped)


def _adapted(key: str, text: str, name: str) -> str:
    """An attribute with the chart's name before every id, palette colours as variables, no font family."""
    if key == "id":
        return f"{name}-{text}"
    if key.endswith("href"):
        return text.replace("#", f"#{name}-")
    if key == "clip-path":
        return text.replace("url(#", f"url(#{name}-")
    if key == "style":
        for role, color in PALETTE.items():
            text = text.replace(color, f"var(--{role})")
        parts = [part.strip() for part in text.split(";")]
        return "; ".join(part for part in parts if part and not part.startswith("font-family"))
    return text
