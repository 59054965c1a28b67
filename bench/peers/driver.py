"""The loop that every peer's driver runs: orders as JSON lines on stdin, one JSON line back for each.

  {"do": "prepare", "problem": "...", "seed": N, "threads": N}   -> {"ok", "path", "layout"} or {"ok": false, "why"}
  {"do": "time", "seconds": S, "least": N, "most": N, "cap": S, "warmup": N}  -> {"samples_ns"}, a call each
  {"do": "output", "file": "x.npy"}                              -> one more call, its output as [B, H, S, D] float32
  {"do": "forget"}                                               -> gives the problem's memory back

A peer is a class with name, versions(), settings(), and prepare(problem, q, k, v, threads), which returns a Prepared or
raises Missing with the reason. Between orders the process sleeps in read(); whoever measures also stops it by signal.
"""
import dataclasses
import gc
import json
import os
import sys
import time
import typing

import numpy

import problem as problems


class Missing(Exception):
    """The peer does not do this problem; the text says why."""


@dataclasses.dataclass
class Prepared:
    run: typing.Callable[[], object]     # one call, finished when it returns
    output: typing.Callable[[], object]  # one call, its result as numpy [B, H, S, D] float32
    path: str                            # what was asked of the peer: the op, the kernel that was insisted on
    layout: str
    # Undoes what calls leave behind: run before a series of calls and, between timed ones, after every so many.
    reset: typing.Callable[[], object] = lambda: None
    reset_every: int = 0  # 0 = never within a series


def measure(run, seconds, least, most, cap, warmup, reset=lambda: None, reset_every=0):
    """Nanoseconds of each call: `seconds` long and at least `least` calls, at most `most`; after `cap` seconds two
    do. `warmup` calls come first and are not counted."""
    reset()
    for _ in range(warmup):
        run()
    samples, begin = [], time.perf_counter_ns()
    while True:
        if reset_every and samples and len(samples) % reset_every == 0:
            reset()
        start = time.perf_counter_ns()
        run()
        end = time.perf_counter_ns()
        samples.append(end - start)
        spent = (end - begin) / 1e9
        if (spent >= seconds and len(samples) >= least) or len(samples) >= most or (spent >= cap and len(samples) >= 2):
            return samples


def answer(peer, order, state):
    if order["do"] == "prepare":
        state.clear()
        gc.collect()
        p = problems.parse(order["problem"])
        try:
            state["now"] = peer.prepare(p, *problems.inputs(p, order["seed"]), order["threads"])
            state["now"].run()
        except Missing as missing:
            return {"ok": False, "why": str(missing)}
        return {"ok": True, "path": state["now"].path, "layout": state["now"].layout}
    if order["do"] == "time":
        now, bounds = state["now"], [order[key] for key in ("seconds", "least", "most", "cap", "warmup")]
        return {"samples_ns": measure(now.run, *bounds, now.reset, now.reset_every)}
    if order["do"] == "output":
        state["now"].reset()
        numpy.save(order["file"], numpy.asarray(state["now"].output(), dtype=numpy.float32))
        return {"ok": True}
    if order["do"] == "forget":
        state.clear()
        gc.collect()
        return {"ok": True}
    raise ValueError(f"unknown order {order['do']!r}")


def serve(make_peer):
    """make_peer() imports the library, so that an import that fails is an answer and not a crash."""
    state = {}

    def answer_of(peer, order):
        try:
            return answer(peer, order, state)
        except Exception:
            state.clear()
            raise

    def hello(peer):
        return {"peer": peer.name, "versions": peer.versions(), "settings": peer.settings()}

    serve_orders(make_peer, hello, answer_of)


def serve_orders(make_peer, hello, answer_of):
    """The loop itself, for peers with orders of their own (torch_gpu.py): hello(peer) is said at the start,
    answer_of(peer, order) to each line; what raises is answered with its words."""
    # Libraries print to stdout as they like; the answers go out by a copy of it that they do not know.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(message):
        out.write(json.dumps(message) + "\n")
        out.flush()

    try:
        peer = make_peer()
    except Exception as error:
        say({"missing": f"{type(error).__name__}: {error}"[:400]})
        return
    say(hello(peer))
    for line in sys.stdin:
        try:
            say(answer_of(peer, json.loads(line)))
        except Exception as error:
            say({"ok": False, "why": f"{type(error).__name__}: {error}"[:400].replace("\n", " ")})
