"""README's table of a result of bench/run --gpu: the rows that the grid marks for it. Standard library only."""

from gpu_result import arm, best_peer, copy_gbps, device, gemms, misses, ratio, share, speed, unit
from result import right, why_none


def gpu_table(result, file_name):
    """Markdown lines. A row with a wrong answer on either side says so and has no ratio."""
    versions = [f"{name} {version}" for name, version in result["peers"].get("torch", {}).get("versions", {}).items()]
    beside = ", ".join(versions) or f"torch (missing: {result['peers'].get('torch', {}).get('missing', 'not asked')})"
    line = [f"a copy {copy_gbps(result):.0f} GB/s"] if copy_gbps(result) else []
    line += [f"a bf16 GEMM {found:.0f} TFLOP/s ({who})" for who, found in gemms(result)]
    found = misses(result)
    lines = [
        (
            f"On {device(result).get('name', 'an unknown device')}, beside {beside}:"
            f" {result['machine'].get('date', '')}, commit {result['commit']}; in the same run"
            f" {', '.join(line) or 'no roofline'}. Medians on the device by CUDA events, in turn, every answer checked"
            " against float64 before; the ratio is the best of torch's backends over ours, below 1 as it is."
        ),
        "",
        "| problem | ours | best of torch | its | ratio | of roofline |",
        "|---|--:|---|--:|--:|--:|",
    ]
    for row in result["rows"]:
        if not row.get("readme"):
            continue
        mine, best = arm(row), best_peer(row)
        over, of = ratio(row, best) if best else None, share(result, row, mine)
        own = f"{speed(row, mine):.3g} {unit(row)}" if right(mine) else why_none(mine)
        lines.append(
            f"| `{row['problem']}` | {own} | {best['arm'] if best else '-'} |"
            f" {f'{speed(row, best):.3g}' if best else '-'} | {f'{over:.2f}' if over else '-'} |"
            f" {f'{100 * of:.0f} %' if of else '-'} |"
        )
    lines += ["", f"Bars missed: {len(found) or 'none'}. Every row, every sample: `{file_name}`."]
    return lines
