// The conformance runner's scenarios: callbacks, threads, orders of closing.
using System;
using System.IO;
using System.Text;
using System.Threading;

namespace Sage.Conformance
{
    internal sealed class Scenarios
    {
        private const string TickText = "{\"ts\":1,\"targets\":[{\"id\":\"door\",\"salience\":0.9}]}";
        private static readonly int[][] Orders =
        {
            new[] { 0, 1, 2 }, new[] { 0, 2, 1 }, new[] { 1, 0, 2 }, new[] { 1, 2, 0 }, new[] { 2, 0, 1 }, new[] { 2,
                1, 0 }
        };

        private readonly Runner runner;
        private readonly Transcript print;

        internal Scenarios(Runner runner)
        {
            this.runner = runner;
            print = runner.Out;
        }

        internal void Run(string name)
        {
            switch (name)
            {
                case "versions":
                    if (Library.BuildInfo.Length > 0)
                        print.Say("abi " + (Library.AbiVersion >> 16) + "." + (Library.AbiVersion & 0xffff)
                            + " version " + Library.Version);
                    break;
                case "status_names":
                    string[] names = new string[16];
                    for (int status = 0; status < 16; ++status) names[status] = Library.StatusName(status);
                    print.Say(string.Join(" ", names));
                    break;
                case "backends": Backends(); break;
                case "free_orders":
                    int good = 0;
                    foreach (int[] order in Orders) good += (CloseModel(order) ? 1 : 0) + (ClosePlan(order) ? 1 : 0);
                    print.Say("free_orders " + good);
                    break;
                case "closed": Closed(); break;
                case "log":
                case "log_throws": Log(name == "log_throws"); break;
                case "cancel_callback":
                case "cancel_throws": CancelCallback(name); break;
                case "cancel_thread": CancelThread(); break;
                case "wrong_major":
                    using (Engine engine = Engine.Open())
                        print.Say("wrong_major " + Refusal(() => engine.LoadPlugin(runner.Plugin), runner.Plugin));
                    break;
                case "missing_model":
                    using (Engine engine = Engine.Open())
                    {
                        string path = Path.Combine(runner.Folder, "missing.fbs");
                        print.Say("missing_model " + Refusal(() => Model.Load(engine, path), path));
                    }
                    break;
                case "native": NativeKernels(); break;
                case "zero_copy": ZeroCopy(); break;
                case "denormals":
                    float small = float.Parse("1e-39", System.Globalization.CultureInfo.InvariantCulture);
                    print.Say(small * 0.5f != 0 ? "denormals kept" : "denormals lost");
                    break;
                default: throw new InvalidDataException("no such scenario: " + name);
            }
        }

        private static AttentionOp Problem(DType dtype, long heads, long seq, long dim)
        {
            Tensor[] t = new Tensor[4];
            for (int i = 0; i < 4; ++i) t[i] = Tensor.Allocate(dtype, 1, heads, seq, dim);
            return new AttentionOp(t[0], t[1], t[2], t[3]);
        }

        private void Backends()
        {
            using (Engine engine = Engine.Open())
            {
                string described = engine.Describe();
                StringBuilder names = new StringBuilder("backends");
                foreach (string backend in engine.Backends)
                    if (Transcript.IsJsonWith(described, backend)) names.Append(' ').Append(backend);
                print.Say(names.ToString());
            }
        }

        private bool CloseModel(int[] order)
        {
            Engine engine = Engine.Open();
            Model model = Model.Load(engine, Path.Combine(runner.Folder, "metabolic.fbs"));
            Session session = new Session(model);
            IDisposable[] all = { engine, model, session };
            bool[] closed = new bool[3];
            bool good = true;
            foreach (int which in order)
            {
                if (!closed[0]) good &= engine.Backends.Count > 0;
                if (!closed[1]) good &= model.Kind == GraphKind.Metabolic;
                if (!closed[2]) good &= session.Tick(TickText)[0] == '{';
                all[which].Dispose();
                closed[which] = true;
            }
            return good;
        }

        private static bool ClosePlan(int[] order)
        {
            AttentionOp op = Problem(DType.F32, 1, 4, 8);
            Engine engine = Engine.Open();
            AttentionPlan plan = new AttentionPlan(engine, op);
            AttentionContext context = new AttentionContext(plan);
            IDisposable[] all = { engine, plan, context };
            bool[] closed = new bool[3];
            bool good = true;
            foreach (int which in order)
            {
                if (!closed[0]) good &= engine.Backends.Count > 0;
                if (!closed[1]) good &= plan.Backend.Length > 0;
                if (!closed[2]) context.Run(op);
                all[which].Dispose();
                closed[which] = true;
            }
            return good;
        }

