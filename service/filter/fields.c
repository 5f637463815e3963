/* Which names there are, and what they hold. The tables are the whole list: a
 * name that is not here is refused, so a misspelt field never matches nothing. */
#include <string.h>

#include "filter/internal.h"

static const field_row memory_rows[] = {
    {"id", MNEME_FIELD_ID, KIND_STRING},
    {"key", MNEME_FIELD_KEY, KIND_STRING},
    {"kind", MNEME_FIELD_KIND, KIND_STRING},
    {"role", MNEME_FIELD_ROLE, KIND_STRING},
    {"author", MNEME_FIELD_AUTHOR, KIND_STRING},
    {"source", MNEME_FIELD_SOURCE, KIND_STRING},
    {"tier", MNEME_FIELD_TIER, KIND_TIER},
    {"importance", MNEME_FIELD_IMPORTANCE, KIND_NUMBER},
    {"pinned", MNEME_FIELD_PINNED, KIND_BOOL},
    {"sequence", MNEME_FIELD_SEQUENCE, KIND_NUMBER},
    {"token_count", MNEME_FIELD_TOKEN_COUNT, KIND_NUMBER},
    {"access_count", MNEME_FIELD_ACCESS_COUNT, KIND_NUMBER},
    {"create_time", MNEME_FIELD_CREATE_TIME, KIND_TIME},
    {"update_time", MNEME_FIELD_UPDATE_TIME, KIND_TIME},
    {"last_access_time", MNEME_FIELD_ACCESS_TIME, KIND_TIME},
    {"expire_time", MNEME_FIELD_EXPIRE_TIME, KIND_TIME},
    {"event_time", MNEME_FIELD_EVENT_TIME, KIND_TIME},
    {"content", MNEME_FIELD_CONTENT, KIND_STRING},
    {"metadata", MNEME_FIELD_METADATA, KIND_METADATA},
};

static const field_row session_rows[] = {
    {"id", MNEME_FIELD_ID, KIND_STRING},
    {"labels", MNEME_FIELD_LABELS, KIND_LABEL},
    {"metadata", MNEME_FIELD_METADATA, KIND_METADATA},
    {"create_time", MNEME_FIELD_CREATE_TIME, KIND_TIME},
    {"update_time", MNEME_FIELD_UPDATE_TIME, KIND_TIME},
    {"expire_time", MNEME_FIELD_EXPIRE_TIME, KIND_TIME},
};

const filter_fields filter_of_memories = {
    memory_rows, sizeof memory_rows / sizeof *memory_rows,
    "id, key, kind, role, author, source, tier, importance, pinned, sequence, token_count, "
    "access_count, create_time, update_time, last_access_time, expire_time, event_time, content, "
    "metadata.key"};
const filter_fields filter_of_sessions = {
    session_rows, sizeof session_rows / sizeof *session_rows,
    "id, labels.key, metadata.key, create_time, update_time, expire_time"};

static const field_row *find(const filter_fields *fields, mneme_bytes name) {
  for (size_t i = 0; i < fields->count; i++)
    if (strlen(fields->rows[i].name) == name.size &&
        memcmp(fields->rows[i].name, name.data, name.size) == 0)
      return &fields->rows[i];
  return NULL;
}

const field_row *parser_field(parser *p, const token *name) {
  const field_row *row = find(p->fields, name->text);
  if (row == NULL) {
    parser_refuse(p, name->at, "there is no field \"%.*s\"; there are %s", SHOWN(*name, p),
                  p->fields->list);
    return NULL;
  }
  bool mapped = row->kind == KIND_METADATA || row->kind == KIND_LABEL;
  if (mapped && name->path_count == 0) {
    parser_refuse(p, name->at, "name a key: %s.key, or %s.\"any key\"", row->name, row->name);
    return NULL;
  }
  if (!mapped && name->path_count > 0) {
    parser_refuse(p, name->at, "%s has nothing below it: keys are those of metadata.key",
                  row->name);
    return NULL;
  }
  if (row->kind == KIND_LABEL && name->path_count > 1) {
    parser_refuse(p, name->at, "a label has one key: write labels.\"a.b\" for the key a.b");
    return NULL;
  }
  return row;
}
