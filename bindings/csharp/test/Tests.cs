// All tests of the C# binding: Tests.exe FOLDER, the folder of the conformance vectors.
using System.Globalization;

namespace Sage.Test
{
    internal static class Tests
    {
        private static int Main(string[] arguments)
        {
            CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
            AttentionTests.Run();
            TensorTests.Run();
            QuantizeTests.Run(arguments[0]);
            ModelTests.Run(arguments[0]);
            LifetimeTests.Run(arguments[0]);
            return Check.Report();
        }
    }
}
