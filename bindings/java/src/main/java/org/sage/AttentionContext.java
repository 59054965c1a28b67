// The workspace of one caller of a plan.
package org.sage;

import java.lang.ref.Reference;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/** Runs a plan. One call at a time: a second one is SAGE_E_BUSY. {@link #cancel} comes from any thread. */
public final class AttentionContext implements AutoCloseable {
  private final NativeHandle handle;

  public AttentionContext(AttentionPlan plan) {
    NativeHandle parent = plan.handle();
    long raw = parent.acquire();
    try {
      handle = NativeHandle.create(this, "attention context", parent.callbacks(), null,
          none -> SageNative.context_create(raw), SageNative::attention_context_destroy);
      handle.lend("constants", parent.lent("constants")); // the plan may be closed first
    } finally {
      parent.release();
    }
  }

  /** Op as planned, with data; dynamic axes may be smaller. Returns when O is ready; allocates nothing. */
  public void run(AttentionOp op) {
    long raw = handle.acquire();
    try {
      SageNative.attention_run(raw, op.raw());
    } finally {
      handle.release();
      Reference.reachabilityFence(op);
    }
  }

  /** The same on the executor. Cancelling the future stops the run; op is the run's until it is done. */
  public CompletableFuture<Void> runAsync(AttentionOp op, Executor executor) {
    java.util.Objects.requireNonNull(op, "op");
    return RunFuture.start(executor, handle, raw -> {
      SageNative.attention_run(raw, op.raw());
      Reference.reachabilityFence(op);
    }, SageNative::attention_cancel);
  }

  /** Stops the run in progress with a {@link CancelledException}; later ones are not touched. */
  public void cancel() {
    long raw = handle.acquire();
    try {
      SageNative.attention_cancel(raw);
    } finally {
      handle.release();
    }
  }

  /** Twice is once. A run in progress ends first. */
  @Override
  public void close() {
    handle.close();
  }
}
