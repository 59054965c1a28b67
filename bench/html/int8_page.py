"""A result of the int8 measurement as one HTML page that loads nothing: accuracy against speed for each distribution, the speed
over lengths, decoding from caches, which bars were missed, and every row."""
import collections

import svg
from int8_result import accuracy, accuracy_bar, accuracy_misses, counted, entry_of, middle, speed, speed_misses
from page import STYLE, cell
from result import duration, fastest, median, right, why_none
from svg import escaped

# Name in the result, what is shown, class in the style sheet, marker.
CONTENDERS = [("fp32", "our fp32", "fp32", "square"), ("bf16", "our bf16 (yardstick)", "bf16", "square"),
              ("per_tensor", "int8 per_tensor", "plain", "triangle"), ("qk8_pv16", "int8 qk8_pv16", "qk8", "diamond"),
              ("full", "int8 full", "full", "circle"), ("kv_cache", "int8 kv_cache", "full", "circle"),
              ("onnxruntime", "onnxruntime, i8 cache", "ort", "diamond"), ("openvino", "openvino, u8 cache", "openvino", "triangle"),
              ("torchao", "torchao", "torchao", "cross")]
IN_PLANE = ("bf16", "per_tensor", "qk8_pv16", "full", "torchao")
TITLES = {"normal": "iid N(0,1)", "kbias": "K channel bias", "sink": "attention sink", "vspread": "V channel spread", "all": "all together"}
COLOURS = """
.pair { display: flex; flex-wrap: wrap; gap: .6em 1.2em; margin-right: 2em }
:root { --fp32: #5b6470; --bf16: #7a4fb5; --plain: #8a6d00; --qk8: #2563a8; --full: #c2410c; --ort: #0b7a5c; --openvino: #b0327a; --torchao: #8a5a44; }
@media (prefers-color-scheme: dark) { :root { --fp32: #9aa4b0; --bf16: #bb99f0; --plain: #d9bb45; --qk8: #74aef0; --full: #ff8a4c; --ort: #4cc9a0;
  --openvino: #f08cc4; --torchao: #c69a83; } }
""" + "".join(f".mark.{k} * {{ fill: var(--{k}) }} .line.{k}, .mark.{k} .stroke {{ stroke: var(--{k}); }}\n"
              for k in ("fp32", "bf16", "plain", "qk8", "full", "ort", "openvino", "torchao"))


def shown(name):
    return next(words for own, words, _, _ in CONTENDERS if own == name)


def details(row, name):
    entry, found = entry_of(row, name), accuracy(row, name)
    return (f"{row['problem']}: {speed(row, name):.2f} times as fast as our fp32, median {duration(median(entry))}, min {duration(fastest(entry))}, "
            f"{len(entry['samples_ns'])} calls; 1-cosine {1 - found['cosine']:.1e}, relative L1 {found['rel_l1']:.2e}, RMSE {found['rmse']:.1e}, "
            f"largest error {found['max_abs']:.1e}, worst head {1 - found['worst_head']['cosine']:.1e} and {found['worst_head']['rel_l1']:.2e}")


def plane(rows, title, error, y_name, bars):
    series = []
    for name, words, kind, shape in CONTENDERS:
        if name in IN_PLANE:
            series.append((words, kind, shape, [(speed(row, name), error(accuracy(row, name)), details(row, name))
                                                for row in rows if speed(row, name) is not None]))
    return svg.points(title, series, "times as fast as our fp32", y_name, [("our fp32", 1)], bars)


