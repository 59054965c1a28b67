// A run on an executor whose cancel stops it.
//
// The library's cancel stops what is in progress and nothing later; one that comes while the run is just about to
// begin would be lost. So it is said again, every millisecond, until this run has said that it has ended. Another run on
// the same context that begins just before it says so may be stopped with it: who cancels waits before running again.
package org.sage;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.LongConsumer;

final class RunFuture extends CompletableFuture<Void> {
  private final NativeHandle handle;
  private final LongConsumer run;
  private final LongConsumer stop;
  private boolean running; // guarded by this, and then raw is good
  private long raw;

  private RunFuture(NativeHandle handle, LongConsumer run, LongConsumer stop) {
    this.handle = handle;
    this.run = run;
    this.stop = stop;
  }

  static CompletableFuture<Void> start(Executor executor, NativeHandle handle, LongConsumer run, LongConsumer stop) {
    RunFuture future = new RunFuture(handle, run, stop);
    executor.execute(future::body);
    return future;
  }

  private void body() {
    try {
      long acquired = handle.acquire();
      try {
        synchronized (this) {
          raw = acquired;
          running = !isDone();
        }
        if (!running) return;
        run.accept(acquired);
      } finally {
        synchronized (this) {
          running = false;
        }
        handle.release();
      }
      complete(null);
    } catch (Throwable thrown) {
      completeExceptionally(thrown);
    }
  }

  @Override
  public boolean cancel(boolean mayInterruptIfRunning) {
    boolean cancelled = super.cancel(mayInterruptIfRunning);
    if (cancelled) stop();
    return cancelled;
  }

  private synchronized void stop() {
    if (!running) return;
    stop.accept(raw);
    CompletableFuture.delayedExecutor(1, TimeUnit.MILLISECONDS).execute(this::stop);
  }
}
