// The slots of an attention by name; what each holds, and its shape, stands in sage/attention.h.
package org.sage;

/** A tensor of an attention. B batch, H heads, S length, D width of Q and K, T packed rows. */
public enum Slot {
  /** {@code [B,Hq,Sq,D]}, packed {@code [T,Hq,D]}. */
  Q(Constants.SAGE_ATTN_Q),
  /** {@code [B,Hkv,Skv,D]}, packed {@code [T,Hkv,D]}, paged {@code [pages,Hkv,page,D]}. */
  K(Constants.SAGE_ATTN_K),
  /** As K, with its own heads and width. */
  V(Constants.SAGE_ATTN_V),
  /** Out, as Q with V's width. */
  O(Constants.SAGE_ATTN_O),
  /** Out, {@code [B,Hq,Sq]}: natural logarithm of the sum of exponentials. */
  LSE(Constants.SAGE_ATTN_LSE),
  /** {@code [B,Hq,Sq,Skv]}, added to the scores. */
  BIAS(Constants.SAGE_ATTN_BIAS),
  /** Bool {@code [B,Hq,Sq,Skv]}, true keeps. */
  MASK(Constants.SAGE_ATTN_MASK),
  BIT_MASK(Constants.SAGE_ATTN_BIT_MASK),
  BLOCK_MASK(Constants.SAGE_ATTN_BLOCK_MASK),
  CSR_INDPTR(Constants.SAGE_ATTN_CSR_INDPTR),
  CSR_INDICES(Constants.SAGE_ATTN_CSR_INDICES),
  ALIBI(Constants.SAGE_ATTN_ALIBI),
  SINKS(Constants.SAGE_ATTN_SINKS),
  CU_SEQLENS_Q(Constants.SAGE_ATTN_CU_SEQLENS_Q),
  CU_SEQLENS_K(Constants.SAGE_ATTN_CU_SEQLENS_K),
  SEQUSED_Q(Constants.SAGE_ATTN_SEQUSED_Q),
  SEQUSED_K(Constants.SAGE_ATTN_SEQUSED_K),
  BLOCK_TABLE(Constants.SAGE_ATTN_BLOCK_TABLE),
  K_NEW(Constants.SAGE_ATTN_K_NEW),
  V_NEW(Constants.SAGE_ATTN_V_NEW),
  SCALE_Q(Constants.SAGE_ATTN_SCALE_Q),
  SCALE_K(Constants.SAGE_ATTN_SCALE_K),
  SCALE_V(Constants.SAGE_ATTN_SCALE_V),
  SCALE_P(Constants.SAGE_ATTN_SCALE_P),
  SCALE_O(Constants.SAGE_ATTN_SCALE_O),
  PHILOX(Constants.SAGE_ATTN_PHILOX),
  /** Out, {@code [B,Hq,Sq,Skv]}: the softmax. */
  WEIGHTS(Constants.SAGE_ATTN_WEIGHTS),
  /** Out, {@code [B,Hq,Sq,Skv]}: the scores before visibility. */
  SCORES(Constants.SAGE_ATTN_SCORES);

  private final int index;

  Slot(int index) {
    this.index = index;
  }

  /** {@code Constants.SAGE_ATTN_*}. */
  public int index() {
    return index;
  }

  static Slot of(int index) {
    for (Slot slot : values()) if (slot.index == index) return slot;
    throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, "attention has no slot " + index);
  }
}
