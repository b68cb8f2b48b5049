"""How the stages hang together, as inline SVG from top to bottom: each with its number of jobs, time and memory.

A layered drawing: a stage stands below all that it reads from, lines that pass a layer take a place in it, and places
are ordered by the middle of what they are connected with (Sugiyama, Tagawa & Toda 1981, the barycentre method).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from gptsmith.report import wording
from gptsmith.report.stages import Stage

TOKENIZERS = ("train_tokenizer", "fetch_tokenizer", "gguf_tokenizer")
BASES = ("pretrain", "random_weights", "convert_weights", "convert_gguf", "import_checkpoint")

# Rule -> the rules whose files it reads (a test compares it with Snakemake's own graph).
READS: Mapping[str, Sequence[str]] = {
    "download": (),
    "extract": ("download",),
    "read_shard": ("extract",),
    "prepare": ("extract", "read_shard"),
    "train_tokenizer": ("prepare",),
    "fetch_tokenizer": (),
    "download_gguf": (),
    "gguf_tokenizer": ("download_gguf",),
    "tokenize_shard": ("prepare", *TOKENIZERS),
    "tokenize": ("prepare", *TOKENIZERS, "tokenize_shard"),
    "download_weights": (),
    "convert_weights": ("download_weights", *TOKENIZERS),
    "convert_gguf": ("download_gguf", *TOKENIZERS),
    "import_checkpoint": TOKENIZERS,
    "random_weights": TOKENIZERS,
    "pretrain": ("tokenize", *TOKENIZERS),
    "pretrain_variant": ("tokenize", *TOKENIZERS),
    "score_variant": ("pretrain_variant", "tokenize", *TOKENIZERS),
    "measure_variants": ("tokenize", *TOKENIZERS),
    "ablation": ("pretrain_variant", "score_variant", "measure_variants"),
    "verify_weights": (*BASES, "download_weights"),
    "trunk_features": ("tokenize", *BASES),
    "finetune": ("tokenize", *TOKENIZERS, *BASES, "trunk_features"),
    # Choosing reads the predictions of the trials, which come before those of the run: as one rule that is a circle, so
    # it stands here as if the trainings told.
    "score_trial": ("finetune", "tokenize", *TOKENIZERS),
    "choose": ("finetune", "score_trial"),
    "keep_chosen": ("choose", "finetune"),
    "predict": ("finetune", "keep_chosen", "tokenize", "prepare", "trunk_features"),
    "generate": ("finetune", "keep_chosen", "tokenize", "prepare", *TOKENIZERS),
    "generate_before": (*BASES, "tokenize", "prepare", *TOKENIZERS),
    "baselines": ("prepare",),
    "judge": ("generate", "generate_before"),
    "evaluate": ("predict", "generate", "judge", "prepare"),
    "sweep": ("predict", "score_trial"),
    "learning_curve": ("predict", "generate", "score_trial", "prepare"),
    "summarize": ("predict", "generate", "evaluate", "baselines", "generate_before", "judge", "prepare"),
    "comparisons": ("predict", "generate", "prepare"),
    "report": (
        *("summarize", "finetune", "evaluate", "predict", "generate", "generate_before", "baselines", "prepare"),
        *("verify_weights", "pretrain", "judge", "comparisons", "keep_chosen", "sweep", "learning_curve"),
        *("pretrain_variant", "ablation"),
    ),
}

WIDTH, HEIGHT = 88, 60
GAP, GAP_OF_LAYERS = 10, 26
LANE = 12
"""Of a line that passes a layer."""

Place = str | tuple[str, str, int]
"""A rule, or where the line from one rule to another passes a layer."""


@dataclass(frozen=True)
class Box:
    """All jobs of a rule."""

    n_jobs: int
    seconds: float
    peak_mebibytes: float | None


def stage_graph(stages: Sequence[Stage], model_of_run: Mapping[str, str]) -> Markup | None:
    """None where there is nothing to draw."""
    boxes = {rule: _box([stage for stage in stages if stage.rule == rule]) for rule in {s.rule for s in stages}}
    if not boxes:
        return None
    names = [*(rule for rule in READS if rule in boxes), *sorted(boxes.keys() - READS.keys()), "report"]
    edges = necessary(edges_of(names, stages, model_of_run))
    layers, lines = _layers(names, edges)
    _order(layers, lines)
    x, width = _abscissas(layers)
    y = {place: n * (HEIGHT + GAP_OF_LAYERS) for n, layer in enumerate(layers) for place in layer}
    longest = max(box.seconds for box in boxes.values()) or 1
    drawn = [_line(x[a], y[a], x[b], y[b]) for a, b in lines]
    drawn += [_passing(x[place], y[place]) for layer in layers for place in layer if not isinstance(place, str)]
    drawn += [_drawn_box(name, boxes.get(name), x[name], y[name], longest) for name in names]
    height = len(layers) * (HEIGHT + GAP_OF_LAYERS) - GAP_OF_LAYERS
    return Markup(
        '<svg class="stage-graph" role="img" aria-label="The stages of the run: {}" viewBox="-1 -1 {} {}" '
        'style="max-width: {}px">{}</svg>'
    ).format(_in_words(names, edges), width + 2, height + 2, round(1.15 * width), Markup("").join(drawn))


def edges_of(names: Collection[str], stages: Sequence[Stage], model_of_run: Mapping[str, str]) -> set[tuple[str, str]]:
    """Rules of `names` and those that read their files. Runs start from their own models only."""
    models: dict[str, set[str]] = {}
    for stage in stages:
        of_run = next((model_of_run[part] for part in stage.what.split("/") if part in model_of_run), None)
        models.setdefault(stage.rule, set()).add(of_run or stage.what.split("/")[0])
    return {
        (source, rule)
        for rule in names
        for source in READS.get(rule, ())
        if source in names and (source not in BASES or rule == "report" or models[source] & models[rule])
    }


def necessary(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without those that a longer way makes plain."""
    below: dict[str, set[str]] = {}
    for source, rule in edges:
        below.setdefault(source, set()).add(rule)

    def reached(rule: str) -> set[str]:
        found = set(below.get(rule, ()))
        return found.union(*map(reached, found))

    return {(a, b) for a, b in edges if not any(b in reached(between) for between in below[a] - {b})}


