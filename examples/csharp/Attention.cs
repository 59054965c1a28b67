// Attention.cs: attention over your own arrays, from C#.
//   mcs -r:Sage.dll Attention.cs && mono Attention.exe
using System;
using Sage;

public static class Example
{
    public static int Main()
    {
        try
        {
            using (Engine engine = Engine.Open())
            {
                Console.WriteLine("sage " + Library.Version + " from " + Library.Path);

                // One call: 8 query heads over 2 of K and V, 512 tokens, causal; [batch, heads, tokens, 64]. Nothing is
                // copied.
                AttentionShape shape = new AttentionShape
                {
                    HeadsQ = 8, HeadsKv = 2, SeqQ = 512, SeqKv = 512, DimQk = 64, Causal = Alignment.TopLeft
                };
                float[] q = Filled(8 * 512 * 64, 0.1f), k = Filled(2 * 512 * 64, 0.2f), v = Filled(2 * 512 * 64, 0.3f);
                float[] o = new float[q.Length];
                engine.Attention(shape, q, k, v, o); // or spans
                Console.WriteLine("o[0] = " + o[0]);

                // The same with a window of 128 keys, planned once, run as often as you like, on the same arrays.
                AttentionOp op = new AttentionOp(Tensor.Of(q, 1, 8, 512, 64), Tensor.Of(k, 1, 2, 512, 64),
                    Tensor.Of(v, 1, 2, 512, 64), Tensor.Of(o, 1, 8, 512, 64));
                op.Causal(Alignment.TopLeft).Window(127, null).Set(Slot.Lse, Tensor.Allocate(DType.F32, 1, 8, 512));
                using (AttentionPlan plan = new AttentionPlan(engine, op))
                using (AttentionContext context = new AttentionContext(plan))
                {
                    for (int i = 0; i < 3; ++i) context.Run(op);
                    Console.WriteLine("ran on " + plan.Backend + ", o[0] = " + o[0]);
                }
            }
            return 0;
        }
        catch (SageException error)
        {
            Console.Error.WriteLine(error.StatusName + ": " + error.Message);
            return 1;
        }
    }

    private static float[] Filled(int count, float value)
    {
        float[] values = new float[count];
        for (int i = 0; i < count; ++i) values[i] = value;
        return values;
    }
}
