// Callbacks, cancelling, closing in the middle of a run, and what the collector may take.
using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Runtime.CompilerServices;
using System.Threading;
using System.Threading.Tasks;

namespace Sage.Test
{
    internal static class LifetimeTests
    {
        private const string NoPlugin = "/nowhere/libsage_Tür.so";
        private static string folder;
        private static int lines;

        internal static void Run(string vectors)
        {
            folder = vectors;
            Check.Test("a log has whole lines, and may throw", LogThrows);
            Check.Test("callbacks live as long as what may call them", CallbacksLive);
            Check.Test("what is forgotten is destroyed by the collector", Forgotten);
            Check.Test("constants are kept for a context whose plan is disposed, then are let go", Constants);
            Check.Test("bound memory is kept in its place", BoundMemory);
            Check.Test("cancel callbacks are asked on the engine's threads, and may throw there", CancelCallbacks);
            Check.Test("a token stops a run, whenever it comes", Tokens);
            Check.Test("disposing while a run is on is safe, and a second run is busy", DisposeInRun);
            Check.Test("four threads share an engine while it is disposed under them", SharedEngine);
        }

        /// <summary>Seconds of work on the reference backend, where nobody stops it.</summary>
        private static AttentionOp LongOp()
        {
            Tensor t = Tensor.Allocate(DType.F64, 1, 4, 2048, 64);
            return new AttentionOp(t, t, t, Tensor.Allocate(DType.F64, 1, 4, 2048, 64));
        }

        private static Options Reference()
        {
            return new Options().Set("backend", "reference");
        }

        private static void LogThrows()
        {
            ConcurrentQueue<string> all = new ConcurrentQueue<string>();
            Options options = new Options().Set("plugins", NoPlugin).Log((level, line) =>
            {
                all.Enqueue(level + " " + line);
                throw new InvalidOperationException("dropped");
            });
            using (Engine engine = Engine.Open(options))
            {
                bool found = false;
                foreach (string line in all) found |= line.StartsWith("2 ", StringComparison.Ordinal)
                    && line.Contains(NoPlugin);
                Check.IsTrue(found, string.Join("|", all));
                Check.Equal(AttentionTests.Flat(engine).Length, AttentionTests.Q.Length);
            }
        }

        private sealed class Counter
        {
            internal static int Alive;
            internal Counter() { Interlocked.Increment(ref Alive); }
            ~Counter() { Interlocked.Decrement(ref Alive); }
            internal bool No() { Interlocked.Increment(ref lines); return false; }
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        private static AttentionContext MakeContext(AttentionOp op)
        {
            Options options = new Options().Cancel(new Counter().No);
            using (Engine engine = Engine.Open())
            using (AttentionPlan plan = new AttentionPlan(engine, op, options)) return new AttentionContext(plan);
        }

        /// <summary>In a thread of its own: what mono's collector finds on the stack, it takes for used.</summary>
        private static T Apart<T>(Func<T> body)
        {
            T result = default(T);
            Exception thrown = null;
            Thread thread = new Thread(() =>
            {
                try { result = body(); }
                catch (Exception error) { thrown = error; }
            });
            thread.Start();
            thread.Join();
            if (thrown != null) throw new Exception("in its thread", thrown);
            return result;
        }

        private static bool Collected(int times, Func<bool> condition)
        {
            for (int i = 0; i < times && !condition(); ++i)
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                Thread.Sleep(5);
            }
            return condition();
        }

        private static void CallbacksLive()
        {
            AttentionOp op = AttentionTests.Op();
            int before = Counter.Alive;
            AttentionContext context = Apart(() => MakeContext(op));
            Check.IsTrue(!Collected(10, () => Counter.Alive == before), "gone, though the context may ask it");
            int asked = lines;
            context.Run(op);
            Check.IsTrue(lines > asked, "not asked");
            context.Dispose();
            Check.IsTrue(Collected(200, () => Counter.Alive == before), "kept for nobody");
        }

        private static void Forgotten()
        {
            AttentionOp op = AttentionTests.Op();
            int before = Counter.Alive;
            Apart(() =>
            {
                for (int i = 0; i < 4; ++i) MakeContext(op).Run(op);
                return 0;
            });
            // The roots of the callbacks go when the native handle is destroyed, not before. One may be left on a
            // stack.
            Check.IsTrue(Collected(200, () => Counter.Alive <= before + 1), "not destroyed: "
                + (Counter.Alive - before));
        }

        private static void Constants()
        {
            using (Engine engine = Engine.Open())
            {
                WeakReference constant = null;
                AttentionContext context = Apart(() =>
                {
                    Tensor t = Tensor.Allocate(DType.F32, 1, 1, 4, 8),
                        k = Tensor.Allocate(DType.F32, 1, 1, 4, 8).Constant();
                    constant = new WeakReference(k);
                    AttentionOp op = new AttentionOp(t, k, t, Tensor.Allocate(DType.F32, 1, 1, 4, 8));
                    using (AttentionPlan plan = new AttentionPlan(engine, op)) return new AttentionContext(plan);
                });
                Func<bool> gone = () => Apart(() => !constant.IsAlive);
                Check.IsTrue(!Collected(10, gone), "gone, though the context may read it");
                context.Dispose();
                Check.IsTrue(Collected(200, gone), "kept for nobody");
            }
        }

