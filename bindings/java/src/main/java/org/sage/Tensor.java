// A description of memory outside the heap, which the collector keeps as long as a tensor refers to it.
//
// Direct buffers only: their address is read once, here, so that a call costs no more than passing it; and nothing is
// pinned, so no call holds up the collector. Every element that a shape and its strides can reach lies in the buffer,
// which is checked here: native code does not look again.
package org.sage;

import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import java.util.Arrays;
import java.util.Objects;

/**
 * An immutable view of elements in memory: type, shape, strides and where. {@link #of} copies an array, {@link #wrap}
 * uses a direct buffer in place, {@link #allocate} makes room. Nothing is to be closed. Lengths are in elements,
 * row-major unless strides say otherwise; a shape without axes is a scalar.
 */
public final class Tensor {
  private final DType dtype;
  private final long[] shape;
  private final long[] strides;
  private final Buffer owner; // null: a description only
  private final long address; // of element [0,..,0]
  private final boolean constant;
  private final boolean contiguous;
  private final long count;

  private Tensor(DType dtype, long[] shape, long[] strides, Buffer owner, long address, boolean constant) {
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.owner = owner;
    this.address = address;
    this.constant = constant;
    this.contiguous = Arrays.equals(strides, rowMajor(shape));
    this.count = countOf(shape);
  }

  // ---- copies ----

  /** A copy of values as F32. */
  public static Tensor of(float[] values, long... shape) {
    Tensor made = room(DType.F32, values.length, shape);
    made.floats().put(values);
    return made;
  }

  /** A copy of values as F64. */
  public static Tensor of(double[] values, long... shape) {
    Tensor made = room(DType.F64, values.length, shape);
    made.bytes().asDoubleBuffer().put(values);
    return made;
  }

  /** A copy of values as I32. */
  public static Tensor of(int[] values, long... shape) {
    Tensor made = room(DType.I32, values.length, shape);
    made.bytes().asIntBuffer().put(values);
    return made;
  }

  /** A copy of values as I64. */
  public static Tensor of(long[] values, long... shape) {
    Tensor made = room(DType.I64, values.length, shape);
    made.bytes().asLongBuffer().put(values);
    return made;
  }

  /** A copy of values as 16-bit elements: F16, BF16 or I16, by their bits. */
  public static Tensor of(DType dtype, short[] values, long... shape) {
    requireSize(dtype, Short.BYTES);
    Tensor made = room(dtype, values.length, shape);
    made.bytes().asShortBuffer().put(values);
    return made;
  }

  /** A copy of bytes as elements of any type, in native order. */
  public static Tensor of(DType dtype, byte[] bytes, long... shape) {
    Tensor made = allocate(dtype, shape);
    requireBytes(bytes.length, dtype, shape);
    made.bytes().put(bytes);
    return made;
  }

  // ---- in place ----

  /** Position to limit of a direct buffer in native order, used in place, as F32. */
  public static Tensor wrap(FloatBuffer buffer, long... shape) {
    return wrap(DType.F32, buffer, buffer.order(), Float.BYTES, shape);
  }

  /** Position to limit of a direct buffer in native order, used in place, as F64. */
  public static Tensor wrap(DoubleBuffer buffer, long... shape) {
    return wrap(DType.F64, buffer, buffer.order(), Double.BYTES, shape);
  }

  /** Position to limit of a direct buffer in native order, used in place, as I32. */
  public static Tensor wrap(IntBuffer buffer, long... shape) {
    return wrap(DType.I32, buffer, buffer.order(), Integer.BYTES, shape);
  }

  /** Position to limit of a direct buffer in native order, used in place, as I64. */
  public static Tensor wrap(LongBuffer buffer, long... shape) {
    return wrap(DType.I64, buffer, buffer.order(), Long.BYTES, shape);
  }

  /** Position to limit of a direct buffer in native order, used in place: F16, BF16 or I16, by their bits. */
  public static Tensor wrap(DType dtype, ShortBuffer buffer, long... shape) {
    requireSize(dtype, Short.BYTES);
    return wrap(dtype, buffer, buffer.order(), Short.BYTES, shape);
  }

  /**
   * Position to limit of a direct buffer, used in place, elements of any type in native order, at any address. The
   * buffer's own order does not matter: it has bytes.
   */
  public static Tensor wrap(DType dtype, ByteBuffer buffer, long... shape) {
    return wrap(dtype, buffer, ByteOrder.nativeOrder(), 1, shape);
  }

  /** New memory, all zero. */
  public static Tensor allocate(DType dtype, long... shape) {
    long bytes = countOf(shape) * dtype.bytes();
    if (bytes > Integer.MAX_VALUE)
      throw new ShapeException("a tensor of " + bytes + " bytes; a Java buffer has 2147483647 at most");
    return wrap(dtype, ByteBuffer.allocateDirect((int) bytes), shape);
  }

