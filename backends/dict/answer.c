/* What a request_id remembers, in one block:
 *
 *   [dict_answer][ref 0][ref 1]..[request_id][id 0][id 1]..
 *
 * Counted references: one of the shell that remembers it, and one of each reply
 * under way, so that done reads it after the lock is gone. Bodies are not in it,
 * but for the records that want_removed asked for: those are moved here from the
 * session that they left. */
#include "dict.h"

#include "bytes.h"
#include "rules.h"

#include <stdlib.h>

#define REFS_ON_STACK 16

static bool before_by_expiry(const void *a, const void *b) {
  return ((const dict_answer *)a)->expire_us < ((const dict_answer *)b)->expire_us;
}

const dict_heap_kind dict_by_answer_expiry = {offsetof(dict_answer, place), before_by_expiry};

static char *strings_of(const dict_answer *answer) {
  return (char *)(uintptr_t)(answer->ref + answer->ref_count);
}

dict_answer *dict_answer_new(const mneme_write *write, uint32_t hash, int64_t now_us,
                             const mneme_written *written) {
  size_t size = sizeof(dict_answer) + written->ref_count * sizeof(dict_answer_ref) +
                write->request_id.size;
  for (size_t i = 0; i < written->ref_count; i++) size += written->refs[i].id.size;
  dict_answer *a = malloc(size);
  if (a == NULL) return NULL;
  *a = (dict_answer){
      .hash = hash,
      .request_id_size = (uint8_t)write->request_id.size,
      .existed = written->existed,
      .truncated = written->truncated,
      .uid = written->header.uid,
      .expire_us = mneme_rule_add(now_us, write->window_us),
      .revision = written->header.revision,
      .settings_revision = written->header.settings_revision,
      .last_sequence = written->header.last_sequence,
      .memory_count = written->header.memory_count,
      .removed_count = (uint32_t)written->removed_count,
      .evicted_count = (uint32_t)written->evicted_count,
      .expired_count = (uint32_t)written->expired_count,
      .size = (uint32_t)size,
      .ref_count = (uint32_t)written->ref_count,
  };
  atomic_init(&a->refs, 1);
  memcpy(a->fingerprint, write->fingerprint, sizeof a->fingerprint);
  char *at = strings_of(a);
  mneme_bytes_put(&at, write->request_id);
  for (size_t i = 0; i < written->ref_count; i++) {
    const mneme_ref *ref = &written->refs[i];
    a->ref[i] = (dict_answer_ref){ref->sequence, ref->revision,
                                  (uint32_t)(at - strings_of(a)), (uint8_t)ref->id.size,
                                  ref->created};
    mneme_bytes_put(&at, ref->id);
  }
  return a;
}

/* The block, and about 48 bytes for the allocator's header and the places in
 * table and heap. */
int64_t dict_answer_cost(const dict_answer *answer) {
  int64_t cost = (int64_t)answer->size + 48;
  for (uint32_t i = 0; i < answer->removed_listed; i++)
    cost += dict_record_cost(answer->removed[i]);
  return cost;
}

dict_answer *dict_answer_ref_get(dict_answer *answer) {
  atomic_fetch_add_explicit(&answer->refs, 1, memory_order_relaxed);
  return answer;
}

void dict_answer_unref(dict_answer *answer) {
  if (answer == NULL || atomic_fetch_sub(&answer->refs, 1) != 1) return;
  for (size_t i = 0; i < answer->removed_listed; i++) free(answer->removed[i]);
  free(answer->removed);
  free(answer);
}

bool dict_answer_is(const void *answer, const void *bytes) {
  const dict_answer *a = answer;
  return mneme_bytes_equal(mneme_bytes_of(strings_of(a), a->request_id_size),
                           *(const mneme_bytes *)bytes);
}

void dict_answer_send(const dict_answer *a, mneme_bytes ns, mneme_bytes session,
                      mneme_written_fn done, void *ctx) {
  mneme_ref few[REFS_ON_STACK];
  mneme_ref *refs = few;
  mneme_record *removed = NULL;
  if (a->ref_count > REFS_ON_STACK) refs = malloc(a->ref_count * sizeof *refs);
  if (a->removed_listed != 0) removed = malloc(a->removed_listed * sizeof *removed);
  if (refs == NULL || (a->removed_listed != 0 && removed == NULL)) {
    if (refs != few) free(refs);
    free(removed);
    done(MNEME_NO_MEMORY, NULL, ctx);
    return;
  }
  for (size_t i = 0; i < a->ref_count; i++)
    refs[i] = (mneme_ref){mneme_bytes_of(strings_of(a) + a->ref[i].id_offset, a->ref[i].id_size),
                          a->ref[i].sequence, a->ref[i].revision, a->ref[i].created};
  for (size_t i = 0; i < a->removed_listed; i++) dict_record_view(a->removed[i], &removed[i]);

  mneme_written written = {
      .header = {.ns = ns,
                 .session = session,
                 .uid = a->uid,
                 .revision = a->revision,
                 .settings_revision = a->settings_revision,
                 .last_sequence = a->last_sequence,
                 .memory_count = a->memory_count},
      .deduplicated = true,
      .existed = a->existed,
      .truncated = a->truncated,
      .refs = refs,
      .ref_count = a->ref_count,
      .removed_count = a->removed_count,
      .evicted_count = a->evicted_count,
      .expired_count = a->expired_count,
      .removed = removed,
      .removed_count_listed = a->removed_listed,
  };
  done(MNEME_OK, &written, ctx);
  if (refs != few) free(refs);
  free(removed);
}
