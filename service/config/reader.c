/* Two passes. The first only counts how deep the text is nested and stops at the
 * limit: libyaml 0.2.5 takes time quadratic in the number of open brackets, half
 * an hour for a mebibyte of them (measured).
 *
 * The second loads the document into libyaml's flat array of nodes, aliases being
 * references to one node. So what must hold for every node (size, tags, no NUL)
 * is checked by walking that array: without recursion, and once per node however
 * often it is referred to. After that the parser walks by its schema, which is a
 * few levels deep: a circle of aliases ends where a mapping stands in the place
 * of a word.
 *
 * Errors are kept and sorted, because sections are read in an order of their own. */
#include "config/reader.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#define SHOWN_MAX 40 /* bytes of a value that an error repeats */

void reader_init(reader *r, const char *file_name, const config_host *host, arena *memory) {
  memset(r, 0, sizeof *r);
  r->file_name = file_name;
  r->host = host;
  r->memory = memory;
}

/* --- Errors -------------------------------------------------------------- */

static void add_error(reader *r, size_t line, size_t column, const char *format, va_list args) {
  size_t i = r->error_count++;
  if (i >= CONFIG_ERRORS_MAX)
    return;
  char text[READER_ERROR_MAX];
  vsnprintf(text, sizeof text, format, args);
  r->errors[i] = (reader_error_entry){.line = line, .column = column, .text = strdup(text)};
}

static void error_at(reader *r, size_t line, size_t column, const char *format, ...)
  __attribute__((format(printf, 4, 5)));
static void error_at(reader *r, size_t line, size_t column, const char *format, ...) {
  va_list args;
  va_start(args, format);
  add_error(r, line, column, format, args);
  va_end(args);
}

void reader_error(reader *r, const yaml_node_t *at, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (at == NULL)
    add_error(r, 0, 0, format, args);
  else
    add_error(r, at->start_mark.line + 1, at->start_mark.column + 1, format, args);
  va_end(args);
}

void reader_error_in(reader *r, const yaml_node_t *at, size_t bytes, const char *format, ...) {
  size_t moved = 0;
  yaml_scalar_style_t style = at->data.scalar.style;
  bool as_it_is = at->end_mark.line == at->start_mark.line &&
                  at->end_mark.column - at->start_mark.column >= at->data.scalar.length;
  if (style == YAML_PLAIN_SCALAR_STYLE && as_it_is)
    moved = u8_mbsnlen(at->data.scalar.value, bytes);
  else if ((style == YAML_SINGLE_QUOTED_SCALAR_STYLE || style == YAML_DOUBLE_QUOTED_SCALAR_STYLE) &&
           at->end_mark.line == at->start_mark.line &&
           at->end_mark.column - at->start_mark.column ==
             u8_mbsnlen(at->data.scalar.value, at->data.scalar.length) + 2)
    moved = 1 + u8_mbsnlen(at->data.scalar.value, bytes); /* nothing in it is escaped */
  va_list args;
  va_start(args, format);
  add_error(r, at->start_mark.line + 1, at->start_mark.column + 1 + moved, format, args);
  va_end(args);
}

void reader_error_memory(reader *r) {
  reader_error(r, NULL, "what the file says takes more than %d MiB of memory",
               CONFIG_MEMORY_MAX / (1024 * 1024));
}

static int compare_errors(const void *a, const void *b) {
  const reader_error_entry *x = a, *y = b;
  if (x->line != y->line)
    return x->line < y->line ? -1 : 1;
  return x->column < y->column ? -1 : x->column > y->column;
}

