// Where query i stands among the keys. There is no default: systems disagree.
package org.sage;

/** Which key a query's own position is: what causal masks, windows and ALiBi count from. */
public enum Alignment {
  /** Query i stands at key i. */
  TOP_LEFT(Constants.SAGE_ALIGN_TOP_LEFT),
  /** The last query stands at the last key. */
  BOTTOM_RIGHT(Constants.SAGE_ALIGN_BOTTOM_RIGHT);

  private final int code;

  Alignment(int code) {
    this.code = code;
  }

  /** {@code Constants.SAGE_ALIGN_*}. */
  public int code() {
    return code;
  }
}
