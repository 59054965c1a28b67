// Models, sessions and tick streams.
using System;
using System.Collections.Generic;
using System.IO;

namespace Sage.Test
{
    internal static class ModelTests
    {
        private static string folder;

        internal static string TickText(int ts, string salience)
        {
            return "{\"ts\":" + ts + ",\"targets\":[{\"id\":\"Tür 😀\",\"salience\":" + salience + "}]}";
        }

        /// <summary>Inputs and output of op_graph.fbs, bound; the output's array comes last.</summary>
        internal static float[][] Bind(Session session)
        {
            long[][] shapes = { new long[] { 1, 2, 3, 4 }, new long[] { 1, 1, 5, 4 }, new long[] { 1, 1, 5, 4 },
                new long[] { 1, 2, 3, 4 } };
            float[][] data = new float[4][];
            for (int i = 0; i < 4; ++i)
            {
                data[i] = AttentionTests.Normal(i % 3 == 0 ? 24 : 20, i);
                session.Bind(i < 3 ? Direction.Input : Direction.Output, i % 3, Tensor.Of(data[i], shapes[i]));
            }
            return data;
        }

        internal static void Run(string vectors)
        {
            folder = vectors;
            Check.Test("a model runs on copies and in place", CopiesAndPlaces);
            Check.Test("a bound tensor may have strides, and is read where it lies", StridedBinding);
            Check.Test("a cache is appended to where it is bound, and in a copy of what may only be read", Caches);
            Check.Test("ticks give decisions; a bad one is answered and the stream goes on", Ticks);
        }

        private static void CopiesAndPlaces()
        {
            string path = Path.Combine(folder, "op_graph.fbs");
            byte[] bytes = File.ReadAllBytes(path);
            using (Engine engine = Engine.Open())
            {
                Check.IsTrue(engine.Check(path).Contains("\"valid\":true"), "not valid");
                Check.IsTrue(engine.Check(new ReadOnlySpan<byte>(bytes)).Contains("\"valid\":true"), "not valid");
                Check.IsTrue(engine.Check(ReadOnlySpan<byte>.Empty).Contains("\"valid\":false"), "nothing is valid");
                using (Model model = Model.Load(engine, new ReadOnlySpan<byte>(bytes)))
                using (Session session = new Session(model))
                {
                    Check.Equal(model.Kind, GraphKind.OpGraph);
                    Check.Equal(model.Inputs.Count, 3);
                    Check.Equal(model.Outputs[0].DType, DType.F32);
                    float[][] data = Bind(session);
                    session.Run();
                    float[] bound = (float[])data[3].Clone();
                    session.Bind(Direction.Output, 0, null);
                    session.SetInput(0, data[0], 1, 2, 3, 4);
                    session.SetInput(1, new ReadOnlySpan<float>(data[1]), 1, 1, 5, 4);
                    session.SetInput(2, Tensor.Of(data[2], 1, 1, 5, 4));
                    session.Run();
                    Check.Same(session.Output<float>(0), bound);
                    Check.Same(session.OutputInfo(0).Shape, new long[] { 1, 2, 3, 4 });
                    Check.Refused(Status.InvalidArgument, "not F64", () => session.Output(0, Tensor.Allocate(DType.F64,
                        12)));
                    Check.Refused(Status.InvalidArgument, "not F64", () => session.Output<double>(0));
                    Check.Refused(Status.InvalidArgument, "", () => session.Output(0, Tensor.Allocate(DType.F32, 5)));
                    Check.Refused(Status.NotFound, "", () => session.OutputInfo(9));
                    Check.Refused(Status.InvalidArgument, "", () => session.SetInput(0, new double[24], 1, 2, 3, 4));
                    Check.Refused(Status.InvalidArgument, "", () => session.SetInput(0, new float[18], 1, 2, 3, 3));
                    Check.Thrown<ShapeException>(() => session.SetInput(0, new float[3], 1, 2, 3, 4));
                    Check.Thrown<ShapeException>(() => session.SetInput(0, Tensor.Of(data[0], 24, 1).Broadcast(24, 2)));
                    Check.Thrown<ArgumentNullException>(() => session.SetInput(0, (float[])null, 1));
                    Check.Thrown<ArgumentNullException>(() => session.SetInput(0, null));
                    Check.Thrown<ArgumentNullException>(() => session.Output(0, null));
                    Check.IsTrue(session.Explain().Contains("\"nodes\""), "no nodes");
                    Check.Refused(Status.Unsupported, "", () => session.Tick("{\"ts\":1}"));
                }
                Check.Refused(Status.NotFound, "/nowhere/at/all.fbs", () => Model.Load(engine, "/nowhere/at/all.fbs"));
                Check.Refused(Status.BadData, "", () => Model.Load(engine, new ReadOnlySpan<byte>(new byte[] { 1, 2,
                    3 })));
                Check.Thrown<ArgumentNullException>(() => Model.Load(engine, (string)null));
                Check.Thrown<ArgumentNullException>(() => engine.Check(null));
                Check.Thrown<ArgumentNullException>(() => engine.LoadPlugin(null));
            }
        }