        private static void BoundMemory()
        {
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, Path.Combine(folder, "op_graph.fbs")))
            using (Session session = new Session(model))
            {
                float[] output = Apart(() => ModelTests.Bind(session)[3]);
                session.Run();
                float[] want = (float[])output.Clone();
                for (int i = 0; i < 3; ++i)
                {
                    GC.Collect();
                    GC.WaitForPendingFinalizers();
                    List<float[]> room = new List<float[]>();
                    for (int n = 0; n < 1000; ++n) room.Add(AttentionTests.Normal(24, n));
                    Array.Clear(output, 0, output.Length);
                    session.Run();
                    Check.Same(output, want);
                    GC.KeepAlive(room);
                }
            }
        }

        private static void CancelCallbacks()
        {
            Tensor t = Tensor.Allocate(DType.F32, 1, 8, 1024, 64);
            AttentionOp op = new AttentionOp(t, t, t, Tensor.Allocate(DType.F32, 1, 8, 1024, 64));
            ConcurrentDictionary<Thread, bool> isBackground = new ConcurrentDictionary<Thread, bool>();
            bool throws = false;
            Options options = new Options().Cancel(() =>
            {
                isBackground[Thread.CurrentThread] = Thread.CurrentThread.IsBackground;
                if (Volatile.Read(ref throws)) throw new InvalidOperationException("stops");
                return false;
            });
            using (Engine engine = Engine.Open(new Options().Set("threads", "2")))
            using (AttentionPlan plan = new AttentionPlan(engine, op, options))
            using (AttentionContext context = new AttentionContext(plan))
            {
                for (int i = 0; i < 100 && isBackground.Count < 2; ++i) context.Run(op);
                Check.Equal(isBackground.Count, 2);
                foreach (KeyValuePair<Thread, bool> one in isBackground)
                    Check.IsTrue(one.Key == Thread.CurrentThread || one.Value,
                        "a thread of the engine would keep the process alive");
                Volatile.Write(ref throws, true);
                Check.Refused(Status.Cancelled, "", () => context.Run(op));
                Volatile.Write(ref throws, false);
                context.Run(op);
            }
        }

        private static void Tokens()
        {
            AttentionOp op = LongOp(), small = AttentionTests.Op();
            using (Engine engine = Engine.Open())
            using (AttentionPlan plan = new AttentionPlan(engine, op, Reference()))
            using (AttentionContext context = new AttentionContext(plan))
            {
                foreach (int pause in new[] { 0, 1, 30 })
                {
                    using (CancellationTokenSource source = new CancellationTokenSource())
                    {
                        Stopwatch watch = Stopwatch.StartNew();
                        if (pause > 0) source.CancelAfter(pause);
                        else source.Cancel();
                        OperationCanceledException stopped = Check.Thrown<OperationCanceledException>(() =>
                            context.Run(op, source.Token));
                        Check.Equal(stopped.CancellationToken, source.Token);
                        Check.IsTrue(watch.ElapsedMilliseconds < 2000, "the run went on for "
                            + watch.ElapsedMilliseconds + " ms");
                    }
                }
                using (CancellationTokenSource source = new CancellationTokenSource())
                {
                    Task running = context.RunAsync(op, source.Token);
                    Thread.Sleep(20);
                    source.Cancel();
                    AggregateException all = Check.Thrown<AggregateException>(() => running.Wait());
                    Check.IsTrue(all.InnerException is OperationCanceledException, all.ToString());
                    Check.IsTrue(running.IsCanceled, "is " + running.Status);
                }
                using (AttentionPlan other = new AttentionPlan(engine, small))
                using (AttentionContext quick = new AttentionContext(other))
                    quick.RunAsync(small).Wait();
            }
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, Path.Combine(folder, "metabolic.fbs")))
            using (Session session = new Session(model))
                Check.IsTrue(session.Tick(ModelTests.TickText(1, "0.5"), CancellationToken.None).StartsWith("{"),
                    "no decision");
        }

        private static void DisposeInRun()
        {
            AttentionOp op = LongOp();
            Engine engine = Engine.Open();
            AttentionPlan plan = new AttentionPlan(engine, op, Reference());
            AttentionContext context = new AttentionContext(plan);
            Exception result = null;
            Thread runner = new Thread(() =>
            {
                try { context.Run(op); }
                catch (Exception thrown) { result = thrown; }
            });
            runner.Start();
            Thread.Sleep(50);
            Check.Refused(Status.Busy, "", () => context.Run(op));
            engine.Dispose();
            plan.Dispose();
            context.Cancel();
            context.Dispose();
            runner.Join();
            SageException cancelled = result as SageException;
            Check.IsTrue(result == null || (cancelled != null && cancelled.Status == Status.Cancelled), "" + result);
            Check.Thrown<ObjectDisposedException>(() => context.Run(op));
            Check.Thrown<ObjectDisposedException>(() => context.Cancel());
            Check.Thrown<ObjectDisposedException>(() => new AttentionContext(plan));
            Check.Thrown<ObjectDisposedException>(() => new AttentionPlan(engine, op));
            Check.Thrown<ObjectDisposedException>(() => Model.Load(engine, "x"));
            Check.Thrown<ObjectDisposedException>(() => AttentionTests.Flat(engine));
        }

        private static void SharedEngine()
        {
            Engine engine = Engine.Open(new Options().Set("threads", "2"));
            float[] want = AttentionTests.Flat(engine);
            Exception wrong = null;
            List<Thread> threads = new List<Thread>();
            for (int i = 0; i < 4; ++i)
            {
                Thread thread = new Thread(() =>
                {
                    try
                    {
                        while (true) Check.Same(AttentionTests.Flat(engine), want);
                    }
                    catch (ObjectDisposedException) { }
                    catch (Exception thrown) { wrong = thrown; }
                });
                thread.Start();
                threads.Add(thread);
            }
            Thread.Sleep(100);
            engine.Dispose();
            foreach (Thread thread in threads) thread.Join();
            Check.IsTrue(wrong == null, "" + wrong);
        }
    }
}
