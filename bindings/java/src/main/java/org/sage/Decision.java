// What a tick answered.
package org.sage;

import java.util.Optional;

/** The record of one tick of a stream: a decision, or why the tick was refused. */
public final class Decision {
  private final String json;
  private final SageException error;

  Decision(String json, SageException error) {
    this.json = json;
    this.error = error;
  }

  /** One JSON object without a newline; of a refused tick its error record. */
  public String json() {
    return json;
  }

  /** Empty where the tick was taken. */
  public Optional<SageException> error() {
    return Optional.ofNullable(error);
  }

  /** After the tick; empty for graphs without states and for refused ticks. */
  public Optional<MetabolicState> state() {
    return error == null ? MetabolicState.of(json) : Optional.empty();
  }

  @Override
  public String toString() {
    return json;
  }
}
