/* The descriptor set is our own, made by the build. The reader below checks every
 * bound all the same: what it would overrun is the process that serves.
 *
 *   files    [ bytes, name, imports by index ]
 *   symbols  [ full name, file ]   sorted by name, searched by halves
 *
 * The set is walked by hand, not unpacked: what is needed of descriptor.proto is
 * a dozen field numbers, and the bytes of each file are sent as they are. */
#include "admin/files.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"

#define DEPTH_MAX 32 /* messages within messages */
#define NAMES_MAX (8u << 20) /* bytes of all full names together */
#define SYMBOL_MAX 1024 /* bytes of one full name */

_Static_assert(FILES_MAX <= 64, "files_set has a bit for each file");

typedef struct file {
  mneme_bytes bytes;
  mneme_bytes name;
  uint8_t imports[FILES_MAX];
  size_t import_count;
} file;

typedef struct symbol {
  mneme_bytes name;
  int file;
  bool service;
} symbol;

struct files {
  file files[FILES_MAX];
  size_t file_count;
  symbol *symbols;
  size_t symbol_count;
  size_t symbol_room;
  arena names;
};

/* --- Reading ------------------------------------------------------------- */

typedef struct reader {
  const uint8_t *at;
  const uint8_t *end;
} reader;

static reader reader_of(mneme_bytes b) {
  const uint8_t *data = (const uint8_t *)b.data;
  return (reader){data, data + b.size};
}

static bool read_varint(reader *r, uint64_t *ret_value) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
    uint8_t byte = *r->at++;
    value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) {
      *ret_value = value;
      return true;
    }
  }
  return false;
}

static bool skip(reader *r, uint64_t size) {
  if (size > (uint64_t)(r->end - r->at))
    return false;
  r->at += size;
  return true;
}

/* Reads one field; content is set for length-delimited ones, and empty for all
 * others. false = the bytes are damaged. */
static bool read_field(reader *r, uint32_t *ret_number, mneme_bytes *ret_content) {
  uint64_t key, size;
  *ret_content = (mneme_bytes){NULL, 0};
  if (!read_varint(r, &key))
    return false;
  *ret_number = (uint32_t)(key >> 3);
  switch (key & 7) {
  case 0:
    return read_varint(r, &size);
  case 1:
    return skip(r, 8);
  case 2:
    if (!read_varint(r, &size))
      return false;
    *ret_content = (mneme_bytes){(const char *)r->at, (size_t)size};
    return skip(r, size);
  case 5:
    return skip(r, 4);
  default:
    return false; /* groups: descriptor.proto has none */
  }
}

/* --- Symbols ------------------------------------------------------------- */

/* What a kind of declaration contains. Numbers are those of descriptor.proto. */
typedef enum kind { KIND_LEAF, KIND_MESSAGE, KIND_ENUM, KIND_SERVICE } kind;

typedef struct part {
  kind of;
  uint32_t number;
  kind is;
} part;

#define NAME_NUMBER 1 /* the name, in every declaration */

static const part parts[] = {
    {KIND_MESSAGE, 2, KIND_LEAF},    /* field */
    {KIND_MESSAGE, 3, KIND_MESSAGE}, /* nested_type */
    {KIND_MESSAGE, 4, KIND_ENUM},    /* enum_type */
    {KIND_MESSAGE, 6, KIND_LEAF},    /* extension */
    {KIND_MESSAGE, 8, KIND_LEAF},    /* oneof_decl */
    {KIND_ENUM, 2, KIND_LEAF},       /* value */
    {KIND_SERVICE, 2, KIND_LEAF},    /* method */
};

static bool symbol_add(files *f, mneme_bytes name, int owner, bool service) {
  if (f->symbol_count == f->symbol_room) {
    size_t room = f->symbol_room == 0 ? 256 : f->symbol_room * 2;
    symbol *grown = room > FILES_SYMBOLS_MAX ? NULL : realloc(f->symbols, room * sizeof *grown);
    if (grown == NULL)
      return false;
    f->symbols = grown;
    f->symbol_room = room;
  }
  f->symbols[f->symbol_count++] = (symbol){name, owner, service};
  return true;
}

/* scope "." name, in memory of the index. */
static bool full_name(files *f, mneme_bytes scope, mneme_bytes name, mneme_bytes *ret_full) {
  size_t size = scope.size + (scope.size > 0) + name.size;
  if (name.size == 0 || size > SYMBOL_MAX)
    return false;
  char *full = arena_alloc(&f->names, size);
  if (full == NULL)
    return false;
  if (scope.size > 0) {
    memcpy(full, scope.data, scope.size);
    full[scope.size] = '.';
  }
  memcpy(full + size - name.size, name.data, name.size);
  *ret_full = (mneme_bytes){full, size};
  return true;
}

static bool declaration_name(mneme_bytes declaration, mneme_bytes *ret_name) {
  reader r = reader_of(declaration);
  *ret_name = (mneme_bytes){NULL, 0};
  while (r.at < r.end) {
    uint32_t number;
    mneme_bytes content;
    if (!read_field(&r, &number, &content))
      return false;
    if (number == NAME_NUMBER)
      *ret_name = content;
  }
  return true;
}

