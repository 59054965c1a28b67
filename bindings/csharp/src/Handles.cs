// Native handles as SafeHandles: alive during every call they are passed to, destroyed once, by a finalizer where
// Dispose was forgotten, refused with ObjectDisposedException after it.
//
// Callbacks and buffers that the library may touch are rooted from here until the handle is destroyed: not by the
// object that people hold, since finalizers run in any order.
using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Sage
{
    internal abstract class NativeHandle : SafeHandle
    {
        private readonly GCHandle root;
        private readonly long key;
        private readonly ConcurrentDictionary<string, object> lent = new ConcurrentDictionary<string, object>();

        protected NativeHandle(IntPtr raw, Delegate[] callbacks) : base(IntPtr.Zero, true)
        {
            Callbacks = callbacks;
            root = GCHandle.Alloc(new object[] { callbacks, lent });
            SetHandle(raw);
            key = AtExit.Remember(this);
        }

        /// <summary>What the library may call through this one; children inherit them. To be read before a child is
        /// made: they are let go with the handle.</summary>
        internal Delegate[] Callbacks { get; private set; }

        public override bool IsInvalid
        {
            get { return handle == IntPtr.Zero; }
        }

        /// <summary>Keeps value until the handle is destroyed or another one stands at key; null: nothing.</summary>
        internal void Lend(string key, object value)
        {
            object before;
            if (value == null) lent.TryRemove(key, out before);
            else lent[key] = value;
        }

        /// <summary>What stands at key, or null; as Callbacks, to be read before a child is made.</summary>
        internal object Lent(string key)
        {
            object value;
            lent.TryGetValue(key, out value);
            return value;
        }

        protected override bool ReleaseHandle()
        {
            AtExit.Forget(key);
            Destroy(handle);
            root.Free();
            Callbacks = new Delegate[0];
            lent.Clear();
            return true;
        }

        protected abstract void Destroy(IntPtr raw);

        internal static Delegate[] Join(Delegate[] inherited, List<Delegate> own)
        {
            Delegate[] all = new Delegate[inherited.Length + own.Count];
            inherited.CopyTo(all, 0);
            own.CopyTo(all, inherited.Length);
            return all;
        }
    }

    /// <summary>Lives for one call that takes options.</summary>
    internal sealed class OptionsHandle : NativeHandle
    {
        internal OptionsHandle(IntPtr raw) : base(raw, new Delegate[0]) { }

        protected override void Destroy(IntPtr raw) { SageNative.options_destroy(raw); }
    }

    internal sealed class EngineHandle : NativeHandle
    {
        internal EngineHandle(IntPtr raw, Delegate[] callbacks) : base(raw, callbacks) { }

        protected override void Destroy(IntPtr raw) { SageNative.engine_destroy(raw); }
    }

    internal sealed class PlanHandle : NativeHandle
    {
        internal PlanHandle(IntPtr raw, Delegate[] callbacks) : base(raw, callbacks) { }

        protected override void Destroy(IntPtr raw) { SageNative.attention_plan_destroy(raw); }
    }

    internal sealed class ContextHandle : NativeHandle
    {
        internal ContextHandle(IntPtr raw, Delegate[] callbacks) : base(raw, callbacks) { }

        protected override void Destroy(IntPtr raw) { SageNative.attention_context_destroy(raw); }
    }

    internal sealed class ModelHandle : NativeHandle
    {
        internal ModelHandle(IntPtr raw, Delegate[] callbacks) : base(raw, callbacks) { }

        protected override void Destroy(IntPtr raw) { SageNative.model_destroy(raw); }
    }

    internal sealed class SessionHandle : NativeHandle
    {
        internal SessionHandle(IntPtr raw, Delegate[] callbacks) : base(raw, callbacks) { }

        protected override void Destroy(IntPtr raw) { SageNative.session_destroy(raw); }
    }

    /// <summary>The memory of an AttentionOp, which does not move.</summary>
    internal sealed class OpHandle : NativeHandle
    {
        internal OpHandle() : base(Marshal.AllocHGlobal((int)SageNative.op_bytes()), new Delegate[0]) { }

        protected override void Destroy(IntPtr raw) { Marshal.FreeHGlobal(raw); }
    }
}
