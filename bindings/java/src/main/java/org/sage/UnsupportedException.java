// A type of its own, since a caller may answer it: by another dtype, backend or algorithm.
package org.sage;

/** A correct request that no acceptable backend serves; the message has every reason. */
public final class UnsupportedException extends SageException {
  private static final long serialVersionUID = 1L;

  UnsupportedException(long nativeCode, String message) {
    super(Constants.SAGE_E_UNSUPPORTED, nativeCode, message, null);
  }
}
