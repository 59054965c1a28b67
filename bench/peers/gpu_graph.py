"""The model of bench/run --gpu's latency: from a context to the eight experts it looks at most, as one op graph: a
projection, 12 query heads over 4 of 64 against 128 keys, the mean of the heads' weights, the eight largest. And its
answer in float64. Runs nothing but numpy."""

import json
import math
import pathlib

import numpy

WIDTH, HEADS, GROUPS, DIM, EXPERTS, BEST = 768, 12, 4, 64, 128, 8
RELATIVE = 1e-4  # of the weights of the best, in f32


def tensor(name, shape, offset):
    return {
        "name": name,
        "dtype": "F32",
        "shape": [{"size": n} for n in shape],
        "weight": {"file": "weights.raw", "offset": offset},
    }


def make(folder, seed):
    """Writes model.json and its weights; returns ({"model", "folder", "input"}, indices, values): the order's part
    and the right answer."""
    folder = pathlib.Path(folder)
    draw = numpy.random.default_rng(seed)
    context = draw.standard_normal(WIDTH, dtype=numpy.float32)
    project = (draw.standard_normal((WIDTH, WIDTH)) / math.sqrt(WIDTH)).astype(numpy.float32)
    keys, values = (draw.standard_normal((1, GROUPS, EXPERTS, DIM), dtype=numpy.float32) for _ in range(2))
    with open(folder / "weights.raw", "wb") as file:
        for array in (project, keys, values):
            file.write(array.tobytes())
    sizes = [a.nbytes for a in (project, keys, values)]
    fixed = lambda *shape: [{"size": n} for n in shape]  # noqa: E731
    graph = {
        "tensors": [
            {"name": "context", "dtype": "F32", "shape": fixed(1, WIDTH)},
            tensor("project", project.shape, 0),
            tensor("keys", keys.shape, sizes[0]),
            tensor("experts", values.shape, sizes[0] + sizes[1]),
        ],
        "nodes": [
            {"name": "query", "op_type": "Linear", "op": {"x": "context", "weight": "project", "out": "q"}},
            {
                "name": "heads",
                "op_type": "Reshape",
                "op": {"x": "q", "out": "split", "shape": fixed(1, HEADS, 1, DIM)},
            },
            {
                "name": "attend",
                "op_type": "Attention",
                "op": {"q": "split", "k": "keys", "v": "experts", "out": "mixed", "weights": "p"},
            },
            {"name": "mean", "op_type": "Reduce", "op": {"x": "p", "out": "trust", "function": "MEAN", "axes": [1]}},
            {
                "name": "best",
                "op_type": "TopK",
                "op": {"x": "trust", "values": "top", "indices": "experts_of_it", "k": BEST},
            },
        ],
        "inputs": ["context"],
        "outputs": ["top", "experts_of_it"],
    }
    model = {
        "name": "context-to-experts",
        "weight_files": [{"path": "weights.raw", "format": "RAW", "size": sum(sizes)}],
        "graph_type": "OpGraph",
        "graph": graph,
    }
    (folder / "model.json").write_text(json.dumps(model))
    indices, best = expected(context, project, keys)
    return (
        {"model": str(folder / "model.json"), "folder": str(folder), "input": [float(x) for x in context]},
        indices,
        best,
    )


def expected(context, project, keys):
    q = (project.astype(numpy.float64) @ context.astype(numpy.float64)).reshape(HEADS, DIM)
    scores = numpy.stack(
        [keys[0, h // (HEADS // GROUPS)].astype(numpy.float64) @ q[h] for h in range(HEADS)]
    ) / math.sqrt(DIM)
    weights = numpy.exp(scores - scores.max(axis=1, keepdims=True))
    mean = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    order = numpy.argsort(-mean, kind="stable")[:BEST]
    return [int(i) for i in order], mean[order]


def judge(answer, indices, values):
    """ "ok" or what is wrong with the answer to the order "graph"."""
    if answer.get("indices") != indices:
        return f"experts {answer.get('indices')}, expected {indices}"
    off = max(abs(got / wanted - 1) for got, wanted in zip(answer["values"], values))
    return "ok" if off <= RELATIVE else f"weights are off by {off:.1e} of themselves, at most {RELATIVE:.0e}"
