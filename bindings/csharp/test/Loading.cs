// Says where the native library came from, or why it did not: what loading.py looks at.
using System;

namespace Sage.Test
{
    internal static class Loading
    {
        private static int Main()
        {
            try
            {
                using (Engine engine = Engine.Open())
                    Console.WriteLine("library " + Library.Path + " backends " + string.Join(" ", engine.Backends));
                return 0;
            }
            catch (SageException error)
            {
                Console.WriteLine((int)error.Status + " " + error.StatusName + " " + error.Message);
            }
            try
            {
                Engine.Open();
            }
            catch (SageException again)
            {
                Console.WriteLine("again " + (int)again.Status);
            }
            return 3;
        }
    }
}