bool reader_close(reader *r) {
  size_t kept = r->error_count < CONFIG_ERRORS_MAX ? r->error_count : CONFIG_ERRORS_MAX;
  qsort(r->errors, kept, sizeof r->errors[0], compare_errors);
  char text[READER_ERROR_MAX + 512];
  for (size_t i = 0; i < kept; i++) {
    const reader_error_entry *e = &r->errors[i];
    const char *what = e->text != NULL ? e->text : "there is no memory for the error's text";
    if (e->line == 0)
      snprintf(text, sizeof text, "%.400s: %s", r->file_name, what);
    else
      snprintf(text, sizeof text, "%.400s:%zu:%zu: %s", r->file_name, e->line, e->column, what);
    r->host->error(r->host->ctx, text);
    free(e->text);
  }
  if (r->error_count > kept) {
    snprintf(text, sizeof text, "%.400s: and %zu more errors", r->file_name,
             r->error_count - kept);
    r->host->error(r->host->ctx, text);
  }
  if (r->has_document)
    yaml_document_delete(&r->document);
  return r->error_count == 0;
}

/* How many single-character changes lead from a to b, swaps of neighbours
 * included; names longer than DISTANCE_MAX are as far as can be. */
#define DISTANCE_MAX 40
static size_t distance(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b);
  if (m > DISTANCE_MAX || n > DISTANCE_MAX)
    return DISTANCE_MAX;
  size_t d[DISTANCE_MAX + 1][DISTANCE_MAX + 1];
  for (size_t i = 0; i <= m; i++) {
    for (size_t j = 0; j <= n; j++) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      if (d[i - 1][j] + 1 < best)
        best = d[i - 1][j] + 1;
      if (d[i][j - 1] + 1 < best)
        best = d[i][j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          d[i - 2][j - 2] + 1 < best)
        best = d[i - 2][j - 2] + 1;
      d[i][j] = best;
    }
  }
  return d[m][n];
}

const char *reader_nearest(const char *name, const char *const *known) {
  const char *nearest = NULL;
  size_t least = strlen(name) < 4 ? 2 : strlen(name) < 9 ? 3 : 4; /* must be below this */
  for (; *known != NULL; known++) {
    size_t far = distance(name, *known);
    if (far < least) {
      least = far;
      nearest = *known;
    }
  }
  return nearest;
}

void reader_error_unknown(reader *r, const reader_pair *pair, const char *what,
                          const char *const *known) {
  char list[512];
  size_t used = 0;
  list[0] = '\0';
  for (size_t i = 0; known[i] != NULL && used < sizeof list; i++)
    used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", known[i]);
  char shown[SHOWN_MAX + 8];
  const char *nearest = reader_nearest(pair->key, known);
  reader_describe(pair->key_node, shown, sizeof shown);
  if (nearest != NULL)
    reader_error(r, pair->key_node, "unknown %s %s, did you mean \"%s\"? known: %s", what, shown,
                 nearest, list);
  else
    reader_error(r, pair->key_node, "unknown %s %s, known: %s", what, shown, list);
}

/* --- Loading ------------------------------------------------------------- */

static void report_syntax(reader *r, const yaml_parser_t *p, const char *text, size_t size) {
  const char *problem = p->problem != NULL ? p->problem : "not YAML";
  if (p->error == YAML_MEMORY_ERROR) {
    reader_error(r, NULL, "there is no memory to read it");
  } else if (p->error == YAML_READER_ERROR) { /* knows the byte, not the line */
    size_t end = p->problem_offset < size ? p->problem_offset : size;
    size_t line = 1, column = 1;
    for (size_t i = 0; i < end; i++) {
      column++;
      if (text[i] == '\n') {
        line++;
        column = 1;
      }
    }
    error_at(r, line, column, "%s, expected UTF-8 text without control characters", problem);
  } else if (p->context != NULL) {
    error_at(r, p->problem_mark.line + 1, p->problem_mark.column + 1, "%s (%s that began at line %zu)",
             problem, p->context, p->context_mark.line + 1);
  } else {
    error_at(r, p->problem_mark.line + 1, p->problem_mark.column + 1, "%s", problem);
  }
}

static bool known_tag(const yaml_node_t *node) {
  static const char *const known[] = {YAML_NULL_TAG, YAML_BOOL_TAG, YAML_STR_TAG,
                                      YAML_INT_TAG,  YAML_FLOAT_TAG, YAML_SEQ_TAG,
                                      YAML_MAP_TAG};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (node->tag == NULL || strcmp((const char *)node->tag, known[i]) == 0)
      return true;
  }
  return false;
}

