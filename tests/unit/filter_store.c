#include "filter_store.h"

#include <semaphore.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "record/record.h"
#include "wire/stored.h"

const mneme_backend_type *mneme_plugin_sqlite(void);

#define SQL_MAX (1 << 20)

struct store {
  const mneme_backend_type *type;
  mneme_backend *instance;
  arena *arena;
  char folder[256];
  char *sql;
  char *expanded;
};

/* --- What SQLite runs ---------------------------------------------------- */

int __real_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_step(sqlite3_stmt *stmt);

static store *watched; /* the one that reads; reads run on the caller's thread */

static bool reads_memories(const char *sql) {
  return strncmp(sql, "SELECT sequence, revision, ", 27) == 0;
}

int __wrap_sqlite3_step(sqlite3_stmt *stmt) {
  const char *sql = sqlite3_sql(stmt);
  if (watched != NULL && !sqlite3_stmt_busy(stmt) && sql != NULL && reads_memories(sql)) {
    char *expanded = sqlite3_expanded_sql(stmt);
    snprintf(watched->sql, SQL_MAX, "%s", sql);
    snprintf(watched->expanded, SQL_MAX, "%s", expanded);
    sqlite3_free(expanded);
  }
  return __real_sqlite3_step(stmt);
}

const char *store_sql(const store *s) {
  return s->sql;
}

const char *store_expanded(const store *s) {
  return s->expanded;
}

/* --- Life ---------------------------------------------------------------- */

store *store_open(arena *a) {
  store *s = arena_calloc(a, 1, sizeof *s);
  char path[300], problem[256] = "";
  mneme_option_value values[32] = {{0}};
  const char *parent = getenv("TMPDIR");
  s->arena = a;
  s->type = mneme_plugin_sqlite();
  s->sql = arena_calloc(a, 1, SQL_MAX);
  s->expanded = arena_calloc(a, 1, SQL_MAX);
  snprintf(s->folder, sizeof s->folder, "%s/mneme-filter-XXXXXX", parent != NULL ? parent : "/tmp");
  assert_non_null(mkdtemp(s->folder));
  snprintf(path, sizeof path, "%s/db", s->folder);
  for (int i = 0; s->type->options[i].name != NULL; i++) {
    const mneme_option *o = &s->type->options[i];
    values[i].string = strcmp(o->name, "path") == 0 ? path : o->default_value;
    values[i].integer = o->type == MNEME_OPTION_INT ? strtoll(o->default_value, NULL, 10) : o->min;
  }
  if (s->type->open(NULL, values, &s->instance, problem, sizeof problem) != MNEME_OK)
    fail_msg("%s", problem);
  return s;
}

void store_close(store *s) {
  static const char *const files[] = {"db", "db-wal", "db-shm", "db.lock"};
  char path[300];
  s->type->close(s->instance);
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "%s/%s", s->folder, files[i]);
    unlink(path);
  }
  assert_int_equal(rmdir(s->folder), 0);
}

/* --- Records ------------------------------------------------------------- */

mneme_record store_record_of(arena *a, pb_memory *m) {
  wire_memory made;
  error e = {0};
  mneme_bytes metadata;
  if (!wire_memory_in(m, "", true, a, &made, &e))
    fail_msg("%s", e.message);
  mneme_record r = made.record;
  mneme_bytes body = {r.body.data + RECORD_PREFIX, r.body.size - RECORD_PREFIX};
  if (stored_metadata(body, &metadata))
    assert_true(stored_json(metadata, a, &r.metadata_json));
  record_seal(&r);
  return r;
}

