/**
 * Attention, models and tick streams of the sage engine, over {@code libsage.so} by JNI.
 *
 * <p>Begin with {@link org.sage.Engine}. What has {@code close} is closed by try-with-resources, in any order; a
 * Cleaner does it for what was forgotten. Every failure is a {@link org.sage.SageException}, a closed object an
 * {@link IllegalStateException}, a missing argument a {@link NullPointerException}.
 */
package org.sage;
