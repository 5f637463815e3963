/* limits.def is compiled once into a graph beside protobuf-c's descriptors:
 *
 *   message_rules (AppendMemoriesRequest)
 *     by number: [1] namespace  bytes 128
 *                [3] memories   bytes 1.5 MiB, count 1,000 ──▶ message_rules (Memory)
 *
 * and a check is one recursive walk over it. A google.protobuf.Struct is counted
 * as a whole: the field that holds it opens a scope with its budget of keys and
 * levels, and every Struct and ListValue below draws on that scope. */
#include "wire/check.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

typedef struct message_rules message_rules;

typedef struct field_rules {
  const ProtobufCFieldDescriptor *field; /* NULL = no such number */
  const message_rules *message;          /* of a message field */
  uint32_t bytes_max;                    /* 0 = no limit of its own */
  uint32_t count_max;
  uint32_t keys_max; /* 0 = opens no scope */
  uint32_t depth_max;
  bool unserved;
  bool output_only;
} field_rules;

struct message_rules {
  const ProtobufCMessageDescriptor *descriptor;
  field_rules fields[CHECK_FIELDS_MAX]; /* by field number */
};

#define MESSAGES_MAX 128
static message_rules graph[MESSAGES_MAX];
static size_t graph_size;

/* --- Compiling the rules ------------------------------------------------- */

typedef enum rule_kind { RULE_BYTES, RULE_COUNT, RULE_KEYS, RULE_DEPTH, RULE_UNSERVED, RULE_OUTPUT } rule_kind;

typedef struct rule {
  const char *message;
  const char *field;
  rule_kind kind;
  uint32_t number;
} rule;

#define LIMIT(message, field, kind, number) {message, field, RULE_##kind, number},
#define UNSERVED(message, field) {message, field, RULE_UNSERVED, 0},
#define OUTPUT_ONLY(message, field) {message, field, RULE_OUTPUT, 0},
static const rule rules[] = {
#include "wire/limits.def"
};
#define RULES (sizeof rules / sizeof *rules)

static void bug(const char *message, const char *field, const char *what) {
  fprintf(stderr, "limits.def: %s.%s: %s\n", message, field, what);
  abort();
}

static const message_rules *rules_of(const ProtobufCMessageDescriptor *descriptor) {
  for (size_t i = 0; i < graph_size; i++)
    if (graph[i].descriptor == descriptor)
      return &graph[i];
  return NULL;
}

static void apply(field_rules *f, const rule *r) {
  switch (r->kind) {
  case RULE_BYTES: f->bytes_max = r->number; break;
  case RULE_COUNT: f->count_max = r->number; break;
  case RULE_KEYS: f->keys_max = r->number; break;
  case RULE_DEPTH: f->depth_max = r->number; break;
  case RULE_UNSERVED: f->unserved = true; break;
  case RULE_OUTPUT: f->output_only = true; break;
  }
}

static const message_rules *compile(const ProtobufCMessageDescriptor *descriptor, bool *used) {
  const message_rules *known = rules_of(descriptor);
  if (known != NULL)
    return known;
  if (graph_size == MESSAGES_MAX)
    bug(descriptor->name, "*", "more messages than MESSAGES_MAX");
  message_rules *m = &graph[graph_size++];
  m->descriptor = descriptor;
  for (unsigned i = 0; i < descriptor->n_fields; i++) {
    const ProtobufCFieldDescriptor *d = &descriptor->fields[i];
    if (d->id >= CHECK_FIELDS_MAX)
      bug(descriptor->name, d->name, "number above CHECK_FIELDS_MAX");
    field_rules *f = &m->fields[d->id];
    f->field = d;
    for (size_t r = 0; r < RULES; r++)
      if (strcmp(rules[r].message, descriptor->name) == 0 && strcmp(rules[r].field, d->name) == 0) {
        apply(f, &rules[r]);
        used[r] = true;
      }
    if (d->label == PROTOBUF_C_LABEL_REPEATED && f->count_max == 0)
      bug(descriptor->name, d->name, "a repeated field needs a COUNT");
    if (d->type == PROTOBUF_C_TYPE_MESSAGE)
      f->message = compile(d->descriptor, used);
  }
  return m;
}

void check_init(const ProtobufCMessageDescriptor *const *roots, size_t count) {
  bool used[RULES] = {false};
  if (graph_size > 0)
    return;
  for (size_t i = 0; i < count; i++)
    compile(roots[i], used);
  for (size_t r = 0; r < RULES; r++)
    if (!used[r])
      bug(rules[r].message, rules[r].field, "no served request has this field");
}

/* --- The walk ------------------------------------------------------------ */

/* The budget of one metadata field. */
typedef struct struct_scope {
  uint32_t keys_max, keys;
  uint32_t depth_max, depth;
} struct_scope;

