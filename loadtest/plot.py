"""The plot of RESULTS.md: CPU per request of each proxy, as bars, in an SVG that follows the reader's
light or dark theme."""

import os
import statistics
from xml.sax.saxutils import escape

PANELS = ("sticky", "first", "churn", "tls")
ROW, BAR, LABEL, WIDTH, HEAD = 22, 14, 110, 420, 30

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .ours { fill: #0969da } .other { fill: #8c959f } .whisker { stroke: #1f2328 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .ours { fill: #4493f8 } .other { fill: #6e7681 } .whisker { stroke: #e6edf3 }
  }
"""


def draw(out, known):
    """Writes results.svg; false where nothing of it was measured."""
    panels = [known[name] for name in PANELS if name in known]
    if not panels:
        return False
    body, top = [], 0
    for entry in panels:
        drawn, height = panel(entry, top)
        body.append(drawn)
        top += height
    width = LABEL + WIDTH + 90
    told = "; ".join(describe(entry) for entry in panels)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'height="{top}" role="img">\n<title>CPU microseconds per request</title>\n'
        f"<desc>{escape(told)}</desc>\n<style>{STYLE}</style>\n" + "".join(body) + "</svg>\n"
    )
    with open(os.path.join(out, "results.svg"), "w") as file:
        file.write(svg)
    return True


def bars(entry):
    """(label, median, least, most), the cheapest first."""
    found = []
    for label, rounds in entry["results"].items():
        values = [told["cpu"] for told in rounds]
        found.append((label, statistics.median(values), min(values), max(values)))
    return sorted(found, key=lambda bar: bar[1])


def describe(entry):
    return f"{entry['title']}: " + ", ".join(f"{label} {middle:.1f}" for label, middle, _, _ in bars(entry))


def panel(entry, top):
    """One scenario; bars are medians, whiskers the least and the most of all rounds."""
    found = bars(entry)
    # a single round that was disturbed is cut off rather than let it squeeze the rest
    scale = WIDTH / max(middle for _, middle, _, _ in found) / 1.1
    lines = [
        f'<text class="title" x="0" y="{top + 18}">{escape(entry["title"])}: CPU µs a request</text>\n'
    ]
    for row, (label, middle, least, most) in enumerate(found):
        y = top + HEAD + row * ROW
        kind = "ours" if label.startswith("stickfast") else "other"
        length, centre = middle * scale, y + BAR / 2
        low, high = (LABEL + min(end * scale, WIDTH) for end in (least, most))
        lines.append(
            f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>'
            f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{centre}" y2="{centre}"/>'
            f'<text x="{max(LABEL + length, high) + 6:.1f}" y="{y + 12}">{middle:.1f}</text>\n'
        )
    return "".join(lines), HEAD + len(found) * ROW + 12
