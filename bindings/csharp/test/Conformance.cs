// The conformance runner (tests/vectors/README.md): walks constants.txt and conformance.txt and prints what they give.
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Reflection;

namespace Sage.Conformance
{
    internal sealed class Runner
    {
        internal readonly Transcript Out;
        internal readonly string Folder, Plugin;
        internal Options PlanOptions;

        private readonly ModelSteps models;
        private Options engineOptions;
        private Engine engine;
        private bool engineFailed;
        private int place;
        private AttentionOp op;
        private SortedDictionary<int, Tensor> results;
        private AttentionPlan plan;
        private GateDecision decision;

        private Runner(string folder, string plugin)
        {
            Folder = folder;
            Plugin = plugin;
            Out = new Transcript(folder);
            models = new ModelSteps(this);
        }

        private static int Main(string[] arguments)
        {
            CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
            new Runner(arguments[0], arguments[1]).Walk();
            return 0;
        }

        private void Walk()
        {
            foreach (string line in File.ReadAllLines(Path.Combine(Folder, "constants.txt")))
            {
                string name = line.Split(' ')[1];
                FieldInfo field = typeof(Constants).GetField(name);
                Out.Line("constant " + name + " " + (field == null ? "missing" : field.GetValue(null).ToString()));
            }
            string[] lines = File.ReadAllLines(Path.Combine(Folder, "conformance.txt"));
            if (lines[0] != "sage-vectors 1")
                throw new InvalidDataException("conformance.txt is of another version than 1");
            for (int i = 1; i < lines.Length; ++i)
            {
                string line = lines[i];
                if (line.Length == 0 || line[0] == '#') continue;
                int space = line.IndexOf(' ');
                try
                {
                    Step(line.Split(' '), space < 0 ? "" : line.Substring(space + 1));
                }
                catch (SageException error)
                {
                    Out.SayError(error);
                }
            }
            EndCase();
            Out.End();
        }

        private void BeginCase(string name)
        {
            EndCase();
            Out.Name = name;
            engineOptions = new Options();
            PlanOptions = new Options();
            engineFailed = false;
            place = 0;
            op = new AttentionOp();
            results = new SortedDictionary<int, Tensor>();
            decision = new GateDecision(new uint[8]);
        }

        private void EndCase()
        {
            models.Close();
            if (plan != null) plan.Dispose();
            if (engine != null) engine.Dispose();
            plan = null;
            engine = null;
        }

        /// <summary>Made at first need; null: the step is over.</summary>
        internal Engine Engine()
        {
            if (engine != null) return engine;
            if (engineFailed)
            {
                Out.Say("skipped");
                return null;
            }
            engineFailed = true;
            engine = Sage.Engine.Open(engineOptions);
            engineFailed = false;
            return engine;
        }

        internal bool Without(object needed)
        {
            if (needed == null) Out.Say("skipped");
            return needed == null;
        }

        /// <summary>Memory at the place that was asked for, every byte a5.</summary>
        internal unsafe Tensor Room(DType dtype, long[] shape)
        {
            int bytes = (int)Tensor.Describe(dtype, shape).SizeInBytes;
            byte[] memory = new byte[bytes + 128 + place];
            for (int i = 0; i < memory.Length; ++i) memory[i] = 0xa5;
            int begin = 0;
            // Pinned before its address is looked at, and as long as the tensors over it live.
            Tensor whole = Tensor.Of(memory, memory.Length);
            while (((long)whole.Address + begin) % 64 != place % 64) ++begin;
            return Tensor.Of(dtype, new Memory<byte>(memory, begin, bytes), shape);
        }

        internal Tensor Filled(DType dtype, long[] shape, byte[] bytes)
        {
            // Fewer bytes than the shape says, where strides of 0 follow.
            Tensor made = Room(dtype, shape);
            byte[] whole = made.CopyBytes();
            bytes.CopyTo(whole, 0);
            made.CopyFrom(new ReadOnlySpan<byte>(whole));
            return made;
        }

