// What a plan needs, known before anything is allocated. Three ratios that are often quoted under one name stand apart.
package org.sage;

/** Bytes; -1 where a count does not fit 64 bits. */
public final class AttentionMemory {
  public final long q;
  public final long k;
  public final long v;
  public final long o;
  /** Masks, bias, lengths, LSE and what else the op names. */
  public final long other;
  /** What a context allocates. */
  public final long scratch;
  /** Of the scratch, what does not grow with the keys. */
  public final long workingSet;
  /** Of the scratch: K and V in the kernels' form. */
  public final long packedKv;
  /** Of the scratch: results of split keys, before they are merged. */
  public final long partials;
  /** Constants packed by the plan, held once; not in the totals. */
  public final long prepack;
  /** Tensors and scratch. */
  public final long total;
  /** One score matrix. */
  public final long scores;
  /** Of it, what the scratch does not hold. */
  public final long scoresAvoided;
  /** Tensors and scores: what is needed where the matrix is kept. */
  public final long totalWithScores;
  /** {@link #scores} over {@link #scratch}; here and below a ratio over nothing is 0. */
  public final double scoresOverScratch;
  /** {@link #totalWithScores} over {@link #total}. */
  public final double totalsRatio;
  /** Tiles in a row of keys, no memory at all; 0: the tile is the backend's own. */
  public final double keysOverBlockKv;

  AttentionMemory(long[] sizes, double[] ratios) {
    q = sizes[0];
    k = sizes[1];
    v = sizes[2];
    o = sizes[3];
    other = sizes[4];
    scratch = sizes[5];
    workingSet = sizes[6];
    packedKv = sizes[7];
    partials = sizes[8];
    prepack = sizes[9];
    total = sizes[10];
    scores = sizes[11];
    scoresAvoided = sizes[12];
    totalWithScores = sizes[13];
    scoresOverScratch = ratios[0];
    totalsRatio = ratios[1];
    keysOverBlockKv = ratios[2];
  }
}
