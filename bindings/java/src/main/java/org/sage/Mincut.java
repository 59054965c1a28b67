// Masks of a partition of the sequence, ready for an attention's slots.
package org.sage;

import java.lang.ref.Reference;

/**
 * Which keys a query need not see, where the sequence falls into {@code parts} chunks: its own chunk up to itself, and
 * of every earlier chunk the first token. One mask in three forms; {@code sage/sparse.h} has the rule. Pure functions,
 * any thread.
 */
public final class Mincut {
  private Mincut() {}

  /** Bool {@code [1,1,seq,seq]}, for {@link Slot#MASK}; {@link Tensor#broadcast} gives it to more heads. */
  public static Tensor mask(long seq, long parts) {
    Sage.load();
    SageNative.mincut_mask(seq, parts, 0, 0); // what it refuses, it refuses before memory is made
    Tensor mask = Tensor.allocate(DType.BOOL, 1, 1, seq, seq);
    SageNative.mincut_mask(seq, parts, mask.address(), mask.sizeInBytes());
    Reference.reachabilityFence(mask);
    return mask;
  }

  /** Kept tiles by rows, for {@link Slot#CSR_INDPTR} and {@link Slot#CSR_INDICES}; tiles of 1x1 are positions. */
  public static Csr csr(long seq, long parts, int tileQ, int tileKv) {
    Sage.load();
    long kept = SageNative.mincut_csr(seq, parts, tileQ, tileKv, 0, 0, 0, 0);
    Tensor indptr = Tensor.allocate(DType.I32, 1, 1, tiles(seq, tileQ) + 1);
    Tensor indices = Tensor.allocate(DType.I32, kept);
    SageNative.mincut_csr(seq, parts, tileQ, tileKv, indptr.address(), indptr.count(), indices.address(), kept);
    Reference.reachabilityFence(indptr);
    Reference.reachabilityFence(indices);
    return new Csr(indptr, indices);
  }

  /** U8 {@code [1,1,ceil(seq/tileQ),ceil(seq/tileKv)]}, 1 = kept, for {@link Slot#BLOCK_MASK}. */
  public static Tensor blocks(long seq, long parts, int tileQ, int tileKv) {
    Sage.load();
    SageNative.mincut_blocks(seq, parts, tileQ, tileKv, 0, 0);
    Tensor blocks = Tensor.allocate(DType.U8, 1, 1, tiles(seq, tileQ), tiles(seq, tileKv));
    SageNative.mincut_blocks(seq, parts, tileQ, tileKv, blocks.address(), blocks.sizeInBytes());
    Reference.reachabilityFence(blocks);
    return blocks;
  }

  private static long tiles(long seq, int tile) {
    long unsigned = Integer.toUnsignedLong(tile);
    return (seq + unsigned - 1) / unsigned;
  }

  /** The kept tiles of each row, one row after the other. */
  public static final class Csr {
    private final Tensor indptr;
    private final Tensor indices;

    private Csr(Tensor indptr, Tensor indices) {
      this.indptr = indptr;
      this.indices = indices;
    }

    /** I32 {@code [1,1,rows+1]}: where a row begins in the indices. */
    public Tensor indptr() {
      return indptr;
    }

    /** I32 {@code [kept]}: columns, ascending within a row. */
    public Tensor indices() {
      return indices;
    }
  }
}