/* One step of the path to the field at hand, kept on the stack of the walk. */
typedef struct crumb {
  const struct crumb *up;
  const ProtobufCFieldDescriptor *field;
  uint32_t index; /* of a repeated field; WHOLE = the field itself */
} crumb;

#define WHOLE UINT32_MAX

typedef struct walk {
  arena *arena;
  error *error;
} walk;

/* Renders memories[3].metadata.fields; map and Struct entries keep their wire
 * names, which is what a person debugging bytes needs. */
static const char *path_of(arena *a, const crumb *c) {
  char text[512];
  size_t at = sizeof text;
  text[--at] = '\0';
  for (; c != NULL; c = c->up) {
    char step[96];
    int size = c->field->label == PROTOBUF_C_LABEL_REPEATED && c->index != WHOLE
                   ? snprintf(step, sizeof step, "%s[%u]", c->field->name, c->index)
                   : snprintf(step, sizeof step, "%s", c->field->name);
    if (size < 0 || (size_t)size + 2 > at)
      break;
    if (text[at] != '\0')
      text[--at] = '.';
    at -= (size_t)size;
    memcpy(text + at, step, (size_t)size);
  }
  return arena_copy(a, text + at, sizeof text - 1 - at);
}

static bool refuse(const walk *w, const crumb *c, const char *reason, const char *text) {
  const char *path = path_of(w->arena, c);
  return error_invalid(w->error, w->arena, reason, path, "%s: %s", path, text);
}

static bool refuse_limit(const walk *w, const crumb *c, uint32_t max, const char *unit) {
  const char *path = path_of(w->arena, c);
  return error_invalid(w->error, w->arena, "TOO_LARGE", path, "%s: more than %u %s", path, max,
                       unit);
}

static bool malformed(const walk *w, const char *name) {
  return error_invalid(w->error, w->arena, "MALFORMED", NULL,
                       "the bytes are not a %s: check that client and server use the same .proto",
                       name);
}

/* A varint may be longer than it need be, up to a length that its reader knows:
 * protobuf-c takes five bytes of a tag and of a length, as other libraries do. */
#define VALUE_BYTES 10
#define TAG_BYTES 5
#define LENGTH_BYTES 5

static bool read_varint(const uint8_t **p, const uint8_t *end, int bytes_max, uint64_t *ret) {
  uint64_t value = 0;
  for (int shift = 0; shift < 7 * bytes_max; shift += 7) {
    if (*p == end)
      return false;
    uint8_t byte = *(*p)++;
    value |= (uint64_t)(byte & 127) << (shift < 64 ? shift : 63);
    if (byte < 128) {
      *ret = value;
      return true;
    }
  }
  return false;
}

static bool check_string(const walk *w, const crumb *c, const uint8_t *data, size_t size) {
  /* Most text is ASCII: eight bytes at a time while it is. */
  const uint8_t *p = data, *end = data + size;
  while (end - p >= 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    if ((word & UINT64_C(0x8080808080808080)) != 0)
      break;
    p += 8;
  }
  if (p < end && u8_check(p, (size_t)(end - p)) != NULL)
    return refuse(w, c, "INVALID_UTF8", "is not valid UTF-8");
  if (size > 0 && memchr(data, 0, size) != NULL)
    return refuse(w, c, "INVALID_UTF8", "holds a NUL");
  return true;
}

static int wire_type_of(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_FIXED64:
  case PROTOBUF_C_TYPE_SFIXED64:
  case PROTOBUF_C_TYPE_DOUBLE: return 1;
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return 2;
  case PROTOBUF_C_TYPE_FIXED32:
  case PROTOBUF_C_TYPE_SFIXED32:
  case PROTOBUF_C_TYPE_FLOAT: return 5;
  default: return 0;
  }
}

static bool check_body(const walk *w, const message_rules *m, const uint8_t *data, size_t size,
                       const crumb *up, int depth, struct_scope *scope);

static bool check_submessage(const walk *w, const field_rules *f, const crumb *c,
                             const uint8_t *data, size_t size, int depth, struct_scope *scope) {
  if (f->keys_max > 0) {
    struct_scope own = {f->keys_max, 0, f->depth_max, 0};
    return check_body(w, f->message, data, size, c, depth + 1, &own);
  }
  return check_body(w, f->message, data, size, c, depth + 1, scope);
}

/* One value that has its length before it. */
static bool check_chunk(const walk *w, const field_rules *f, const crumb *c, const uint8_t *data,
                        size_t size, int depth, struct_scope *scope) {
  if (f->bytes_max > 0 && size > f->bytes_max)
    return refuse_limit(w, c, f->bytes_max, "bytes");
  if (f->field->type == PROTOBUF_C_TYPE_STRING)
    return check_string(w, c, data, size);
  if (f->field->type == PROTOBUF_C_TYPE_MESSAGE)
    return check_submessage(w, f, c, data, size, depth, scope);
  return true;
}

