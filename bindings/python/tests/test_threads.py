"""Callbacks, threads, closing in any order and under a running call, forks."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading
import time
import unittest
import warnings
import weakref
from typing import Any, Callable, List

import numpy as np

import sage_engine as sage
from support import model_file, needed, normal, run_python


def problem(seq: int = 64, dtype: Any = np.float32, heads: int = 1) -> sage.AttentionOp:
    return sage.AttentionOp(*(np.zeros((1, heads, seq, 8), dtype) for _ in range(4)))


def in_thread(call: Callable[[], Any]) -> Callable[[], Any]:
    """Starts it; the function returned waits, and gives or raises what it did."""
    result: List[Any] = []

    def body() -> None:
        try:
            result.append((call(), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()

    def wait() -> Any:
        thread.join(60)
        value, error = result[0]
        if error is not None:
            raise error
        return value

    return wait


class Gate:
    """A cancel callback that holds the run inside the library until it is opened."""

    def __init__(self) -> None:
        self.inside, self.open = threading.Event(), threading.Event()

    def __call__(self) -> bool:
        self.inside.set()
        self.open.wait(60)
        return False


class Callbacks(unittest.TestCase):
    def test_log_lines_come_with_their_level(self) -> None:
        lines: List[Any] = []
        with sage.Engine(log=lambda level, text: lines.append((sage.LogLevel(level), text))) as engine:
            with self.assertRaises(sage.AbiMismatchError):
                engine.load_plugin(needed("SAGE_TEST_PLUGIN"))
        self.assertTrue(any(needed("SAGE_TEST_PLUGIN") in text for _, text in lines), lines)

    def test_what_a_log_raises_is_dropped(self) -> None:
        called = []

        def log(_level: int, _text: str) -> None:
            called.append(1)
            raise errors[0]

        errors: List[BaseException] = [ValueError("mine")]
        with sage.Engine(log=log) as engine:
            with self.assertRaisesRegex(sage.AbiMismatchError, "ABI"):
                engine.load_plugin(needed("SAGE_TEST_PLUGIN"))
            errors[0] = KeyboardInterrupt()  # but Ctrl-C is not lost
            with self.assertRaises(KeyboardInterrupt):
                engine.load_plugin(needed("SAGE_TEST_PLUGIN"))
        self.assertTrue(called)

    def test_cancel_stops_a_run_and_its_exception_comes_out(self) -> None:
        answer: List[Any] = [True]

        def cancel() -> Any:
            if isinstance(answer[0], BaseException):
                raise answer[0]
            return answer[0]

        op = problem()
        with sage.Engine() as engine, engine.plan(op, sage.Options(cancel=cancel)) as plan, plan.context() as context:
            with self.assertRaises(sage.CancelledError):
                context.run(op)
            for error in (ZeroDivisionError("mine"), KeyboardInterrupt()):
                answer[0] = error
                with self.assertRaises(type(error)) as caught:
                    context.run(op)
                self.assertIs(caught.exception, error)
                self.assertIsInstance(error.__context__, sage.CancelledError)
            answer[0] = False
            context.run(op)  # the next run is not touched
        session_options = sage.Options(cancel=lambda: 1 // 0)
        with sage.Engine() as engine, engine.model(model_file("op_graph.fbs")) as model:
            session = model.session(session_options)
            for index, shape in enumerate(((1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))):
                session.set_input(index, normal(shape, index))
            with self.assertRaises(ZeroDivisionError):
                session.run()

    def test_an_engines_cancel_serves_its_sessions(self) -> None:
        with sage.Engine(cancel=lambda: 1 // 0) as engine, engine.model(model_file("op_graph.fbs")) as model:
            session = model.session()
            for index, shape in enumerate(((1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))):
                session.set_input(index, normal(shape, index))
            with self.assertRaises(ZeroDivisionError):
                session.run()

    def test_an_engines_cancel_serves_plans_and_the_short_call(self) -> None:
        op, q, mask = problem(), normal((1, 1, 64, 8), 1), np.tri(64, dtype=bool)
        with sage.Engine(cancel=lambda: 1 // 0) as engine:
            with engine.plan(op) as plan, plan.context() as context:
                for call in (
                    lambda: context.run(op),
                    lambda: engine.attention(q, q, q),
                    lambda: sage.attention(q, q, q, engine=engine),
                    lambda: sage.attention(q, q, q, mask, engine=engine),
                    lambda: sage.flash_attn_func(q, q, q, return_lse=True, engine=engine),
                ):
                    with self.assertRaises(ZeroDivisionError) as caught:
                        call()
                    self.assertIsInstance(caught.exception.__context__, sage.CancelledError)
            with engine.plan(op, sage.Options(cancel=lambda: False)) as plan, plan.context() as context:
                context.run(op)  # by its own

    def test_an_idle_callback_lets_signals_stop_a_run(self) -> None:
        class Alarm(Exception):
            pass

        def ring(*_: Any) -> None:
            raise Alarm

        op = problem(2048, np.float64, 4)
        before = signal.signal(signal.SIGALRM, ring)
        try:
            with sage.Engine(threads=1) as engine:
                with engine.plan(op, sage.Options(backend="reference", cancel=lambda: None)) as plan:
                    with plan.context() as context, self.assertRaises(Alarm):
                        signal.setitimer(signal.ITIMER_REAL, 0.05)
                        context.run(op)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_callbacks_live_as_long_as_what_may_call_them(self) -> None:
        class Counter:
            count = 0

            def __call__(self) -> bool:
                self.count += 1
                return False

        counter = Counter()
        alive = weakref.ref(counter)
        op = problem()
        engine = sage.Engine()
        plan = engine.plan(op, sage.Options(cancel=counter))
        context = plan.context()
        plan.close()
        engine.close()
        del counter, plan, engine
        gc.collect()
        context.run(op)
        held: Any = alive()
        self.assertGreater(held.count, 0)
        del held
        context.close()
        del context
        gc.collect()
        self.assertIsNone(alive())

    def test_what_is_no_function_is_refused(self) -> None:
        for name in ("log", "cancel"):
            with self.assertRaisesRegex(sage.InvalidArgumentError, "a function is expected"):
                sage.Engine(**{name: 5})


class Threads(unittest.TestCase):
    def test_python_goes_on_while_a_run_computes(self) -> None:
        """The GIL is dropped: another thread counts while this one is inside the library."""
        counted, stop = [0], threading.Event()

        def count() -> None:
            while not stop.wait(0.001):
                counted[0] += 1

        op = problem(1024, np.float64, 4)
        wait = in_thread(count)
        try:
            with sage.Engine(threads=1) as engine, engine.plan(op, {"backend": "reference"}) as plan:
                with plan.context() as context:
                    seen, start = counted[0], time.monotonic()
                    while counted[0] - seen < 5 and time.monotonic() - start < 30:
                        before = counted[0]
                        context.run(op)
                        if counted[0] - before >= 5:  # within one call
                            return
        finally:
            stop.set()
            wait()
        self.fail("nothing was counted during a run")

    def test_two_threads_run_sessions_at_the_same_time(self) -> None:
        both = threading.Barrier(2, timeout=30)
        met = threading.Event()

        def meet() -> bool:
            if not met.is_set():
                both.wait()  # passed only while both runs are inside the library
                met.set()
            return False

        results: List[Any] = []
        shapes = ((1, 2, 3, 4), (1, 1, 5, 4), (1, 1, 5, 4))
        with sage.Engine() as engine, engine.model(model_file("op_graph.fbs")) as model:

            def run() -> Any:
                with model.session(sage.Options(cancel=meet)) as session:
                    session.run({index: normal(shape, index) for index, shape in enumerate(shapes)})
                    return session.output(0)

            waits = [in_thread(run), in_thread(run)]
            results = [wait() for wait in waits]
        self.assertTrue(met.is_set())
        np.testing.assert_array_equal(*results)

    def test_many_threads_share_an_engine(self) -> None:
        q, mask = normal((1, 2, 33, 8), 1), np.tri(33, dtype=bool)
        want, masked = sage.attention(q, q, q), sage.attention(q, q, q, mask)

        def work() -> None:
            for _ in range(20):
                np.testing.assert_array_equal(sage.attention(q, q, q), want)
                np.testing.assert_array_equal(sage.attention(q, q, q, mask), masked)

        for wait in [in_thread(work) for _ in range(6)]:
            wait()

    def test_a_second_call_is_busy(self) -> None:
        gate, op = Gate(), problem()
        with sage.Engine() as engine, engine.plan(op, sage.Options(cancel=gate)) as plan, plan.context() as context:
            wait = in_thread(lambda: context.run(op))
            self.assertTrue(gate.inside.wait(30))
            with self.assertRaises(sage.BusyError):
                context.run(problem())
            with plan.context() as other:  # one of its own
                gate.open.set()
                other.run(problem())
            wait()

    def test_closed_while_it_runs(self) -> None:
        gate, op = Gate(), problem()
        engine = sage.Engine()
        plan = engine.plan(op, sage.Options(cancel=gate))
        context = plan.context()
        wait = in_thread(lambda: context.run(op))
        self.assertTrue(gate.inside.wait(30))
        for item in (context, plan, engine):
            item.close()
            self.assertTrue(item.closed)
        with self.assertRaises(sage.ClosedError):
            context.run(op)
        gate.open.set()
        self.assertIsNone(wait())
        self.assertEqual(context._handle.keep, [], "destroyed at the end of the run")

    def test_cancelled_by_another_thread(self) -> None:
        op, done = problem(2048, np.float64, 4), threading.Event()
        with sage.Engine() as engine, engine.plan(op, {"backend": "reference"}) as plan, plan.context() as context:

            def cancel() -> None:
                while not done.wait(0.001):
                    context.cancel()

            wait = in_thread(cancel)
            try:
                with self.assertRaises(sage.CancelledError):
                    context.run(op)
            finally:
                done.set()
                wait()


class Closing(unittest.TestCase):
    def test_any_order(self) -> None:
        for order in itertools.permutations(range(3)):
            engine = sage.Engine()
            model = engine.model(model_file("metabolic.fbs"))
            items: List[Any] = [engine, model, model.session()]
            for place in order:
                if not items[2].closed:
                    items[2].tick('{"ts":1,"targets":[]}')
                items[place].close()
                items[place].close()

    def test_what_is_closed_is_refused(self) -> None:
        op = problem()
        engine = sage.Engine()
        plan = engine.plan(op)
        context = plan.context()
        model = engine.model(model_file("metabolic.fbs"))
        session = model.session()
        q = normal((1, 1, 2, 4), 1)
        sage.attention(q, q, q, np.ones((2, 2), bool), engine=engine)
        for item in (engine, plan, context, model, session):
            with item:
                pass
            with self.assertRaises(sage.ClosedError), item:
                pass
        uses: List[Callable[[], Any]] = [
            engine.backends,
            engine.describe,
            lambda: engine.plan(op),
            lambda: engine.attention(q, q, q),
            lambda: sage.attention(q, q, q, np.ones((2, 2), bool), engine=engine),
            lambda: engine.load_plugin("/x"),
            lambda: engine.check("x"),
            lambda: engine.model("x"),
            lambda: plan.backend,
            plan.explain,
            plan.memory,
            plan.context,
            lambda: context.run(op),
            context.cancel,
            lambda: model.kind,
            lambda: model.inputs,
            model.session,
            session.run,
            session.explain,
            session.trace,
            lambda: session.tick("{}"),
            session.decision_line,
            session.snapshot,
            lambda: session.restore(b"x"),
            lambda: session.set_input(0, q),
            lambda: session.bind_input(0, q),
            lambda: session.output(0),
            lambda: session.output_info(0),
            session.cancel,
            lambda: session.set_stream(1, 0, None),
        ]
        for use in uses:
            with self.assertRaisesRegex(ValueError, "was closed"):
                use()

    def test_plans_that_were_kept_go_with_their_engine(self) -> None:
        q = normal((1, 1, 2, 4), 1)
        engine = sage.Engine()
        for rows in range(1, 40):
            sage.attention(q, q, q, np.ones((rows % 2 + 1, 2), bool), scale=rows, engine=engine)
        kept = [context for idle in engine.plans._idle.values() for context in idle]
        self.assertEqual(len(kept), 32, "the last plans only")
        engine.close()
        self.assertTrue(all(context.closed for context in kept))

    def test_constants_are_none_where_plans_are_kept(self) -> None:
        q, k, v, other = (normal((1, 2, 64, 64), seed) for seed in range(4))
        with sage.Engine() as engine:
            for keys in (k, other):
                want = sage.attention(q, keys, v, np.tri(64, dtype=bool))
                for given in (sage.Tensor(keys, constant=True), keys):
                    got = sage.attention(q, given, v, np.tri(64, dtype=bool), engine=engine)
                    np.testing.assert_array_equal(got, want)

    def test_finalizers_are_the_net(self) -> None:
        engine = sage.Engine()
        handle = engine._handle
        del engine
        gc.collect()
        self.assertTrue(handle.closed)

    def test_an_open_session_at_exit_does_no_harm(self) -> None:
        program = (
            "import sage_engine as s, sys\n"
            "engine = s.Engine(log=print); session = engine.model(sys.argv[1]).session({'trace': True})\n"
            "session.tick('{\"ts\":1,\"targets\":[]}'); print('end')\n"
        )
        run = run_python("-c", program, model_file("metabolic.fbs"))
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "end\n", ""))


    def test_the_program_may_end_under_a_daemons_run(self) -> None:
        """A thread that called back after the interpreter's end would take the process with it."""
        program = """
import numpy as np, sage_engine as s, threading
begun = threading.Event()
op = s.AttentionOp(*(np.zeros((1, 8, 4096, 64), np.float64) for _ in range(4)))
engine = s.Engine(threads=2)
context = engine.plan(op, s.Options(backend="reference", cancel=begun.set)).context()
threading.Thread(target=lambda: context.run(op), daemon=True).start()
begun.wait()
print("end")
"""
        run = run_python("-c", program)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "end\n", ""))


class Forks(unittest.TestCase):
    def test_a_child_makes_its_own(self) -> None:
        q = normal((1, 1, 5, 8), 1)
        want = sage.attention(q, q, q)
        engine = sage.Engine()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
            child = os.fork()
        if child == 0:
            code = 1
            try:
                try:
                    engine.attention(q, q, q)
                except sage.ForkedError:
                    if np.array_equal(sage.attention(q, q, q), want):  # by a default engine of the child
                        engine.close()
                        code = 0
            finally:
                os._exit(code)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        engine.close()


if __name__ == "__main__":
    unittest.main()
