/* quantize_steps.c: floats as integers with scales, and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

/* Of a slot by its number; null for "-". */
static const sage_tensor* tensor_of(runner* r, const char* word) {
  if (strcmp(word, "-") == 0) return NULL;
  const uint32_t slot = (uint32_t)atoi(word);
  need(slot < SAGE_ATTN_NUM_SLOTS && r->slots[slot] != NULL, word);
  return r->slots[slot];
}

static void say_slot(runner* r, const char* word) {
  const sage_tensor* t = tensor_of(r, word);
  if (t == NULL) return;
  char what[16];
  snprintf(what, sizeof what, "slot %.8s", word);
  say_bytes(r, what, t->data, element_count(t->rank, t->shape) * dtype_bytes(t->dtype));
}

static unsigned long long bits_of(double value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* X CODES SCALE MEAN CU GRANULARITY BLOCK FLAGS */
static void quantize(runner* r, const words* w) {
  sage_error error = no_error();
  sage_quantize_report report = {.struct_size = sizeof report};
  const uint32_t flags = (uint32_t)atoi(w->word[8]);
  const sage_status status = sage_quantize(
      tensor_of(r, w->word[1]), (uint32_t)atoi(w->word[6]), (uint32_t)atoi(w->word[7]), flags, tensor_of(r, w->word[5]),
      tensor_of(r, w->word[2]), tensor_of(r, w->word[3]), tensor_of(r, w->word[4]), &report, &error);
  if (!succeeded(r, status, &error)) return;
  say(r, "SAGE_OK");
  say(r, "report %llu %llu %llu %llu %llu %016llx %016llx", (unsigned long long)report.elements,
      (unsigned long long)report.saturated, (unsigned long long)report.zero_groups,
      (unsigned long long)report.code_bytes, (unsigned long long)report.scale_bytes, bits_of(report.max_abs_error),
      bits_of(report.rms_error));
  say_slot(r, w->word[2]);
  if ((flags & SAGE_QUANTIZE_GIVEN_SCALES) == 0) say_slot(r, w->word[3]);
  say_slot(r, w->word[4]);
}

/* CODES SCALE MEAN CU X GRANULARITY BLOCK */
static void dequantize(runner* r, const words* w) {
  sage_error error = no_error();
  const sage_status status = sage_dequantize(
      tensor_of(r, w->word[1]), (uint32_t)atoi(w->word[6]), (uint32_t)atoi(w->word[7]), tensor_of(r, w->word[4]),
      tensor_of(r, w->word[2]), tensor_of(r, w->word[3]), tensor_of(r, w->word[5]), &error);
  if (!succeeded(r, status, &error)) return;
  say(r, "SAGE_OK");
  say_slot(r, w->word[5]);
}

bool quantize_step(runner* r, const words* w) {
  if (strcmp(w->word[0], "quantize") == 0) {
    quantize(r, w);
  } else if (strcmp(w->word[0], "dequantize") == 0) {
    dequantize(r, w);
  } else {
    return false;
  }
  return true;
}
