/* The words of a text: Unicode in, folded words out, one at a time.
 *
 * A word is a run of letters, digits and their marks. It is folded (case and
 * compatibility: NFKC with full case folding, so "ﬁ" is "fi" and "Ａ" is "a";
 * accents stay). An apostrophe between two letters stays in the word, as "'";
 * invisible characters (soft hyphen, joiners) are left out of it. Everything else
 * separates: white space, punctuation, "-", "_", "." and other signs, so "3.5" is
 * two words and "C++" is "c".
 *
 * Two kinds of characters are a word each: those of scripts that are written
 * without spaces (WORD_SIGN: Han, Kana, Bopomofo, Hangul, Thai, Lao, Tibetan,
 * Myanmar, Khmer), with the marks that follow; and emoji (WORD_PICTURE: without
 * variation and skin tone; a flag is one).
 *
 * Any bytes may be read: what is no UTF-8 separates.
 *
 * Ownership: a word's text lies in the reader until the next call. */
#ifndef MNEME_SEARCH_WORDS_H
#define MNEME_SEARCH_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mneme/types.h"

#define WORD_MAX 64      /* bytes of a folded word; a longer one is cut */
#define WORD_READ_MAX 256 /* bytes of a word that are folded; the rest is skipped */

typedef enum word_kind { WORD_PLAIN, WORD_SIGN, WORD_PICTURE } word_kind;

typedef struct word {
  const char *text; /* folded; does not end in NUL */
  size_t size;      /* 1 to WORD_MAX */
  word_kind kind;
  bool capital; /* it was written with a capital letter */
  bool joined;  /* a SIGN with nothing between it and the SIGN before */
  size_t begin; /* where it stands: bytes of the text */
  size_t end;
} word;

typedef struct words {
  const uint8_t *text;
  size_t size;
  size_t at;
  size_t sign_end; /* where the last SIGN ended; SIZE_MAX = there was none */
  char folded[WORD_READ_MAX + 8];
} words;

void words_begin(words *w, mneme_bytes text);
/* false = there are no more. */
bool words_next(words *w, word *ret_word);

#endif
