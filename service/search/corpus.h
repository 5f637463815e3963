/* The index of one namespace: its sessions, in each the memories in the order of
 * their sequence, and the terms that they hold.
 *
 *   corpus ─┬─ lexicon: term ─▶ slots and weights
 *           ├─ memories by slot: session, neighbours, length, time, terms in order
 *           ├─ traits: kind, role, author, source, metadata ..., each mix once
 *           ├─ sessions by name: slots in order of sequence
 *           └─ what expires, the next one first
 *
 * It holds no text: search tells sequences, and who asked reads the memories.
 * Everything that scores depend on is an integer that is counted up and down, or
 * follows from such: a corpus that has lived through any changes gives the same
 * scores, to the last bit, as one that was built of what is left.
 *
 * A memory takes 64 bytes, 2 for each word that is a term (its place in the text,
 * for pairs of words, for what it is most like, and to be taken out again), and 2
 * to 3 for each different one (its entry in the term's list); beside it a term
 * takes 46 and a mix of traits 48 and its strings. See corpus_bytes.
 *
 * Ownership: the corpus owns all; what is put is copied. Threads: any may search
 * and read while nobody writes. Errors: MNEME_NO_MEMORY, or MNEME_TOO_BIG when the
 * slots are used up (after 4 billion puts): the corpus can then only be freed and
 * built anew. */
#ifndef MNEME_SEARCH_CORPUS_H
#define MNEME_SEARCH_CORPUS_H

#include "mneme/backend.h"
#include "search/analyse.h"

#define CORPUS_NONE UINT32_MAX
#define CORPUS_METADATA_MAX 1024 /* bytes of metadata that are kept for filters */
#define PASSAGE_TERMS 64         /* a longer text is searched in passages of these */
#define PASSAGE_WHOLE 96         /* up to these it is one */

typedef struct corpus corpus;

corpus *corpus_new(void); /* NULL = no memory */
void corpus_free(corpus *c);
/* All that it takes, but for what the allocator adds. */
size_t corpus_bytes(const corpus *c);
size_t corpus_memories(const corpus *c);

/* --- Sessions ------------------------------------------------------------ */

/* The number of a session; a new one is made when there is none. Numbers of
 * dropped sessions are given again. CORPUS_NONE = no memory. */
uint32_t corpus_session_add(corpus *c, mneme_bytes name, const language *l);
uint32_t corpus_session_find(const corpus *c, mneme_bytes name);
mneme_bytes corpus_session_name(const corpus *c, uint32_t session);
size_t corpus_session_memories(const corpus *c, uint32_t session);
/* With all its memories. */
void corpus_session_drop(corpus *c, uint32_t session);
/* When it lapses; 0 = never. false = no memory. */
bool corpus_session_expires(corpus *c, uint32_t session, int64_t when_us);

/* --- Memories ------------------------------------------------------------ */

/* A memory to put: the typed fields of its record, and what was made of its body. */
typedef struct corpus_memory {
  const mneme_record *record; /* body, key, id, metadata_json are not read */
  mneme_bytes metadata;       /* packed, as in the body; empty = none */
  int64_t expire_us;          /* when it is gone, by itself or for its age; 0 = never */
  bool asks;                  /* its content ends in a question mark */
  term_list content;
  term_list minor;  /* captions and metadata that search reads */
  term_list author; /* analyse_text of the author */
} corpus_memory;

/* In the place of the one of that sequence, if there is one. */
mneme_status corpus_put(corpus *c, uint32_t session, const corpus_memory *m);
/* Those with sequences from first to last. */
void corpus_remove(corpus *c, uint32_t session, int64_t first, int64_t last);
/* The revision of the one at a sequence; 0 = there is none. */
int64_t corpus_revision(const corpus *c, uint32_t session, int64_t sequence);

/* What is due first. true = a session, or a memory of it (sequence > 0), whose time
 * had come by now; it stays until it is removed or put again, a session until it
 * is dropped or expires at another time. */
bool corpus_due(corpus *c, int64_t now_us, uint32_t *ret_session, int64_t *ret_sequence);

#endif
