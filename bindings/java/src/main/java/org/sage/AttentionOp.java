// An attention call described: what a plan is made of, and with data what it runs on.
//
// The native description lies in a direct buffer that the collector frees, so there is nothing to close, and a run
// passes one address however many slots there are.
package org.sage;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Objects;

/**
 * Everything of {@code sage/attention.h}: slots and attributes. One thread at a time changes or runs it; each of
 * several threads takes an op of its own.
 */
public final class AttentionOp {
  private final ByteBuffer memory; // the address below is inside it
  private final long op;
  private final Tensor[] slots = new Tensor[Constants.SAGE_ATTN_NUM_SLOTS];

  public AttentionOp(Tensor q, Tensor k, Tensor v, Tensor o) {
    this();
    slot(Slot.Q, q).slot(Slot.K, k).slot(Slot.V, v).slot(Slot.O, o);
  }

  /** Without slots, for who sets them one by one. */
  AttentionOp() {
    Sage.load();
    memory = ByteBuffer.allocateDirect((int) SageNative.op_bytes() + 8).alignedSlice(8);
    op = SageNative.buffer_address(memory);
    SageNative.op_init(op);
    Reference.reachabilityFence(memory);
  }

  /**
   * Bias, masks, lengths, LSE, paged tables and the rest; null takes it away. A read-only buffer that would be written
   * is refused by the plan, or by a run.
   */
  public AttentionOp slot(Slot slot, Tensor tensor) {
    if (tensor == null) {
      SageNative.op_no_slot(op, slot.index());
    } else {
      SageNative.op_slot(op, slot.index(), tensor.dtype().code(), tensor.rawShape(), tensor.rawStrides(),
          Constants.SAGE_CPU, 0, tensor.flags(), tensor.address());
    }
    slots[slot.index()] = tensor;
    Reference.reachabilityFence(memory);
    return this;
  }

  /** What a slot holds, or null. */
  public Tensor slot(Slot slot) {
    return slots[slot.index()];
  }

  /** 0 is meant; without it 1/sqrt(dim). */
  public AttentionOp scale(double value) {
    return set("features", get("features") | Constants.SAGE_ATTN_F_SCALE).set("scale", value);
  }

  /** Null: not causal. */
  public AttentionOp causal(Alignment alignment) {
    long others = get("features") & ~Constants.SAGE_ATTN_F_CAUSAL;
    if (alignment == null) return set("features", others);
    return set("features", others | Constants.SAGE_ATTN_F_CAUSAL).align(alignment);
  }

  /** Of what uses positions: causal, windows, ALiBi. */
  public AttentionOp align(Alignment alignment) {
    return set("alignment", alignment.code());
  }

  /** Keys on either side besides a query's own position; null: all. */
  public AttentionOp window(Long left, Long right) {
    long features = get("features") & ~(Constants.SAGE_ATTN_F_WINDOW_LEFT | Constants.SAGE_ATTN_F_WINDOW_RIGHT);
    if (left != null) features |= Constants.SAGE_ATTN_F_WINDOW_LEFT;
    if (right != null) features |= Constants.SAGE_ATTN_F_WINDOW_RIGHT;
    set("window_left", left == null ? 0 : left);
    set("window_right", right == null ? 0 : right);
    return set("features", features);
  }

  /** Scores become value * tanh(score / value); 0: they stay. */
  public AttentionOp softcap(double value) {
    return set("softcap", value);
  }

  /** The probability of dropping, 0 to below 1; takes {@link Slot#PHILOX}. */
  public AttentionOp dropout(double probability) {
    return set("dropout_p", probability);
  }

  /** The tile of {@link Slot#BLOCK_MASK} and of the CSR slots; 1 and 1 for single positions. */
  public AttentionOp maskBlock(int q, int kv) {
    return set("mask_block_q", q).set("mask_block_kv", kv);
  }

  /** {@code Constants.SAGE_ALGORITHM_*}. */
  public AttentionOp algorithm(int value) {
    return set("algorithm", value);
  }

  /** kNew and vNew are written behind the keys in use, then attended to: K and V are written. */
  public AttentionOp append(Tensor kNew, Tensor vNew) {
    return set("aliases", 1L << Constants.SAGE_ATTN_K | 1L << Constants.SAGE_ATTN_V).slot(Slot.K_NEW, kNew)
        .slot(Slot.V_NEW, vNew);
  }

  /** {@code Constants.SAGE_ACCURACY_*}: the least exact class accepted. */
  public AttentionOp accuracy(int leastExact) {
    return set("accuracy", leastExact);
  }

  /** {@code Constants.SAGE_REQUIRE_*}, added to those before. */
  public AttentionOp require(int requirements) {
    return set("requirements", get("requirements") | requirements);
  }

  /** {@code Constants.SAGE_AXIS_*} that may be smaller when it runs. */
  public AttentionOp dynamic(int axes) {
    return set("dynamic_axes", axes);
  }

  /** A field of {@code sage_attention_attributes} or {@code sage_op}, by its name in C: what has no method here. */
  public AttentionOp set(String field, long value) {
    SageNative.op_set_integer(op, Objects.requireNonNull(field), value);
    Reference.reachabilityFence(memory);
    return this;
  }

  /** The same of the fields that are doubles: {@code scale}, {@code softcap}, {@code dropout_p}. */
  public AttentionOp set(String field, double value) {
    SageNative.op_set_number(op, Objects.requireNonNull(field), value);
    Reference.reachabilityFence(memory);
    return this;
  }

  /** A field that is no double, by its name in C. */
  public long get(String field) {
    long value = SageNative.op_integer(op, Objects.requireNonNull(field));
    Reference.reachabilityFence(memory);
    return value;
  }

  /** {@code Constants.SAGE_ATTN_F_*}: all that is asked for. */
  public long features() {
    long bits = SageNative.op_features(op);
    Reference.reachabilityFence(this);
    return bits;
  }

  long raw() {
    return op;
  }

  /** What constants lie in, for the plan and its contexts to keep. */
  Tensor[] constants() {
    return Arrays.stream(slots).filter(tensor -> tensor != null && tensor.isConstant()).toArray(Tensor[]::new);
  }
}