        private void Closed()
        {
            AttentionOp op = Problem(DType.F32, 1, 4, 8);
            Engine engine = Engine.Open();
            AttentionPlan plan = new AttentionPlan(engine, op);
            AttentionContext context = new AttentionContext(plan);
            Model model = Model.Load(engine, Path.Combine(runner.Folder, "metabolic.fbs"));
            Session session = new Session(model);
            foreach (int twice in new[] { 1, 2 })
                foreach (IDisposable one in new IDisposable[] { engine, plan, context, model, session }) one.Dispose();
            Action[] uses = { () => engine.Backends.GetHashCode(), () => plan.Backend.GetHashCode(), () =>
                context.Run(op),
                () => model.Kind.GetHashCode(), () => session.Run() };
            int refused = 0;
            foreach (Action use in uses)
            {
                try { use(); }
                catch (ObjectDisposedException) { ++refused; }
            }
            print.Say("closed " + refused);
        }

        private void Log(bool throws)
        {
            int lines = 0;
            Options options = new Options().Set("log_level", "debug").Log((level, line) =>
            {
                Interlocked.Increment(ref lines);
                if (throws) throw new InvalidOperationException("thrown by a log callback");
            });
            string status = "SAGE_OK";
            try
            {
                using (Engine engine = Engine.Open(options)) engine.LoadPlugin(runner.Plugin);
            }
            catch (SageException refused)
            {
                status = refused.StatusName;
            }
            if (throws) print.Say("log_throws " + (lines > 0 ? status : "was not called"));
            else print.Say(lines > 0 ? "log called" : "log silent");
        }

        private void CancelCallback(string name)
        {
            AttentionOp op = Problem(DType.F32, 1, 64, 8);
            Options options = new Options().Cancel(() =>
            {
                if (name == "cancel_throws") throw new InvalidOperationException("thrown by a cancel callback");
                return true;
            });
            using (Engine engine = Engine.Open())
            using (AttentionPlan plan = new AttentionPlan(engine, op, options))
            using (AttentionContext context = new AttentionContext(plan))
                print.Say(name + " " + StatusOf(() => context.Run(op)));
        }

        private void CancelThread()
        {
            AttentionOp op = Problem(DType.F64, 4, 2048, 64);
            using (Engine engine = Engine.Open())
            using (AttentionPlan plan = new AttentionPlan(engine, op, new Options().Set("backend", "reference")))
            using (AttentionContext context = new AttentionContext(plan))
            using (ManualResetEvent done = new ManualResetEvent(false))
            {
                Thread canceller = new Thread(() =>
                {
                    while (!done.WaitOne(1)) context.Cancel();
                });
                canceller.Start();
                string status = StatusOf(() => context.Run(op));
                done.Set();
                canceller.Join();
                print.Say("cancel_thread " + status);
            }
        }

        private static string StatusOf(Action call)
        {
            try
            {
                call();
                return "SAGE_OK";
            }
            catch (SageException error)
            {
                return error.StatusName;
            }
        }

        private static string Refusal(Action call, string path)
        {
            try
            {
                call();
                return "SAGE_OK not named";
            }
            catch (SageException error)
            {
                return error.StatusName + (error.Message.Contains(path) ? " named" : " not named");
            }
        }

        private void NativeKernels()
        {
            const int size = 2 * 33 * 16;
            int[] factor = { 7, 5, 3 };
            float[][] data = new float[3][];
            for (int i = 0; i < 3; ++i)
            {
                data[i] = new float[size];
                for (int n = 0; n < size; ++n) data[i][n] = (n * factor[i] % 31 - 15) / 8f;
            }
            AttentionShape shape = new AttentionShape
            {
                HeadsQ = 2, HeadsKv = 2, SeqQ = 33, SeqKv = 33, DimQk = 16, Causal = Alignment.TopLeft
            };
            string[] hashes = new string[2];
            for (int threads = 1; threads <= 2; ++threads)
                using (Engine engine = Engine.Open(new Options().Set("threads", threads.ToString())))
                {
                    float[] o = new float[size];
                    engine.Attention(shape, data[0], data[1], data[2], o);
                    hashes[threads - 1] = Transcript.HashOf(Tensor.Of(o, size).CopyBytes());
                }
            print.Say("native " + hashes[0]);
            print.Say(hashes[0] == hashes[1] ? "threads equal" : "threads differ");
        }

        private void ZeroCopy()
        {
            long[][] shapes = { new long[] { 1, 2, 3, 4 }, new long[] { 1, 1, 5, 4 }, new long[] { 1, 1, 5, 4 },
                new long[] { 1, 2, 3, 4 } };
            using (Engine engine = Engine.Open())
            using (Model model = Model.Load(engine, Path.Combine(runner.Folder, "op_graph.fbs")))
            using (Session session = new Session(model, new Options().Set("trace", "true")))
            {
                for (int i = 0; i < 4; ++i)
                    session.Bind(i < 3 ? Direction.Input : Direction.Output, i % 3, Tensor.Of(new float[i % 3 == 0 ? 24
                        : 20], shapes[i]));
                session.Run();
                session.Run();
                string trace = session.Trace();
                int begin = trace.IndexOf("\"bytes_copied\":", StringComparison.Ordinal) + "\"bytes_copied\":".Length,
                    end = begin;
                while (char.IsDigit(trace[end])) ++end;
                print.Say("zero_copy " + trace.Substring(begin, end - begin));
            }
        }
    }
}
