// Element types by name, with their size: what a buffer's length is checked by.
package org.sage;

/** The type of a tensor's elements. */
public enum DType {
  I8(Constants.SAGE_I8),
  I16(Constants.SAGE_I16),
  I32(Constants.SAGE_I32),
  I64(Constants.SAGE_I64),
  U8(Constants.SAGE_U8),
  U64(Constants.SAGE_U64),
  F16(Constants.SAGE_F16),
  F32(Constants.SAGE_F32),
  F64(Constants.SAGE_F64),
  BF16(Constants.SAGE_BF16),
  /** One byte, 0 or 1. */
  BOOL(Constants.SAGE_BOOL),
  F8_E4M3FN(Constants.SAGE_F8_E4M3FN),
  F8_E5M2(Constants.SAGE_F8_E5M2);

  private final int code;

  DType(int code) {
    this.code = code;
  }

  /** {@code Constants.SAGE_F32} and its like. */
  public int code() {
    return code;
  }

  /** Of one element. */
  public int bytes() {
    return (code >>> 8 & 0xff) / 8;
  }

  static DType of(int code) {
    for (DType dtype : values()) if (dtype.code == code) return dtype;
    throw new SageException(Constants.SAGE_E_ABI_MISMATCH, "the library has an element type, 0x"
        + Integer.toHexString(code) + ", that this package does not know; use a newer sage-engine.jar");
  }
}
