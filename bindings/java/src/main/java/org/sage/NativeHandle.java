// A native handle that is destroyed once, never while a call is on it, and by a Cleaner where close was forgotten.
//
// It counts the calls in progress: whoever ends last destroys. So closing while another thread runs is safe and does
// not wait. Callbacks and buffers that the handle may touch are held here, apart from the object that people hold:
// a Cleaner's state must not refer to what it watches.
package org.sage;

import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongConsumer;
import java.util.function.LongFunction;
import java.util.function.LongUnaryOperator;

final class NativeHandle implements Runnable {
  private static final Cleaner CLEANER = Cleaner.create();

  private final String name;
  private final long handle;
  private final LongConsumer destroy;
  private final List<Callback> callbacks;
  private final ConcurrentHashMap<Object, Object> lent = new ConcurrentHashMap<>();
  /** Bit 0: closed. Above it: the calls in progress. */
  private final AtomicInteger state = new AtomicInteger();

  private NativeHandle(String name, long handle, LongConsumer destroy, List<Callback> callbacks) {
    this.name = name;
    this.handle = handle;
    this.destroy = destroy;
    this.callbacks = callbacks;
    for (Callback callback : callbacks) callback.retain();
  }

  /**
   * Makes one. Its callbacks are those of its parent and of its options.
   *
   * @param owner whose death closes it; destroy must not refer to it
   * @param make the raw handle, of raw options (0: none)
   */
  static NativeHandle create(Object owner, String name, List<Callback> inherited, Options options,
      LongUnaryOperator make, LongConsumer destroy) {
    List<Callback> own = new ArrayList<>();
    try {
      long raw = options == null ? make.applyAsLong(0) : options.lend(own, make);
      List<Callback> all = new ArrayList<>(inherited);
      all.addAll(own);
      NativeHandle made = new NativeHandle(name, raw, destroy, List.copyOf(all));
      CLEANER.register(owner, made);
      return made;
    } finally {
      own.forEach(Callback::release);
    }
  }

  /** The raw handle, usable until release. */
  long acquire() {
    for (int seen = state.get();; seen = state.get()) {
      if ((seen & 1) != 0) throw new IllegalStateException(name + " is closed");
      if (state.compareAndSet(seen, seen + 2)) return handle;
    }
  }

  void release() {
    if (state.addAndGet(-2) == 1) destroy();
  }

  /** A call that is not worth writing out; in the others, acquire and release stand by themselves. */
  <T> T call(LongFunction<T> function) {
    long raw = acquire();
    try {
      return function.apply(raw);
    } finally {
      release();
    }
  }

  void close() {
    for (int seen = state.get(); (seen & 1) == 0; seen = state.get())
      if (state.compareAndSet(seen, seen | 1)) {
        if (seen == 0) destroy();
        return;
      }
  }

  /** The Cleaner's way to close. */
  @Override
  public void run() {
    close();
  }

  List<Callback> callbacks() {
    return callbacks;
  }

  /** Keeps value from the collector until the handle is destroyed or another one stands at key; null: nothing. */
  void lend(Object key, Object value) {
    if (value == null) lent.remove(key);
    else lent.put(key, value);
  }

  /** What stands at key, or null; for who has acquired the handle. */
  Object lent(Object key) {
    return lent.get(key);
  }

  private void destroy() {
    destroy.accept(handle);
    for (Callback callback : callbacks) callback.release();
    lent.clear();
  }
}
