// The conformance runner and the tests reach what is internal: numbers that no enum has, the ABI check with a made-up
// one.
using System.Reflection;
using System.Runtime.CompilerServices;

[assembly: AssemblyTitle("Sage")]
[assembly: AssemblyDescription("Attention, models and tick streams of the sage engine")]
[assembly: AssemblyVersion("0.1.0.0")]
[assembly: InternalsVisibleTo("Conformance")]
[assembly: InternalsVisibleTo("Tests")]