def planes(result):
    (cos_qk8, l1_qk8), (cos_full, l1_full), (_, l1_small) = accuracy_bar("qk8_pv16", 64), accuracy_bar("full", 64), accuracy_bar("full", 32)
    out = ""
    for data, title in TITLES.items():
        rows = [row for row in result["rows"] if row["group"] == "square" and row["data"] == data]
        # Below 1e-9 a cosine in float64 says nothing.
        pair = plane(rows, f"{title}: cosine", lambda a: max(1 - a["cosine"], 1e-9), "1 - cosine",
                      [("most of qk8_pv16", 1 - cos_qk8), ("most of full", 1 - cos_full)])
        pair += plane(rows, f"{title}: relative L1", lambda a: a["rel_l1"], "relative L1",
                      [("most of qk8_pv16", l1_qk8), (f"most of full ({l1_small} at d 32)", l1_full)])
        out += f'<div class="pair">{pair}</div>\n' if pair else ""
    return out


def lines(rows, title, x_name, names, levels=()):
    """Times our fp32 over length; of several distributions the median."""
    lengths = sorted({row["length"] for row in rows})
    series = []
    for name, words, kind, shape in CONTENDERS:
        if name in names:
            at = {n: [found for row in rows if row["length"] == n and (found := speed(row, name)) is not None] for n in lengths}
            if any(at.values()):
                series.append((words, kind, shape, [(n, middle(at[n])) for n in lengths], name in ("full", "kv_cache")))
    return svg.lines(title, series, x_name, "times as fast as our fp32", levels) if len(lengths) > 1 else ""


def over_length(result):
    out = ""
    for d in sorted({row["d"] for row in result["rows"] if row["group"] == "square"}):
        rows = [row for row in result["rows"] if row["group"] == "square" and row["d"] == d]
        long = sorted({row["length"] for row in rows if row["length"] >= 1024})
        out += lines(rows, f"d {d}, median of the distributions", "sequence length", IN_PLANE, [("wanted of full", [(n, 2.0) for n in long])] if long else ())
    return out


def decoding(result):
    rows = [row for row in result["rows"] if row["group"] == "decode" and row["data"] == "normal"]
    names = ("fp32", "bf16", "kv_cache", "onnxruntime", "openvino")
    return lines(rows, "one query a head, 32/8 heads, d 128", "keys in the cache", names,
                 [("wanted of kv_cache", [(n, 3.5) for n in sorted({row["length"] for row in rows})])])


def misses(result):
    bars, speeds = counted(result)
    out = ""
    for words, found, count in (("accuracy", accuracy_misses(result), f"{bars} answers of qk8_pv16 and full"), ("speed", speed_misses(result), f"{speeds} ratios")):
        items = "".join(f"<li>{escaped(miss)}</li>" for miss in found)
        out += f"<p>Bars of {words}, over {escaped(count)}: {'none is missed.' if not found else f'{len(found)} missed.'}</p>\n" + (f"<ul>{items}</ul>\n" if items else "")
    return out


def figure_cells(row, name):
    entry, found = entry_of(row, name), accuracy(row, name)
    if not right(entry):
        return cell("wrong" if entry.get("check") not in (None, "ok") else "missing", "none", why_none(entry)) + cell("–", "none") * 5
    faster = speed(row, name)
    bar = accuracy_bar(name, row["d"]) if row["group"] == "square" else None
    return (cell(duration(median(entry)), title=f"{entry['path']}, {entry['layout']}; min {duration(fastest(entry))}, {len(entry['samples_ns'])} calls")
            + cell(f"{faster:.2f}" if faster else "–", "low" if faster and faster < 1 else "" if faster else "none")
            + cell(f"{1 - found['cosine']:.1e}", "low" if bar and found["cosine"] < bar[0] else "", f"worst head {1 - found['worst_head']['cosine']:.1e}")
            + cell(f"{found['rel_l1']:.2e}", "low" if bar and found["rel_l1"] > bar[1] else "", f"worst head {found['worst_head']['rel_l1']:.2e}")
            + cell(f"{found['rmse']:.1e}") + cell(f"{found['max_abs']:.1e}"))


def table(result):
    heads = ["", "median", "times our fp32", "1 - cosine", "relative L1", "RMSE", "largest error"]
    out = '<div class="scroll"><table><tr>' + "".join(f"<th>{escaped(h)}</th>" for h in heads) + "</tr>\n"
    for row in result["rows"]:
        out += f'<tr class="head"><td colspan="{len(heads)}">{escaped(row["problem"])}</td></tr>\n'
        for entry in row["contenders"]:
            out += "<tr>" + cell(shown(entry["name"])) + figure_cells(row, entry["name"]) + "</tr>\n"
    return out + "</table></div>\n"