def _box(stages: Sequence[Stage]) -> Box:
    peaks = [stage.peak_mebibytes for stage in stages if stage.peak_mebibytes is not None]
    return Box(len(stages), sum(stage.seconds for stage in stages), max(peaks, default=None))


def _layers(names: Sequence[str], edges: set[tuple[str, str]]) -> tuple[list[list[Place]], list[tuple[Place, Place]]]:
    """Places by layer, and the lines between places of neighbouring layers."""
    above = {name: sorted(a for a, b in edges if b == name) for name in names}
    below = {name: sorted(b for a, b in edges if a == name) for name in names}
    depth: dict[str, int] = {}
    for name in names:  # in READS a rule stands below what it reads
        depth[name] = max((depth[a] + 1 for a in above[name]), default=0)
    for name in names:
        if not above[name] and below[name]:
            depth[name] = min(depth[b] for b in below[name]) - 1
    layers: list[list[Place]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in names:
        layers[depth[name]].append(name)
    lines: list[tuple[Place, Place]] = []
    for a, b in sorted(edges):
        way: list[Place] = [a, *((a, b, layer) for layer in range(depth[a] + 1, depth[b])), b]
        for layer, place in enumerate(way[1:-1], start=depth[a] + 1):
            layers[layer].append(place)
        lines += pairwise(way)
    return layers, lines


def _order(layers: list[list[Place]], lines: Sequence[tuple[Place, Place]]) -> None:
    above: dict[Place, list[Place]] = {}
    below: dict[Place, list[Place]] = {}
    for a, b in lines:
        above.setdefault(b, []).append(a)
        below.setdefault(a, []).append(b)
    for _ in range(8):
        for neighbours, pairs in (
            (above, ((b, a) for a, b in pairwise(layers))),
            (below, ((a, b) for b, a in pairwise(layers[::-1]))),
        ):
            for layer, beside in pairs:
                at = {place: (n + 0.5) / len(beside) for n, place in enumerate(beside)}
                middle = {}
                for n, place in enumerate(layer):
                    near = [at[other] for other in neighbours.get(place, ())]
                    middle[place] = sum(near) / len(near) if near else (n + 0.5) / len(layer)
                layer.sort(key=middle.__getitem__)


def _abscissas(layers: Sequence[Sequence[Place]]) -> tuple[dict[Place, float], float]:
    """The middle of each place, and the width of all."""
    widths = [sum(WIDTH if isinstance(p, str) else LANE for p in layer) + GAP * (len(layer) - 1) for layer in layers]
    x: dict[Place, float] = {}
    for layer, width in zip(layers, widths, strict=True):
        left = (max(widths) - width) / 2
        for place in layer:
            own = WIDTH if isinstance(place, str) else LANE
            x[place] = left + own / 2
            left += own + GAP
    return x, max(widths)


def _line(x0: float, y0: float, x1: float, y1: float) -> Markup:
    start, middle = y0 + HEIGHT, (y0 + HEIGHT + y1) / 2
    return Markup('<path d="M{:.1f} {:.1f}C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}"/>').format(
        x0, start, x0, middle, x1, middle, x1, y1
    )


def _passing(x: float, y: float) -> Markup:
    return Markup('<path d="M{:.1f} {:.1f}V{:.1f}"/>').format(x, y, y + HEIGHT)


def _drawn_box(name: str, box: Box | None, x: float, y: float, longest: float) -> Markup:
    left = x - WIDTH / 2
    drawn = Markup('<rect x="{:.1f}" y="{}" width="{}" height="{}" rx="4"/>').format(left, y, WIDTH, HEIGHT)
    first, _, second = name.partition("_")
    words = [("name", first if not second else f"{first}_")] + ([("name", second)] if second else [])
    if box is not None:
        jobs = f"{box.n_jobs} jobs" if box.n_jobs > 1 else ""
        memory = wording.memory(box.peak_mebibytes) if box.peak_mebibytes is not None else ""
        words += [("figure", wording.duration(box.seconds)), ("figure", ", ".join(filter(None, (jobs, memory))))]
        share = max(1.0, (WIDTH - 8) * box.seconds / longest)
        drawn += Markup('<rect class="time" x="{:.1f}" y="{}" width="{:.1f}" height="2.5"/>').format(
            left + 4, y + HEIGHT - 5, share
        )
    top = y + HEIGHT / 2 - 3 - 6 * (len(words) - 1)
    for n, (kind, text) in enumerate(words):
        drawn += Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, top + 12 * n + 3, text)
    return drawn


def _in_words(names: Sequence[str], edges: set[tuple[str, str]]) -> str:
    reads = {name: [a for a in names if (a, name) in edges] for name in names}
    told = [f"{name} follows {', '.join(sources)}" for name, sources in reads.items() if sources]
    return f"{'; '.join(told)}. The table below has the figures."