  /** A type and a shape without memory, for planning. */
  public static Tensor describe(DType dtype, long... shape) {
    countOf(shape);
    return new Tensor(Objects.requireNonNull(dtype), shape.clone(), rowMajor(shape), null, 0, false);
  }

  // ---- the same memory, seen otherwise ----

  /** The same elements in another shape of as many. */
  public Tensor reshape(long... newShape) {
    requireContiguous("reshape");
    if (countOf(newShape) != count())
      throw new ShapeException(Arrays.toString(shape) + " does not have as many elements as "
          + Arrays.toString(newShape));
    return new Tensor(dtype, newShape.clone(), rowMajor(newShape), owner, address, constant);
  }

  /** Axes of length 1 repeat, by stride 0, as often as newShape says. */
  public Tensor broadcast(long... newShape) {
    countOf(newShape);
    long[] steps = strides.clone();
    if (newShape.length != shape.length) throw new ShapeException("broadcast keeps the number of axes");
    for (int i = 0; i < steps.length; ++i) {
      if (shape[i] == newShape[i]) continue;
      if (shape[i] != 1)
        throw new ShapeException("axis " + i + " has length " + shape[i] + "; only one of length 1 repeats");
      steps[i] = 0;
    }
    return new Tensor(dtype, newShape.clone(), steps, owner, address, constant);
  }

  /**
   * The shape newShape over the same memory, element [0,..,0] at offset; in elements, 0 repeats an axis, negative
   * walks back. What it can reach must lie inside the memory.
   */
  public Tensor strided(long offset, long[] newShape, long[] newStrides) {
    requireContiguous("strided");
    countOf(newShape);
    if (newShape.length != newStrides.length) throw new ShapeException("a stride for every axis is needed");
    long low = offset;
    long high = offset;
    boolean empty = false;
    try {
      for (int i = 0; i < newShape.length; ++i) {
        empty |= newShape[i] == 0;
        long reach = Math.multiplyExact(Math.max(newShape[i] - 1, 0), newStrides[i]);
        low = Math.addExact(low, Math.min(reach, 0));
        high = Math.addExact(high, Math.max(reach, 0));
      }
    } catch (ArithmeticException overflow) {
      throw new ShapeException("the strides " + Arrays.toString(newStrides) + " lead out of any memory");
    }
    if (low < 0 || (empty ? high > count() : high >= count()))
      throw new ShapeException("the strides " + Arrays.toString(newStrides) + " of " + Arrays.toString(newShape)
          + " reach elements " + low + " to " + high + " of a memory of " + count());
    long start = owner == null ? 0 : address + offset * dtype.bytes();
    return new Tensor(dtype, newShape.clone(), newStrides.clone(), owner, start, constant);
  }

  /** The bytes stay as they are until the plan and its contexts are closed: it may prepack them. */
  public Tensor constant() {
    return new Tensor(dtype, shape, strides, owner, address, true);
  }

  // ---- what it is ----

  public DType dtype() {
    return dtype;
  }

  public long[] shape() {
    return shape.clone();
  }

  /** In elements. */
  public long[] strides() {
    return strides.clone();
  }

  /** The product of the shape. */
  public long count() {
    return count;
  }

  /** Of {@link #count()} elements. */
  public long sizeInBytes() {
    return count * dtype.bytes();
  }

  public boolean isContiguous() {
    return contiguous;
  }

  /** False for a description. */
  public boolean hasData() {
    return owner != null;
  }

  // ---- its elements ----

