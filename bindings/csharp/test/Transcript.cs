// What a conformance runner prints: lines counted into a digest, and the values in them.
using System;
using System.IO;
using System.Text;

namespace Sage.Conformance
{
    internal sealed class Transcript
    {
        private readonly Stream output = Console.OpenStandardOutput();
        private readonly string folder;
        private ulong digest = Start;
        private const ulong Start = 0xcbf29ce484222325;
        internal string Name;

        internal Transcript(string folder)
        {
            this.folder = folder;
        }

        internal void Line(string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text + "\n");
            digest = Hash(digest, bytes);
            output.Write(bytes, 0, bytes.Length);
        }

        /// <summary>A line of the case; where FOLDER lies is nobody's business.</summary>
        internal void Say(string text)
        {
            Line(Name + ": " + text.Replace(folder, "FOLDER"));
        }

        internal void SayError(SageException error)
        {
            Say(error.StatusName + " " + error.Message.Replace('\n', '|'));
        }

        internal void SayBytes(string what, byte[] bytes)
        {
            Say(what + " " + HashOf(bytes) + " " + First(bytes));
        }

        internal void End()
        {
            byte[] last = Encoding.ASCII.GetBytes("digest " + digest.ToString("x16") + "\n");
            output.Write(last, 0, last.Length);
            output.Flush();
        }

        internal static string HashOf(byte[] bytes)
        {
            return Hash(Start, bytes).ToString("x16");
        }

        private static ulong Hash(ulong hash, byte[] bytes)
        {
            foreach (byte b in bytes) hash = unchecked((hash ^ b) * 0x100000001b3);
            return hash;
        }

        private static string First(byte[] bytes)
        {
            if (bytes.Length == 0) return "-";
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < Math.Min(bytes.Length, 16); ++i) text.Append(bytes[i].ToString("x2"));
            return text.ToString();
        }

        internal static byte[] Bytes(string hex)
        {
            byte[] bytes = new byte[hex == "-" ? 0 : hex.Length / 2];
            for (int i = 0; i < bytes.Length; ++i) bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            return bytes;
        }

        internal static long[] Shape(string text)
        {
            if (text == "scalar") return new long[0];
            return Array.ConvertAll(text.Split(','), long.Parse);
        }

        internal static string TextOf(long[] shape)
        {
            return shape.Length == 0 ? "scalar" : string.Join(",", shape);
        }

        internal static DType DTypeOf(string name)
        {
            return (DType)Enum.Parse(typeof(DType), name.Replace("_", ""), true);
        }

        internal static string TextOf(DType dtype)
        {
            if (dtype == DType.F8E4M3FN) return "f8_e4m3fn";
            if (dtype == DType.F8E5M2) return "f8_e5m2";
            return dtype.ToString().ToLowerInvariant();
        }

        internal static bool IsJsonWith(string text, string part)
        {
            return text.StartsWith("{", StringComparison.Ordinal) && text.EndsWith("}", StringComparison.Ordinal)
                && text.Contains(part);
        }
    }
}
