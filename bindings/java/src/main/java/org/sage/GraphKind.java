// What a model is; ticks are for all but the first.
package org.sage;

/** The kind of graph that a model holds. */
public enum GraphKind {
  OP_GRAPH(Constants.SAGE_MODEL_OP_GRAPH),
  EXPERT(Constants.SAGE_MODEL_EXPERT),
  METABOLIC(Constants.SAGE_MODEL_METABOLIC),
  FUSION(Constants.SAGE_MODEL_FUSION);

  private final int code;

  GraphKind(int code) {
    this.code = code;
  }

  /** {@code Constants.SAGE_MODEL_*}. */
  public int code() {
    return code;
  }

  static GraphKind of(int code) {
    for (GraphKind kind : values()) if (kind.code == code) return kind;
    throw new SageException(Constants.SAGE_E_ABI_MISMATCH,
        "the model is of kind " + code + ", which this package does not know; use a newer sage-engine.jar");
  }
}
