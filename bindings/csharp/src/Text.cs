// Texts cross as UTF-8 bytes: what the marshaller takes for a string differs from one run-time to the next.
using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Sage
{
    internal static class Text
    {
        /// <summary>Ends in NUL; null for null.</summary>
        internal static byte[] Utf8(string text)
        {
            if (text == null) return null;
            if (text.IndexOf('\0') >= 0)
                throw new SageException(Status.InvalidArgument,
                    "a text holds the character NUL: \"" + text.Replace("\0", "\\0") + "\"");
            return Terminated(text);
        }

        /// <summary>With a NUL behind it that is not meant: never an array of length 0, which has no address.</summary>
        internal static byte[] Terminated(string text)
        {
            byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
            Encoding.UTF8.GetBytes(text, 0, text.Length, bytes, 0);
            return bytes;
        }

        internal static string Of(byte[] utf8)
        {
            return utf8 == null ? null : Encoding.UTF8.GetString(utf8);
        }

        /// <summary>A copy of C's text; null for null.</summary>
        internal static unsafe string Borrowed(IntPtr text)
        {
            if (text == IntPtr.Zero) return null;
            byte* bytes = (byte*)text;
            int length = 0;
            while (bytes[length] != 0) ++length;
            return Encoding.UTF8.GetString(bytes, length);
        }

        /// <summary>A copy of bytes that are freed here: their number, then they. Null for null without an
        /// error.</summary>
        internal static byte[] Taken(IntPtr bytes)
        {
            if (bytes == IntPtr.Zero)
            {
                Errors.Check();
                return null;
            }
            try
            {
                byte[] copy = new byte[checked((int)Marshal.ReadInt64(bytes))];
                Marshal.Copy(IntPtr.Add(bytes, sizeof(long)), copy, 0, copy.Length);
                return copy;
            }
            finally
            {
                SageNative.free_bytes(bytes);
            }
        }
    }
}
