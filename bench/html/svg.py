"""Charts as inline SVG: lines over a logarithmic axis, bars, points. Colours and fonts come from the page's style sheet, so
that a page has a light and a dark form; nothing is loaded and nothing runs. Standard library only."""
import html
import math

WIDTH, HEIGHT = 430, 270
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 40


def escaped(text):
    return html.escape(str(text), quote=True)


def nice_step(span, ticks=5):
    """A step of 1, 2 or 5 times a power of ten that gives about so many ticks."""
    raw = span / ticks if span > 0 else 1
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)


def number(value):
    if value >= 1024 and value % 1024 == 0:
        return f"{value // 1024:g}k"
    return f"{value:g}"


def text(x, y, words, anchor="middle", kind="tick", turn=""):
    rotate = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}"{rotate}>{escaped(words)}</text>'


def marker(x, y, shape, kind, title):
    """Shapes differ as well as colours: not everybody sees the latter."""
    r = 3.6
    inside = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>',
        "square": f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r}" height="{2 * r}"/>',
        "diamond": f'<path d="M{x:.1f} {y - r - 1:.1f}L{x + r + 1:.1f} {y:.1f}L{x:.1f} {y + r + 1:.1f}L{x - r - 1:.1f} {y:.1f}Z"/>',
        "triangle": f'<path d="M{x:.1f} {y - r - 1:.1f}L{x + r + 1:.1f} {y + r:.1f}L{x - r - 1:.1f} {y + r:.1f}Z"/>',
        "cross": f'<path class="stroke" d="M{x - r:.1f} {y - r:.1f}L{x + r:.1f} {y + r:.1f}M{x - r:.1f} {y + r:.1f}L{x + r:.1f} {y - r:.1f}"/>',
    }[shape]
    return f'<g class="mark {kind}"><title>{escaped(title)}</title>{inside}</g>'


def frame(title, width, height, body):
    return (f'<figure><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escaped(title)}">'
            f'{text(LEFT, 16, title, "start", "title")}{body}</svg></figure>\n')


class Plane:
    """The area between the axes: values to pixels, and the axes themselves."""

    def __init__(self, x_range, y_range, x_log=False, y_log=False, width=WIDTH, height=HEIGHT):
        self.x_range, self.y_range, self.x_log, self.y_log = x_range, y_range, x_log, y_log
        self.width, self.height = width, height

    @staticmethod
    def share(value, bounds, logarithmic):
        low, high = bounds
        if logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low) if high > low else 0.5

    def x(self, value):
        return LEFT + self.share(value, self.x_range, self.x_log) * (self.width - LEFT - RIGHT)

    def y(self, value):
        return self.height - BOTTOM - self.share(value, self.y_range, self.y_log) * (self.height - TOP - BOTTOM)

    def axes(self, x_ticks, y_ticks, x_name, y_name, y_text=lambda v: f"{v:g}"):
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        out = []
        for value in y_ticks:
            y = self.y(value)
            out.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
            out.append(text(LEFT - 6, y + 4, y_text(value), "end"))
        for value in x_ticks:
            out.append(text(self.x(value), bottom + 15, number(value)))
        out.append(f'<line x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" class="axis"/>')
        out.append(text((LEFT + right) / 2, self.height - 6, x_name))
        out.append(text(12, (TOP + bottom) / 2, y_name, turn="-90"))
        return "".join(out)


def linear_ticks(high):
    step = nice_step(high)
    return [i * step for i in range(int(high / step) + 1)]


