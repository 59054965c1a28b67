// Attention through every form of call, and its errors.
using System;

namespace Sage.Test
{
    internal static class AttentionTests
    {
        internal static readonly AttentionShape Shape = new AttentionShape
        {
            Batch = 2, HeadsQ = 4, HeadsKv = 2, SeqQ = 5, SeqKv = 7, DimQk = 8, Causal = Alignment.BottomRight,
                Scale = 0.25
        };

        internal static readonly float[] Q = Normal(2 * 4 * 5 * 8, 1), K = Normal(2 * 2 * 7 * 8, 2),
            V = Normal(2 * 2 * 7 * 8, 3);

        internal static float[] Normal(int n, int seed)
        {
            Random random = new Random(seed);
            float[] values = new float[n];
            for (int i = 0; i < n; ++i) values[i] = (float)(random.NextDouble() * 4 - 2);
            return values;
        }

        internal static AttentionOp Op()
        {
            return new AttentionOp(Tensor.Of(Q, 2, 4, 5, 8), Tensor.Of(K, 2, 2, 7, 8), Tensor.Of(V, 2, 2, 7, 8),
                Tensor.Allocate(DType.F32, 2, 4, 5, 8));
        }

        internal static float[] Flat(Engine engine)
        {
            float[] o = new float[Q.Length];
            engine.Attention(Shape, Q, K, V, o);
            return o;
        }

        internal static float[] Once(Engine engine, AttentionOp op)
        {
            using (AttentionPlan plan = new AttentionPlan(engine, op))
            using (AttentionContext context = new AttentionContext(plan))
            {
                context.Run(op);
                return op.Get(Slot.O).ToArray<float>();
            }
        }

        internal static void Run()
        {
            Check.Test("arrays, spans, tensors and a plan give the same bits, on one thread and on two", SameBits);
            Check.Test("double precision, and the other layout", DoubleAndLayout);
            Check.Test("slices at any place give the same bits", Places);
            Check.Test("a window is what its mask is; the masks of a partition agree", Masks);
            Check.Test("keys are appended in place; constants are kept for the plan", AppendAndConstants);
            Check.Test("what is wrong is said", Wrong);
            Check.Test("no queries, no keys", Empty);
            Check.Test("the gate's window goes into an op", GateWindow);
            Check.Test("a library of another ABI is refused", Abi);
        }

        private static void SameBits()
        {
            float[] want;
            using (Engine engine = Engine.Open(new Options().Set("threads", "1"))) want = Flat(engine);
            Check.IsTrue(want[0] != 0, "nothing was written");
            using (Engine engine = Engine.Open(new Options().Set("threads", "2")))
            {
                Check.Same(Flat(engine), want);
                float[] o = new float[Q.Length];
                engine.Attention(Shape, Tensor.Of(Q, Q.Length), Tensor.Of(K, K.Length), Tensor.Of(V, V.Length),
                    Tensor.Of(o, o.Length));
                Check.Same(o, want);
                AttentionOp op = Op().Causal(Alignment.BottomRight).Scale(0.25);
                using (AttentionPlan plan = new AttentionPlan(engine, op))
                using (AttentionContext context = new AttentionContext(plan))
                {
                    context.Run(op);
                    Check.Same(op.Get(Slot.O).ToArray<float>(), want);
                    Check.IsTrue(plan.Backend.Length > 0 && plan.Explain().Contains("\"chosen\""), plan.Explain());
                    Check.Equal(plan.Memory().Q, 4UL * (ulong)Q.Length);
                    Check.IsTrue(plan.Memory().TotalsRatio > 0, "no ratio");
                }
                ulong both = Constants.SAGE_ATTN_F_CAUSAL | Constants.SAGE_ATTN_F_GQA;
                Check.Equal(op.Features & both, both);
            }
        }

        private static void DoubleAndLayout()
        {
            using (Engine engine = Engine.Open())
            {
                double[] half = { 0.5, 0.5, 0.5, 0.5, 0.5, 0.5 }, o = new double[6];
                engine.Attention(new AttentionShape { SeqQ = 3, SeqKv = 3, DimQk = 2 }, half, half, half, o);
                foreach (double x in o) Check.IsTrue(Math.Abs(x - 0.5) < 1e-15, "not 0.5: " + x);
                float[] data = Normal(40, 9), a = new float[40], b = new float[40];
                engine.Attention(new AttentionShape { SeqQ = 5, SeqKv = 5, DimQk = 8 }, data, data, data, a);
                engine.Attention(new AttentionShape { SeqQ = 5, SeqKv = 5, DimQk = 8, Layout = Layout.BSHD }, data,
                    data, data, b);
                Check.Same(b, a); // with one head both layouts are the same memory
            }
        }

