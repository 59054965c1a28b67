"""The scenarios of tests/vectors/README.md in Python: callbacks, threads, orders of closing. Each gives its lines."""

from __future__ import annotations

import itertools
import json
import os
import threading
from typing import Any, Callable, List

import numpy as np

import sage_engine as sage

TICK = {"ts": 1, "targets": [{"id": "door", "salience": 0.9}]}


def problem(dtype: Any = np.float32, heads: int = 1, seq: int = 4, dim: int = 8) -> sage.AttentionOp:
    return sage.AttentionOp(*(np.zeros((1, heads, seq, dim), dtype) for _ in range(4)))


def versions(_case: Any) -> List[str]:
    assert sage.build_info()
    abi = sage.abi_version()
    return [f"abi {abi >> 16}.{abi & 0xFFFF} version {sage.version()}"]


def status_names(_case: Any) -> List[str]:
    return [" ".join(sage.status_name(status) for status in range(16))]


def backends(_case: Any) -> List[str]:
    with sage.Engine() as engine:
        described = json.dumps(engine.describe())
        return [" ".join(["backends", *(name for name in engine.backends() if name in described)])]


def free_orders(case: Any) -> List[str]:
    good = 0
    for order in itertools.permutations(range(3)):
        engine = sage.Engine()
        model = engine.model(os.path.join(case.folder, "metabolic.fbs"))
        session = model.session()
        good += close_in_order(
            order,
            [
                (engine, lambda: bool(engine.backends())),
                (model, lambda: model.kind == sage.ModelKind.METABOLIC),
                (session, lambda: bool(session.tick(TICK))),
            ],
        )
        op = problem()
        other = sage.Engine()
        plan = other.plan(op)
        context = plan.context()
        good += close_in_order(
            order,
            [
                (other, lambda: bool(other.backends())),
                (plan, lambda: bool(plan.backend)),
                (context, lambda: context.run(op) is None),
            ],
        )
    return [f"free_orders {good}"]


def close_in_order(order: Any, items: List[Any]) -> bool:
    good = True
    for place in order:
        good = good and all(use() for item, use in items if not item.closed)
        items[place][0].close()
    return good


def closed(case: Any) -> List[str]:
    engine, op = sage.Engine(), problem()
    plan = engine.plan(op)
    context = plan.context()
    model = engine.model(os.path.join(case.folder, "metabolic.fbs"))
    session = model.session()
    for item in (engine, plan, context, model, session):
        item.close()
        item.close()
    uses: List[Callable[[], Any]] = [engine.backends, plan.context, lambda: context.run(op), model.session, session.run]
    refused = 0
    for use in uses:
        try:
            use()
        except sage.ClosedError:
            refused += 1
    return [f"closed {refused}"]


def refuse_plugin(case: Any, log: Callable[[int, str], Any]) -> str:
    with sage.Engine(log=log) as engine:
        try:
            engine.load_plugin(case.plugin)
        except sage.SageError as error:
            return error.status_name
    return "SAGE_OK"


def log(case: Any) -> List[str]:
    lines: List[str] = []
    refuse_plugin(case, lambda _level, text: lines.append(text))
    return ["log called" if lines else "log silent"]


def log_throws(case: Any) -> List[str]:
    def throw(_level: int, _text: str) -> None:
        raise ValueError("thrown by a log callback")

    return [f"log_throws {refuse_plugin(case, throw)}"]


def cancel_callback(_case: Any) -> List[str]:
    return [f"cancel_callback {cancelled_by(lambda: True)}"]


def cancel_throws(_case: Any) -> List[str]:
    def throw() -> None:
        raise ZeroDivisionError("thrown by a cancel callback")

    return [f"cancel_throws {cancelled_by(throw)}"]


def cancelled_by(cancel: Callable[[], Any]) -> str:
    op = problem(seq=64)
    with sage.Engine() as engine, engine.plan(op, sage.Options(cancel=cancel)) as plan, plan.context() as context:
        try:
            context.run(op)
        except sage.SageError as error:
            return error.status_name
        except ZeroDivisionError as error:  # the callback's own, raised while the library's was handled
            assert isinstance(error.__context__, sage.SageError)
            return error.__context__.status_name
    return "SAGE_OK"


def cancel_thread(_case: Any) -> List[str]:
    op, done = problem(np.float64, 4, 2048, 64), threading.Event()
    with sage.Engine() as engine, engine.plan(op, {"backend": "reference"}) as plan, plan.context() as context:

        def cancel() -> None:
            while not done.wait(0.001):
                context.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        status = "SAGE_OK"
        try:
            context.run(op)
        except sage.SageError as error:
            status = error.status_name
        finally:
            done.set()
            thread.join()
    return [f"cancel_thread {status}"]


def refused_file(scenario: str, path: str, call: Callable[[], Any]) -> List[str]:
    try:
        call()
    except sage.SageError as error:
        return [f"{scenario} {error.status_name} {'named' if path in str(error) else 'not named'}"]
    return [f"{scenario} SAGE_OK not named"]


def wrong_major(case: Any) -> List[str]:
    with sage.Engine() as engine:
        return refused_file("wrong_major", case.plugin, lambda: engine.load_plugin(case.plugin))


def missing_model(case: Any) -> List[str]:
    path = os.path.join(case.folder, "missing.fbs")
    with sage.Engine() as engine:
        return refused_file("missing_model", path, lambda: engine.model(path))


def native(_case: Any) -> List[str]:
    from conformance import hashed

    n = np.arange(2 * 33 * 16)
    q, k, v = ((((n * by) % 31 - 15) / 8).astype(np.float32).reshape(1, 2, 33, 16) for by in (7, 5, 3))
    results = []
    for threads in (1, 2):
        with sage.Engine(threads=threads) as engine:
            results.append(engine.attention(q, k, v, causal=sage.Align.TOP_LEFT).tobytes())
    return [f"native {hashed(results[0])}", "threads equal" if results[0] == results[1] else "threads differ"]


def zero_copy(case: Any) -> List[str]:
    with sage.Engine() as engine, engine.model(os.path.join(case.folder, "op_graph.fbs")) as model:
        with model.session({"trace": True}) as session:
            for index, shape in enumerate(((1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))):
                session.bind_input(index, np.zeros(shape, np.float32))
            session.bind_output(0, np.zeros((1, 2, 3, 4), np.float32))
            session.run()
            session.run()
            text = json.dumps(session.trace())
    counter = text[text.index('"bytes_copied": ') + len('"bytes_copied": ') :]
    return [f"zero_copy {int(counter.split(',')[0].rstrip('}'))}"]


def denormals(_case: Any) -> List[str]:
    kept = np.float32(1e-39) * np.float32(0.5) != 0 and 5e-324 != 0 and 1e-320 * 0.5 != 0
    return ["denormals kept" if kept else "denormals lost"]