mneme_record store_record(arena *a, const store_memory *from) {
  pb_memory *m = arena_alloc(a, sizeof *m);
  mneme__v1__memory__init(m);
  m->id = (char *)from->id;
  m->kind = (char *)from->kind;
  m->role = (char *)from->role;
  m->key = (char *)from->key;
  m->author = (char *)from->author;
  m->source = (char *)from->source;
  m->tier = (Mneme__V1__Tier)from->tier;
  m->content = (char *)from->content;
  m->pinned = from->pinned;
  m->_importance_case = from->importance >= 0 ? MNEME__V1__MEMORY___IMPORTANCE_IMPORTANCE : 0;
  m->importance = from->importance;
  m->_token_count_case = MNEME__V1__MEMORY___TOKEN_COUNT_TOKEN_COUNT;
  m->token_count = from->token_count;
  m->event_time = from->event_us != MNEME_NO_EVENT ? wire_time_out(from->event_us, a) : NULL;
  m->expire_time = from->expire_us != 0 ? wire_time_out(from->expire_us, a) : NULL;
  m->metadata = from->metadata != NULL ? store_json(a, from->metadata) : NULL;
  return store_record_of(a, m);
}

/* --- Calls --------------------------------------------------------------- */

typedef struct waiter {
  mneme_call call;
  sem_t done;
  mneme_status status;
  arena *arena;
  store_list list;
  size_t room;
} waiter;

static waiter waiter_at(int64_t now_us) {
  waiter w = {.call.now_us = now_us};
  sem_init(&w.done, 0, 0);
  return w;
}

static void wait_for(waiter *w) {
  while (sem_wait(&w->done) != 0)
    continue;
  sem_destroy(&w->done);
  assert_int_equal(w->status, MNEME_OK);
}

static void written(mneme_status status, const mneme_written *answer, void *ctx) {
  waiter *w = ctx;
  (void)answer;
  w->status = status;
  sem_post(&w->done);
}

static void commit(store *s, int64_t now_us, const mneme_step *step) {
  static uint8_t incarnation;
  waiter w = waiter_at(now_us);
  mneme_write write = {.ns = wire_text("ns"),
                       .session = wire_text("s"),
                       .expected_revision = -1,
                       .expected_settings_revision = -1,
                       .plan.strategy = MNEME_EVICT_FIFO,
                       .steps = step,
                       .step_count = 1};
  write.new_uid.bytes[0] = ++incarnation;
  s->type->commit(s->instance, &w.call, &write, written, &w);
  wait_for(&w);
}

void store_append(store *s, int64_t now_us, mneme_record *records, size_t count) {
  mneme_on_conflict *conflicts = arena_calloc(s->arena, count, sizeof *conflicts);
  for (size_t i = 0; i < count; i++)
    conflicts[i] = MNEME_CONFLICT_FAIL;
  mneme_step step = {.op = MNEME_STEP_APPEND,
                     .records = records,
                     .on_conflict = conflicts,
                     .record_count = count};
  commit(s, now_us, &step);
}

void store_put(store *s, int64_t now_us, const mneme_record *record, int64_t sequence,
               int64_t revision) {
  mneme_record r = *record;
  r.sequence = sequence;
  mneme_step step = {.op = MNEME_STEP_PUT,
                     .records = &r,
                     .record_count = 1,
                     .expected_revision = revision};
  commit(s, now_us, &step);
}

void store_touch(store *s, int64_t now_us, int64_t sequence) {
  mneme_step step = {.op = MNEME_STEP_TOUCH, .sequences = &sequence, .sequence_count = 1};
  commit(s, now_us, &step);
}

static int take(const mneme_record *r, void *ctx) {
  waiter *w = ctx;
  if (w->list.count == w->room) {
    size_t room = w->room == 0 ? 64 : 4 * w->room;
    mneme_record *more = arena_calloc(w->arena, room, sizeof *more);
    if (w->list.count > 0)
      memcpy(more, w->list.records, w->list.count * sizeof *more);
    w->list.records = more;
    w->room = room;
  }
  mneme_record *kept = &w->list.records[w->list.count++];
  *kept = *r;
  mneme_bytes *strings[] = {&kept->id,     &kept->key,    &kept->kind, &kept->role,
                            &kept->author, &kept->source, &kept->body, &kept->metadata_json};
  for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
    strings[i]->data = arena_copy(w->arena, strings[i]->data, strings[i]->size);
  return 0;
}

