// The workspace of one caller of a plan.
using System;
using System.Threading;
using System.Threading.Tasks;

namespace Sage
{
    /// <summary>Runs a plan. One call at a time: a second one is Status.Busy. Cancel comes from any thread.</summary>
    public sealed class AttentionContext : IDisposable
    {
        private readonly ContextHandle handle;

        public AttentionContext(AttentionPlan plan)
        {
            if (plan == null) throw new ArgumentNullException("plan");
            Delegate[] inherited = plan.Handle.Callbacks;
            object constants = plan.Handle.Lent("constants"); // the plan may be disposed first
            handle = new ContextHandle(SageNative.context_create(plan.Handle), inherited);
            handle.Lend("constants", constants);
        }

        /// <summary>op as planned, with data; dynamic axes may be smaller. Returns when O is ready; allocates
        /// nothing.</summary>
        public void Run(AttentionOp op)
        {
            if (op == null) throw new ArgumentNullException("op");
            SageNative.attention_run(handle, op.Handle);
            GC.KeepAlive(op); // and with it the pins of its tensors
        }

        /// <summary>The same, stopped by the token with OperationCanceledException.</summary>
        public void Run(AttentionOp op, CancellationToken token)
        {
            Cancellation.Run(() => Run(op), Cancel, token);
        }

        /// <summary>The same on the thread pool; op is the run's until it is done.</summary>
        public Task RunAsync(AttentionOp op, CancellationToken token = default(CancellationToken))
        {
            if (op == null) throw new ArgumentNullException("op");
            return Task.Run(() => Run(op, token), token);
        }

        /// <summary>Stops the run in progress with Status.Cancelled; later ones are not touched.</summary>
        public void Cancel()
        {
            SageNative.attention_cancel(handle);
        }

        /// <summary>Twice is once. A run in progress ends first.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }
    }
}
