"""What is made of the figures: tables, the targets, RESULTS.md. The plot is in plot.py.

Every ratio is taken round by round and its median is given: what disturbs a round disturbs both sides.
"""

import json
import math
import os
import statistics

import plot

OURS = "stickfast"


def median(rounds, key):
    return statistics.median(told[key] for told in rounds)


def ratios(results, label, reference, key):
    """`label` over `reference`, round by round."""
    pairs = zip(results.get(label, []), results.get(reference, []))
    return [mine[key] / theirs[key] for mine, theirs in pairs if theirs[key]]


def ratio(results, label, reference, key):
    """The median of that."""
    values = ratios(results, label, reference, key)
    return statistics.median(values) if values else None


def between(values):
    """Where the median of endlessly many lies in 19 of 20 runs: by ranks alone, however they are
    distributed. None for fewer than six."""
    count, outside, rank = len(values), 0, 0
    while rank <= count:
        # the chance that no more than so many lie below the median
        outside += math.comb(count, rank) / 2**count
        if outside > 0.025:
            break
        rank += 1
    ordered = sorted(values)
    return (ordered[rank - 1], ordered[count - rank]) if rank else None


def spread(results, label, key):
    """How far the rounds are apart: half of the way between the quartiles, of the median."""
    values = [told[key] for told in results[label]]
    if len(values) < 4:
        return None
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle if middle else None


# (key, title, decimals)
TIMED = [
    ("cpu", "CPU µs a request", 1),
    ("rate", "requests/s", 0),
    ("p50", "p50 ms", 2),
    ("p99", "p99 ms", 2),
    ("p999", "p99.9 ms", 2),
    ("memory", "MB", 1),
]
IDLE = [("each", "KB a connection", 1), ("memory", "MB", 1)]
RELOADS = [("failed", "failed", 0), ("requests", "of requests", 0), ("times", "times", 0)]


def columns(name):
    return {"idle": IDLE, "reload": RELOADS}.get(name, TIMED)


def rows(name, entry):
    """The table as lists of texts, the header first."""
    results, kind = entry["results"], columns(name)
    reference = next(iter(results), None)
    head = ["proxy"]
    for _, title, _ in kind:
        head += [title] if kind is RELOADS else [title, "×"]
    if kind is TIMED:
        head += ["spread"]
    yield head
    for label, rounds in results.items():
        row = [label]
        for key, _, decimals in kind:
            row.append(f"{median(rounds, key):,.{decimals}f}")
            if kind is not RELOADS:
                times = ratio(results, label, reference, key)
                row.append("–" if times is None else f"{times:.2f}")
        if kind is TIMED:
            far = spread(results, label, "cpu")
            row.append("–" if far is None else f"±{100 * far:.0f} %")
        yield row


def table(name, entry, plain=False):
    """For a terminal, or in Markdown."""
    lines = list(rows(name, entry))
    if not plain:
        rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
        return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], rule, *lines[1:]])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])])
        for line in lines
    )


def in_a_line(entrants, results):
    """The round just measured."""
    texts = []
    for entrant in sorted(entrants, key=lambda e: list(results).index(e.label)):
        told = results[entrant.label][-1]
        figure = f"{told['each']:.1f} KB" if "each" in told else f"{told['cpu']:.1f} µs"
        texts.append(f"{entrant.label} {figure}" + (f" ({told['failed']} FAILED)" if told["failed"] else ""))
    return ", ".join(texts)


def rounded(value):
    """Figures as they are kept: no more digits than they mean."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value


def targets(known):
    """(what, as measured, the most it may be, its unit) of every target: `measured` are the values of its
    rounds, of which the median counts."""

    def of(name):
        return known.get(name, {}).get("results", {})

    def against(name, theirs, key):
        return ratios(of(name), OURS, theirs, key)

    def told(name, label, key):
        return [round[key] for round in of(name).get(label, [])]

    yield "CPU per request, sticky, of HAProxy's: goal", against("sticky", "haproxy", "cpu"), 1.0, "×"
    yield "CPU per request, sticky, of HAProxy's: must", against("sticky", "haproxy", "cpu"), 1.2, "×"
    yield "CPU per request, sticky, of Envoy's", against("sticky", "envoy", "cpu"), 0.5, "×"
    yield "instructions per request, affinity on, of off", instructions_on_of_off(), 1.03, "×"
    yield "p99 at a fixed rate, of HAProxy's", against("paced", "haproxy", "p99"), 1.0, "×"
    yield "KB of an idle connection: goal", told("idle", OURS, "each"), 12, " KB"
    yield "KB of an idle connection: must", told("idle", OURS, "each"), 40, " KB"
    for name, few, many, what in (
        ("ring", ", 10 backends", ", 1000 backends", "1,000 backends, of 10"),
        ("rules", ", 10 rules", ", 10,000 rules", "10,000 rules, of 10"),
    ):
        yield f"CPU per request, {what}", ratios(of(name), OURS + many, OURS + few, "cpu"), 1.05, "×"
    for how in ("SIGHUP", "upgrade"):
        yield f"failed requests, {how} under load", told("reload", f"{OURS}, {how}", "failed"), 0, ""


def instructions_on_of_off():
    """As `make bench-instructions` counted and kept them."""
    try:
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "instructions.json")) as file:
            counted = json.load(file)["instructions"]
        return [counted["sticky"] / counted["off"]]
    except (OSError, KeyError):
        return []


def target_table(known):
    lines = ["| target | at most | measured | between | |", "| --- | ---: | ---: | ---: | --- |"]
    for what, measured, most, unit in targets(known):
        if not measured:
            lines.append(f"| {what} | {most}{unit} | not measured | | |")
            continue
        middle, ends = statistics.median(measured), between(measured)
        verdict = "reached" if middle <= most else "**not yet**"
        far = f"{ends[0]:.4g} and {ends[1]:.4g}" if ends else ""
        lines.append(f"| {what} | {most}{unit} | {middle:.4g}{unit} | {far} | {verdict} |")
    return "\n".join(lines)


def same(known, key):
    """What all scenarios have in common under `key`; none where they differ."""
    values = [entry[key] for entry in known.values()]
    return values[0] if values and all(value == values[0] for value in values) else None


def conditions(entry):
    machine = entry["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
    return (
        f"{entry['when']}, commit {entry['commit']}, {entry['rounds']} rounds of {entry['seconds']} s. "
        f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}; {machine['placing']}. "
        f"{versions}."
    )


def write(out, known):
    shared = all(same(known, key) for key in ("when", "commit", "rounds", "seconds", "machine", "versions"))
    text = [
        "# Results",
        "",
        "Written by `make load`; [README.md](README.md) says what is measured and how. × is the ratio to the",
        "first line, taken round by round; all figures are medians; the spread is of the CPU time, half the",
        "way between its quartiles. Requests/s are what the core of the load generator lets through: CPU is",
        "what to compare.",
        "",
    ]
    if shared and known:
        text += [conditions(next(iter(known.values()))), ""]
    if plot.draw(out, known):
        text += ["![CPU microseconds per request](results.svg)", ""]
    text += ["## Targets", "", target_table(known), ""]
    text += ["The median of all rounds counts; between these two it would lie in 19 runs of 20, were there no end", "to them."]
    text += [""]
    for name, entry in known.items():
        text += [f"## {entry['title']}", "", entry["says"]]
        if "rate" in entry:
            text[-1] += f" The rate: {entry['rate']:,.0f} requests/s."
        if not shared:
            text += ["", conditions(entry)]
        text += ["", table(name, entry), ""]
    with open(os.path.join(out, "RESULTS.md"), "w") as file:
        file.write("\n".join(text))
