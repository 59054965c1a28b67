/* text.c: lines in, lines out: words, numbers, hashes, types by name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"
#include "sage/plugin.h" /* the levels of log lines */

static const uint64_t kOffset = 14695981039346656037u;
static uint64_t digest = 14695981039346656037u;

/* FNV-1a, 64 bits: Fowler, Noll, Vo. */
void hash_bytes(uint64_t* hash, const void* bytes, size_t size) {
  const unsigned char* byte = bytes;
  for (size_t i = 0; i < size; ++i) *hash = (*hash ^ byte[i]) * 1099511628211u;
}

uint64_t hash_of(const void* bytes, size_t size) {
  uint64_t hash = kOffset;
  hash_bytes(&hash, bytes, size);
  return hash;
}

void print_text(const char* text) {
  hash_bytes(&digest, text, strlen(text));
  fputs(text, stdout);
}

void print_digest(void) { printf("digest %016llx\n", (unsigned long long)digest); }

char* format_list(const char* format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  char none[1];
  const int size = vsnprintf(none, sizeof none, format, again);
  va_end(again);
  need(size >= 0, "a text cannot be formatted");
  char* text = malloc((size_t)size + 1);
  need(text != NULL, "out of memory");
  vsnprintf(text, (size_t)size + 1, format, arguments);
  return text;
}

char* format_text(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char* text = format_list(format, arguments);
  va_end(arguments);
  return text;
}

char* read_file(const char* folder, const char* name, size_t* size) {
  char* path = format_text("%s/%s", folder, name);
  FILE* file = fopen(path, "rb");
  need(file != NULL, path);
  need(fseek(file, 0, SEEK_END) == 0, path);
  const long length = ftell(file);
  need(length >= 0 && fseek(file, 0, SEEK_SET) == 0, path);
  char* bytes = malloc((size_t)length + 1);
  need(bytes != NULL, "out of memory");
  *size = fread(bytes, 1, (size_t)length, file);
  need(*size == (size_t)length, path);
  bytes[*size] = '\0';
  fclose(file);
  free(path);
  return bytes;
}

words split_words(char* line) {
  words w = {{NULL}, 0, ""};
  const char* space = strchr(line, ' ');
  if (space != NULL) w.rest = space + 1;
  for (char* at = line; w.count < MAX_WORDS && *at != '\0';) {
    w.word[w.count++] = at;
    at += strcspn(at, " ");
    if (*at != '\0') *at++ = '\0';
  }
  return w;
}

static const struct {
  const char* name;
  sage_dtype dtype;
} kDtypes[] = {{"i8", SAGE_I8},          {"i16", SAGE_I16},   {"i32", SAGE_I32},   {"i64", SAGE_I64},
               {"u8", SAGE_U8},          {"u64", SAGE_U64},   {"f16", SAGE_F16},   {"f32", SAGE_F32},
               {"f64", SAGE_F64},        {"bf16", SAGE_BF16}, {"bool", SAGE_BOOL}, {"f8_e4m3fn", SAGE_F8_E4M3FN},
               {"f8_e5m2", SAGE_F8_E5M2}};

sage_dtype dtype_of(const char* name) {
  for (size_t i = 0; i < sizeof kDtypes / sizeof kDtypes[0]; ++i)
    if (strcmp(kDtypes[i].name, name) == 0) return kDtypes[i].dtype;
  need(false, name);
  return 0;
}

const char* dtype_name(sage_dtype dtype) {
  for (size_t i = 0; i < sizeof kDtypes / sizeof kDtypes[0]; ++i)
    if (kDtypes[i].dtype == dtype) return kDtypes[i].name;
  return "unknown";
}

uint64_t dtype_bytes(sage_dtype dtype) { return (dtype >> 8 & 0xff) / 8; }

uint32_t parse_shape(const char* text, int64_t* shape) {
  memset(shape, 0, SAGE_MAX_RANK * sizeof *shape);
  if (strcmp(text, "scalar") == 0) return 0;
  uint32_t rank = 0;
  for (;;) {
    char* end = NULL;
    need(rank < SAGE_MAX_RANK, text);
    shape[rank++] = strtoll(text, &end, 10);
    if (*end == '\0') return rank;
    need(*end == ',', text);
    text = end + 1;
  }
}

uint64_t element_count(uint32_t rank, const int64_t* shape) {
  uint64_t count = 1;
  for (uint32_t i = 0; i < rank; ++i) count *= (uint64_t)shape[i];
  return count;
}

static unsigned digit(char c) { return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a') + 10; }

size_t parse_hex(const char* text, unsigned char* to) {
  if (strcmp(text, "-") == 0) return 0;
  const size_t size = strlen(text) / 2;
  for (size_t i = 0; to != NULL && i < size; ++i)
    to[i] = (unsigned char)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
  return size;
}

bool find_constant(const char* name, uint64_t* value) {
  static const struct {
    const char* name;
    uint64_t value;
  } kConstants[] = {
#include "constants.inc"
  };
  for (size_t i = 0; i < sizeof kConstants / sizeof kConstants[0]; ++i)
    if (strcmp(kConstants[i].name, name) == 0) {
      *value = kConstants[i].value;
      return true;
    }
  return false;
}
