// A type of its own, since it is no failure: somebody asked for it.
package org.sage;

/** A run that was stopped by {@code cancel}, a cancelled future or the cancel callback. Its outputs are undefined. */
public final class CancelledException extends SageException {
  private static final long serialVersionUID = 1L;

  CancelledException(long nativeCode, String message) {
    super(Constants.SAGE_E_CANCELLED, nativeCode, message, null);
  }
}
