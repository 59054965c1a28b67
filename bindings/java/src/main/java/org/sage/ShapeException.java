// Found by this package before the library is asked: what would read or write outside a buffer.
package org.sage;

/** A shape, or the length of an array or buffer, that does not fit. Its status is SAGE_E_INVALID_ARGUMENT. */
public final class ShapeException extends SageException {
  private static final long serialVersionUID = 1L;

  ShapeException(String message) {
    super(Constants.SAGE_E_INVALID_ARGUMENT, message);
  }
}