static void read_done(mneme_status status, void *ctx) {
  waiter *w = ctx;
  w->status = status;
  sem_post(&w->done);
}

store_list store_read(store *s, arena *a, int64_t now_us, const mneme_filter *filter) {
  waiter w = waiter_at(now_us);
  mneme_read read = {.ns = wire_text("ns"),
                     .session = wire_text("s"),
                     .select = MNEME_SELECT_SEQUENCES,
                     .last = INT64_MAX,
                     .projection = MNEME_READ_BODY | MNEME_READ_METADATA,
                     .filter = filter};
  w.arena = a;
  watched = s;
  s->sql[0] = s->expanded[0] = '\0';
  s->type->read(s->instance, &w.call, &read, take, read_done, &w);
  wait_for(&w);
  watched = NULL;
  return w.list;
}

/* --- JSON ---------------------------------------------------------------- */

typedef struct json_text {
  arena *arena;
  const char *at;
} json_text;

static pb_value *json_value(json_text *t);

static char *json_word(json_text *t) {
  static const char from[] = "\"\\/nt", to[] = "\"\\/\n\t";
  char *out = arena_alloc(t->arena, strlen(t->at) + 1), *end = out;
  assert_int_equal(*t->at++, '"');
  for (; *t->at != '"'; t->at++) {
    *end = *t->at;
    if (*t->at == '\\')
      *end = to[strchr(from, *++t->at) - from];
    end++;
  }
  t->at++;
  *end = '\0';
  return out;
}

static pb_struct *json_object(json_text *t) {
  pb_struct *s = arena_alloc(t->arena, sizeof *s);
  google__protobuf__struct__init(s);
  s->fields = arena_calloc(t->arena, 64, sizeof *s->fields);
  for (t->at++; *t->at != '}'; t->at += *t->at == ',') {
    pb_entry *entry = arena_alloc(t->arena, sizeof *entry);
    google__protobuf__struct__fields_entry__init(entry);
    entry->key = json_word(t);
    assert_int_equal(*t->at++, ':');
    entry->value = json_value(t);
    s->fields[s->n_fields++] = entry;
  }
  t->at++;
  return s;
}

static Google__Protobuf__ListValue *json_list(json_text *t) {
  Google__Protobuf__ListValue *l = arena_alloc(t->arena, sizeof *l);
  google__protobuf__list_value__init(l);
  l->values = arena_calloc(t->arena, 64, sizeof *l->values);
  for (t->at++; *t->at != ']'; t->at += *t->at == ',')
    l->values[l->n_values++] = json_value(t);
  t->at++;
  return l;
}

static void json_scalar(json_text *t, pb_value *v) {
  char *end;
  switch (*t->at) {
  case 'n':
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NULL_VALUE;
    t->at += 4;
    break;
  case 't':
  case 'f':
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_BOOL_VALUE;
    v->bool_value = *t->at == 't';
    t->at += v->bool_value ? 4 : 5;
    break;
  default:
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    v->number_value = strtod(t->at, &end);
    assert_true(end > t->at);
    t->at = end;
  }
}

static pb_value *json_value(json_text *t) {
  pb_value *v = arena_alloc(t->arena, sizeof *v);
  google__protobuf__value__init(v);
  switch (*t->at) {
  case '"':
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    v->string_value = json_word(t);
    break;
  case '{':
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRUCT_VALUE;
    v->struct_value = json_object(t);
    break;
  case '[':
    v->kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
    v->list_value = json_list(t);
    break;
  default: json_scalar(t, v);
  }
  return v;
}

pb_struct *store_json(arena *a, const char *text) {
  json_text t = {a, text};
  pb_struct *s = json_object(&t);
  assert_int_equal(*t.at, '\0');
  return s;
}
