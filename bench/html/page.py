"""A peers' result as one HTML page that loads nothing: what was measured and how, charts, and every row with its ratios, those
below 1 as they are."""
import collections

import charts
from result import arm, best_peer, duration, fastest, median, peaks, ratio, right, speed, unit, why_none
from svg import escaped

STYLE = """
:root { --ink: #1b1f24; --soft: #5b6470; --rule: #d9dee4; --paper: #fff; --ours: #c2410c; --flash: #c2410c; --materialised: #8a5a44;
  --torch: #2563a8; --ort: #0b7a5c; --openvino: #7a4fb5; --jax: #8a6d00; --low: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #9aa4b0; --rule: #333a42; --paper: #15181c; --ours: #ff8a4c;
  --flash: #ff8a4c; --materialised: #c69a83; --torch: #74aef0; --ort: #4cc9a0; --openvino: #bb99f0; --jax: #d9bb45; --low: #ff8577; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2em auto; max-width: 92em; padding: 0 1.2em }
h1 { font-size: 1.5em; margin-bottom: .2em } h2 { font-size: 1.15em; margin: 2em 0 .3em }
p, ul { max-width: 62em } .soft, figcaption { color: var(--soft) }
.charts { display: flex; flex-wrap: wrap; gap: .6em 1.2em } figure { margin: 0 } svg { max-width: 100%; height: auto }
.legend span { margin-right: 1.2em; white-space: nowrap } .legend svg { vertical-align: -2px; margin-right: .3em }
.scroll { overflow-x: auto } table { border-collapse: collapse; font-size: .82em; font-variant-numeric: tabular-nums }
th, td { padding: .22em .55em; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap }
th:first-child, td:first-child, td.left { text-align: left } th { position: sticky; top: 0; background: var(--paper) }
td.low { color: var(--low); font-weight: 600 } td.none { color: var(--soft) } tr.head td { font-weight: 600; padding-top: 1em }
text { font: 11px system-ui, sans-serif; fill: var(--soft) } text.title { font-size: 13px; font-weight: 600; fill: var(--ink) }
text.name, text.value { fill: var(--ink) } text.label { font-style: italic }
.grid { stroke: var(--rule); stroke-width: 1 } .axis { stroke: var(--soft) } .level { stroke: var(--soft); stroke-width: 1.4; stroke-dasharray: 5 4; fill: none }
.line { fill: none; stroke-width: 1.5 } .line.thick { stroke-width: 3 } .line.flash { stroke-dasharray: 2 3 } .line.materialised { stroke-dasharray: 6 3 }
.mark .stroke { fill: none; stroke-width: 2 }
"""
COLOURS = "".join(f".mark.{k} *, .bar.{k} {{ fill: var(--{k}) }} .line.{k}, .mark.{k} .stroke {{ stroke: var(--{k}); }}\n"
                  for k in ("ours", "flash", "materialised", "torch", "ort", "openvino", "jax"))
GROUPS = {"prefill": "All queries at once", "grouped": "Grouped heads", "decode": "One query against a cache",
          "small": "Small shapes", "avx2": "Everybody held to AVX2"}


def cell(words, kind="", title=""):
    attributes = (f' class="{kind}"' if kind else "") + (f' title="{escaped(title)}"' if title else "")
    return f"<td{attributes}>{escaped(words)}</td>"


def ratio_cell(row, entry):
    found = ratio(row, entry)
    if found is None:
        reason = why_none(entry) if not right(entry) else f"ours: {why_none(arm(row))}"
        return cell("wrong" if entry and entry.get("check") not in (None, "ok") else "–", "none", reason)
    mark = "" if entry.get("held", True) else " *"
    words = f"{entry['path']}, {entry['layout']}; median {duration(median(entry))}, min {duration(fastest(entry))}, {len(entry['samples_ns'])} calls, error {entry['rel_err']:.2g}; ratio of the fastest calls {ratio(row, entry, fastest):.2f}"
    return cell(f"{found:.2f}{mark}", "low" if found < 1 else "", words)


def ours_cells(row):
    """Speed, and behind the peers: share of the roofline, error, median, fastest, calls, the other arms' speeds."""
    mine = arm(row)
    others = "; ".join(f"{name} {speed(row, arm(row, name)):.3g}" for name in ("flash", "materialised", "[B,S,H,D]") if right(arm(row, name)))
    if not right(mine):
        return cell(why_none(mine)[:60], "none", why_none(mine)), cell("–", "none") * 5 + cell(others or "–", "none")
    top = max(peaks(row), key=lambda peak: peak[1], default=None)
    share = cell(f"{100 * speed(row, mine) / top[1]:.0f} %", title=f"of {top[0]}, {top[1]:.4g} {unit(row)}") if top else cell("–", "none")
    return (cell(f"{speed(row, mine):.4g} {unit(row)}", title=mine.get("note", "")),
            share + cell(f"{mine['rel_err']:.1e}") + cell(duration(median(mine))) + cell(duration(fastest(mine)))
            + cell(len(mine["samples_ns"])) + cell(others or "–", "left" if others else "none"))


