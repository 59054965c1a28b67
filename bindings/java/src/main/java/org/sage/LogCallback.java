// Named apart from BiConsumer<Integer, String>: no boxing, and its levels are said here.
package org.sage;

/** Takes lines of the library's log. */
@FunctionalInterface
public interface LogCallback {
  /**
   * Called from any thread, several at once. It must not call back into the engine. What it throws is dropped.
   *
   * @param level 1 error, 2 warning, 3 info, 4 debug
   * @param line without a line end
   */
  void log(int level, String line);
}
