// The numbers of the plain attention call, by name: eleven of them in a row would be mixed up.
package org.sage;

/** Sizes of a plain attention call, in elements; all 1 until they are set. Not to be changed while a call uses it. */
public final class AttentionShape {
  long batch = 1;
  long headsQ = 1;
  long headsKv = 1;
  long seqQ = 1;
  long seqKv = 1;
  long dimQk = 1;
  long dimV = 1;
  int layout = 0;
  int causal = 0;
  double scale = 0;

  public AttentionShape batch(long value) {
    batch = value;
    return this;
  }

  /** Of queries and of keys; the first is a multiple of the second. */
  public AttentionShape heads(long q, long kv) {
    headsQ = q;
    headsKv = kv;
    return this;
  }

  /** Lengths of queries and of keys. */
  public AttentionShape sequence(long q, long kv) {
    seqQ = q;
    seqKv = kv;
    return this;
  }

  /** Width of a head. */
  public AttentionShape dim(long value) {
    return dim(value, value);
  }

  /** Widths of queries and keys, and of values. */
  public AttentionShape dim(long qk, long v) {
    dimQk = qk;
    dimV = v;
    return this;
  }

  public AttentionShape layout(Layout value) {
    layout = value.ordinal();
    return this;
  }

  /** Null: every query sees every key. */
  public AttentionShape causal(Alignment value) {
    causal = value == null ? 0 : value.code();
    return this;
  }

  /** 0: 1/sqrt(dim). A true 0 takes a plan. */
  public AttentionShape scale(double value) {
    scale = value;
    return this;
  }

  /** The lengths of the four arrays, in elements, are those of the shape. */
  void check(long q, long k, long v, long o) {
    expect("q", q, headsQ, seqQ, dimQk);
    expect("k", k, headsKv, seqKv, dimQk);
    expect("v", v, headsKv, seqKv, dimV);
    expect("o", o, headsQ, seqQ, dimV);
  }

  private void expect(String name, long given, long heads, long sequence, long dim) {
    if ((batch | heads | sequence | dim) < 0) throw new ShapeException(name + " has a negative length in its shape");
    long count;
    try {
      count = Math.multiplyExact(Math.multiplyExact(batch, heads), Math.multiplyExact(sequence, dim));
    } catch (ArithmeticException overflow) {
      throw new ShapeException("the shape of " + name + " has too many elements");
    }
    if (given != count)
      throw new ShapeException(name + " has " + given + " elements; its shape says " + count);
  }
}
