// What a quantisation did.
package org.sage;

/** Counts, and how far scale * code is from the values. */
public final class QuantizeReport {
  public final long elements;
  /** Values beyond what given scales reach. */
  public final long saturated;
  /** Groups of zeros: their codes are 0 and their scale is 1. */
  public final long zeroGroups;
  /** Of the codes alone. */
  public final long codeBytes;
  /** Of scales and means. */
  public final long scaleBytes;
  /** Of scale * code (+ mean) against x. */
  public final double maxAbsError;
  /** The same, root of the mean square. */
  public final double rmsError;

  QuantizeReport(long[] counts, double[] errors) {
    elements = counts[0];
    saturated = counts[1];
    zeroGroups = counts[2];
    codeBytes = counts[3];
    scaleBytes = counts[4];
    maxAbsError = errors[0];
    rmsError = errors[1];
  }
}