def table(result):
    names = [name for name, _, _ in charts.PEERS]
    heads = ["problem", "threads", "ours"] + names + ["best peer", "of roofline", "error", "median", "min", "calls", "our other arms"]
    out = '<div class="scroll"><table><tr>' + "".join(f"<th>{escaped(h)}</th>" for h in heads) + "</tr>\n"
    for group, title in GROUPS.items():
        rows = [row for row in result["rows"] if row["group"] == group]
        if rows:
            out += f'<tr class="head"><td colspan="{len(heads)}">{escaped(title)}</td></tr>\n'
        for row in rows:
            first, rest = ours_cells(row)
            best = best_peer(row)
            found = ratio(row, best)
            out += ("<tr>" + cell(row["problem"]) + cell(row["threads"]) + first
                    + "".join(ratio_cell(row, charts.entry_of(row, name)) for name in names)
                    + cell(f"{found:.2f} {best['peer']}" if found else "–", "low" if found and found < 1 else "" if found else "none")
                    + rest + "</tr>\n")
    return out + "</table></div>\n"


def missing(result):
    """Every reason for which somebody has no figure, once."""
    reasons = collections.Counter()
    for row in result["rows"]:
        for entry in row["peers"]:
            if not right(entry):
                reasons[entry["peer"], why_none(entry)] += 1
        for entry in row["ours"]:
            if not right(entry):
                reasons[f"sage-engine ({entry['arm']})", why_none(entry)] += 1
    for name, peer in result["peers"].items():
        if "missing" in peer and not any(who == name for who, _ in reasons):
            reasons[name, peer["missing"]] = len(result["rows"])
    items = "".join(f"<li><b>{escaped(who)}</b>, {count} row{'s' * (count > 1)}: {escaped(why)}</li>" for (who, why), count in sorted(reasons.items()))
    return f"<ul>{items}</ul>\n" if items else "<p>Nobody is missing anywhere.</p>\n"


def noisy(result):
    """Rows whose every figure is to be doubted: the median of ours is well above its fastest call."""
    rows = [row for row in result["rows"] if right(arm(row))]
    return sum(median(arm(row)) > 1.25 * fastest(arm(row)) for row in rows), len(rows)


def others(result):
    """What other processes had of the cores that were measured on: the median and the worst row."""
    shares = sorted(row["others"] for row in result["rows"] if row.get("others") is not None)
    return f"other processes had {100 * shares[len(shares) // 2]:.0f} % of the measured cores, {100 * shares[-1]:.0f} % in the worst row; " if shares else ""


def machine(result):
    m, s = result["machine"], result["settings"]
    versions = ", ".join(f"{name} {', '.join(f'{v}' for v in list(peer['versions'].values())[:1])}" if "versions" in peer else f"{name} (missing)"
                         for name, peer in result["peers"].items())
    lines = [row["roofline"] for row in result["rows"] if row["roofline"]]
    peak = f"{max(line['fma_gflops'] for line in lines):.0f} GFLOP/s of fp32 multiply-adds a core" if lines else "no roofline measured"
    return (f"<p>{escaped(m.get('processor', ''))}, {escaped(m.get('processors', ''))} processors, {escaped(peak)}; {escaped(m.get('date', ''))}; "
            f"commit {escaped(result['commit'])}; load {m.get('load', [0])[0]:.2f} before, {m.get('load_after', [0])[0]:.2f} after; "
            f"{s.get('steal_ticks', 0) / 100:.1f} s stolen by the host in {s.get('seconds', 0)} s; {others(result)}in {noisy(result)[0]} "
            f"of {noisy(result)[1]} rows our median is more than a quarter above our fastest call: noise. Beside it: {escaped(versions)}.</p>\n")


def page(result):
    def section(title, words, body):
        return f'<h2>{escaped(title)}</h2>\n<p class="soft">{escaped(words)}</p>\n<div class="charts">{body}</div>\n' if body else ""

    legend = charts.legend(result)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>Attention beside its peers</title>\n<style>{STYLE}{COLOURS}</style>\n<h1>Attention beside its peers</h1>\n{machine(result)}"
        "<p>Ours and each peer ran in turn, pinned to the same cores with the same threads, one at a time; every answer was checked against "
        "float64 in the same run, and what was wrong or not done has no figure. A ratio is the peer's median over ours: above 1 we are faster, "
        "below 1 it is. Causal counts half for everybody. Hold the pointer over a mark or a ratio for its details.</p>\n"
        f"{legend}"
        + section("Speed over sequence length", "Long sequences have fewer heads; compare contenders within a length.", charts.by_length(result))
        + section("Decoding", "One query a head against the whole cache: bytes of K and V a second, beside a plain read of as many bytes by as many threads.",
                  charts.decoding(result))
        + section("Small shapes", "Median of one call, of what the SAGE graphs ask for. The peers are called from Python, whose own call is part of their time; ours is called from C.",
                  charts.small(result))
        + section("Scaling over threads", "Median on one thread over median on more.", charts.scaling(result))
        + section("Error against speed", "Every problem of one thread; lower is more exact, further right is faster.", charts.accuracy(result))
        + f'<h2>Every row</h2>\n<p class="soft">Peers: ratios. * = that peer has no switch that holds it to the instruction set; it is not counted as best.</p>\n{table(result)}'
        + f"<h2>Who has no figure, and why</h2>\n{missing(result)}</html>\n")
