// What native code calls: a log or cancel callback, held by a global reference as long as some handle may call it.
//
// Counted, not collected: children keep their parents alive inside the library, so an engine may log after its Java
// object is gone. Nothing thrown here reaches native code.
package org.sage;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;

final class Callback {
  private final long raw;
  private final AtomicInteger uses = new AtomicInteger(1);

  Callback(Object callback) {
    raw = SageNative.callback_new(callback);
    if (raw == 0) throw new OutOfMemoryError("a callback of sage");
  }

  long raw() {
    return raw;
  }

  void retain() {
    uses.incrementAndGet();
  }

  void release() {
    if (uses.decrementAndGet() == 0) SageNative.callback_free(raw);
  }

  /** Called by the native side, on any thread. */
  static void log(Object callback, int level, byte[] text) {
    try {
      ((LogCallback) callback).log(level, Text.of(text));
    } catch (Throwable dropped) {
      return; // a line of a log is not worth a run
    }
  }

  /** Called by the native side, on any thread. */
  static boolean cancel(Object callback) {
    try {
      return ((BooleanSupplier) callback).getAsBoolean();
    } catch (Throwable stops) {
      return true;
    }
  }
}
