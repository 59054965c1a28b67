"""README's table of a peers' result: the rows that the grid marks for it, each with the peer that came nearest. Standard
library only."""
from result import arm, best_peer, peaks, ratio, right, speed, unit, why_none


def versions(result):
    shown = []
    for name, peer in result["peers"].items():
        first = next(iter(peer.get("versions", {}).values()), "")
        shown.append(f"{name} {first.partition('+')[0]}" if first else f"{name} (missing: {peer.get('missing', 'no reason given')})")
    return ", ".join(shown)


def peers_table(result, file_name):
    """Markdown lines. A row with a wrong answer on either side says so and has no ratio."""
    machine = result["machine"]
    lines = [
        f"Attention beside {versions(result)}: {machine['processor']}, {machine['date']}, load {machine['load'][0]:.2f} before and "
        f"{machine['load_after'][0]:.2f} after, commit {result['commit']}. Medians, in turn, pinned to the same cores, every answer checked "
        "against float64 in the same run; the ratio is the best peer's time over ours, below 1 as it is. GB/s are of K and V.",
        "",
        "| problem | threads | ours | best peer | its | ratio | of roofline |",
        "|---|--:|--:|---|--:|--:|--:|",
    ]
    for row in result["rows"]:
        if not row.get("readme"):
            continue
        mine, best = arm(row), best_peer(row)
        found = ratio(row, best)
        own = f"{speed(row, mine):.3g} {unit(row)}" if right(mine) else why_none(mine)
        held = ", AVX2" if row["isa"] == "avx2" else ""
        lines.append(f"| `{row['problem']}`{held} | {row['threads']} | {own} | {best['peer'] if best else '-'} | "
                     f"{f'{speed(row, best):.3g}' if best else '-'} | {f'{found:.2f}' if found else '-'} | {share(row, mine)} |")
    shares = sorted(row["others"] for row in result["rows"] if row.get("others") is not None)
    noise = f" Other processes had {100 * shares[len(shares) // 2]:.0f} % of the measured cores (median row)." if shares else ""
    below = [row for row in result["rows"] if (ratio(row, best_peer(row)) or 1) < 1]
    with_ratio = [row for row in result["rows"] if ratio(row, best_peer(row))]
    lines += ["", f"Of all {len(with_ratio)} rows with a ratio {len(below)} are below 1.{noise} Every row, every sample: `{file_name}`."]
    return lines


def share(row, mine):
    top = max((peak for _, peak in peaks(row)), default=None)
    return f"{100 * speed(row, mine) / top:.0f} %" if top and right(mine) else "-"