        private static void StridedBinding()
        {
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, Path.Combine(folder, "op_graph.fbs")))
            using (Session session = new Session(model))
            {
                float[][] data = Bind(session);
                session.Run();
                float[] want = (float[])data[3].Clone(), wide = new float[48];
                for (int i = 0; i < 24; ++i) wide[i / 4 * 8 + i % 4] = data[0][i];
                session.Bind(Direction.Input, 0, Tensor.Of(wide, 48).Strided(0, new long[] { 1, 2, 3, 4 },
                    new long[] { 48, 24, 8, 1 }));
                Array.Clear(data[3], 0, 24);
                session.Run();
                Check.Same(data[3], want);
            }
        }

        private static void Caches()
        {
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, Path.Combine(folder, "cache.fbs")))
            using (Session session = new Session(model))
            {
                float[] token = { 7, 7, 7, 7 }, k = new float[32], v = new float[32], want = new float[32];
                session.SetInput(0, token, 1, 1, 1, 4);
                session.Bind(Direction.Input, 1, Tensor.Of(k, 1, 1, 8, 4));
                session.SetInput(2, new ReadOnlySpan<float>(v), 1, 1, 8, 4);
                session.SetInput(3, token, 1, 1, 1, 4);
                session.SetInput(4, new[] { 2 }, 1);
                session.Run();
                Check.Same(v, want);
                for (int i = 8; i < 12; ++i) want[i] = 7;
                Check.Same(k, want);
            }
        }

        private static void Ticks()
        {
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, Path.Combine(folder, "metabolic.fbs")))
            using (Session session = new Session(model))
            {
                string[] lines = { TickText(1, "0.9"), TickText(2, "1.4"), "{", TickText(3, "0.1") };
                byte[] before = session.Snapshot();
                List<Decision> decisions = new List<Decision>(session.Ticks(lines));
                Check.Equal(decisions.Count, 4);
                Check.Equal(decisions[0].State, (MetabolicState?)MetabolicState.Focus);
                Check.IsTrue(decisions[0].Json.Contains("Tür 😀"), decisions[0].Json);
                Check.Equal(decisions[1].Error.Status, Status.BadData);
                Check.IsTrue(decisions[1].Json.Contains("SAGE_E_RANGE") && decisions[1].State == null, "no record");
                Check.IsTrue(decisions[2].Json.Contains("SAGE_E_SYNTAX"), "no record");
                Check.IsTrue(decisions[3].Error == null, "refused");
                session.Restore(new ReadOnlySpan<byte>(before));
                int i = 0;
                foreach (Decision again in session.Ticks(lines)) Check.Equal(again.Json, decisions[i++].Json);
                Check.Equal(session.LastDecision(), decisions[3].Json);
                Check.Refused(Status.BadData, "", () => session.Restore(new ReadOnlySpan<byte>(new byte[] { 1 })));
                Check.Refused(Status.BadData, "", () => session.Tick(""));
                Check.Thrown<ArgumentNullException>(() => session.Tick(null));
                Check.Thrown<ArgumentNullException>(() => session.Ticks(null));
                foreach (MetabolicState state in Enum.GetValues(typeof(MetabolicState)))
                {
                    string at = "{\"ts\":" + (10 + (int)state) + ",\"state\":\"" + state + "\",\"targets\":[]}";
                    Check.Equal(Decision.StateOf(session.Tick(at)), (MetabolicState?)state);
                }
                Check.Equal(Decision.StateOf("{\"x\":{\"state\":\"REST\"}}"), null);
                Check.Equal(Decision.StateOf("{\"state\":null}"), null);
                Check.Equal(Decision.StateOf("{\"state\":\"RES"), null);
                Check.Thrown<ArgumentNullException>(() => Decision.StateOf(null));
            }
        }
    }
}
