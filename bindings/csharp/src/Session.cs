// A model at work: its inputs, runs, outputs, and the state of its ticks.
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;
using System.Threading.Tasks;

namespace Sage
{
    /// <summary>Runs a model. One call at a time: a second one is Status.Busy; Cancel comes from any thread. It keeps
    /// its model and engine alive inside the library, whenever those are disposed.</summary>
    public sealed class Session : IDisposable
    {
        private readonly SessionHandle handle;

        public Session(Model model) : this(model, null) { }

        /// <summary>options: null = none.</summary>
        public Session(Model model, Options options)
        {
            if (model == null) throw new ArgumentNullException("model");
            Delegate[] inherited = model.Handle.Callbacks;
            List<Delegate> lent = new List<Delegate>();
            IntPtr raw = Options.Lend(options, lent, with => SageNative.session_create(model.Handle, with));
            handle = new SessionHandle(raw, NativeHandle.Join(inherited, lent));
        }

        // ---- inputs and outputs ----

        /// <summary>Copied; stays set.</summary>
        public void SetInput(int index, Tensor data)
        {
            if (data == null) throw new ArgumentNullException("data");
            data.RequireData("the input").RequireContiguous("the input");
            SageNative.session_set_input(handle, (uint)index, (uint)data.DType, data.Rank, data.RawShape, data.Address,
                (ulong)data.SizeInBytes);
            GC.KeepAlive(data);
        }

        /// <summary>Copied; stays set.</summary>
        public unsafe void SetInput<T>(int index, ReadOnlySpan<T> data, params long[] shape) where T : struct
        {
            DType dtype = Shapes.DTypeOf<T>();
            ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(data);
            Shapes.RequireBytes(bytes.Length, dtype, shape);
            byte none = 0;
            fixed (byte* at = &MemoryMarshal.GetReference(bytes))
                SageNative.session_set_input(handle, (uint)index, (uint)dtype, (uint)shape.Length, shape,
                    (IntPtr)(at == null ? &none : at), (ulong)bytes.Length);
        }

        /// <summary>Copied; stays set.</summary>
        public void SetInput<T>(int index, T[] data, params long[] shape) where T : struct
        {
            if (data == null) throw new ArgumentNullException("data");
            SetInput(index, new ReadOnlySpan<T>(data), shape);
        }

        /// <summary>Type and shape of the last run's output; its name is the model's to say.</summary>
        public TensorInfo OutputInfo(int index)
        {
            long[] info = new long[3 + Constants.SAGE_MAX_RANK];
            SageNative.session_output_info(handle, (uint)index, info);
            return new TensorInfo("output " + index, info);
        }

        /// <summary>A copy of the last run's output.</summary>
        public Tensor Output(int index)
        {
            TensorInfo info = OutputInfo(index);
            Tensor copy = Tensor.Allocate(info.DType, info.Shape);
            Output(index, copy);
            return copy;
        }

        /// <summary>A copy of the last run's output, whose type must be T's.</summary>
        public T[] Output<T>(int index) where T : struct
        {
            return Output(index).ToArray<T>();
        }

        /// <summary>Copies the last run's output into memory of its type and size.</summary>
        public void Output(int index, Tensor into)
        {
            if (into == null) throw new ArgumentNullException("into");
            into.RequireData("the output").RequireContiguous("the output");
            TensorInfo info = OutputInfo(index);
            if (info.DType != into.DType)
                throw new SageException(Status.InvalidArgument, "output " + index + " is " + info.DType + ", not "
                    + into.DType);
            SageNative.session_get_output(handle, (uint)index, into.Address, (ulong)into.SizeInBytes);
            GC.KeepAlive(into);
        }

        /// <summary>Uses memory in place, without a copy, until another is bound, an input is set, or the session is
        /// disposed. It stays pinned until another is bound or the session is disposed. An output's shape is its upper
        /// bound. Null takes it back.</summary>
        public void Bind(Direction direction, int index, Tensor memory)
        {
            if (memory != null) memory.RequireData("what is bound");
            lock (handle) // so that the last one bound is kept
            {
                BindNow((uint)direction, (uint)index, memory);
                handle.Lend(direction + " " + index, memory); // after the call: one that fails leaves the old one bound
            }
        }

