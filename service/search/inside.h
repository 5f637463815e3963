/* How a corpus looks inside: for the files that search it. */
#ifndef MNEME_SEARCH_INSIDE_H
#define MNEME_SEARCH_INSIDE_H

#include "search/corpus.h"
#include "search/lexicon.h"

#define DOCS_PAGE 1024

/* A memory. 64 bytes: one line of the cache. */
typedef struct doc {
  int64_t sequence;
  int64_t revision;
  int64_t time_us; /* event, else creation */
  int64_t expire_us;
  uint8_t *forward; /* its terms in order, see forward_read; NULL = the slot is dead */
  uint32_t session;
  uint32_t prev; /* slots of its neighbours in the session; 0 = none */
  uint32_t next;
  uint32_t length; /* of its longest passage, in units of TF_ONE */
  uint32_t traits;
  bool asks;
  bool has_event; /* time_us is that */
} doc;
_Static_assert(sizeof(doc) == 64, "as corpus.h says");

typedef struct docs_page {
  doc docs[DOCS_PAGE];
  uint32_t live;
} docs_page;

/* What memories have in common, each mix once. */
typedef struct traits {
  uint64_t hash;
  uint32_t refs; /* memories; 0 = free */
  uint32_t next_free;
  char *data; /* kind, role, author, source, metadata, one behind the other */
  uint64_t *names; /* of the author */
  double importance;
  uint32_t metadata_size;
  int32_t tier;
  uint16_t name_count;
  uint8_t sizes[4]; /* of kind, role, author, source */
  bool pinned;
  bool has_importance;
  bool has_metadata;
  bool metadata_kept; /* false = it has more than is kept */
  bool is_user;       /* by role */
  bool is_assistant;
} traits;

typedef struct conversation { /* a session */
  char *name; /* NULL = free */
  size_t name_size;
  uint64_t hash;
  const language *language;
  int64_t expire_us;
  uint32_t *slots; /* in order of sequence, from `head` on */
  size_t head;
  size_t count;
  size_t room;
  uint32_t next_free;
} conversation;

typedef struct due {
  int64_t when_us;
  uint32_t slot; /* 0 = the session */
  uint32_t session;
} due;

struct corpus {
  lexicon lexicon;
  docs_page **pages; /* by slot / DOCS_PAGE; NULL = all in it are dead */
  size_t page_room;
  uint32_t page_first; /* below it all are NULL */
  uint32_t page_count; /* that are not */
  uint32_t last_slot;
  size_t live;
  uint64_t length; /* of all memories */
  conversation *sessions;
  uint32_t session_count; /* numbers given out so far */
  uint32_t session_room;
  uint32_t session_free;
  ids session_ids;
  uint32_t languages[LANGUAGES_MAX]; /* sessions of each */
  traits *traits;
  uint32_t traits_count;
  uint32_t traits_room;
  uint32_t traits_free;
  ids traits_ids;
  due *heap;
  size_t due_count;
  size_t due_room;
  size_t bytes; /* but for the lexicon's and the tables' */
  bool broken;  /* memory was wanting in the middle of a removal */
};

/* NULL = dead. */
static inline doc *corpus_doc(const corpus *c, uint32_t slot) {
  docs_page *page = c->pages[slot / DOCS_PAGE];
  doc *d = page != NULL ? &page->docs[slot % DOCS_PAGE] : NULL;
  return d != NULL && d->forward != NULL ? d : NULL;
}

static inline bool corpus_is_live(const void *ctx, uint32_t slot) {
  return corpus_doc(ctx, slot) != NULL;
}

/* docs.c: what a memory has of each term. A forward list is the numbers of its
 * terms: how many in the content, the minor ones and the author's name, then the
 * terms themselves. */
typedef struct forward {
  uint32_t content;
  uint32_t minor;
  uint32_t author;
  const uint8_t *at; /* the next term */
} forward;

static inline forward forward_read(const uint8_t *bytes) {
  uint64_t content, minor, author;
  bytes = varint_get(bytes, &content);
  bytes = varint_get(bytes, &minor);
  bytes = varint_get(bytes, &author);
  return (forward){(uint32_t)content, (uint32_t)minor, (uint32_t)author, bytes};
}

static inline uint32_t forward_next(forward *f) {
  uint64_t id;
  f->at = varint_get(f->at, &id);
  return (uint32_t)id;
}

static inline uint32_t forward_passages(uint32_t content) {
  return content <= PASSAGE_WHOLE ? 1 : (content + PASSAGE_TERMS - 1) / PASSAGE_TERMS;
}

/* traits.c */
uint32_t traits_take(corpus *c, const corpus_memory *m); /* CORPUS_NONE = no memory */
void traits_give(corpus *c, uint32_t id);
/* The fields of a record that they hold; strings are borrowed. */
void traits_fill(const traits *t, mneme_record *r);
mneme_bytes traits_metadata(const traits *t);

/* sessions.c */
bool sessions_insert(corpus *c, uint32_t session, uint32_t slot);
/* Where the first one with at least this sequence is. */
size_t sessions_place(const corpus *c, const conversation *s, int64_t sequence);

/* docs.c */
mneme_status docs_put(corpus *c, uint32_t session, const corpus_memory *m);
/* Out of everything but the session's list of slots. */
void docs_remove(corpus *c, uint32_t slot);
mneme_status docs_gather(corpus *c);

/* due.c */
bool due_add(corpus *c, int64_t when_us, uint32_t slot, uint32_t session);

#endif
