// Of the plain attention call; a plan's tensors say it by strides.
package org.sage;

/** The order of the axes in memory: B batch, H heads, S sequence, D dim. */
public enum Layout {
  BHSD,
  BSHD
}
