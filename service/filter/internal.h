/* What the files of this room share. */
#ifndef MNEME_FILTER_INTERNAL_H
#define MNEME_FILTER_INTERNAL_H

#include "filter/filter.h"

/* --- Tokens -------------------------------------------------------------- */

typedef enum token_kind {
  TOKEN_END,
  TOKEN_NAME,   /* word with its path: role, metadata."a.b" */
  TOKEN_STRING, /* text = what it stands for */
  TOKEN_SCALAR, /* number, time or duration; text = as written */
  TOKEN_OPEN,   /* ( */
  TOKEN_CLOSE,
  TOKEN_LIST, /* [ */
  TOKEN_LIST_END,
  TOKEN_OBJECT, /* { */
  TOKEN_OBJECT_END,
  TOKEN_COMMA,
  TOKEN_COLON,
  TOKEN_STAR,
  TOKEN_TILDE,
  TOKEN_EQ,
  TOKEN_NE,
  TOKEN_LT,
  TOKEN_LE,
  TOKEN_GT,
  TOKEN_GE
} token_kind;

typedef struct token {
  token_kind kind;
  size_t at;   /* byte where it begins, from 0 */
  size_t size; /* of its bytes in the text */
  mneme_bytes text;
  const mneme_bytes *path; /* of a NAME: what follows its first word */
  size_t path_count;
} token;

typedef struct parser {
  arena *arena;
  error *error;
  const filter_fields *fields;
  int64_t now_us;
  mneme_bytes text;
  size_t at;   /* where the next token begins, perhaps behind white space */
  token token; /* the current one */
  size_t terms;
  int depth;        /* parentheses and NOTs */
  int value_depth;  /* lists and objects */
  bool has_in;
} parser;

/* lexer.c. Moves on to the next token; false = refused. */
bool parser_next(parser *p);
static inline bool parser_is_word(const parser *p, const char *word) {
  return p->token.kind == TOKEN_NAME && p->token.path_count == 0 &&
         p->token.text.size == strlen(word) &&
         memcmp(p->token.text.data, word, p->token.text.size) == 0;
}

/* Refuses with FILTER_INVALID, or with TOO_LARGE, at a byte. Returns false. */
bool parser_refuse(parser *p, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool parser_too_large(parser *p, size_t at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As much of a token as a text should repeat; for "%.*s". */
#define SHOWN_MAX 40
#define SHOWN(token, p) (int)((token).size < SHOWN_MAX ? (token).size : SHOWN_MAX), \
                        (p)->text.data + (token).at

/* --- Values -------------------------------------------------------------- */

typedef enum operand_kind {
  OPERAND_STRING,
  OPERAND_NUMBER,
  OPERAND_BOOL,
  OPERAND_NULL,
  OPERAND_JSON, /* text: canonical */
  OPERAND_TIME, /* us */
  OPERAND_DURATION, /* us */
  OPERAND_WORD, /* text; neither of the above */
  OPERAND_STAR
} operand_kind;

/* A value as it was written, before its field says what it must be. */
typedef struct operand {
  operand_kind kind;
  mneme_bytes text;
  double number;
  bool boolean;
  int64_t us;
  token token; /* where it begins */
} operand;

/* literal.c. Reads one value and moves behind it. */
bool parser_value(parser *p, operand *ret);
/* RFC 3339; false = not a time that there is, and ret_problem says why. */
bool literal_time(mneme_bytes text, int64_t *ret_us, const char **ret_problem);

/* --- Fields and conditions ------------------------------------------------ */

typedef enum field_kind {
  KIND_STRING,
  KIND_NUMBER,
  KIND_BOOL,
  KIND_TIME,
  KIND_TIER,
  KIND_LABEL,   /* labels.key: a string */
  KIND_METADATA /* metadata.path: anything */
} field_kind;

typedef struct field_row {
  const char *name;
  mneme_filter_field field;
  field_kind kind;
} field_row;

struct filter_fields {
  const field_row *rows;
  size_t count;
  const char *list; /* the names, for texts */
};

/* fields.c. The row of a NAME token; NULL = refused. */
const field_row *parser_field(parser *p, const token *name);

/* What stands between field and value. */
typedef enum condition_op {
  OP_EQ,
  OP_NE,
  OP_LT,
  OP_LE,
  OP_GT,
  OP_GE,
  OP_HAS,
  OP_LIKE,
  OP_IN,
  OP_PRESENT
} condition_op;

/* condition.c. A whole comparison, from its field on; NULL = refused. */
const mneme_filter *parser_condition(parser *p);
/* parse.c. Not f; folds double negation away. NULL = no memory (set). */
const mneme_filter *parser_not(parser *p, const mneme_filter *f, size_t at);

/* --- Ignoring case ------------------------------------------------------- */

/* fold.c: Unicode simple case folding (CaseFolding.txt, status C and S). */
uint32_t fold_char(uint32_t c);

/* A text to look for, folded and prepared once; NULL = no memory. */
typedef struct needle needle;
const needle *needle_new(arena *a, mneme_bytes text);
/* Whether it stands in a text; takes time linear in the text, and no memory. */
bool needle_in(const needle *n, mneme_bytes text);

#endif