        private void Step(string[] words, string rest)
        {
            switch (words[0])
            {
                case "case": BeginCase(words[1]); break;
                case "option": engineOptions.Set(words[1], words[2]); break;
                case "plan_option": PlanOptions.Set(words[1], words[2]); break;
                case "place": place = int.Parse(words[1]); break;
                case "tensor": SetTensor(words, Transcript.Bytes(words[4])); break;
                case "result": SetTensor(words, null); break;
                case "strides":
                    Tensor dense = op.Get((Slot)uint.Parse(words[1]));
                    op.Set((Slot)uint.Parse(words[1]), dense.Strided(0, dense.Shape, Transcript.Shape(words[2])));
                    break;
                case "set":
                    if (words[1] == "scale" || words[1] == "softcap" || words[1] == "dropout_p")
                        op.SetField(words[1], double.Parse(words[2], CultureInfo.InvariantCulture));
                    else
                        op.SetField(words[1], (long)ulong.Parse(words[2]));
                    break;
                case "flat": Flat(uint.Parse(words[1]), uint.Parse(words[2]), double.Parse(words[3],
                    CultureInfo.InvariantCulture)); break;
                case "features": Out.Say("features " + op.Features.ToString("x16")); break;
                case "plan": Plan(); break;
                case "memory":
                    if (Without(plan)) break;
                    AttentionMemory m = plan.Memory();
                    Out.Say("memory " + m.Q + " " + m.K + " " + m.V + " " + m.O + " " + m.Other + " " + m.Scores + " "
                        + m.TotalWithScores);
                    break;
                case "explain":
                    if (models.Session == null && Without(plan)) break;
                    string text = models.Session != null ? models.Session.Explain() : plan.Explain();
                    Out.Say(Transcript.IsJsonWith(text, "reference") ? "explain json"
                        : "explain is no JSON that names reference");
                    break;
                case "attend": Attend(); break;
                case "gate": DecideGate(words); break;
                case "gate_apply":
                    AttentionOp empty = new AttentionOp().SetField("alignment", long.Parse(words[1]));
                    Gate.Apply(decision, empty);
                    Out.Say("features " + empty.GetField("features").ToString("x16") + " window_left "
                        + empty.GetField("window_left"));
                    break;
                case "quantize": Quantize(words); break;
                case "dequantize":
                    Quantization(words, 3).Dequantize(Lent(words[1]), Lent(words[2]), Lent(words[5]));
                    Out.Say("SAGE_OK");
                    SaySlot(words[5]);
                    break;
                case "scenario": new Scenarios(this).Run(words[1]); break;
                default:
                    if (!Partition(words)) models.Step(words, rest);
                    break;
            }
        }

        private bool Partition(string[] words)
        {
            if (!words[0].StartsWith("mincut_", StringComparison.Ordinal)) return false;
            long seq = long.Parse(words[1]), parts = long.Parse(words[2]);
            uint tileQ = words.Length > 3 ? uint.Parse(words[3]) : 1, tileKv = words.Length > 4 ? uint.Parse(words[4])
                : 1;
            if (words[0] == "mincut_csr")
            {
                CsrMask csr = Mincut.Csr(seq, parts, tileQ, tileKv);
                Out.Say("kept " + csr.Indices.Count + " " + Transcript.HashOf(csr.Indptr.CopyBytes()) + " "
                    + Transcript.HashOf(csr.Indices.CopyBytes()));
                return true;
            }
            byte[] mask = (words[0] == "mincut_mask" ? Mincut.Mask(seq, parts) : Mincut.Blocks(seq, parts, tileQ,
                tileKv)).CopyBytes();
            int kept = 0;
            foreach (byte b in mask) kept += b;
            Out.Say("kept " + kept + " " + Transcript.HashOf(mask));
            return true;
        }

        private void SetTensor(string[] words, byte[] bytes)
        {
            int slot = int.Parse(words[1]);
            DType dtype = Transcript.DTypeOf(words[2]);
            long[] shape = Transcript.Shape(words[3]);
            Tensor made = bytes == null ? Room(dtype, shape) : Filled(dtype, shape, bytes);
            op.Set((Slot)slot, made);
            if (bytes == null) results[slot] = made;
            else results.Remove(slot);
        }

        private void Flat(uint layout, uint causal, double scale)
        {
            Engine on = Engine();
            if (on == null) return;
            Tensor q = op.Get(Slot.Q), k = op.Get(Slot.K), v = op.Get(Slot.V), o = op.Get(Slot.O);
            int heads = layout == 1 ? 2 : 1, rows = layout == 1 ? 1 : 2;
            AttentionShape shape = new AttentionShape
            {
                Batch = q.Shape[0], HeadsQ = q.Shape[heads], HeadsKv = k.Shape[heads], SeqQ = q.Shape[rows],
                    SeqKv = k.Shape[rows],
                DimQk = q.Shape[3], DimV = v.Shape[3], Layout = (Layout)layout, Causal = (Alignment)causal,
                    Scale = scale
            };
            on.Attention(shape, q, k, v, o);
            Out.Say("SAGE_OK");
            Out.SayBytes("slot 3", o.CopyBytes());
        }

        private void Plan()
        {
            Engine on = Engine();
            if (on == null) return;
            if (plan != null) plan.Dispose();
            plan = null;
            plan = new AttentionPlan(on, op, PlanOptions);
            Out.Say("plan " + plan.Backend);
        }

