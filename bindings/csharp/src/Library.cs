// The native library as a whole: whether it is there, its version, whether it fits this assembly.
using System;
using System.IO;
using System.Runtime.InteropServices;

namespace Sage
{
    /// <summary>Versions of libsage, which the first use of any class loads and checks.</summary>
    public static class Library
    {
        private static readonly object Once = new object();
        private static volatile bool loaded;

        /// <summary>Of the library, "0.3.1".</summary>
        public static string Version
        {
            get { Load(); return SageNative.version(); }
        }

        /// <summary>Of the library: major &lt;&lt; 16 | minor.</summary>
        public static uint AbiVersion
        {
            get { Load(); return SageNative.abi_version(); }
        }

        /// <summary>Compiler, source, baseline; free text.</summary>
        public static string BuildInfo
        {
            get { Load(); return SageNative.build_info(); }
        }

        /// <summary>The file that was loaded as libsage.</summary>
        public static string Path
        {
            get { Load(); return SageNative.path_of_libsage(); }
        }

        /// <summary>"SAGE_E_BUSY"; "unknown" for what is no status.</summary>
        public static string StatusName(int status)
        {
            Load();
            return SageNative.status_name(status);
        }

        internal static void Load()
        {
            if (loaded) return;
            lock (Once)
            {
                if (loaded) return;
                try
                {
                    SageNative.on_error(Errors.Raise);
                }
                catch (Exception error) when (IsMissing(error))
                {
                    throw Missing(error);
                }
                RequireAbi(SageNative.abi_version(), SageNative.version(), SageNative.path_of_libsage());
                loaded = true;
            }
        }

        /// <summary>A newer minor is fine: it only adds.</summary>
        internal static void RequireAbi(uint found, string version, string path)
        {
            uint major = found >> 16, minor = found & 0xffff, oldest = Constants.SAGE_ABI_MINOR;
            if (major == Constants.SAGE_ABI_MAJOR && minor + 1 > oldest) return;
            throw new SageException(Status.AbiMismatch, "libsage " + version + " at " + path + " has ABI " + major
                + "." + minor + "; Sage.dll needs " + Constants.SAGE_ABI_MAJOR + "." + oldest
                + " or a newer minor of it; install a matching pair of libsage and Sage.dll");
        }

        /// <summary>It comes wrapped in the failures of SWIG's classes to initialise themselves.</summary>
        private static bool IsMissing(Exception error)
        {
            for (; error != null; error = error.InnerException)
                if (error is DllNotFoundException || error is EntryPointNotFoundException) return true;
            return false;
        }

        private static SageException Missing(Exception cause)
        {
            string file = typeof(Library).Assembly.Location; // empty for an assembly inside another file
            string folder = file.Length == 0 ? AppDomain.CurrentDomain.BaseDirectory
                : System.IO.Path.GetDirectoryName(file);
            string beside = System.IO.Path.Combine(folder, "libsagecs.so");
            string why = File.Exists(beside) ? beside + " is there but could not be loaded: " + LoaderSays(beside)
                : beside + " does not exist";
            string path = Environment.GetEnvironmentVariable("LD_LIBRARY_PATH") ?? "not set";
            return new SageException(Status.NotFound, 0, "the native library of sage was not found (libsagecs.so, which"
                + " needs libsage.so.0): " + why + ". Looked for: 1. beside Sage.dll (" + folder
                + "); 2. in LD_LIBRARY_PATH (" + path + "); 3. in the system's folders for libraries. Install the package"
                + " sage-engine with its C# part, or put both files beside Sage.dll", cause);
        }

        [DllImport("libdl.so.2")]
        private static extern IntPtr dlopen(byte[] path, int flags);

        [DllImport("libdl.so.2")]
        private static extern IntPtr dlerror();

        private static string LoaderSays(string path)
        {
            try
            {
                const int now = 2;
                return dlopen(Text.Terminated(path), now) == IntPtr.Zero ? Text.Borrowed(dlerror())
                    : "a function is missing; it is of another version";
            }
            catch (Exception error) when (IsMissing(error))
            {
                return "the system's loader cannot be asked";
            }
        }
    }
}