def missing(result):
    reasons = collections.Counter((entry["name"], why_none(entry)) for row in result["rows"] for entry in row["contenders"] if not right(entry))
    items = "".join(f"<li><b>{escaped(shown(name))}</b>, {count} row{'s' * (count > 1)}: {escaped(why)}</li>" for (name, why), count in sorted(reasons.items()))
    return f"<ul>{items}</ul>\n" if items else "<p>Nobody is missing anywhere.</p>\n"


def machine(result):
    m, s = result["machine"], result["settings"]
    versions = sorted({f"{name} {version}" for peer in result["peers"].values() for name, version in peer.get("versions", {}).items()})
    shares = sorted(row["others"] for row in result["rows"] if row.get("others") is not None)
    others = f"; other processes had {100 * middle(shares):.0f} % of the measured core, {100 * shares[-1]:.0f} % in the worst row" if shares else ""
    return (f"<p>{escaped(m.get('processor', ''))}, one thread; {escaped(m.get('date', ''))}; commit {escaped(result['commit'])}; load "
            f"{m.get('load', [0])[0]:.2f} before, {m.get('load_after', [0])[0]:.2f} after; {s.get('steal_ticks', 0) / 100:.1f} s stolen by the host in "
            f"{s.get('seconds', 0)} s{others}. {escaped(', '.join(versions))}.</p>\n")


def legend(result):
    there = {entry["name"] for row in result["rows"] for entry in row["contenders"] if right(entry)}
    items = "".join(f'<span><svg width="30" height="14"><line x1="1" x2="29" y1="7" y2="7" class="line {kind}"/>{svg.marker(15, 7, shape, kind, words)}</svg>'
                    f"{escaped(words)}</span>" for name, words, kind, shape in CONTENDERS if name in there)
    return f'<p class="legend">{items}<span><svg width="24" height="14"><line x1="1" x2="23" y1="7" y2="7" class="level"/></svg>what is promised or wanted</span></p>\n'


def page(result):
    def section(title, words, body):
        return f'<h2>{escaped(title)}</h2>\n<p class="soft">{escaped(words)}</p>\n<div class="charts">{body}</div>\n' if body else ""

    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f"<title>Attention in 8 bits: accuracy against speed</title>\n<style>{STYLE}{COLOURS}</style>\n"
        f"<h1>Attention in 8 bits: accuracy against speed</h1>\n{machine(result)}"
        "<p>Our modes, our fp32 and bf16 and each peer ran in turn, pinned to the same core, one at a time, on the same arrays; every answer was "
        "compared with float64 of the f32 inputs in the same run, and what was wrong or not done has no figure. A ratio is the median of our fp32 over "
        "the contender's: above 1 it is faster. f32 tensors are quantised inside the timed call; caches and bf16 tensors were stored so before. "
        "Hold the pointer over a mark for its details.</p>\n"
        f"{legend(result)}<h2>Bars</h2>\n{misses(result)}"
        + section("Accuracy against speed", "Head dimensions 32, 64, 128 and lengths 128, 1024, 4096 of each distribution; lower is more exact, further right is "
                  "faster. A mark above the dashed line of its own mode breaks a promise.", planes(result))
        + section("Speed over sequence length", "Beside our fp32 in the same rounds; what the data are does not matter to the time, so the median of the five.", over_length(result))
        + section("Decoding from a cache", "f32, bf16 and 8-bit caches of the same keys.", decoding(result))
        + f'<h2>Every row</h2>\n<p class="soft">Marked: slower than our fp32, or past the bar of its mode.</p>\n{table(result)}'
        + f"<h2>Who has no figure, and why</h2>\n{missing(result)}</html>\n")
