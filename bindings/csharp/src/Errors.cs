// What a call of the library refused, in its own words; and the same of what this assembly checks for memory's sake.
using System;
using System.Runtime.InteropServices;

namespace Sage
{
    /// <summary>Why a call failed; the library's SAGE_E_* by name.</summary>
    public enum Status
    {
        Ok = (int)Constants.SAGE_OK,
        InvalidArgument = (int)Constants.SAGE_E_INVALID_ARGUMENT,
        Unsupported = (int)Constants.SAGE_E_UNSUPPORTED,
        UnknownField = (int)Constants.SAGE_E_UNKNOWN_FIELD,
        OutOfMemory = (int)Constants.SAGE_E_OUT_OF_MEMORY,
        NotFound = (int)Constants.SAGE_E_NOT_FOUND,
        Io = (int)Constants.SAGE_E_IO,
        BadData = (int)Constants.SAGE_E_BAD_DATA,
        AbiMismatch = (int)Constants.SAGE_E_ABI_MISMATCH,
        Device = (int)Constants.SAGE_E_DEVICE,
        Cancelled = (int)Constants.SAGE_E_CANCELLED,
        Busy = (int)Constants.SAGE_E_BUSY,
        Forked = (int)Constants.SAGE_E_FORKED,
        BufferTooSmall = (int)Constants.SAGE_E_BUFFER_TOO_SMALL,
        Internal = (int)Constants.SAGE_E_INTERNAL
    }

    /// <summary>A call that failed: the message says what was given, what was expected and what to do.</summary>
    public class SageException : Exception
    {
        internal SageException(Status status, long nativeCode, string message, Exception cause) : base(message, cause)
        {
            Status = status;
            NativeCode = nativeCode;
        }

        internal SageException(Status status, string message) : this(status, 0, message, null) { }

        public Status Status { get; private set; }

        /// <summary>The status as C names it, "SAGE_E_BUSY".</summary>
        public string StatusName
        {
            get
            {
                try { return Library.StatusName((int)Status); }
                catch (SageException) { return "status " + (int)Status; } // not loaded: this very exception may say why
            }
        }

        /// <summary>errno, or a driver's code; 0 where there is none.</summary>
        public long NativeCode { get; private set; }
    }

    /// <summary>A correct request that no acceptable backend serves; the message has every reason.</summary>
    public sealed class UnsupportedException : SageException
    {
        internal UnsupportedException(long nativeCode, string message)
            : base(Status.Unsupported, nativeCode, message, null) { }
    }

    /// <summary>A shape, or a length of memory, that does not fit: found before the library is asked.</summary>
    public sealed class ShapeException : SageException
    {
        internal ShapeException(string message) : base(Status.InvalidArgument, message) { }
    }

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    internal delegate void NativeRaise(int status, long nativeCode, IntPtr message);

    /// <summary>The error of this thread's call that is on its way back from C.</summary>
    internal static class Errors
    {
        [ThreadStatic] private static SageException pending;
        internal static readonly NativeRaise Raise = OnError; // C calls it as long as the process lives

        private static void OnError(int status, long nativeCode, IntPtr message)
        {
            try
            {
                string text = Text.Borrowed(message);
                pending = status == (int)Status.Unsupported
                    ? new UnsupportedException(nativeCode, text)
                    : new SageException((Status)status, nativeCode, text, null);
            }
            catch (Exception)
            {
                pending = null; // no memory even for that: Taken says so
            }
        }

        internal static SageException Taken()
        {
            SageException error = pending;
            pending = null;
            return error ?? new SageException(Status.Internal, "a call of the library failed without an error");
        }

        /// <summary>After a call whose result does not say whether it failed.</summary>
        internal static void Check()
        {
            if (pending != null) throw Taken();
        }

        internal static IntPtr NotNull(IntPtr result)
        {
            if (result == IntPtr.Zero) throw Taken();
            return result;
        }
    }
}