  /** The memory itself, in native order, position 0; of a contiguous tensor made by this class or over a ByteBuffer. */
  public ByteBuffer bytes() {
    requireContiguous("bytes");
    if (!(owner instanceof ByteBuffer))
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT,
          owner == null ? "a description has no memory" : "the tensor lies in a buffer of the caller's: read that one");
    ByteBuffer base = (ByteBuffer) owner;
    int begin = (int) (address - SageNative.buffer_address(base));
    ByteBuffer view = base.duplicate();
    view.position(begin).limit(begin + (int) sizeInBytes());
    return view.slice().order(ByteOrder.nativeOrder());
  }

  /** The memory itself as floats; of an F32 tensor. */
  public FloatBuffer floats() {
    requireType(DType.F32);
    if (!(owner instanceof FloatBuffer)) return bytes().asFloatBuffer();
    requireContiguous("floats");
    int begin = (int) ((address - SageNative.buffer_address(owner)) / Float.BYTES);
    FloatBuffer view = ((FloatBuffer) owner).duplicate();
    view.position(begin).limit(begin + (int) count());
    return view.slice();
  }

  /** A copy of the elements of an F32 tensor. */
  public float[] toFloatArray() {
    float[] values = new float[(int) count()];
    floats().get(values);
    return values;
  }

  /** A copy of the elements of an F64 tensor. */
  public double[] toDoubleArray() {
    requireType(DType.F64);
    double[] values = new double[(int) count()];
    bytes().asDoubleBuffer().get(values);
    return values;
  }

  /** A copy of the elements of an I32 tensor. */
  public int[] toIntArray() {
    requireType(DType.I32);
    int[] values = new int[(int) count()];
    bytes().asIntBuffer().get(values);
    return values;
  }

  /** A copy of the bytes, in native order. */
  public byte[] toByteArray() {
    byte[] values = new byte[(int) sizeInBytes()];
    bytes().get(values);
    return values;
  }

  @Override
  public String toString() {
    return dtype + Arrays.toString(shape) + (contiguous ? "" : " strides " + Arrays.toString(strides))
        + (owner == null ? " without data" : "");
  }

  // ---- for this package ----

  long address() {
    return address;
  }

  long[] rawShape() {
    return shape;
  }

  long[] rawStrides() {
    return strides;
  }

  /** The engine refuses what is read-only where an op or a model would write it. */
  int flags() {
    return (constant ? Constants.SAGE_TENSOR_CONSTANT : 0) | (isReadOnly() ? Constants.SAGE_TENSOR_READ_ONLY : 0);
  }

  boolean isConstant() {
    return constant;
  }

  boolean isReadOnly() {
    return owner != null && owner.isReadOnly();
  }

  /** For calls that pass an address without flags; name for the message. */
  Tensor requireWritable(String name) {
    if (isReadOnly())
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, name + " is written, and its buffer is read-only");
    return this;
  }

  Tensor requireData(String name) {
    if (owner == null)
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, name + " is a description without memory");
    return this;
  }

  void requireContiguous(String name) {
    if (!contiguous)
      throw new ShapeException(name + ": a contiguous tensor is needed; strides of " + Arrays.toString(shape) + " are "
          + Arrays.toString(strides));
  }

  private void requireType(DType wanted) {
    if (dtype != wanted)
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, "the tensor is " + dtype + ", not " + wanted);
  }

  private static void requireSize(DType dtype, int bytes) {
    if (dtype.bytes() != bytes)
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT,
          "an element of " + dtype + " has " + dtype.bytes() + " bytes, one of the array has " + bytes);
  }

  private static void requireBytes(long bytes, DType dtype, long[] shape) {
    long wanted = countOf(shape) * dtype.bytes();
    if (bytes != wanted)
      throw new ShapeException(dtype + Arrays.toString(shape) + " has " + wanted + " bytes; " + bytes + " were given");
  }

  private static Tensor room(DType dtype, int given, long[] shape) {
    requireBytes((long) given * dtype.bytes(), dtype, shape);
    return allocate(dtype, shape);
  }

  private static Tensor wrap(DType dtype, Buffer buffer, ByteOrder order, int element, long[] shape) {
    if (!buffer.isDirect())
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT,
          "the buffer lies in the heap, where the collector moves"
          + " it: use one of ByteBuffer.allocateDirect, or Tensor.of, which copies");
    if (order != ByteOrder.nativeOrder())
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, "the buffer's order is " + order
          + ", the machine's is "
          + ByteOrder.nativeOrder() + ": call order(ByteOrder.nativeOrder()) before asFloatBuffer() and its like");
    requireBytes((long) buffer.remaining() * element, dtype, shape);
    Sage.load();
    // From the JVM comes the address of position 0.
    long address = SageNative.buffer_address(buffer) + (long) buffer.position() * element;
    return new Tensor(dtype, shape.clone(), rowMajor(shape), buffer.duplicate(), address, false);
  }

  private static long countOf(long[] shape) {
    if (shape.length > Constants.SAGE_MAX_RANK)
      throw new ShapeException("a tensor of " + shape.length + " axes; " + Constants.SAGE_MAX_RANK + " at most");
    long count = 1;
    try {
      for (long length : shape) {
        if (length < 0) throw new ShapeException("a negative length in " + Arrays.toString(shape));
        count = Math.multiplyExact(count, length);
      }
      Math.multiplyExact(count, (long) Double.BYTES);
    } catch (ArithmeticException overflow) {
      throw new ShapeException("too many elements in " + Arrays.toString(shape));
    }
    return count;
  }

  private static long[] rowMajor(long[] shape) {
    long[] strides = new long[shape.length];
    long step = 1;
    for (int i = shape.length; i-- > 0; step *= shape[i]) strides[i] = step;
    return strides;
  }
}