        private void Attend()
        {
            if (Without(plan)) return;
            using (AttentionContext context = new AttentionContext(plan)) context.Run(op);
            Out.Say("SAGE_OK");
            SortedDictionary<int, Tensor> written = new SortedDictionary<int, Tensor>(results);
            long aliases = op.GetField("aliases");
            for (int slot = 0; slot < Constants.SAGE_ATTN_NUM_SLOTS; ++slot)
                if ((aliases >> slot & 1) != 0) written[slot] = op.Get((Slot)slot);
            foreach (KeyValuePair<int, Tensor> one in written) Out.SayBytes("slot " + one.Key, one.Value.CopyBytes());
        }

        /// <summary>Of a slot by its number; null for "-".</summary>
        private Tensor Lent(string word)
        {
            return word == "-" ? null : op.Get((Slot)uint.Parse(word));
        }

        private void SaySlot(string word)
        {
            if (word != "-") Out.SayBytes("slot " + word, Lent(word).CopyBytes());
        }

        /// <summary>mean: where the mean's slot stands, that of cu_seqlens behind it.</summary>
        private Quantization Quantization(string[] words, int mean)
        {
            return new Quantization(uint.Parse(words[6]))
            {
                ScaleBlock = uint.Parse(words[7]), Mean = Lent(words[mean]), CuSeqlens = Lent(words[mean + 1])
            };
        }

        private void Quantize(string[] words)
        {
            Quantization by = Quantization(words, 4);
            bool given = words[8] == "1";
            Tensor x = Lent(words[1]), codes = Lent(words[2]), scale = Lent(words[3]);
            QuantizeReport r = given ? by.QuantizeWith(x, codes, scale) : by.Quantize(x, codes, scale);
            Out.Say("SAGE_OK");
            Out.Say("report " + r.Elements + " " + r.Saturated + " " + r.ZeroGroups + " " + r.CodeBytes + " "
                + r.ScaleBytes + " " + BitConverter.DoubleToInt64Bits(r.MaxAbsError).ToString("x16") + " "
                + BitConverter.DoubleToInt64Bits(r.RmsError).ToString("x16"));
            SaySlot(words[2]);
            if (!given) SaySlot(words[3]);
            SaySlot(words[4]);
        }

        private void DecideGate(string[] words)
        {
            GatePacket packet = new GatePacket();
            GatePolicy policy = null;
            for (int i = 1; i < words.Length; ++i)
            {
                string field = words[i].Split('=')[0];
                uint value = uint.Parse(words[i].Split('=')[1]);
                if (field.StartsWith("policy.", StringComparison.Ordinal) && policy == null) policy = new GatePolicy();
                switch (field)
                {
                    case "flags": packet.Flags = value; break;
                    case "lambda": packet.Lambda = value; break;
                    case "lambda_prev": packet.LambdaPrev = value; break;
                    case "boundary_edges": packet.BoundaryEdges = value; break;
                    case "boundary_concentration_q15": packet.BoundaryConcentrationQ15 = value; break;
                    case "partition_count": packet.PartitionCount = value; break;
                    case "spike_fired": packet.SpikeFired = value; break;
                    case "spike_rate_q15": packet.SpikeRateQ15 = value; break;
                    case "policy.lambda_min": policy.LambdaMin = value; break;
                    case "policy.drop_ratio_q15_max": policy.DropRatioQ15Max = value; break;
                    case "policy.boundary_edges_max": policy.BoundaryEdgesMax = value; break;
                    case "policy.boundary_concentration_q15_max": policy.BoundaryConcentrationQ15Max = value; break;
                    case "policy.partitions_max": policy.PartitionsMax = value; break;
                    case "policy.spike_rate_q15_max": policy.SpikeRateQ15Max = value; break;
                    default:
                        string[] parts = field.Split('.');
                        if (parts.Length != 3) throw new InvalidDataException(words[i]);
                        switch (parts[1])
                        {
                            case "normal": policy.Normal = WithField(policy.Normal, parts[2], value); break;
                            case "reduced": policy.Reduced = WithField(policy.Reduced, parts[2], value); break;
                            case "safe": policy.Safe = WithField(policy.Safe, parts[2], value); break;
                            default: throw new InvalidDataException(words[i]);
                        }
                        break;
                }
            }
            decision = new GateDecision(new uint[8]);
            decision = Gate.Decide(packet, policy);
            Out.Say("gate " + (uint)decision.Verdict + " " + decision.Tier + " " + decision.DropRatioQ15 + " "
                + decision.Layers + " " + decision.Sequence + " " + decision.Window);
        }

        private static GateTier WithField(GateTier tier, string field, uint value)
        {
            switch (field)
            {
                case "layers": tier.Layers = value; break;
                case "sequence": tier.Sequence = value; break;
                case "window": tier.Window = value; break;
                default: throw new InvalidDataException(field);
            }
            return tier;
        }
    }
}
