// Floats as signed integers with scales, and back.
//
// Tensors cross as numbers in one array, in the order that sage_flat.h has; they are kept until the call is back.
package org.sage;

import java.lang.ref.Reference;

/**
 * Which scale is whose, value = scale * code, as the scale slots of an attention take them: {@code sage/quantize.h} has
 * types, shapes and formula. A call is a pure function, any thread; the object is set by one.
 */
public final class Quantization {
  private static final int NUMBERS = 4 + 2 * Constants.SAGE_MAX_RANK;

  private final int granularity;
  private int scaleBlock;
  private Tensor mean;
  private Tensor cuSeqlens;

  /** @param granularity {@code Constants.SAGE_PER_*} */
  public Quantization(int granularity) {
    this.granularity = granularity;
  }

  /** Tokens that share a scale, with {@code SAGE_PER_BLOCK}. */
  public Quantization scaleBlock(int tokens) {
    scaleBlock = tokens;
    return this;
  }

  /** F32 {@code [B,H,D]}, of each sequence and channel: written and subtracted, or added on the way back; or null. */
  public Quantization mean(Tensor tensor) {
    mean = tensor;
    return this;
  }

  /** I32 {@code [B+1]}: where packed sequences begin, and the last one ends; null: none. */
  public Quantization cuSeqlens(Tensor tensor) {
    cuSeqlens = tensor;
    return this;
  }

  /**
   * Writes codes, I8 or I16, and scale, F32, its shape by granularity.
   *
   * @throws SageException for NaN and infinities too, with their place; then nothing was written
   */
  public QuantizeReport quantize(Tensor x, Tensor codes, Tensor scale) {
    return quantize(x, codes, scale, 0);
  }

  /** The same with scales that are given: what they do not reach saturates, and is counted. */
  public QuantizeReport quantizeWith(Tensor x, Tensor codes, Tensor scale) {
    return quantize(x, codes, scale, Constants.SAGE_QUANTIZE_GIVEN_SCALES);
  }

  private QuantizeReport quantize(Tensor x, Tensor codes, Tensor scale, int flags) {
    Sage.load();
    long[] counts = new long[5];
    double[] errors = new double[2];
    Tensor[] tensors = {x, codes, scale, mean, cuSeqlens};
    SageNative.quantize(numbers(tensors), granularity, scaleBlock, flags, counts, errors);
    Reference.reachabilityFence(tensors);
    return new QuantizeReport(counts, errors);
  }

  /** x = scale * codes + mean, rounded to x's type. */
  public void dequantize(Tensor codes, Tensor scale, Tensor x) {
    Sage.load();
    Tensor[] tensors = {x, codes, scale, mean, cuSeqlens};
    SageNative.dequantize(numbers(tensors), granularity, scaleBlock);
    Reference.reachabilityFence(tensors);
  }

  private static long[] numbers(Tensor[] tensors) {
    long[] all = new long[tensors.length * NUMBERS];
    for (int i = 0; i < tensors.length; ++i) {
      int at = i * NUMBERS;
      Tensor tensor = tensors[i];
      if (tensor == null) {
        all[at] = -1;
        continue;
      }
      long[] shape = tensor.rawShape();
      all[at] = shape.length;
      all[at + 1] = tensor.dtype().code();
      all[at + 2] = tensor.flags();
      all[at + 3] = tensor.address();
      System.arraycopy(shape, 0, all, at + 4, shape.length);
      System.arraycopy(tensor.rawStrides(), 0, all, at + 4 + Constants.SAGE_MAX_RANK, shape.length);
    }
    return all;
  }
}
