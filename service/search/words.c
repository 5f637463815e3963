/* One pass over the characters. ASCII is decided by a table and folded on the
 * way; a word with anything else is gathered as it is and folded as a whole, since
 * a mark belongs to the letter before it. What Unicode has to say of a character
 * comes from libunistring, which knows version 14; a character that is younger
 * separates. */
#include "search/words.h"

#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

typedef enum class { NOTHING, LETTER, MARK, INVISIBLE, SIGN, SIGN_MARK, PICTURE } class;

typedef struct range {
  ucs4_t first, last;
} range;

/* Blocks of scripts without spaces. What is no letter, digit or mark in them stays
 * what it is. */
static const range signs[] = {
    {0x0E00, 0x0FFF},   /* Thai, Lao, Tibetan */
    {0x1000, 0x109F},   /* Myanmar */
    {0x1100, 0x11FF},   /* Hangul Jamo */
    {0x1780, 0x17FF},   /* Khmer */
    {0x2E80, 0x31FF},   /* radicals, Kana, Bopomofo, compatibility Jamo */
    {0x3400, 0x4DBF},   /* Han */
    {0x4E00, 0x9FFF},   {0xA960, 0xA97F}, /* Jamo */
    {0xA9E0, 0xA9FF},   {0xAA60, 0xAA7F}, /* Myanmar */
    {0xAC00, 0xD7FF},   /* Hangul */
    {0xF900, 0xFAFF},   {0xFF66, 0xFFDC}, /* halfwidth Kana, Hangul */
    {0x1B000, 0x1B16F}, /* Kana */
    {0x20000, 0x3FFFF}, /* Han */
};

static bool is_sign(ucs4_t c) {
  size_t low = 0, high = sizeof signs / sizeof *signs;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (c > signs[middle].last)
      low = middle + 1;
    else if (c < signs[middle].first)
      high = middle;
    else
      return true;
  }
  return false;
}

/* What is written on the sign before it: vowels and finals of Hangul in pieces,
 * and the halfwidth voicing marks, which have the category of letters. */
static bool follows_sign(ucs4_t c) {
  return (c >= 0x1160 && c <= 0x11FF) || (c >= 0xD7B0 && c <= 0xD7FF) || c == 0xFF9E || c == 0xFF9F;
}

static bool is_flag(ucs4_t c) { return c >= 0x1F1E6 && c <= 0x1F1FF; }

static class class_of(ucs4_t c) {
  if (uc_is_general_category(c, UC_CATEGORY_L) || uc_is_general_category(c, UC_CATEGORY_N))
    return !is_sign(c) ? LETTER : follows_sign(c) ? SIGN_MARK : SIGN;
  if (uc_is_general_category(c, UC_CATEGORY_M))
    return MARK;
  if (uc_is_general_category(c, UC_CATEGORY_Cf))
    return INVISIBLE;
  if (uc_is_property(c, UC_PROPERTY_EMOJI_MODIFIER))
    return INVISIBLE;
  if (is_flag(c) || uc_is_property(c, UC_PROPERTY_EXTENDED_PICTOGRAPHIC))
    return PICTURE;
  return NOTHING;
}

