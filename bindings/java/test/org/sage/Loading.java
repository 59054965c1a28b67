// Says where the native library came from, or why it did not: what loading.py looks at.
package org.sage;

public final class Loading {
  private Loading() {}

  public static void main(String[] arguments) throws Exception {
    try (Engine engine = Engine.open()) {
      System.out.println("found by " + NativeLoader.foundBy());
      System.out.println("library " + Sage.libraryPath());
      System.out.println("backends " + engine.backends());
    } catch (SageException error) {
      System.out.println(error.statusName() + " " + error.status() + " " + error.getMessage());
      try {
        Engine.open();
      } catch (SageException again) {
        System.out.println("again " + again.status());
      }
      System.exit(3);
    }
    if (arguments.length > 0) {
      System.out.flush();
      Thread.sleep(60_000); // until it is killed
    }
  }
}