        private static void Places()
        {
            using (Engine engine = Engine.Open())
            {
                float[] want = Flat(engine);
                for (int place = 1; place < 6; place += 2)
                {
                    float[][] room = new float[4][];
                    float[][] data = { Q, K, V, new float[Q.Length] };
                    for (int i = 0; i < 4; ++i)
                    {
                        room[i] = new float[data[i].Length + 8];
                        data[i].CopyTo(room[i], place);
                    }
                    engine.Attention(Shape, new ReadOnlySpan<float>(room[0], place, Q.Length),
                        new ReadOnlySpan<float>(room[1], place, K.Length), new ReadOnlySpan<float>(room[2], place,
                            V.Length), new Span<float>(room[3], place, Q.Length));
                    Check.Same(new Span<float>(room[3], place, Q.Length).ToArray(), want);
                    Check.IsTrue(room[3][place - 1] == 0 && room[3][place + Q.Length] == 0, "written outside");
                }
            }
        }

        private static void Masks()
        {
            using (Engine engine = Engine.Open())
            {
                bool[] keep = new bool[35];
                for (int i = 0; i < 5; ++i)
                    for (int j = 0; j < 7; ++j) keep[i * 7 + j] = j + 1 >= i + 2 && j <= i + 2;
                AttentionOp masked = Op().Set(Slot.Mask, Tensor.Of(keep, 1, 1, 5, 7).Broadcast(2, 4, 5, 7));
                Check.Same(Once(engine, masked), Once(engine, Op().Align(Alignment.BottomRight).Window(1, 0)));

                Tensor data = Tensor.Of(Normal(32 * 8, 5), 1, 1, 32, 8);
                float[] a = Once(engine, new AttentionOp(data, data, data, Tensor.Allocate(DType.F32, 1, 1, 32, 8))
                    .Set(Slot.Mask, Mincut.Mask(32, 4)));
                CsrMask csr = Mincut.Csr(32, 4);
                float[] b = Once(engine, new AttentionOp(data, data, data, Tensor.Allocate(DType.F32, 1, 1, 32, 8))
                    .Set(Slot.CsrIndptr, csr.Indptr).Set(Slot.CsrIndices, csr.Indices).MaskBlock(1, 1));
                for (int i = 0; i < a.Length; ++i) Check.IsTrue(Math.Abs(a[i] - b[i]) < 1e-5, "masks disagree at " + i);
                Check.Same(Mincut.Blocks(32, 4, 8, 8).Shape, new long[] { 1, 1, 4, 4 });
                Check.Refused(Status.InvalidArgument, "tiles of 0", () => Mincut.Blocks(8, 2, 0, 4));
            }
        }

        private static void AppendAndConstants()
        {
            using (Engine engine = Engine.Open())
            {
                float[] token = Normal(8, 5), k = new float[32];
                Tensor one = Tensor.Of(token, 1, 1, 1, 8);
                Once(engine, new AttentionOp(one, Tensor.Of(k, 1, 1, 4, 8), Tensor.Allocate(DType.F32, 1, 1, 4, 8),
                    Tensor.Allocate(DType.F32, 1, 1, 1, 8)).Append(one, one).Set(Slot.SequsedK, Tensor.Of(new[] { 2 },
                        1)));
                Check.Same(new Span<float>(k, 16, 8).ToArray(), token);
                Check.Same(new Span<float>(k, 24, 8).ToArray(), new float[8]);

                float[] want = Once(engine, Op());
                Tensor keys = Tensor.Of((float[])K.Clone(), 2, 2, 7, 8).Constant(),
                    values = Tensor.Of((float[])V.Clone(), 2, 2, 7, 8).Constant();
                AttentionOp described = new AttentionOp(Tensor.Describe(DType.F32, 2, 4, 5, 8), keys, values,
                    Tensor.Describe(DType.F32, 2, 4, 5, 8));
                using (AttentionPlan plan = new AttentionPlan(engine, described))
                using (AttentionContext context = new AttentionContext(plan))
                {
                    AttentionOp op = new AttentionOp(Tensor.Of(Q, 2, 4, 5, 8), keys, values, Tensor.Allocate(DType.F32,
                        2, 4, 5, 8));
                    GC.Collect();
                    context.Run(op);
                    Check.Same(op.Get(Slot.O).ToArray<float>(), want);
                }
            }
        }