static bool declaration_add(files *f, int owner, kind is, mneme_bytes scope,
                            mneme_bytes declaration, int depth) {
  mneme_bytes name, full;
  if (depth > DEPTH_MAX || !declaration_name(declaration, &name) ||
      !full_name(f, scope, name, &full) || !symbol_add(f, full, owner, is == KIND_SERVICE))
    return false;
  /* The values of an enum stand beside it, not within it. */
  mneme_bytes inner = is == KIND_ENUM ? scope : full;
  reader r = reader_of(declaration);
  while (r.at < r.end) {
    uint32_t number;
    mneme_bytes content;
    if (!read_field(&r, &number, &content))
      return false;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
      if (parts[i].of == is && parts[i].number == number &&
          !declaration_add(f, owner, parts[i].is, inner, content, depth + 1))
        return false;
  }
  return true;
}

/* --- Files --------------------------------------------------------------- */

enum { FILE_NAME = 1, FILE_PACKAGE, FILE_IMPORT, FILE_MESSAGE, FILE_ENUM, FILE_SERVICE };

static bool declarations_read(files *f, int index, mneme_bytes package) {
  reader r = reader_of(f->files[index].bytes);
  while (r.at < r.end) {
    uint32_t number;
    mneme_bytes content;
    if (!read_field(&r, &number, &content))
      return false;
    kind is = number == FILE_MESSAGE   ? KIND_MESSAGE
              : number == FILE_ENUM    ? KIND_ENUM
              : number == FILE_SERVICE ? KIND_SERVICE
                                       : KIND_LEAF;
    if (is != KIND_LEAF && !declaration_add(f, index, is, package, content, 0))
      return false;
  }
  return true;
}

/* Imports come before the file that imports them: protoc writes sets so, and it
 * rules out circles. */
static bool file_read(files *f, mneme_bytes bytes) {
  if (f->file_count == FILES_MAX)
    return false;
  int index = (int)f->file_count;
  file *me = &f->files[index];
  me->bytes = bytes;
  mneme_bytes package = {NULL, 0};
  reader r = reader_of(bytes);
  while (r.at < r.end) {
    uint32_t number;
    mneme_bytes content;
    if (!read_field(&r, &number, &content))
      return false;
    if (number == FILE_NAME)
      me->name = content;
    else if (number == FILE_PACKAGE)
      package = content;
    else if (number == FILE_IMPORT) {
      int import = files_by_name(f, content);
      if (import < 0 || me->import_count == FILES_MAX)
        return false;
      me->imports[me->import_count++] = (uint8_t)import;
    }
  }
  if (me->name.size == 0)
    return false;
  f->file_count++;
  return declarations_read(f, index, package);
}

static int name_compare(mneme_bytes a, mneme_bytes b) {
  return bytes_compare(a.data, a.size, b.data, b.size);
}

static int symbol_compare(const void *a, const void *b) {
  return name_compare(((const symbol *)a)->name, ((const symbol *)b)->name);
}

files *files_new(const uint8_t *data, size_t size) {
  files *f = calloc(1, sizeof *f);
  if (f == NULL)
    return NULL;
  arena_init(&f->names, NAMES_MAX);
  reader r = {data, data + size};
  while (r.at < r.end) {
    uint32_t number;
    mneme_bytes content;
    if (!read_field(&r, &number, &content) || number != 1 || !file_read(f, content)) {
      files_free(f);
      return NULL;
    }
  }
  if (f->symbol_count > 0)
    qsort(f->symbols, f->symbol_count, sizeof *f->symbols, symbol_compare);
  return f;
}

void files_free(files *f) {
  if (f == NULL)
    return;
  arena_clear(&f->names);
  free(f->symbols);
  free(f);
}

/* --- Asking -------------------------------------------------------------- */

int files_by_name(const files *f, mneme_bytes name) {
  for (size_t i = 0; i < f->file_count; i++)
    if (name_compare(f->files[i].name, name) == 0)
      return (int)i;
  return -1;
}

int files_by_symbol(const files *f, mneme_bytes name) {
  if (f->symbol_count == 0)
    return -1;
  symbol key = {.name = name};
  const symbol *found =
      bsearch(&key, f->symbols, f->symbol_count, sizeof *f->symbols, symbol_compare);
  return found != NULL ? found->file : -1;
}

size_t files_closure(const files *f, int first, files_set *sent, mneme_bytes *out) {
  /* Breadth first; `queued` keeps each file to one place, so the queue is never
   * longer than the files are many. */
  int queue[FILES_MAX];
  files_set queued = (files_set)1 << first;
  size_t head = 0, tail = 0, count = 0;
  queue[tail++] = first;
  while (head < tail) {
    int index = queue[head++];
    const file *at = &f->files[index];
    /* The file that was asked for goes out in any case. */
    if (index == first || (*sent & (files_set)1 << index) == 0)
      out[count++] = at->bytes;
    *sent |= (files_set)1 << index;
    for (size_t i = 0; i < at->import_count; i++) {
      files_set bit = (files_set)1 << at->imports[i];
      if ((queued & bit) != 0)
        continue;
      queued |= bit;
      queue[tail++] = at->imports[i];
    }
  }
  return count;
}

size_t files_services(const files *f, mneme_bytes *out, size_t max) {
  size_t count = 0;
  for (size_t i = 0; i < f->symbol_count && count < max; i++)
    if (f->symbols[i].service)
      out[count++] = f->symbols[i].name;
  return count;
}
