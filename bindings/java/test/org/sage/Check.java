// The tests' few words, and their runner: Debian's JDK comes without one.
package org.sage;

final class Check {
  interface Body {
    void run() throws Exception;
  }

  private static int passed;
  private static int failed;

  private Check() {}

  static void test(String name, Body body) {
    try {
      body.run();
      ++passed;
    } catch (Throwable fault) {
      ++failed;
      System.out.println("FAILED " + name + ": " + fault);
      for (StackTraceElement at : fault.getStackTrace())
        if (at.getClassName().startsWith("org.sage")) System.out.println("    " + at);
    }
  }

  /** The exit code. */
  static int report() {
    System.out.println(passed + " passed, " + failed + " failed");
    return failed == 0 && passed > 0 ? 0 : 1;
  }

  static void isTrue(boolean condition, String what) {
    if (!condition) throw new AssertionError(what);
  }

  static void equal(Object got, Object want) {
    if (!java.util.Objects.deepEquals(got, want)) throw new AssertionError(show(got) + " instead of " + show(want));
  }

  private static String show(Object value) {
    String text = java.util.Arrays.deepToString(new Object[] {value});
    return text.substring(1, Math.min(text.length() - 1, 300));
  }

  /** What body throws, which must be of that very class. */
  static <E extends Throwable> E thrown(Class<E> type, Body body) {
    try {
      body.run();
    } catch (Throwable thrown) {
      if (thrown.getClass() == type) return type.cast(thrown);
      throw new AssertionError("threw " + thrown + " instead of " + type.getSimpleName(), thrown);
    }
    throw new AssertionError("threw nothing instead of " + type.getSimpleName());
  }

  /** The library's refusal, with a status and a part of its message. */
  static void refused(int status, String part, Body body) {
    SageException error = null;
    try {
      body.run();
    } catch (SageException thrown) {
      error = thrown;
    } catch (Exception other) {
      throw new AssertionError("threw " + other, other);
    }
    if (error == null) throw new AssertionError("was not refused: " + part);
    if (error.status() != status || !error.getMessage().contains(part))
      throw new AssertionError(error.statusName() + " " + error.getMessage() + " instead of " + status + " " + part);
  }

  /** Collects until condition holds; a collector promises nothing, hence the patience. */
  static boolean collected(java.util.function.BooleanSupplier condition) throws InterruptedException {
    return collected(200, condition);
  }

  static boolean collected(int times, java.util.function.BooleanSupplier condition) throws InterruptedException {
    for (int i = 0; i < times && !condition.getAsBoolean(); ++i) {
      System.gc();
      Thread.sleep(10);
    }
    return condition.getAsBoolean();
  }
}
