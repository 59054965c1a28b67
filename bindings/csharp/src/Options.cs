// key = value, and two callbacks. Managed until it is used: there is nothing to dispose, and nothing native to keep in
// step. The library checks keys and values, and names the nearest known one.
using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

namespace Sage
{
    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate void NativeLog(IntPtr user, int level, IntPtr text, ulong length);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate int NativeCancel(IntPtr user);

    /// <summary>Options of an engine, a plan or a session, copied where they are used. The keys stand in the table of
    /// `sage-engine run --help`; "backend.key" goes to that backend.</summary>
    public sealed class Options
    {
        private readonly List<KeyValuePair<string, string>> values = new List<KeyValuePair<string, string>>();
        private Action<int, string> log;
        private Func<bool> cancel;

        /// <summary>For instance Set("threads", "2"). Checked where the options are used.</summary>
        public Options Set(string key, string value)
        {
            if (key == null) throw new ArgumentNullException("key");
            if (value == null) throw new ArgumentNullException("value");
            lock (values) values.Add(new KeyValuePair<string, string>(key, value));
            return this;
        }

        /// <summary>Of an engine: takes its log, from any thread, several at once: the level (1 error, 2 warning, 3
        /// info, 4 debug) and the line. It must not call back into the engine; what it throws is dropped. Null:
        /// nobody.</summary>
        public Options Log(Action<int, string> callback)
        {
            lock (values) log = callback;
            return this;
        }

        /// <summary>Of a plan or session: asked now and then during a run, from any thread; true stops it with
        /// <see cref="Status.Cancelled"/>, and so does throwing. It must not call back into its session. Null:
        /// nobody.</summary>
        public Options Cancel(Func<bool> callback)
        {
            lock (values) cancel = callback;
            return this;
        }

        /// <summary>make, with native options that live for the call. What the library may call is added to
        /// lent.</summary>
        internal static T Lend<T>(Options options, List<Delegate> lent, Func<OptionsHandle, T> make)
        {
            Library.Load();
            // Without any, an empty set: the library reads it as none.
            using (OptionsHandle raw = new OptionsHandle(SageNative.options_create()))
            {
                if (options != null) options.Fill(raw, lent);
                return make(raw);
            }
        }

        /// <summary>The run-time takes a thread of the engine for one of the program, which it is not.</summary>
        private static void Met(IntPtr first)
        {
            if (first == IntPtr.Zero) return;
            Thread.CurrentThread.IsBackground = true;
            AtExit.Met();
        }

        private unsafe void Fill(OptionsHandle raw, List<Delegate> lent)
        {
            lock (values)
            {
                foreach (KeyValuePair<string, string> value in values)
                    SageNative.options_set(raw, value.Key, value.Value);
                if (log != null)
                {
                    Action<int, string> callback = log;
                    NativeLog native = (user, level, text, length) =>
                    {
                        try
                        {
                            Met(user);
                            callback(level, System.Text.Encoding.UTF8.GetString((byte*)text, checked((int)length)));
                        }
                        catch (Exception) { } // a line of a log is not worth a run
                    };
                    lent.Add(native);
                    SageNative.options_set_log(raw, native);
                }
                if (cancel != null)
                {
                    Func<bool> callback = cancel;
                    NativeCancel native = user =>
                    {
                        try { Met(user); return callback() ? 1 : 0; }
                        catch (Exception) { return 1; } // who cannot be asked wants to stop
                    };
                    lent.Add(native);
                    SageNative.options_set_cancel(raw, native);
                }
            }
        }
    }
}
