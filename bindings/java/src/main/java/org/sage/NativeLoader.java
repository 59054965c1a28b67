// Finds libsagejni.so, and with it libsage.so.0 and the backends, in three places: a folder that was named, the JVM's
// library path, this jar.
//
// From the jar they are written into a private folder and, once loaded, removed: Linux keeps what is mapped. The
// backends stay until the JVM ends, since every new engine opens them. What a killed JVM left behind goes with the next
// extraction, by the process number in its folder's name.
package org.sage;

import static java.nio.file.LinkOption.NOFOLLOW_LINKS;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.attribute.UserPrincipal;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;

final class NativeLoader {
  static final String DIR = "sage.native.dir";
  static final String DIR_ENV = "SAGE_NATIVE_DIR";
  static final String EXTRACT_DIR = "sage.native.extract.dir";
  private static final String LIBRARY = "sagejni";
  private static final String FILE = System.mapLibraryName(LIBRARY);
  private static final String CORE = "libsage.so.0";
  private static final String PREFIX = "sage-engine-";
  private static String foundBy;

  private NativeLoader() {}

  /** Which of the places it was. */
  static String foundBy() {
    return foundBy;
  }

  static synchronized void load() {
    if (foundBy != null) return;
    String named = System.getProperty(DIR);
    String by = "-D" + DIR;
    if (named == null) {
      named = System.getenv(DIR_ENV);
      by = DIR_ENV;
    }
    if (named != null && !named.isEmpty()) {
      // Named means this one: another copy found elsewhere would be a surprise.
      loadFrom(Paths.get(named).toAbsolutePath(), by);
      return;
    }
    UnsatisfiedLinkError notOnPath;
    try {
      System.loadLibrary(LIBRARY);
      foundBy = "java.library.path";
      return;
    } catch (UnsatisfiedLinkError error) {
      notOnPath = error;
    }
    if (NativeLoader.class.getResource(resource(FILE)) == null) throw missing(notOnPath);
    extract();
  }

  private static void loadFrom(Path folder, String by) {
    Path file = folder.resolve(FILE);
    if (!Files.exists(file))
      throw new SageException(Constants.SAGE_E_NOT_FOUND, 0, "no " + FILE + " in " + folder + ", which " + by
          + " names. " + places(), null);
    try {
      System.load(file.toString());
      foundBy = by + "=" + folder;
    } catch (UnsatisfiedLinkError error) {
      throw new SageException(Constants.SAGE_E_NOT_FOUND, 0, file + " could not be loaded: " + error.getMessage()
          + ". It needs " + CORE + " beside it or where the system looks. " + places(), error);
    }
  }

  private static SageException missing(UnsatisfiedLinkError notOnPath) {
    return new SageException(Constants.SAGE_E_NOT_FOUND, 0, "the native library of sage was not found (" + FILE + "): "
        + notOnPath.getMessage() + ". " + places(), notOnPath);
  }

  private static String places() {
    return "Looked for in this order: 1. the folder that -D" + DIR + " or the variable " + DIR_ENV
        + " names; 2. java.library.path (" + System.getProperty("java.library.path") + "); 3. inside the jar ("
        + resource(FILE) + ", in sage-engine.jar, not in a jar of classes only). Install sage-engine with its"
        + " Java part, or use the sage-engine.jar that holds the natives";
  }

  /** os and machine as the build names them. */
  static String resource(String name) {
    String machine = System.getProperty("os.arch");
    if (machine.equals("amd64")) machine = "x86_64";
    return "/org/sage/native/" + System.getProperty("os.name").toLowerCase(java.util.Locale.ROOT) + "-" + machine + "/"
        + name;
  }

  private static void extract() {
    String chosen = System.getProperty(EXTRACT_DIR, System.getProperty("java.io.tmpdir"));
    Path base = Paths.get(chosen).toAbsolutePath();
    Path folder = null;
    try {
      String prefix = PREFIX + namespace() + "-";
      folder = Files.createTempDirectory(base, prefix + ProcessHandle.current().pid() + "-"); // 0700
      removeLeftOver(base, prefix, Files.getOwner(folder));
      List<String> plugins = new ArrayList<>();
      try (InputStream list = NativeLoader.class.getResourceAsStream(resource("files.txt"))) {
        if (list != null) plugins.addAll(List.of(new String(list.readAllBytes()).split("\\s+")));
      }
      for (String file : plugins) copy(file, folder);
      System.load(folder.resolve(FILE).toString());
      foundBy = "the jar, by " + folder;
      Files.deleteIfExists(folder.resolve(FILE));
      Files.deleteIfExists(folder.resolve(CORE));
      Path kept = folder;
      Runtime.getRuntime().addShutdownHook(new Thread(() -> remove(kept)));
    } catch (UnsatisfiedLinkError error) {
      remove(folder);
      throw new SageException(Constants.SAGE_E_NOT_FOUND, 0, "the native library in the jar could not be loaded from "
          + folder + ": " + error.getMessage() + ". If that place is mounted noexec, name another by -D" + EXTRACT_DIR
          + ". " + places(), error);
    } catch (IOException | UncheckedIOException error) {
      if (folder != null) remove(folder);
      throw new SageException(Constants.SAGE_E_IO, 0, "the native library in the jar could not be written below " + base
          + ": " + error + "; name another folder by -D" + EXTRACT_DIR + ". " + places(), error);
    }
  }

  private static void copy(String file, Path folder) throws IOException {
    try (InputStream from = NativeLoader.class.getResourceAsStream(resource(file))) {
      if (from == null) throw new IOException("the jar lists " + file + ", which it does not have");
      Path to = folder.resolve(file);
      Files.createDirectories(to.getParent());
      Files.copy(from, to);
    }
  }

  /** Of this user's JVMs that were killed: in another user's, root would follow where that one leads it. */
  private static void removeLeftOver(Path base, String prefix, UserPrincipal user) {
    try (DirectoryStream<Path> folders = Files.newDirectoryStream(base, prefix + "*")) {
      for (Path folder : folders) {
        String[] parts = folder.getFileName().toString().substring(prefix.length()).split("-");
        if (!parts[0].matches("\\d{1,9}") || ProcessHandle.of(Long.parseLong(parts[0])).isPresent()) continue;
        if (Files.isDirectory(folder, NOFOLLOW_LINKS) && Files.getOwner(folder, NOFOLLOW_LINKS).equals(user))
          remove(folder);
      }
    } catch (IOException | DirectoryIteratorException left) {
      return; // another JVM was faster, or the base cannot be listed: not worth a failure
    }
  }

  /** Where process numbers mean something: containers may share a folder, and each has a process 1. */
  private static String namespace() {
    try {
      return Files.readSymbolicLink(Paths.get("/proc/self/ns/pid")).toString().replaceAll("\\D", "");
    } catch (IOException unknown) {
      return "0";
    }
  }

  private static void remove(Path folder) {
    try (Stream<Path> all = Files.walk(folder)) {
      List<Path> deepestFirst = all.sorted(java.util.Comparator.reverseOrder()).collect(Collectors.toList());
      for (Path path : deepestFirst) Files.deleteIfExists(path);
    } catch (IOException | UncheckedIOException left) {
      return; // not ours, or already gone
    }
  }
}