static const uint8_t ascii[128] = {
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',
    ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k',
    ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r',
    ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y',
    ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f',
    ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm',
    ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't',
    ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z'};

static bool is_apostrophe(ucs4_t c) { return c == '\'' || c == 0x2019 || c == 0xFF07; }

/* One character of the text and what it is. */
typedef struct letter {
  ucs4_t c;
  size_t size; /* in the text */
  class class;
} letter;

static letter peek(const words *w, size_t at) {
  letter l = {0};
  if (at >= w->size)
    return l;
  if (w->text[at] < 128)
    return (letter){w->text[at], 1, ascii[w->text[at]] != 0 ? LETTER : NOTHING};
  l.size = (size_t)u8_mbtouc(&l.c, w->text + at, w->size - at);
  l.class = l.c == 0xFFFD ? NOTHING : class_of(l.c);
  return l;
}

/* --- Folding ------------------------------------------------------------- */

/* Cuts at the end of a character. */
static size_t cut(const uint8_t *text, size_t size) {
  if (size <= WORD_MAX)
    return size;
  size = WORD_MAX;
  while (size > 0 && (text[size] & 0xC0) == 0x80)
    size--;
  return size;
}

/* In place. NFKC can make a character several times as long: then the library
 * allocates, and what would be cut away anyway is not copied. */
static size_t fold(char *text, size_t size) {
  uint8_t room[4 * WORD_READ_MAX];
  size_t length = sizeof room;
  uint8_t *folded = u8_casefold((const uint8_t *)text, size, NULL, UNINORM_NFKC, room, &length);
  if (folded == NULL)
    return cut((const uint8_t *)text, size); /* no memory: as it was written */
  length = cut(folded, length);
  memcpy(text, folded, length);
  if (folded != room)
    free(folded);
  return length;
}

static void take(words *w, size_t *size, ucs4_t c) {
  if (*size + 6 <= WORD_READ_MAX)
    *size += (size_t)u8_uctomb((uint8_t *)w->folded + *size, c, 6);
}

/* --- Words --------------------------------------------------------------- */

static bool is_upper(ucs4_t c) {
  return c < 128 ? c >= 'A' && c <= 'Z' : uc_is_general_category(c, UC_CATEGORY_Lu);
}

/* No digit: 5'4 is two words. */
static bool begins_letter(letter l) { return l.class == LETTER && !(l.c >= '0' && l.c <= '9'); }

static void read_plain(words *w, letter first, word *ret) {
  size_t size = 0, end = w->at;
  bool foreign = false;
  *ret = (word){.kind = WORD_PLAIN, .capital = is_upper(first.c), .begin = w->at};
  for (letter l = first; l.size > 0; l = peek(w, w->at)) {
    if (l.class == LETTER && l.c < 128) {
      if (size < WORD_READ_MAX)
        w->folded[size++] = (char)ascii[l.c];
    } else if (l.class == LETTER || l.class == MARK) {
      take(w, &size, l.c);
      foreign = true;
    } else if (is_apostrophe(l.c) && begins_letter(peek(w, w->at + l.size))) {
      take(w, &size, '\'');
    } else if (l.class != INVISIBLE) {
      break;
    }
    w->at += l.size;
    end = l.class == INVISIBLE ? end : w->at;
  }
  ret->end = end;
  ret->size = foreign ? fold(w->folded, size) : cut((const uint8_t *)w->folded, size);
}

static void read_sign(words *w, letter first, word *ret) {
  size_t size = 0;
  *ret = (word){.kind = WORD_SIGN, .joined = w->at == w->sign_end, .begin = w->at};
  letter l = first;
  do {
    take(w, &size, l.c);
    w->at += l.size;
    l = peek(w, w->at);
  } while (l.size > 0 && (l.class == MARK || l.class == SIGN_MARK));
  ret->end = w->sign_end = w->at;
  ret->size = fold(w->folded, size);
}

static void read_picture(words *w, letter first, word *ret) {
  size_t size = 0;
  *ret = (word){.kind = WORD_PICTURE, .begin = w->at};
  take(w, &size, first.c);
  w->at += first.size;
  letter next = peek(w, w->at);
  if (is_flag(first.c) && is_flag(next.c)) {
    take(w, &size, next.c);
    w->at += next.size;
  }
  ret->end = w->at;
  ret->size = size;
}

void words_begin(words *w, mneme_bytes text) {
  w->text = (const uint8_t *)text.data;
  w->size = text.size;
  w->at = 0;
  w->sign_end = SIZE_MAX;
}

bool words_next(words *w, word *ret) {
  for (letter l = peek(w, w->at); l.size > 0; l = peek(w, w->at)) {
    switch (l.class) {
    case LETTER: read_plain(w, l, ret); break;
    case SIGN: read_sign(w, l, ret); break;
    case PICTURE: read_picture(w, l, ret); break;
    default: w->at += l.size; continue; /* a mark on nothing, too */
    }
    ret->text = w->folded;
    if (ret->size > 0)
      return true;
  }
  return false;
}
