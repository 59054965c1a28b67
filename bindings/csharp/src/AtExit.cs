// The end of a process under mono. A thread that has called back is mono's from then on; at exit mono stops its threads
// and waits for them, and one of the engine's never comes back while the engine lives. So, where such a thread was met,
// every handle that is still open is closed when the process begins to end. .NET does not wait, and nothing is kept there.
using System;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Threading;

namespace Sage
{
    internal static class AtExit
    {
        private static readonly bool IsMono = Type.GetType("Mono.Runtime") != null;
        private static readonly ConcurrentDictionary<long, WeakReference> Open =
            new ConcurrentDictionary<long, WeakReference>();
        private static long last;
        private static int met;

        /// <summary>A key to forget it by. Weak: who drops a handle has it collected as ever.</summary>
        internal static long Remember(SafeHandle handle)
        {
            if (!IsMono) return 0;
            long key = Interlocked.Increment(ref last);
            Open[key] = new WeakReference(handle);
            return key;
        }

        internal static void Forget(long key)
        {
            WeakReference gone;
            if (IsMono) Open.TryRemove(key, out gone);
        }

        /// <summary>Called on a thread of an engine.</summary>
        internal static void Met()
        {
            if (IsMono && Interlocked.Exchange(ref met, 1) == 0)
                AppDomain.CurrentDomain.ProcessExit += (sender, arguments) => CloseAll();
        }

        private static void CloseAll()
        {
            foreach (WeakReference one in Open.Values)
            {
                SafeHandle handle = one.Target as SafeHandle;
                if (handle != null) handle.Dispose();
            }
        }
    }
}
