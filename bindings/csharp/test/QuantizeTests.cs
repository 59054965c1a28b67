// The quantiser: codes, scales and means, what it refuses; and how exact a session was.
using System;

namespace Sage.Test
{
    internal static class QuantizeTests
    {
        private static Tensor X()
        {
            return Tensor.Of(new float[] { 0.5f, -2, 0.25f, 1 }, 1, 1, 2, 2);
        }

        internal static void Run(string folder)
        {
            Check.Test("quantised and back, with a mean and with given scales", AndBack);
            Check.Test("packed sequences and blocks have scales of their own", Packed);
            Check.Test("the quantiser refuses NaN, other shapes, memory that overlaps, and null", Refused);
            Check.Test("how exact a session was", () => Accuracy(folder));
        }

        private static void AndBack()
        {
            sbyte[] codes = new sbyte[4];
            float[] scale = new float[2], mean = new float[2], back = new float[4];
            Tensor x = X(), made = Tensor.Of(codes, 1, 1, 2, 2), scales = Tensor.Of(scale, 1, 1, 2);
            QuantizeReport report = new Quantization(Constants.SAGE_PER_TOKEN).Quantize(x, made, scales);
            Check.Same(codes, new sbyte[] { 32, -127, 32, 127 });
            Check.Same(scale, new float[] { 2f / 127, 1f / 127 });
            Check.Equal(report.CodeBytes * 4, (ulong)x.SizeInBytes);
            Check.Equal(report.ScaleBytes, 8UL);
            Check.IsTrue(report.MaxAbsError > 0 && report.RmsError <= report.MaxAbsError, "errors");

            Quantization smooth = new Quantization(Constants.SAGE_PER_TOKEN) { Mean = Tensor.Of(mean, 1, 1, 2) };
            smooth.Quantize(x, made, scales);
            Check.Same(mean, new float[] { 0.375f, -0.5f });
            smooth.Dequantize(made, scales, Tensor.Of(back, 1, 1, 2, 2));
            float[] want = x.ToArray<float>();
            for (int i = 0; i < 4; ++i) Check.IsTrue(Math.Abs(back[i] - want[i]) < 0.01, "near");

            report = new Quantization(Constants.SAGE_PER_TOKEN).QuantizeWith(x, made,
                Tensor.Of(new float[] { 0.01f, 0.01f }, 1, 1, 2));
            Check.Equal(report.Saturated, 1UL);
            Check.Same(codes, new sbyte[] { 50, -127, 25, 100 });
        }

        private static void Packed()
        {
            Tensor rows = Tensor.Of(new float[] { 1, 2, 3, 4, 5, 6 }, 3, 1, 2);
            Tensor codes = Tensor.Allocate(DType.I16, 3, 1, 2), scale = Tensor.Allocate(DType.F32, 2, 1);
            Quantization byHead = new Quantization(Constants.SAGE_PER_HEAD);
            Check.Refused(Status.InvalidArgument, "cu_seqlens", () => byHead.Quantize(rows, codes, scale));
            byHead.CuSeqlens = Tensor.Of(new int[] { 0, 1, 3 }, 3);
            byHead.Quantize(rows, codes, scale);
            Check.Same(scale.ToArray<float>(), new float[] { 2f / 32767, 6f / 32767 });
            new Quantization(Constants.SAGE_PER_BLOCK) { ScaleBlock = 2 }.Quantize(rows.Reshape(1, 1, 3, 2),
                codes.Reshape(1, 1, 3, 2), scale.Reshape(1, 1, 2));
            Check.Same(scale.ToArray<float>(), new float[] { 4f / 32767, 6f / 32767 });
        }

        private static void Refused()
        {
            Tensor codes = Tensor.Allocate(DType.I8, 1, 1, 2, 2), scale = Tensor.Allocate(DType.F32, 1, 1, 2);
            Quantization byToken = new Quantization(Constants.SAGE_PER_TOKEN);
            Tensor bad = Tensor.Of(new float[] { 1, 2, float.NaN, 4 }, 1, 1, 2, 2);
            Check.Refused(Status.InvalidArgument, "x[0,0,1,0] is nan", () => byToken.Quantize(bad, codes, scale));
            Check.Refused(Status.InvalidArgument, "[1, 1] is expected",
                () => new Quantization(Constants.SAGE_PER_HEAD).Quantize(X(), codes, scale));
            Check.Refused(Status.InvalidArgument, "granularity is 9", () => new Quantization(9).Quantize(X(), codes,
                scale));
            Check.Refused(Status.InvalidArgument, "x has no data",
                () => byToken.Quantize(Tensor.Describe(DType.F32, 1, 1, 2, 2), codes, scale));
            Check.Refused(Status.InvalidArgument, "codes is null", () => byToken.Quantize(X(), null, scale));
            Check.Refused(Status.InvalidArgument, "codes is written",
                () => byToken.Quantize(X(), codes.Constant(), scale));
            byte[] memory = new byte[20];
            Tensor floats = Tensor.Of(DType.F32, new Memory<byte>(memory, 0, 16), 1, 1, 2, 2);
            Tensor over = Tensor.Of(DType.I8, new Memory<byte>(memory, 15, 4), 1, 1, 2, 2);
            Check.Refused(Status.InvalidArgument, "codes is written and overlaps x",
                () => byToken.Quantize(floats, over, scale));
            Check.Same(codes.CopyBytes(), new byte[4]);
            Check.Same(scale.ToArray<float>(), new float[2]);
        }

        private static void Accuracy(string folder)
        {
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, folder + "/op_graph.fbs"))
            using (Session plain = new Session(model))
            using (Session session = new Session(model, new Options().Set("accuracy_report", "true")))
            {
                Check.Refused(Status.InvalidArgument, "accuracy_report", () => plain.Accuracy());
                long[][] shapes = { new long[] { 1, 2, 3, 4 }, new long[] { 1, 1, 5, 4 }, new long[] { 1, 1, 5, 4 } };
                for (int i = 0; i < shapes.Length; ++i)
                {
                    float[] values = new float[Tensor.Describe(DType.F32, shapes[i]).Count];
                    for (int n = 0; n < values.Length; ++n) values[n] = 0.5f;
                    session.SetInput(i, Tensor.Of(values, shapes[i]));
                }
                session.Run();
                Check.IsTrue(session.Accuracy().Contains("\"cosine\""), session.Accuracy());
            }
        }
    }
}
