// Chosen and prepared once, shared by any number of contexts.
package org.sage;

import java.lang.ref.Reference;

/** A backend's prepared attention. Immutable and free-threaded; each caller makes an {@link AttentionContext} of it. */
public final class AttentionPlan implements AutoCloseable {
  private final NativeHandle handle;

  public AttentionPlan(Engine engine, AttentionOp op) {
    this(engine, op, null);
  }

  /**
   * @param op its data matters for constants only
   * @param options null: none
   * @throws UnsupportedException with every backend's reason
   */
  public AttentionPlan(Engine engine, AttentionOp op, Options options) {
    NativeHandle parent = engine.handle();
    long rawOp = op.raw();
    long raw = parent.acquire();
    try {
      handle = NativeHandle.create(this, "attention plan", parent.callbacks(), options,
          with -> SageNative.plan_create(raw, rawOp, with), SageNative::attention_plan_destroy);
    } finally {
      parent.release();
      Reference.reachabilityFence(op);
    }
    handle.lend("constants", op.constants());
  }

  /** Who runs it. */
  public String backend() {
    return handle.call(raw -> Text.of(SageNative.plan_backend(raw)));
  }

  /** JSON: every backend's verdict and cost. */
  public String explain() {
    return handle.call(raw -> Text.of(SageNative.plan_explain(raw)));
  }

  /** What it needs at its planned shapes. */
  public AttentionMemory memory() {
    return handle.call(raw -> {
      long[] sizes = new long[14];
      double[] ratios = new double[3];
      SageNative.plan_memory(raw, sizes, ratios);
      return new AttentionMemory(sizes, ratios);
    });
  }

  /** Twice is once. */
  @Override
  public void close() {
    handle.close();
  }

  NativeHandle handle() {
    return handle;
  }
}
