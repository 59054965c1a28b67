"""How far an answer is from the one in float64: the four figures of docs/benchmarks.md, over all checked rows of all heads
together, and those of the worst head. It runs nothing but numpy."""
import numpy

# The least that an answer to the problem has; the bars of a mode are stricter, and another matter (int8_result.py).
LEAST_COSINE = {"fp32": 1 - 1e-8, "bf16": 0.99}
LEAST_COSINE_OF_8_BITS = 0.9
# Answers in 8 bits are not this exact: one that is was not computed so.
FLOATS_REACH = 1e-5


def figures(got, expected):
    """{"cosine", "rel_l1", "rmse", "max_abs"} of two arrays of one shape; expected is not all zero."""
    got, expected = got.astype(numpy.float64).ravel(), expected.ravel()
    off = numpy.abs(got - expected)
    lengths = numpy.linalg.norm(got) * numpy.linalg.norm(expected)
    return {"cosine": float(got @ expected / lengths) if lengths > 0 else 0.0,
            "rel_l1": float(off.sum() / numpy.abs(expected).sum()),
            "rmse": float(numpy.sqrt((off * off).mean())), "max_abs": float(off.max())}


def judge(name, problem, got, expected, rows):
    """{"check": "ok" or what is wrong, "accuracy": figures or None} of an output [B,Hq,Sq,D]; expected has `rows` of it."""
    if tuple(got.shape) != (problem.b, problem.hq, problem.sq, problem.d):
        return {"check": f"output of shape {tuple(got.shape)}", "accuracy": None}
    sample = got[:, :, rows, :]
    if not numpy.isfinite(sample).all():
        return {"check": "output is not finite", "accuracy": None}
    found = figures(sample, expected) | {"rows": len(rows)}
    heads = [figures(sample[b, h], expected[b, h]) for b in range(problem.b) for h in range(problem.hq)]
    found["worst_head"] = {"cosine": min(head["cosine"] for head in heads), "rel_l1": max(head["rel_l1"] for head in heads)}
    least = LEAST_COSINE.get(name, LEAST_COSINE_OF_8_BITS)
    if found["cosine"] < least:
        return {"check": f"cosine {found['cosine']:.6g}, at least {least:.9g}", "accuracy": found}
    if name not in LEAST_COSINE and found["rel_l1"] < FLOATS_REACH:
        return {"check": f"as exact as floats are (relative L1 {found['rel_l1']:.1e}): it was not computed in 8 bits", "accuracy": found}
    return {"check": "ok", "accuracy": found}