static bool check_fixed(const walk *w, const field_rules *f, const crumb *c, const uint8_t *p) {
  if (f->field->type == PROTOBUF_C_TYPE_DOUBLE) {
    double value;
    memcpy(&value, p, sizeof value);
    if (!isfinite(value))
      return refuse(w, c, "NOT_FINITE", "is NaN or infinite");
  }
  return true;
}

/* Struct and ListValue open a level of the metadata that they belong to, and each
 * entry of a Struct is a key of it. */
static bool enter_scope(const walk *w, const message_rules *m, const crumb *c,
                        struct_scope *scope, bool *ret_level) {
  const char *name = m->descriptor->name;
  *ret_level = false;
  if (scope == NULL)
    return true;
  if (strcmp(name, "google.protobuf.Struct") == 0 ||
      strcmp(name, "google.protobuf.ListValue") == 0) {
    *ret_level = true;
    if (++scope->depth > scope->depth_max)
      return refuse_limit(w, c, scope->depth_max, "levels deep");
  } else if (strcmp(name, "google.protobuf.Struct.FieldsEntry") == 0) {
    if (++scope->keys > scope->keys_max)
      return refuse_limit(w, c, scope->keys_max, "keys in all");
  }
  return true;
}

static bool check_field(const walk *w, const message_rules *m, const field_rules *f, crumb *c,
                        int wire_type, const uint8_t **p, const uint8_t *end, int depth,
                        struct_scope *scope) {
  if (f->unserved)
    return error_set(w->error, w->arena, CODE_UNIMPLEMENTED, "NOT_SERVED",
                     path_of(w->arena, c), "%s is not served yet: leave it out",
                     path_of(w->arena, c));
  if (f->output_only)
    return refuse(w, c, "OUTPUT_ONLY", "is set by the service only: leave it out");
  if (wire_type != wire_type_of(f->field->type))
    return malformed(w, m->descriptor->name);
  uint64_t value;
  switch (wire_type) {
  case 0:
    return read_varint(p, end, VALUE_BYTES, &value) || malformed(w, m->descriptor->name);
  case 1:
  case 5: {
    size_t size = wire_type == 1 ? 8 : 4;
    if ((size_t)(end - *p) < size)
      return malformed(w, m->descriptor->name);
    *p += size;
    return check_fixed(w, f, c, *p - size);
  }
  default:
    if (!read_varint(p, end, LENGTH_BYTES, &value) || value > (uint64_t)(end - *p))
      return malformed(w, m->descriptor->name);
    *p += value;
    return check_chunk(w, f, c, *p - value, (size_t)value, depth, scope);
  }
}

static bool check_body(const walk *w, const message_rules *m, const uint8_t *data, size_t size,
                       const crumb *up, int depth, struct_scope *scope) {
  uint32_t counts[CHECK_FIELDS_MAX] = {0};
  const uint8_t *p = data, *end = data + size;
  bool level;
  if (depth > CHECK_DEPTH_MAX)
    return refuse_limit(w, up, CHECK_DEPTH_MAX, "messages deep");
  if (!enter_scope(w, m, up, scope, &level))
    return false;
  while (p < end) {
    uint64_t tag;
    if (!read_varint(&p, end, TAG_BYTES, &tag) || tag >> 3 == 0 || tag >> 32 != 0)
      return malformed(w, m->descriptor->name);
    uint32_t number = (uint32_t)(tag >> 3);
    if (number >= CHECK_FIELDS_MAX || m->fields[number].field == NULL)
      return error_set(w->error, w->arena, CODE_UNIMPLEMENTED, "UNKNOWN_FIELD", NULL,
                       "field %u of %s is unknown to this server: it is older than the client, "
                       "or the bytes are another message",
                       number, m->descriptor->name);
    const field_rules *f = &m->fields[number];
    crumb c = {up, f->field, counts[number]++};
    if (f->field->label == PROTOBUF_C_LABEL_REPEATED) {
      if (counts[number] > f->count_max) {
        crumb whole = {up, f->field, WHOLE};
        return refuse_limit(w, &whole, f->count_max, "elements");
      }
    } else if (counts[number] > 1) {
      return refuse(w, &c, "MALFORMED", "stands twice");
    }
    if (!check_field(w, m, f, &c, (int)(tag & 7), &p, end, depth, scope))
      return false;
  }
  if (level)
    scope->depth--;
  return true;
}

bool check_message(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                   arena *a, error *e) {
  const message_rules *m = rules_of(descriptor);
  assert(m != NULL);
  walk w = {a, e};
  return check_body(&w, m, data, size, NULL, 0, NULL);
}
