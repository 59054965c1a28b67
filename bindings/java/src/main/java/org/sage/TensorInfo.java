// What a model says of its inputs and outputs.
package org.sage;

/** An input or output. */
public final class TensorInfo {
  private final String name;
  private final DType dtype;
  private final long[] shape;

  TensorInfo(String name, DType dtype, long[] shape) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
  }

  /** info: dtype, rank, then lengths. */
  static TensorInfo of(String name, long[] info) {
    return new TensorInfo(name, DType.of((int) info[0]), java.util.Arrays.copyOfRange(info, 2, 2 + (int) info[1]));
  }

  public String name() {
    return name;
  }

  public DType dtype() {
    return dtype;
  }

  /** -1: any length. */
  public long[] shape() {
    return shape.clone();
  }

  @Override
  public String toString() {
    return name + " " + dtype + java.util.Arrays.toString(shape);
  }
}
