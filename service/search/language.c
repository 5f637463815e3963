/* The lists are texts; at first use they become sorted tables, one for each
 * language, that are searched by halves. A word is asked for once in a while: the
 * analyser remembers what became of it. */
#include "search/language.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "base/bytes.h"

#define LIST_MAX 512 /* words of one list */

static const language languages[] = {
    {"english", "en", true, true, english_stop, "i me my mine myself"},
    {"none", "", false, false, NULL, NULL},
    {"arabic", "ar", true, false, NULL, NULL},
    {"armenian", "hy", true, false, NULL, NULL},
    {"basque", "eu", true, false, NULL, NULL},
    {"catalan", "ca", true, false, NULL, NULL},
    {"danish", "da", true, false, NULL, NULL},
    {"dutch", "nl", true, false, dutch_stop, "ik mij mijn me"},
    {"finnish", "fi", true, false, NULL, NULL},
    {"french", "fr", true, false, french_stop, "je j moi mon ma mes me m"},
    {"german", "de", true, false, german_stop,
     "ich mich mir mein meine meinen meinem meiner meines"},
    {"greek", "el", true, false, NULL, NULL},
    {"hindi", "hi", true, false, NULL, NULL},
    {"hungarian", "hu", true, false, NULL, NULL},
    {"indonesian", "id", true, false, NULL, NULL},
    {"irish", "ga", true, false, NULL, NULL},
    {"italian", "it", true, false, italian_stop, "io me mi mio mia miei mie"},
    {"lithuanian", "lt", true, false, NULL, NULL},
    {"nepali", "ne", true, false, NULL, NULL},
    {"norwegian", "no", true, false, NULL, NULL},
    {"portuguese", "pt", true, false, portuguese_stop, "eu me mim meu minha meus minhas"},
    {"romanian", "ro", true, false, NULL, NULL},
    {"russian", "ru", true, false, russian_stop, "я меня мне мной мой моя моё мои"},
    {"serbian", "sr", true, false, NULL, NULL},
    {"spanish", "es", true, false, spanish_stop, "yo me mí mi mis mío mía"},
    {"swedish", "sv", true, false, swedish_stop, "jag mig min mitt mina"},
    {"tamil", "ta", true, false, NULL, NULL},
    {"turkish", "tr", true, false, NULL, NULL},
    {"yiddish", "yi", true, false, NULL, NULL},
};
#define LANGUAGES (sizeof languages / sizeof *languages)
_Static_assert(LANGUAGES <= LANGUAGES_MAX, "a number is below LANGUAGES_MAX");

typedef struct entry {
  mneme_bytes word;
  mneme_bytes base; /* of an irregular one */
} entry;

typedef struct list {
  entry entries[LIST_MAX];
  size_t count;
} list;

static list stops[LANGUAGES], irregulars;
static char names[LANGUAGES * 16];
static once_flag listed = ONCE_FLAG_INIT;

static int by_word(const void *a, const void *b) {
  const entry *x = a, *y = b;
  return bytes_compare(x->word.data, x->word.size, y->word.data, y->word.size);
}

/* Words end at spaces; a "|" ends a group, whose first word is the base of all. */
static void read_list(list *l, const char *text) {
  mneme_bytes base = {NULL, 0};
  while (*text != '\0') {
    size_t size = strcspn(text, " |");
    mneme_bytes word = {text, size};
    if (size > 0) {
      assert(l->count < LIST_MAX);
      base = base.data == NULL ? word : base;
      l->entries[l->count++] = (entry){word, base};
    }
    text += size;
    if (*text == '|')
      base.data = NULL;
    text += *text != '\0';
  }
  qsort(l->entries, l->count, sizeof *l->entries, by_word);
}

static void read_lists(void) {
  for (size_t i = 0; i < LANGUAGES; i++) {
    if (languages[i].stop != NULL)
      read_list(&stops[i], languages[i].stop);
    strcat(names, i == 0 ? "" : ", ");
    strcat(names, languages[i].name);
  }
  read_list(&irregulars, english_irregular);
}

static const entry *find(const list *l, const char *word, size_t size) {
  entry wanted = {.word = {word, size}};
  return bsearch(&wanted, l->entries, l->count, sizeof *l->entries, by_word);
}

const language *language_find(mneme_bytes name) {
  for (size_t i = 0; i < LANGUAGES; i++) {
    const language *l = &languages[i];
    if (bytes_equal(l->name, strlen(l->name), name.data, name.size) ||
        (name.size > 0 && bytes_equal(l->code, strlen(l->code), name.data, name.size)))
      return l;
  }
  return NULL;
}

size_t language_number(const language *l) { return (size_t)(l - languages); }

const language *language_at(size_t number) {
  return number < LANGUAGES ? &languages[number] : NULL;
}

const char *language_names(void) {
  call_once(&listed, read_lists);
  return names;
}

bool language_is_stop(const language *l, const char *word, size_t size) {
  call_once(&listed, read_lists);
  return find(&stops[language_number(l)], word, size) != NULL;
}

bool language_base(const language *l, const char *word, size_t size, mneme_bytes *ret_base) {
  call_once(&listed, read_lists);
  const entry *e = l->is_english ? find(&irregulars, word, size) : NULL;
  if (e != NULL)
    *ret_base = e->base;
  return e != NULL;
}

bool language_is_myself(const language *l, const char *word, size_t size) {
  const char *at = l->myself;
  while (at != NULL && *at != '\0') {
    size_t next = strcspn(at, " ");
    if (bytes_equal(at, next, word, size))
      return true;
    at += next + (at[next] == ' ');
  }
  return false;
}
