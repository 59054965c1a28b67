// The states of a metabolic graph, as its decisions name them.
package org.sage;

import java.util.Optional;

/** How awake a metabolic graph is, from resting to alarmed. */
public enum MetabolicState {
  WAKE,
  FOCUS,
  REST,
  DREAM,
  CRISIS;

  private static final String KEY = "\"state\":\"";

  /** After the tick whose record this is; empty for graphs without states and for error records. */
  public static Optional<MetabolicState> of(String decision) {
    // The keys' order is fixed, and before this one are numbers only: it is not inside somebody's text.
    int at = decision.indexOf(KEY);
    if (at < 0 || decision.lastIndexOf('{', at) != 0) return Optional.empty();
    int begin = at + KEY.length();
    for (MetabolicState state : values())
      if (decision.startsWith(state.name() + "\"", begin)) return Optional.of(state);
    return Optional.empty();
  }
}
