// Ends with an engine, a plan and a context open, whose cancel callback was asked on the engine's threads: the process
// must end by itself.
using System;
using System.Diagnostics;
using System.Threading;

namespace Sage.Test
{
    internal static class Leaving
    {
        private static Engine engine;
        private static AttentionPlan plan;
        private static AttentionContext context;

        private static int Main()
        {
            int home = Thread.CurrentThread.ManagedThreadId, elsewhere = 0;
            engine = Engine.Open(new Options().Set("threads", "2"));
            float[] values = new float[8 * 512 * 64], o = new float[values.Length];
            AttentionOp op = new AttentionOp(Tensor.Of(values, 1, 8, 512, 64), Tensor.Of(values, 1, 8, 512, 64),
                Tensor.Of(values, 1, 8, 512, 64), Tensor.Of(o, 1, 8, 512, 64));
            plan = new AttentionPlan(engine, op, new Options().Cancel(() =>
            {
                if (Thread.CurrentThread.ManagedThreadId != home) Interlocked.Exchange(ref elsewhere, 1);
                return false;
            }));
            context = new AttentionContext(plan);
            Stopwatch watch = Stopwatch.StartNew();
            while (Volatile.Read(ref elsewhere) == 0 && watch.Elapsed.TotalSeconds < 30) context.Run(op);
            Console.WriteLine("leaving, asked on " + (elsewhere != 0 ? "the engine's threads" : "this thread alone"));
            return 0;
        }
    }
}
