// Inputs and outputs have numbers of their own.
package org.sage;

/** Which side of a model. */
public enum Direction {
  INPUT(Constants.SAGE_INPUT),
  OUTPUT(Constants.SAGE_OUTPUT);

  private final int code;

  Direction(int code) {
    this.code = code;
  }

  int code() {
    return code;
  }
}