static bool check_node(reader *r, const yaml_node_t *node) {
  if (!known_tag(node)) {
    reader_error(r, node, "found the tag %.60s, expected no tags", (const char *)node->tag);
    return false;
  }
  if (node->type != YAML_SCALAR_NODE)
    return true;
  if (node->data.scalar.length > CONFIG_SCALAR_MAX) {
    reader_error(r, node, "found a text of %zu bytes, expected at most %d",
                 node->data.scalar.length, CONFIG_SCALAR_MAX);
    return false;
  }
  if (memchr(node->data.scalar.value, 0, node->data.scalar.length) != NULL) {
    reader_error(r, node, "found a text with a NUL character in it");
    return false;
  }
  return true;
}

static bool check_nodes(reader *r) {
  for (const yaml_node_t *node = r->document.nodes.start; node < r->document.nodes.top; node++) {
    if (!check_node(r, node))
      return false;
  }
  return true;
}

/* The first pass: depth, before anything is built. */
static bool check_depth(reader *r, const char *text, size_t size) {
  yaml_parser_t p;
  if (!yaml_parser_initialize(&p)) {
    reader_error(r, NULL, "there is no memory to read it");
    return false;
  }
  yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
  int depth = 0;
  bool ok = true, end = false;
  while (ok && !end) {
    yaml_event_t event;
    if (!yaml_parser_parse(&p, &event)) {
      report_syntax(r, &p, text, size);
      ok = false;
      break;
    }
    end = event.type == YAML_STREAM_END_EVENT;
    if (event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT)
      depth++;
    else if (event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT)
      depth--;
    if (depth > CONFIG_DEPTH_MAX) {
      error_at(r, event.start_mark.line + 1, event.start_mark.column + 1,
               "nested more than %d levels deep", CONFIG_DEPTH_MAX);
      ok = false;
    }
    yaml_event_delete(&event);
  }
  yaml_parser_delete(&p);
  return ok;
}

/* What stands behind the first document. */
static bool check_end(reader *r, yaml_parser_t *p, const char *text, size_t size) {
  yaml_document_t second;
  if (!yaml_parser_load(p, &second)) {
    report_syntax(r, p, text, size);
    return false;
  }
  const yaml_node_t *root = yaml_document_get_root_node(&second);
  if (root != NULL)
    reader_error(r, root, "found a second document, expected only one");
  yaml_document_delete(&second);
  return root == NULL;
}

bool reader_load(reader *r, const char *text, size_t size, const yaml_node_t **ret_root) {
  if (size > CONFIG_FILE_MAX) {
    reader_error(r, NULL, "has more than %d bytes", CONFIG_FILE_MAX);
    return false;
  }
  if (!check_depth(r, text, size))
    return false;
  yaml_parser_t p;
  if (!yaml_parser_initialize(&p)) {
    reader_error(r, NULL, "there is no memory to read it");
    return false;
  }
  yaml_parser_set_encoding(&p, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&p, (const unsigned char *)text, size);
  bool ok = yaml_parser_load(&p, &r->document) != 0;
  r->has_document = ok;
  if (ok) {
    *ret_root = yaml_document_get_root_node(&r->document);
    /* The parser must not be asked again after the end of the stream. */
    ok = check_nodes(r) && (*ret_root == NULL || check_end(r, &p, text, size));
  } else {
    report_syntax(r, &p, text, size);
  }
  yaml_parser_delete(&p);
  return ok;
}

/* --- Nodes --------------------------------------------------------------- */

