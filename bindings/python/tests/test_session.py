"""Models and sessions: runs on copies and in place, ticks and their errors, state, names and indices."""

from __future__ import annotations

import json
import math
import pathlib
import types
import unittest
from typing import Any

import numpy as np

import sage_engine as sage
from support import Producer, causal_mask, model_file, normal, softmax_attention

METABOLIC = {"ts": 1, "targets": [{"id": "door", "salience": 0.9}, {"id": "lamp", "salience": 0.6}]}


class Case(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = sage.Engine()
        self.addCleanup(self.engine.close)

    def session(self, name: str, options: Any = None) -> sage.Session:
        model = self.engine.model(model_file(name))
        session = model.session(options)
        self.addCleanup(session.close)
        self.addCleanup(model.close)
        return session


class Models(Case):
    def test_a_file_and_its_bytes(self) -> None:
        path = pathlib.Path(model_file("op_graph.fbs"))
        data = path.read_bytes()
        for source in (path, str(path), data, bytearray(data), memoryview(data)):
            with self.engine.model(source) as model:
                self.assertEqual(model.kind, sage.ModelKind.OP_GRAPH)
                self.assertEqual([info.dtype for info in model.inputs], [sage.Dtype.F32] * 3)
                self.assertEqual(model.inputs[1].shape[-1], 4)
                self.assertEqual(len(model.outputs), 1)
            self.assertIs(self.engine.check(source)["valid"], True)
        for name, kind in (("metabolic", "METABOLIC"), ("expert", "EXPERT"), ("fusion", "FUSION")):
            self.assertEqual(self.engine.model(model_file(f"{name}.fbs")).kind, sage.ModelKind[kind])

    def test_what_is_wrong_with_a_file(self) -> None:
        missing = model_file("missing.fbs")
        with self.assertRaises(FileNotFoundError) as caught:
            self.engine.model(missing)
        self.assertIsInstance(caught.exception, sage.NotFoundError)
        self.assertIn(missing, str(caught.exception))
        damaged = model_file("damaged.fbs")
        for source in (damaged, pathlib.Path(damaged).read_bytes()):
            with self.assertRaises(sage.BadDataError):
                self.engine.model(source)
            self.assertIs(self.engine.check(source)["valid"], False)
        for source in (b"", b"short"):
            with self.assertRaises(sage.SageError):
                self.engine.model(source)
        with self.assertRaises(sage.InvalidArgumentError):
            self.engine.model("a\0b")
        with self.assertRaises(TypeError):
            self.engine.model(5)  # type: ignore[arg-type]


class Runs(Case):
    SHAPES = ((1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))

    def test_inputs_by_name_and_index(self) -> None:
        session = self.session("op_graph.fbs")
        with self.engine.model(model_file("op_graph.fbs")) as model:
            names, result = [info.name for info in model.inputs], model.outputs[0].name
        data = [normal(shape, seed) for seed, shape in enumerate(self.SHAPES)]
        session.run(dict(zip(names, data)))
        first = session.output(result)
        self.assertEqual(session.output_info(0), sage.TensorInfo(result, sage.Dtype.F32, first.shape))
        for index, array in enumerate(data):
            session.set_input(index, array)
        session.run()
        np.testing.assert_array_equal(session.output(0), first)
        np.testing.assert_array_equal(session.outputs()[result], first)
        out = np.zeros_like(first)
        self.assertIs(session.output(0, out), out)
        np.testing.assert_array_equal(out, first)

    def test_nothing_is_copied_at_the_border_of_bound_memory(self) -> None:
        session = self.session("op_graph.fbs", sage.Options(trace=True))
        data, out = [normal(shape, seed) for seed, shape in enumerate(self.SHAPES)], np.zeros((1, 2, 3, 4), np.float32)
        for index, array in enumerate(data):
            session.bind_input(index, array)
        session.bind_output(0, out)
        session.run()
        first = out.copy()
        data[2] *= 2  # in place: the session sees it
        session.run()
        np.testing.assert_allclose(out, 2 * first, rtol=1e-6)
        text = json.dumps(session.trace())
        self.assertIn('"bytes_copied": 0', text)
        self.assertIn("traceEvents", text)
        self.assertIn("nodes", session.explain())
        turned = np.ascontiguousarray(data[1].swapaxes(2, 3)).swapaxes(2, 3)
        try:  # strides: used as they are, or refused, never copied
            session.bind_input(1, turned)
            session.run()
            np.testing.assert_allclose(out, 2 * first, rtol=1e-5)
            self.assertIn('"bytes_copied": 0', json.dumps(session.trace()))
        except sage.UnsupportedError:
            pass
        session.bind_input(1, None)
        session.set_input(1, data[1])
        session.bind_output(0, None)
        session.run()
        np.testing.assert_allclose(session.output(0), 2 * first, rtol=1e-5)

    def test_a_cache_is_not_appended_to_where_it_is_read_only(self) -> None:
        session = self.session("cache.fbs")
        token, used, cache = np.full((1, 1, 1, 4), 7, np.float32), np.array([2], np.int32), normal((1, 1, 8, 4), 1)
        kept = cache.copy()
        cache.flags.writeable = token.flags.writeable = used.flags.writeable = False
        turned = np.broadcast_to(normal((1, 1, 4, 8), 2), (1, 1, 4, 8)).swapaxes(2, 3)
        for lent in (cache, turned, Producer(kept, 2, 32, versioned=True, flags=1)):
            with self.assertRaisesRegex(
                sage.InvalidArgumentError,
                'input 2 "v": the memory given is read-only, and node "attention" appends to it',
            ):
                session.bind_input("v", lent)
        k, v, out = kept.copy(), kept.copy(), np.zeros_like(token)
        for name, data in (("q", token), ("k", k), ("v", v), ("new", token), ("used", used)):
            session.bind_input(name, data)
        with self.assertRaisesRegex(sage.InvalidArgumentError, 'output 0 "y": is written, .* read-only'):
            session.bind_output(0, token)
        session.bind_output(0, out)
        session.run()
        for written in (k, v):
            np.testing.assert_array_equal(written[0, 0, 2], token[0, 0, 0])
            written[0, 0, 2] = kept[0, 0, 2]
            np.testing.assert_array_equal(written, kept)
        np.testing.assert_array_equal(cache, kept)

    def test_what_does_not_fit_is_refused(self) -> None:
        session = self.session("op_graph.fbs")
        q = normal(self.SHAPES[0], 1)
        for call, kind, words in (
            (session.run, sage.InvalidArgumentError, ""),
            (lambda: session.set_input(0, q.astype(np.float64)), sage.InvalidArgumentError, ""),
            (lambda: session.set_input(0, q[0]), sage.InvalidArgumentError, ""),
            (lambda: session.set_input(0, q[..., ::2]), sage.ArrayError, "row-major"),
            (lambda: session.set_input(0, None), sage.ArrayError, "input 0 is None"),
            (lambda: session.set_input(9, q), sage.SageError, ""),
            (lambda: session.set_input(-1, q), sage.InvalidArgumentError, "input is -1"),
            (lambda: session.set_input("nobody", q), LookupError, "no input 'nobody'; it has "),
            (lambda: session.set_input(1.5, q), sage.InvalidArgumentError, "whole number"),
            (lambda: session.bind_output(0, b"abc"), sage.InvalidArgumentError, "read-only"),
            (lambda: session.bind_input(0, sage.Tensor.describe(q.shape, "f32")), sage.ArrayError, "no memory"),
            (lambda: session.output(7), sage.SageError, ""),
            (lambda: session.tick({"ts": 1}), NotImplementedError, ""),
        ):
            with self.assertRaisesRegex(kind, words):
                call()
        for index, shape in enumerate(self.SHAPES):
            session.set_input(index, normal(shape, index))
        session.run()
        for out, kind in (
            (np.zeros((1, 2, 3, 5), np.float32), sage.ShapeError),
            (np.zeros((1, 2, 3, 4)), sage.ArrayError),
            (np.zeros((1, 2, 3, 8), np.float32)[..., ::2], sage.ArrayError),
        ):
            with self.assertRaises(kind):
                session.output(0, out)

    def test_zero_rows(self) -> None:
        session = self.session("op_graph.fbs")
        try:
            session.run({0: np.zeros((1, 2, 0, 4), np.float32), 1: normal((1, 1, 5, 4), 1), 2: normal((1, 1, 5, 4), 2)})
            self.assertEqual(session.output(0).size, 0)
        except sage.SageError as error:  # a model may ask for at least one
            self.assertEqual(error.status, sage.Status.INVALID_ARGUMENT)


class Ticks(Case):
    def test_the_five_states(self) -> None:
        session = self.session("metabolic.fbs")
        for number, state in enumerate(sage.MetabolicState):
            decision = session.tick({**METABOLIC, "ts": number + 1, "state": state})
            self.assertEqual(sage.MetabolicState(decision["state"]), state)
            self.assertEqual(decision["state"], state)
        self.assertEqual([str(state) for state in sage.MetabolicState], ["WAKE", "FOCUS", "REST", "DREAM", "CRISIS"])

    def test_a_tick_as_text_bytes_or_a_mapping(self) -> None:
        text = json.dumps(METABOLIC)
        forms = (text, text.encode(), METABOLIC, types.MappingProxyType(METABOLIC))
        lines = [self.session("metabolic.fbs").tick_line(tick) for tick in forms]
        self.assertEqual(len(set(lines)), 1)
        session = self.session("metabolic.fbs")
        decision = session.tick(
            {
                "ts": np.float64(1),
                "targets": [{"id": "tür", "salience": np.float32(0.5), "embedding": np.zeros(4, np.float32)}],
            }
        )
        self.assertIn("tür", decision["decisions"])
        self.assertEqual(json.loads(session.decision_line()), decision)
        with self.assertRaisesRegex(TypeError, "cannot hold object"):
            session.tick({"ts": object()})

    def test_a_bad_tick_changes_nothing_and_has_a_record(self) -> None:
        session = self.session("metabolic.fbs")
        session.tick(METABOLIC)
        before = session.snapshot()
        for tick, code in (
            ({"ts": 2, "targets": [{"id": "a", "salience": 1.4}]}, "RANGE"),
            ({"ts": 0.5, "targets": []}, "TIME"),
            ('{"ts":', "SYNTAX"),
            ("", "SYNTAX"),
            ({"ts": 2, "targts": []}, "UNKNOWN_FIELD"),
            ({"ts": 2, "targets": [{"id": "a", "salience": math.nan}]}, "SYNTAX"),
        ):
            with self.assertRaises(ValueError) as caught:
                session.tick(tick)
            self.assertIsInstance(caught.exception, sage.BadDataError)
            record: Any = caught.exception.decision  # type: ignore[attr-defined]
            self.assertIn(code, record["error"]["code"])
        self.assertEqual(json.loads(session.snapshot())["state"], json.loads(before)["state"])

    def test_a_stream_of_ticks(self) -> None:
        session = self.session("metabolic.fbs")
        stream = session.ticks([{"ts": 1, "targets": []}, {"ts": 0, "targets": []}, {"ts": 2, "targets": []}])
        self.assertEqual(next(stream)["ts"], 1)
        with self.assertRaises(sage.BadDataError):
            next(stream)
        session = self.session("metabolic.fbs")
        records = list(
            session.ticks([{"ts": 1, "targets": []}, {"ts": 0, "targets": []}, {"ts": 2, "targets": []}], strict=False)
        )
        self.assertEqual(["error" in record for record in records], [False, True, False])

    def test_state_goes_out_and_in(self) -> None:
        session = self.session("metabolic.fbs")
        session.tick(METABOLIC)
        state = session.snapshot()
        following = {"ts": 2, "state": "DREAM", "targets": METABOLIC["targets"]}
        want = session.tick_line(following)
        for kind in (bytes, bytearray, memoryview):
            session.restore(kind(state))
            self.assertEqual(session.tick_line(following), want)
        other = self.session("metabolic.fbs")
        other.restore(state)
        self.assertEqual(other.tick_line(following), want)
        for wrong in (b"", state[:-1], state[:-1] + bytes([state[-1] ^ 1])):
            with self.assertRaises(sage.SageError):
                session.restore(wrong)
        with self.assertRaises(sage.SageError):
            self.session("fusion.fbs").restore(state)

    def test_an_expert_table_goes_in_beside_the_ticks(self) -> None:
        session = self.session("expert.fbs")
        session.set_input(0, normal((4, 4), 1))
        decision = session.tick(
            {"ts": 0.5, "router_logits": np.array([1.2, 0.4, -0.3, 0.9]), "trust": [0.5, 0.9, 0.7, 0.2]}
        )
        self.assertEqual(len(decision["decisions"]), 1)
        self.assertAlmostEqual(sum(decision["decisions"][0]["gates"]), 1)


class Graphs(Case):
    def test_an_op_graph_gets_its_arrays_the_right_way_round(self) -> None:
        """op_graph.json: twice the attention, causal from the bottom right."""
        session = self.session("op_graph.fbs")
        q, k, v = (normal(shape, seed) for seed, shape in enumerate(Runs.SHAPES))
        session.run({0: q, 1: k, 2: v})
        want = 2 * softmax_attention(q, k, v, mask=causal_mask(3, 5, bottom_right=True))
        np.testing.assert_allclose(session.output("y"), want, atol=8e-6)


if __name__ == "__main__":
    unittest.main()
