// Texts cross as UTF-8 bytes: JNI's own strings are modified UTF-8, in which a pair of surrogates is no character.
package org.sage;

import java.nio.charset.StandardCharsets;

final class Text {
  private Text() {}

  /** Ends in NUL; null for null. */
  static byte[] utf8(String text) {
    if (text == null) return null;
    if (text.indexOf('\0') >= 0)
      throw new SageException(Constants.SAGE_E_INVALID_ARGUMENT, "a text holds the character NUL: \""
          + text.replace("\0", "\\0") + "\"");
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return java.util.Arrays.copyOf(bytes, bytes.length + 1);
  }

  static String of(byte[] utf8) {
    return utf8 == null ? null : new String(utf8, StandardCharsets.UTF_8);
  }
}