bool reader_is_nothing(const yaml_node_t *node) {
  if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
    return false;
  const char *text = (const char *)node->data.scalar.value;
  return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

const char *reader_describe(const yaml_node_t *node, char *out, size_t size) {
  if (node->type == YAML_SEQUENCE_NODE)
    snprintf(out, size, "a list");
  else if (node->type == YAML_MAPPING_NODE)
    snprintf(out, size, "a mapping");
  else if (reader_is_nothing(node))
    snprintf(out, size, "nothing");
  else {
    size_t length = strlen((const char *)node->data.scalar.value);
    size_t cut = length;
    if (length > SHOWN_MAX) {
      for (cut = SHOWN_MAX - 3; (node->data.scalar.value[cut] & 0xc0) == 0x80;)
        cut--;
    }
    snprintf(out, size, "\"%.*s%s\"", (int)cut, (const char *)node->data.scalar.value,
             cut < length ? "..." : "");
  }
  return out;
}

bool reader_pairs(reader *r, const yaml_node_t *node, const char *expected,
                  reader_pair **ret_pairs, size_t *ret_count) {
  *ret_count = 0;
  *ret_pairs = NULL;
  if (reader_is_nothing(node))
    return true;
  char shown[SHOWN_MAX + 8];
  if (node->type != YAML_MAPPING_NODE) {
    reader_error(r, node, "found %s, expected %s", reader_describe(node, shown, sizeof shown),
                 expected);
    return false;
  }
  const yaml_node_pair_t *from = node->data.mapping.pairs.start;
  size_t count = (size_t)(node->data.mapping.pairs.top - from);
  if (count > CONFIG_KEYS_MAX) {
    reader_error(r, node, "found %zu keys, expected at most %d", count, CONFIG_KEYS_MAX);
    return false;
  }
  reader_pair *pairs = arena_calloc(r->memory, count, sizeof *pairs);
  if (pairs == NULL) {
    reader_error_memory(r);
    return false;
  }
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    reader_pair *to = &pairs[kept];
    to->key_node = yaml_document_get_node(&r->document, from[i].key);
    to->value = yaml_document_get_node(&r->document, from[i].value);
    if (to->key_node->type != YAML_SCALAR_NODE) {
      reader_error(r, to->key_node, "found %s, expected a key",
                   reader_describe(to->key_node, shown, sizeof shown));
      continue;
    }
    to->key = (const char *)to->key_node->data.scalar.value;
    const reader_pair *first = reader_find(pairs, kept, to->key);
    if (first != NULL) {
      reader_error(r, to->key_node, "the key %s stands here twice, first in line %zu",
                   reader_describe(to->key_node, shown, sizeof shown),
                   first->key_node->start_mark.line + 1);
      continue;
    }
    kept++;
  }
  *ret_pairs = pairs;
  *ret_count = kept;
  return true;
}

const reader_pair *reader_find(const reader_pair *pairs, size_t count, const char *key) {
  for (size_t i = 0; i < count; i++) {
    if (strcmp(pairs[i].key, key) == 0)
      return &pairs[i];
  }
  return NULL;
}

bool reader_items(reader *r, const yaml_node_t *node, size_t max, const char *expected,
                  const yaml_node_t ***ret_items, size_t *ret_count) {
  *ret_count = 0;
  *ret_items = NULL;
  if (reader_is_nothing(node))
    return true;
  if (node->type != YAML_SEQUENCE_NODE) {
    char shown[SHOWN_MAX + 8];
    reader_error(r, node, "found %s, expected %s", reader_describe(node, shown, sizeof shown),
                 expected);
    return false;
  }
  const yaml_node_item_t *from = node->data.sequence.items.start;
  size_t count = (size_t)(node->data.sequence.items.top - from);
  if (count > max) {
    reader_error(r, node, "found %zu items, expected at most %zu", count, max);
    return false;
  }
  const yaml_node_t **items = arena_calloc(r->memory, count, sizeof *items);
  if (items == NULL) {
    reader_error_memory(r);
    return false;
  }
  for (size_t i = 0; i < count; i++)
    items[i] = yaml_document_get_node(&r->document, from[i]);
  *ret_items = items;
  *ret_count = count;
  return true;
}

/* --- Expansion ----------------------------------------------------------- */

typedef struct expansion {
  char *out;
  size_t used;
  size_t size;
} expansion;

