// What a call of the library refused, in its own words; and the same of what this package checks for memory's sake.
package org.sage;

/** A call that failed. The message says what was given, what was expected and what to do. */
public class SageException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private final int status;
  private final long nativeCode;

  SageException(int status, long nativeCode, String message, Throwable cause) {
    super(message, cause);
    this.status = status;
    this.nativeCode = nativeCode;
  }

  SageException(int status, String message) {
    this(status, 0, message, null);
  }

  /** One of {@code Constants.SAGE_E_*}. */
  public final int status() {
    return status;
  }

  /** The status by name, {@code SAGE_E_BUSY}. */
  public final String statusName() {
    try {
      return Sage.statusName(status);
    } catch (SageException notLoaded) {
      return "status " + status; // this very exception may say why
    }
  }

  /** errno, or a driver's code; 0 where there is none. */
  public final long nativeCode() {
    return nativeCode;
  }

  /** Called by the native side. */
  static SageException of(int status, long nativeCode, byte[] message) {
    String text = Text.of(message);
    switch (status) {
      case Constants.SAGE_E_UNSUPPORTED:
        return new UnsupportedException(nativeCode, text);
      case Constants.SAGE_E_CANCELLED:
        return new CancelledException(nativeCode, text);
      default:
        return new SageException(status, nativeCode, text, null);
    }
  }
}
