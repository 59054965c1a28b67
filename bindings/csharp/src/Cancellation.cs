// A run that a CancellationToken stops.
//
// The library's cancel stops what is in progress and nothing later; one that comes while the run is just about to begin
// would be lost. So it is said again, every millisecond, until this run has ended, and never after that.
using System;
using System.Threading;

namespace Sage
{
    internal sealed class Cancellation
    {
        private readonly Action cancel;
        private Timer again;
        private bool ended;

        private Cancellation(Action cancel)
        {
            this.cancel = cancel;
        }

        internal static void Run(Action run, Action cancel, CancellationToken token)
        {
            token.ThrowIfCancellationRequested();
            Cancellation stopper = new Cancellation(cancel);
            CancellationTokenRegistration registration = token.Register(stopper.Begin);
            try
            {
                run();
            }
            catch (SageException error) when (error.Status == Status.Cancelled && token.IsCancellationRequested)
            {
                throw new OperationCanceledException(error.Message, error, token);
            }
            finally
            {
                stopper.End(); // before the registration goes: that one waits for Begin
                registration.Dispose();
            }
        }

        private void Begin()
        {
            lock (this)
            {
                if (ended) return;
                again = new Timer(Say, null, 0, 1);
            }
        }

        private void Say(object state)
        {
            lock (this)
            {
                if (ended) return;
                try { cancel(); }
                catch (ObjectDisposedException) { } // the run goes on to its own end
            }
        }

        private void End()
        {
            lock (this)
            {
                ended = true;
                if (again != null) again.Dispose();
            }
        }
    }
}