static bool expansion_add(expansion *e, const char *text, size_t size) {
  if (size > e->size - e->used)
    return false;
  memcpy(e->out + e->used, text, size);
  e->used += size;
  return true;
}

static size_t name_size(const char *p) {
  size_t size = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789");
  return *p >= '0' && *p <= '9' ? 0 : size;
}

/* What stands at "$": ${NAME}, ${NAME:-default} or $$. *ret_next is behind it.
 * false = an error was reported. */
static bool expand_one(reader *r, const yaml_node_t *node, const char *text, const char *p,
                       expansion *e, const char **ret_next) {
  size_t at = (size_t)(p - text);
  const char *value = "$";
  size_t value_size = 1;
  if (p[1] == '$') {
    *ret_next = p + 2;
  } else {
    size_t size = p[1] == '{' ? name_size(p + 2) : 0;
    const char *end = size > 0 ? strchr(p + 2 + size, '}') : NULL;
    bool has_default = size > 0 && strncmp(p + 2 + size, ":-", 2) == 0;
    if (size == 0 || size > 255 || end == NULL || (!has_default && end != p + 2 + size)) {
      reader_error_in(r, node, at,
                      "found \"$\", expected ${NAME}, ${NAME:-default}, or $$ for a dollar sign");
      return false;
    }
    char name[256];
    memcpy(name, p + 2, size);
    name[size] = '\0';
    value = r->host->env != NULL ? r->host->env(r->host->ctx, name) : NULL;
    if (has_default && (value == NULL || *value == '\0')) {
      value = p + 2 + size + 2;
      value_size = (size_t)(end - value);
    } else if (value != NULL) {
      value_size = strlen(value);
    } else {
      reader_error_in(r, node, at,
                      "the environment variable %s is not set; set it, or write ${%s:-default}",
                      name, name);
      return false;
    }
    *ret_next = end + 1;
  }
  if (!expansion_add(e, value, value_size)) {
    reader_error_in(r, node, at, "found more than %d bytes after expansion", CONFIG_SCALAR_MAX);
    return false;
  }
  return true;
}

static bool expand(reader *r, const yaml_node_t *node, const char *text, const char **ret_text) {
  expansion e = {.out = malloc(CONFIG_SCALAR_MAX), .size = CONFIG_SCALAR_MAX};
  bool ok = e.out != NULL;
  if (!ok)
    reader_error_memory(r);
  for (const char *p = text; ok && *p != '\0';) {
    size_t plain = strcspn(p, "$");
    ok = expansion_add(&e, p, plain);
    if (!ok)
      reader_error(r, node, "found more than %d bytes after expansion", CONFIG_SCALAR_MAX);
    p += plain;
    if (ok && *p == '$')
      ok = expand_one(r, node, text, p, &e, &p);
  }
  if (ok && u8_check((const uint8_t *)e.out, e.used) != NULL) {
    reader_error(r, node, "found text that is not UTF-8 after expansion");
    ok = false;
  }
  if (ok) {
    *ret_text = arena_copy(r->memory, e.out, e.used);
    ok = *ret_text != NULL;
    if (!ok)
      reader_error_memory(r);
  }
  free(e.out);
  return ok;
}

bool reader_scalar(reader *r, const yaml_node_t *node, const char *expected,
                   reader_text *ret_text) {
  if (node->type != YAML_SCALAR_NODE || reader_is_nothing(node)) {
    char shown[SHOWN_MAX + 8];
    reader_error(r, node, "found %s, expected %s", reader_describe(node, shown, sizeof shown),
                 expected);
    return false;
  }
  const char *raw = (const char *)node->data.scalar.value;
  ret_text->raw = raw;
  ret_text->expanded = strstr(raw, "${") != NULL;
  if (strchr(raw, '$') != NULL)
    return expand(r, node, raw, &ret_text->text);
  ret_text->text = arena_copy(r->memory, raw, node->data.scalar.length);
  if (ret_text->text == NULL)
    reader_error_memory(r);
  return ret_text->text != NULL;
}