def lines(title, series, x_name, y_name, levels=()):
    """series: [(name, kind, shape, [(x, y)], thick)]; levels: [(name, [(x, y)])], dashed, with their name at the right end.
    None in place of y breaks a line. Lengths run logarithmically, speeds from 0."""
    points = [(x, y) for _, _, _, values, _ in series for x, y in values if y is not None]
    points += [(x, y) for _, values in levels for x, y in values]
    if not points:
        return ""
    xs = sorted({x for x, _ in points})
    top = max(y for _, y in points) * 1.08
    plane = Plane((xs[0] / 1.15, xs[-1] * 1.15), (0, top), x_log=True)
    body = [plane.axes(xs, linear_ticks(top), x_name, y_name)]
    for name, values in levels:
        path = " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in values)
        body.append(f'<polyline points="{path}" class="level"/>')
        x, y = values[-1]
        body.append(text(plane.width - RIGHT, plane.y(y) - 5, name, "end", "label"))
    for name, kind, shape, values, thick in series:
        run = []
        for x, y in list(values) + [(None, None)]:
            if y is not None:
                run.append(f"{plane.x(x):.1f},{plane.y(y):.1f}")
                continue
            if len(run) > 1:
                body.append(f'<polyline points="{" ".join(run)}" class="line {kind}{" thick" if thick else ""}"/>')
            run = []
        for x, y in values:
            if y is not None:
                body.append(marker(plane.x(x), plane.y(y), shape, kind, f"{name}, {x:g}: {y:.4g} {y_name}"))
    return frame(title, plane.width, plane.height, "".join(body))


def bars(title, entries, level=None, width=WIDTH):
    """entries: [(name, kind, value or None, words)]: horizontal bars from 0; words stand behind the bar. level: (name, value)."""
    values = [value for _, _, value, _ in entries if value is not None] + ([level[1]] if level else [])
    if not values:
        return ""
    top = max(values) * 1.28
    left, row = 118, 24
    height = TOP + row * len(entries) + 22

    def x(value):
        return left + value / top * (width - left - RIGHT)

    body = []
    for index, (name, kind, value, words) in enumerate(entries):
        y = TOP + index * row
        body.append(text(left - 8, y + 16, name, "end", "tick name"))
        if value is None:
            body.append(text(left + 4, y + 16, words, "start", "tick"))
            continue
        body.append(f'<rect x="{left}" y="{y + 4}" width="{max(1, x(value) - left):.1f}" height="{row - 8}" class="bar {kind}"/>')
        body.append(text(x(value) + 6, y + 16, words, "start", "tick value"))
    if level:
        at = x(level[1])
        body.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{height - 22}" class="level"/>')
        # Centred under its line, or beside it where that would leave the picture.
        body.append(text(max(at, left), height - 8, level[0], "middle" if at - left > 60 else "start", "label"))
    return frame(title, width, height, "".join(body))


def points(title, series, x_name, y_name, levels=(), bars=()):
    """series: [(name, kind, shape, [(x, y, title)])]: x from 0, y logarithmic. levels: [(name, x)] and bars: [(name, y)], dashed
    lines upwards and across."""
    every = [(x, y) for _, _, _, values in series for x, y, _ in values if y > 0]
    if not every:
        return ""
    right = max([x for x, _ in every] + [at for _, at in levels]) * 1.06
    heights = [y for _, y in every] + [y for _, y in bars]
    low = 10 ** math.floor(math.log10(min(heights)))
    high = 10 ** math.ceil(math.log10(max(heights) * 1.0001))
    plane = Plane((0, right), (low, high), y_log=True)
    decades = [10.0 ** e for e in range(round(math.log10(low)), round(math.log10(high)) + 1)]
    body = [plane.axes(linear_ticks(right), decades, x_name, y_name, lambda v: f"{v:.0e}".replace("e-0", "e-"))]
    for index, (name, x) in enumerate(levels):
        at = plane.x(x)
        body.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{plane.height - BOTTOM}" class="level"/>')
        body.append(text(at - 4, TOP + 10 + 13 * index, name, "end", "label"))
    for index, (name, y) in enumerate(sorted(bars, key=lambda bar: bar[1])):
        at = plane.y(y)
        body.append(f'<line x1="{LEFT}" x2="{plane.width - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="level"/>')
        body.append(text(LEFT + 4, at + 11 if index == 0 and len(bars) > 1 else at - 3, name, "start", "label"))
    for name, kind, shape, values in series:
        for x, y, words in values:
            if y > 0:
                body.append(marker(plane.x(x), plane.y(y), shape, kind, f"{name}, {words}"))
    return frame(title, plane.width, plane.height, "".join(body))
