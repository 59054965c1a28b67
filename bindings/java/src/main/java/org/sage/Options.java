// key = value, and two callbacks. Plain Java until it is used: there is nothing to close, and nothing native to keep in
// step. The library checks keys and values, and names the nearest known one.
package org.sage;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.BooleanSupplier;
import java.util.function.LongUnaryOperator;

/**
 * Options of an engine, a plan or a session, copied where they are used. The keys stand in the table of {@code
 * sage-engine run --help}; {@code backend.key} goes to that backend.
 */
public final class Options {
  private final Map<String, String> values = new LinkedHashMap<>();
  private LogCallback log;
  private BooleanSupplier cancel;

  /** For instance {@code set("threads", "2")}. Checked where the options are used. */
  public synchronized Options set(String key, String value) {
    values.put(Objects.requireNonNull(key, "key"), Objects.requireNonNull(value, "value"));
    return this;
  }

  /** Of an engine: takes its log, from any thread; null: nobody. What it throws is dropped. */
  public synchronized Options log(LogCallback callback) {
    log = callback;
    return this;
  }

  /**
   * Of a plan or session: asked now and then during a run, from any thread; true stops it with a {@link
   * CancelledException}, and so does throwing. It must not call back into its session. Null: nobody is asked.
   */
  public synchronized Options cancel(BooleanSupplier callback) {
    cancel = callback;
    return this;
  }

  /** Native options for one call of make; the callbacks it was lent are added to `lent`, whose owner releases them. */
  long lend(List<Callback> lent, LongUnaryOperator make) {
    long raw = SageNative.options_create();
    try {
      fill(raw, lent);
      return make.applyAsLong(raw); // not synchronized: it may log, and a log may wait for whoever sets an option
    } finally {
      SageNative.options_destroy(raw);
    }
  }

  private synchronized void fill(long raw, List<Callback> lent) {
    for (Map.Entry<String, String> entry : values.entrySet())
      SageNative.options_set(raw, entry.getKey(), entry.getValue());
    if (log != null) SageNative.options_set_log(raw, lend(lent, log));
    if (cancel != null) SageNative.options_set_cancel(raw, lend(lent, cancel));
  }

  private static long lend(List<Callback> lent, Object callback) {
    Callback made = new Callback(callback);
    lent.add(made);
    return made.raw();
  }
}
