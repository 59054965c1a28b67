// The conformance runner's models and sessions.
using System;
using System.Collections.Generic;
using System.IO;

namespace Sage.Conformance
{
    internal sealed class ModelSteps
    {
        private readonly Runner runner;
        private readonly Dictionary<int, Tensor> bound = new Dictionary<int, Tensor>();
        private Model model;
        private byte[] snapshot;
        internal Session Session;

        internal ModelSteps(Runner runner)
        {
            this.runner = runner;
        }

        internal void Close()
        {
            if (Session != null) Session.Dispose();
            if (model != null) model.Dispose();
            Session = null;
            model = null;
            snapshot = null;
            bound.Clear();
        }

        internal void Step(string[] words, string rest)
        {
            switch (words[0])
            {
                case "model": Load(words[1], false); return;
                case "model_bytes": Load(words[1], true); return;
                case "check": Check(words[1], false); return;
                case "check_bytes": Check(words[1], true); return;
                case "session":
                    if (runner.Without(model)) return;
                    if (Session != null) Session.Dispose();
                    Session = null;
                    bound.Clear();
                    Session = new Session(model, runner.PlanOptions);
                    runner.Out.Say("SAGE_OK");
                    return;
            }
            if (!runner.Without(Session)) SessionStep(words, rest);
        }

        private void SessionStep(string[] words, string rest)
        {
            Transcript print = runner.Out;
            switch (words[0])
            {
                case "input":
                    Session.SetInput(int.Parse(words[1]), runner.Filled(Transcript.DTypeOf(words[2]),
                        Transcript.Shape(words[3]), Transcript.Bytes(words[4])));
                    print.Say("SAGE_OK");
                    break;
                case "bind":
                    bool output = words[1] == "output";
                    int index = int.Parse(words[2]);
                    Tensor memory = runner.Room(Transcript.DTypeOf(words[3]), Transcript.Shape(words[4]));
                    if (!output) memory.CopyFrom(new ReadOnlySpan<byte>(Transcript.Bytes(words[5])));
                    Session.Bind(output ? Direction.Output : Direction.Input, index, memory);
                    if (output) bound[index] = memory;
                    print.Say("SAGE_OK");
                    break;
                case "run":
                    Session.Run();
                    print.Say("SAGE_OK");
                    for (int i = 0; i < model.Outputs.Count; ++i)
                    {
                        TensorInfo info = Session.OutputInfo(i);
                        Tensor data = bound.ContainsKey(i) ? bound[i] : Session.Output(i);
                        print.SayBytes("output " + i + " " + Transcript.TextOf(info.DType) + " "
                            + Transcript.TextOf(info.Shape), data.CopyBytes());
                    }
                    break;
                case "trace":
                    print.Say(Transcript.IsJsonWith(Session.Trace(), "\"traceEvents\"") ? "trace json"
                        : "trace is no JSON with traceEvents");
                    break;
                case "accuracy":
                    print.Say(Transcript.IsJsonWith(Session.Accuracy(), "\"rel_l1\"") ? "accuracy json"
                        : "accuracy is no JSON with rel_l1");
                    break;
                case "tick":
                    try
                    {
                        Session.Tick(rest);
                        print.Say("SAGE_OK");
                    }
                    catch (SageException refused)
                    {
                        print.SayError(refused);
                    }
                    print.Say(Session.LastDecision());
                    break;
                case "snapshot":
                    snapshot = Session.Snapshot();
                    print.Say("snapshot " + snapshot.Length + " " + Transcript.HashOf(snapshot));
                    break;
                case "restore":
                case "restore_damaged":
                    if (runner.Without(snapshot)) return;
                    byte[] bytes = (byte[])snapshot.Clone();
                    if (words[0] == "restore_damaged") bytes[bytes.Length - 1] ^= 1;
                    Session.Restore(new ReadOnlySpan<byte>(bytes));
                    print.Say("SAGE_OK");
                    break;
                default:
                    throw new InvalidDataException("no such step: " + words[0]);
            }
        }

        private void Load(string file, bool asBytes)
        {
            Engine engine = runner.Engine();
            if (engine == null) return;
            if (model != null) model.Dispose();
            model = null;
            string path = Path.Combine(runner.Folder, file);
            model = asBytes ? Model.Load(engine, new ReadOnlySpan<byte>(File.ReadAllBytes(path))) : Model.Load(engine,
                path);
            runner.Out.Say("model " + (uint)model.Kind);
            Say("input", model.Inputs);
            Say("output", model.Outputs);
        }

        private void Check(string file, bool asBytes)
        {
            Engine engine = runner.Engine();
            if (engine == null) return;
            string path = Path.Combine(runner.Folder, file);
            string text = asBytes ? engine.Check(new ReadOnlySpan<byte>(File.ReadAllBytes(path))) : engine.Check(path);
            runner.Out.Say("valid " + (Transcript.IsJsonWith(text, "\"valid\":true") ? "true" : "false"));
        }

        private void Say(string direction, IList<TensorInfo> infos)
        {
            for (int i = 0; i < infos.Count; ++i)
                runner.Out.Say(direction + " " + i + " " + infos[i].Name + " " + Transcript.TextOf(infos[i].DType) + " "
                    + Transcript.TextOf(infos[i].Shape));
        }
    }
}
