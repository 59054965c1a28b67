/* sparse_steps.c: masks of partitions, and the gate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner.h"

static uint64_t tiles(uint64_t seq, uint64_t tile) { return tile == 0 ? 0 : (seq + tile - 1) / tile; }

static void mincut_mask(runner* r, const words* w) {
  const uint64_t seq = strtoull(w->word[1], NULL, 10), bytes = seq * seq;
  char* mask = room(r, bytes);
  uint64_t kept = 0;
  sage_error error = no_error();
  if (succeeded(r, sage_mincut_mask((int64_t)seq, atoi(w->word[2]), mask, bytes, &kept, &error), &error))
    say(r, "kept %llu %016llx", (unsigned long long)kept, (unsigned long long)hash_of(mask, bytes));
}

static void mincut_blocks(runner* r, const words* w) {
  const uint64_t seq = strtoull(w->word[1], NULL, 10);
  const uint32_t tile_q = (uint32_t)atoi(w->word[3]), tile_kv = (uint32_t)atoi(w->word[4]);
  const uint64_t bytes = tiles(seq, tile_q) * tiles(seq, tile_kv);
  char* blocks = room(r, bytes);
  uint64_t kept = 0;
  sage_error error = no_error();
  if (succeeded(r, sage_mincut_blocks((int64_t)seq, atoi(w->word[2]), tile_q, tile_kv, blocks, bytes, &kept, &error),
                &error))
    say(r, "kept %llu %016llx", (unsigned long long)kept, (unsigned long long)hash_of(blocks, bytes));
}

static void mincut_csr(runner* r, const words* w) {
  const int64_t seq = atoll(w->word[1]), parts = atoll(w->word[2]);
  const uint32_t tile_q = (uint32_t)atoi(w->word[3]), tile_kv = (uint32_t)atoi(w->word[4]);
  const uint64_t num_indptr = tiles((uint64_t)seq, tile_q) + 1;
  int32_t* indptr = (int32_t*)(void*)room(r, num_indptr * sizeof *indptr);
  uint64_t kept = 0;
  sage_error error = no_error();
  if (!succeeded(r, sage_mincut_csr(seq, parts, tile_q, tile_kv, indptr, num_indptr, NULL, 0, &kept, &error), &error))
    return;
  int32_t* indices = (int32_t*)(void*)room(r, kept * sizeof *indices);
  if (succeeded(r, sage_mincut_csr(seq, parts, tile_q, tile_kv, indptr, num_indptr, indices, kept, &kept, &error),
                &error))
    say(r, "kept %llu %016llx %016llx", (unsigned long long)kept,
        (unsigned long long)hash_of(indptr, num_indptr * sizeof *indptr),
        (unsigned long long)hash_of(indices, kept * sizeof *indices));
}

static void gate(runner* r, const words* w) {
  sage_gate_packet packet = {.struct_size = sizeof packet};
  sage_gate_policy policy = {.struct_size = sizeof policy};
  const struct {
    const char* name;
    uint32_t* field;
  } fields[] = {{"flags", &packet.flags},
                {"lambda", &packet.lambda},
                {"lambda_prev", &packet.lambda_prev},
                {"boundary_edges", &packet.boundary_edges},
                {"boundary_concentration_q15", &packet.boundary_concentration_q15},
                {"partition_count", &packet.partition_count},
                {"spike_fired", &packet.spike_fired},
                {"spike_rate_q15", &packet.spike_rate_q15},
                {"policy.lambda_min", &policy.lambda_min},
                {"policy.drop_ratio_q15_max", &policy.drop_ratio_q15_max},
                {"policy.boundary_edges_max", &policy.boundary_edges_max},
                {"policy.boundary_concentration_q15_max", &policy.boundary_concentration_q15_max},
                {"policy.partitions_max", &policy.partitions_max},
                {"policy.spike_rate_q15_max", &policy.spike_rate_q15_max},
                {"policy.normal.layers", &policy.normal.layers},
                {"policy.normal.sequence", &policy.normal.sequence},
                {"policy.normal.window", &policy.normal.window},
                {"policy.reduced.layers", &policy.reduced.layers},
                {"policy.reduced.sequence", &policy.reduced.sequence},
                {"policy.reduced.window", &policy.reduced.window},
                {"policy.safe.layers", &policy.safe.layers},
                {"policy.safe.sequence", &policy.safe.sequence},
                {"policy.safe.window", &policy.safe.window}};
  bool with_policy = false;
  for (int i = 1; i < w->count; ++i) {
    const size_t length = strcspn(w->word[i], "=");
    bool found = false;
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; ++f) {
      if (strlen(fields[f].name) != length || strncmp(fields[f].name, w->word[i], length) != 0) continue;
      *fields[f].field = (uint32_t)strtoul(w->word[i] + length + 1, NULL, 10);
      found = true;
    }
    need(found, w->word[i]);
    with_policy |= strncmp(w->word[i], "policy.", 7) == 0;
  }
  sage_error error = no_error();
  sage_gate_decision* d = &r->decision;
  *d = (sage_gate_decision){.struct_size = sizeof *d};
  if (succeeded(r, sage_gate_decide(&packet, with_policy ? &policy : NULL, d, &error), &error))
    say(r, "gate %u %u %u %u %u %u", d->verdict, d->tier, d->drop_ratio_q15, d->layers, d->sequence, d->window);
}

static void gate_apply(runner* r, const words* w) {
  sage_attention_attributes attributes = {.struct_size = sizeof attributes};
  attributes.alignment = (uint32_t)atoi(w->word[1]);
  sage_error error = no_error();
  if (succeeded(r, sage_gate_apply(&r->decision, &attributes, &error), &error))
    say(r, "features %016llx window_left %lld", (unsigned long long)attributes.features,
        (long long)attributes.window_left);
}

bool sparse_step(runner* r, const words* w) {
  const char* step = w->word[0];
  if (strcmp(step, "mincut_mask") == 0) {
    mincut_mask(r, w);
  } else if (strcmp(step, "mincut_csr") == 0) {
    mincut_csr(r, w);
  } else if (strcmp(step, "mincut_blocks") == 0) {
    mincut_blocks(r, w);
  } else if (strcmp(step, "gate") == 0) {
    gate(r, w);
  } else if (strcmp(step, "gate_apply") == 0) {
    gate_apply(r, w);
  } else {
    return false;
  }
  return true;
}
