// The library as a whole: its version, whether it fits this package, the names of its statuses.
package org.sage;

/** Versions of the native library, which the first use of any class loads and checks. */
public final class Sage {
  private static volatile boolean loaded;

  private Sage() {}

  /**
   * Loads and checks the library; done by every class that needs it. Not in a static block: what is thrown there comes
   * out as an error of the class, and the second time without its cause.
   */
  static void load() {
    if (loaded) return;
    NativeLoader.load();
    requireAbi(SageNative.abi_version(), SageNative.version(), SageNative.path_of_libsage());
    loaded = true;
  }

  /** Of the library, {@code "0.3.1"}. */
  public static String version() {
    load();
    return SageNative.version();
  }

  /** Of the library: {@code major << 16 | minor}. */
  public static int abiVersion() {
    load();
    return SageNative.abi_version();
  }

  /** Compiler, source, baseline; free text. */
  public static String buildInfo() {
    load();
    return SageNative.build_info();
  }

  /** {@code "SAGE_E_BUSY"}; {@code "unknown"} for what is no status. */
  public static String statusName(int status) {
    load();
    return SageNative.status_name(status);
  }

  /** The file that was loaded as libsage. */
  public static String libraryPath() {
    load();
    return SageNative.path_of_libsage();
  }

  /** A newer minor is fine: it only adds. */
  static void requireAbi(int found, String version, String path) {
    int major = found >>> 16;
    int minor = found & 0xffff;
    if (major == Constants.SAGE_ABI_MAJOR && minor >= Constants.SAGE_ABI_MINOR) return;
    throw new SageException(Constants.SAGE_E_ABI_MISMATCH, "libsage " + version + " at " + path + " has ABI " + major
        + "." + minor + "; this package needs " + Constants.SAGE_ABI_MAJOR + "." + Constants.SAGE_ABI_MINOR
        + " or a newer minor of it; install a matching pair of libsage and sage-engine.jar (found by: "
        + NativeLoader.foundBy() + ")");
  }
}
