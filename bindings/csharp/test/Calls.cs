// What a call costs: nanoseconds of the plain attention call and of a context's run, of one query, one key, width 8.
using System;
using System.Diagnostics;

namespace Sage.Test
{
    internal static class Calls
    {
        private static void Main(string[] arguments)
        {
            int rounds = int.Parse(arguments[0]), iterations = int.Parse(arguments[1]);
            float[] q = { 1, 2, 3, 4, 5, 6, 7, 8 }, k = (float[])q.Clone(), v = (float[])q.Clone(), o = new float[8];
            AttentionShape shape = new AttentionShape { DimQk = 8 };
            AttentionOp op = new AttentionOp(Tensor.Of(q, 1, 1, 1, 8), Tensor.Of(k, 1, 1, 1, 8), Tensor.Of(v, 1, 1, 1,
                8), Tensor.Of(o, 1, 1, 1, 8));
            using (Engine engine = Engine.Open(new Options().Set("threads", "1")))
            using (AttentionPlan plan = new AttentionPlan(engine, op))
            using (AttentionContext context = new AttentionContext(plan))
            {
                Flat(engine, shape, q, k, v, o, iterations);
                Run(context, op, iterations);
                for (int round = 0; round < rounds; ++round)
                    Console.WriteLine("flat " + Flat(engine, shape, q, k, v, o, iterations) + " run " + Run(context,
                        op, iterations));
            }
        }

        private static long Flat(Engine engine, AttentionShape shape, float[] q, float[] k, float[] v, float[] o,
            int iterations)
        {
            Stopwatch watch = Stopwatch.StartNew();
            for (int i = 0; i < iterations; ++i)
                engine.Attention(shape, new ReadOnlySpan<float>(q), new ReadOnlySpan<float>(k),
                    new ReadOnlySpan<float>(v), new Span<float>(o));
            return (long)(watch.Elapsed.TotalMilliseconds * 1e6 / iterations);
        }

        private static long Run(AttentionContext context, AttentionOp op, int iterations)
        {
            Stopwatch watch = Stopwatch.StartNew();
            for (int i = 0; i < iterations; ++i) context.Run(op);
            return (long)(watch.Elapsed.TotalMilliseconds * 1e6 / iterations);
        }
    }
}
