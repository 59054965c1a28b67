// The tests' few words, and their runner: mono comes without one.
using System;

namespace Sage.Test
{
    internal static class Check
    {
        private static int passed, failed;

        internal static void Test(string name, Action body)
        {
            try
            {
                body();
                ++passed;
            }
            catch (Exception fault)
            {
                ++failed;
                Console.WriteLine("FAILED " + name + ": " + fault);
            }
        }

        /// <summary>The exit code.</summary>
        internal static int Report()
        {
            Console.WriteLine(passed + " passed, " + failed + " failed");
            return failed == 0 && passed > 0 ? 0 : 1;
        }

        internal static void IsTrue(bool condition, string what)
        {
            if (!condition) throw new Exception(what);
        }

        internal static void Equal<T>(T got, T want)
        {
            if (!Equals(got, want)) throw new Exception(got + " instead of " + want);
        }

        /// <summary>Bit for bit, NaN and -0 included.</summary>
        internal static void Same<T>(T[] got, T[] want) where T : struct
        {
            if (got.Length != want.Length) throw new Exception(got.Length + " elements instead of " + want.Length);
            for (int i = 0; i < got.Length; ++i)
                if (!got[i].Equals(want[i])) throw new Exception(got[i] + " instead of " + want[i] + " at " + i);
        }

        /// <summary>What body throws, which must be of that very class.</summary>
        internal static E Thrown<E>(Action body) where E : Exception
        {
            try
            {
                body();
            }
            catch (Exception thrown)
            {
                if (thrown.GetType() == typeof(E)) return (E)thrown;
                throw new Exception("threw " + thrown + " instead of " + typeof(E).Name, thrown);
            }
            throw new Exception("threw nothing instead of " + typeof(E).Name);
        }

        /// <summary>A refusal with a status and a part of its message.</summary>
        internal static void Refused(Status status, string part, Action body)
        {
            SageException error = null;
            try
            {
                body();
            }
            catch (SageException thrown)
            {
                error = thrown;
            }
            if (error == null) throw new Exception("was not refused: " + part);
            if (error.Status != status || !error.Message.Contains(part))
                throw new Exception(error.StatusName + " " + error.Message + " instead of " + status + " " + part);
        }
    }
}