        private void BindNow(uint side, uint index, Tensor memory)
        {
            if (memory == null)
                SageNative.session_unbind(handle, side, index);
            else if (memory.IsContiguous)
                SageNative.session_bind_flat(handle, side, index, (uint)memory.DType, memory.Rank, memory.RawShape,
                    memory.Address, (ulong)memory.SizeInBytes);
            else
                SageNative.session_bind(handle, side, index, (uint)memory.DType, memory.Rank, memory.RawShape,
                    memory.RawStrides, (int)Constants.SAGE_CPU, 0, memory.Flags, memory.Address);
        }

        // ---- runs ----

        /// <summary>Returns when the outputs are ready. After an error they are undefined, the session stays
        /// usable.</summary>
        public void Run()
        {
            SageNative.session_run(handle);
        }

        /// <summary>The same, stopped by the token with OperationCanceledException.</summary>
        public void Run(CancellationToken token)
        {
            Cancellation.Run(Run, Cancel, token);
        }

        /// <summary>The same on the thread pool.</summary>
        public Task RunAsync(CancellationToken token = default(CancellationToken))
        {
            return Task.Run(() => Run(token), token);
        }

        /// <summary>Stops the run or tick in progress with Status.Cancelled; later ones are not touched.</summary>
        public void Cancel()
        {
            SageNative.session_cancel(handle);
        }

        /// <summary>JSON: every backend's verdict per node, without running.</summary>
        public string Explain()
        {
            return Text.Of(SageNative.session_explain(handle));
        }

        /// <summary>JSON for Chrome or Perfetto: the last run's spans and counters. Takes the option "trace".</summary>
        public string Trace()
        {
            return Text.Of(SageNative.session_trace(handle));
        }

        /// <summary>JSON: how far each attention of the last run or tick is from exact. Takes the option
        /// "accuracy_report".</summary>
        public string Accuracy()
        {
            return Text.Of(SageNative.session_accuracy(handle));
        }

        // ---- ticks ----

        /// <summary>One tick of an expert, metabolic or fusion graph: a JSON object in, the decision's out. A bad tick
        /// is Status.BadData: the state is as before, LastDecision has its record.</summary>
        public unsafe string Tick(string json)
        {
            if (json == null) throw new ArgumentNullException("json");
            byte[] utf8 = Text.Terminated(json);
            fixed (byte* at = utf8) SageNative.session_tick(handle, (IntPtr)at, (ulong)(utf8.Length - 1));
            return LastDecision();
        }

        /// <summary>The same, stopped by the token with OperationCanceledException.</summary>
        public string Tick(string json, CancellationToken token)
        {
            string decision = null;
            Cancellation.Run(() => decision = Tick(json), Cancel, token);
            return decision;
        }

        /// <summary>The record of the last tick, also of a refused one.</summary>
        public string LastDecision()
        {
            return Text.Of(SageNative.session_decision(handle));
        }

        /// <summary>Ticks to decisions, one for one, in order, each when it is asked for. A bad tick is answered by its
        /// error record and the stream goes on; every other failure is thrown.</summary>
        public IEnumerable<Decision> Ticks(IEnumerable<string> ticks)
        {
            if (ticks == null) throw new ArgumentNullException("ticks");
            return Answers(ticks);
        }

        private IEnumerable<Decision> Answers(IEnumerable<string> ticks)
        {
            foreach (string tick in ticks) yield return Answer(tick);
        }

        private Decision Answer(string json)
        {
            try
            {
                return new Decision(Tick(json), null);
            }
            catch (SageException refused) when (refused.Status == Status.BadData)
            {
                return new Decision(LastDecision(), refused);
            }
        }

        /// <summary>The state between ticks, as versioned bytes.</summary>
        public byte[] Snapshot()
        {
            return SageNative.session_snapshot(handle);
        }

        /// <summary>Refuses another model's snapshot or a damaged one, and then changes nothing.</summary>
        public unsafe void Restore(ReadOnlySpan<byte> snapshot)
        {
            byte none = 0;
            fixed (byte* at = &MemoryMarshal.GetReference(snapshot))
                SageNative.session_restore(handle, (IntPtr)(at == null ? &none : at), (ulong)snapshot.Length);
        }

        /// <summary>Twice is once. A run in progress ends first.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