        private static void Wrong()
        {
            using (Engine engine = Engine.Open())
            {
                float[] o = new float[Q.Length];
                Check.Equal(Check.Thrown<ShapeException>(() => engine.Attention(Shape, Q, K, new float[3], o)).Message,
                    "v has 3 elements; its shape says 224");
                Check.Thrown<ShapeException>(() => engine.Attention(new AttentionShape { Batch = 1L << 62, DimQk = 8 },
                    Q, K, V, o));
                Check.Thrown<ShapeException>(() => engine.Attention(new AttentionShape { Batch = -1, SeqQ = -1,
                    SeqKv = -1 },
                    new float[1], new float[1], new float[1], new float[1]));
                Check.Thrown<ArgumentNullException>(() => engine.Attention(Shape, Q, null, V, o));
                Tensor f32 = Tensor.Allocate(DType.F32, 8), f64 = Tensor.Allocate(DType.F64, 8);
                AttentionShape eight = new AttentionShape { DimQk = 8 };
                Check.Refused(Status.InvalidArgument, "they are F32, F64, F32 and F32", () => engine.Attention(eight,
                    f32, f64, f32, f32));
                Check.Refused(Status.InvalidArgument, "without memory",
                    () => engine.Attention(eight, f32, f32, f32, Tensor.Describe(DType.F32, 8)));
                Check.Refused(Status.InvalidArgument, "align", () => new AttentionPlan(engine, Op().Window(1, 1)));
                Check.Thrown<UnsupportedException>(() => new AttentionPlan(engine, Op(), new Options().Set("backend",
                    "none")));
                Check.Refused(Status.NotFound, "no field colour", () => Op().SetField("colour", 1));
                Check.Refused(Status.InvalidArgument, "32 bits", () => Op().SetField("block_q", 1L << 40));
                Check.Refused(Status.InvalidArgument, "no slot 28", () => Op().Set((Slot)28, f32));
                Check.Refused(Status.InvalidArgument, "no slot 28", () => Op().Get((Slot)28));
                Check.Thrown<ArgumentNullException>(() => engine.Attention(null, Q, K, V, o));
                Check.Thrown<ArgumentNullException>(() => new AttentionPlan(engine, null));
                Check.Refused(Status.InvalidArgument, "threads", () => Engine.Open(new Options().Set("threads",
                    "many")));
                Check.Refused(Status.InvalidArgument, "threads", () => Engine.Open(new Options().Set("thread", "1")));
                Check.Refused(Status.InvalidArgument, "NUL", () => Engine.Open(new Options().Set("threads", "1\0")));
                Check.Thrown<ArgumentNullException>(() => new Options().Set("threads", null));
                Check.Refused(Status.NotFound, "/nowhere/Tür/😀.so", () => engine.LoadPlugin("/nowhere/Tür/😀.so"));
                Check.Equal(Check.Thrown<SageException>(() => engine.LoadPlugin("/nowhere")).StatusName.Substring(0,
                    7), "SAGE_E_");
            }
        }

        private static void Empty()
        {
            using (Engine engine = Engine.Open())
            {
                engine.Attention(new AttentionShape { SeqQ = 0, SeqKv = 3, DimQk = 2 }, new float[0], new float[6],
                    new float[6], new float[0]);
                float[] o = { 9, 9 };
                engine.Attention(new AttentionShape { SeqQ = 1, SeqKv = 0, DimQk = 2 }, new float[2], new float[0],
                    new float[0], o);
                Check.Same(o, new float[2]);
                Tensor none = Tensor.Of(new float[0], 1, 1, 0, 2), t = Tensor.Allocate(DType.F32, 1, 1, 3, 2);
                Once(engine, new AttentionOp(none, t, t, none));
            }
        }

        private static void GateWindow()
        {
            GateDecision decision = Gate.Decide(new GatePacket { Lambda = 100, LambdaPrev = 100 });
            Check.Equal(decision.Verdict, GateVerdict.Allow);
            AttentionOp op = Op().Align(Alignment.TopLeft);
            Gate.Apply(decision, op);
            Check.Equal(op.GetField("window_left"), (long)decision.Window - 1);
            GatePolicy policy = new GatePolicy { LambdaMin = 200, Safe = new GateTier { Layers = 1, Sequence = 2,
                Window = 3 } };
            Check.Equal(Gate.Decide(new GatePacket { Lambda = 100 }, policy).Window, 3U);
            Check.Equal(Gate.Decide(new GatePacket { Lambda = 100 }, policy).Verdict, GateVerdict.Quarantine);
        }

        private static void Abi()
        {
            Library.RequireAbi(Library.AbiVersion, "", "");
            Library.RequireAbi(Library.AbiVersion + 1, "", ""); // a newer minor
            Check.Refused(Status.AbiMismatch, "libsage 9.9 at /somewhere has ABI 2.3; Sage.dll needs 1.0",
                () => Library.RequireAbi(2 << 16 | 3, "9.9", "/somewhere"));
            Check.Refused(Status.AbiMismatch, "has ABI 0.7", () => Library.RequireAbi(7, "0.1", "/old"));
        }
    }
}
