/* X4 of the security cases: whatever stands in a value, a line stays one line,
 * and in the JSON format one valid object. Lines are caught by putting a
 * temporary file in the place of standard error. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <unistr.h>

#include "base/log.h"
#include "cmocka_test.h"

/* --- Catching lines ------------------------------------------------------ */

static char caught[4 * LOG_LINE_MAX];
static int saved_stderr = -1;
static FILE *catcher;

static void catch_begin(log_level level, log_format format) {
  log_setup(level, format);
  catcher = tmpfile();
  assert_non_null(catcher);
  saved_stderr = dup(STDERR_FILENO);
  assert_int_not_equal(dup2(fileno(catcher), STDERR_FILENO), -1);
}

static size_t catch_end(void) {
  dup2(saved_stderr, STDERR_FILENO);
  close(saved_stderr);
  rewind(catcher);
  size_t size = fread(caught, 1, sizeof caught - 1, catcher);
  caught[size] = '\0';
  fclose(catcher);
  log_setup(LOG_INFO, LOG_TEXT);
  return size;
}

/* --- A JSON object of strings and integers ------------------------------- */

static const char *json_string(const char *p) {
  if (*p++ != '"')
    return NULL;
  while (*p != '"') {
    if ((unsigned char)*p < 0x20)
      return NULL;
    if (*p++ != '\\')
      continue;
    if (*p == 'u') {
      if (strspn(p + 1, "0123456789abcdef") < 4)
        return NULL;
      p += 5;
    } else if (*p != '\0' && strchr("\"\\/bfnrt", *p) != NULL) {
      p++;
    } else {
      return NULL;
    }
  }
  return p + 1;
}

static bool json_line(const char *p) {
  char open = '{';
  do {
    if (*p++ != open || (p = json_string(p)) == NULL || *p++ != ':')
      return false;
    open = ',';
    if (*p == '"') {
      if ((p = json_string(p)) == NULL)
        return false;
    } else {
      char *end;
      strtoll(p, &end, 10);
      if (end == p)
        return false;
      p = end;
    }
  } while (*p == ',');
  return strcmp(p, "}\n") == 0;
}

/* --- Tests --------------------------------------------------------------- */

static const struct {
  const char *data;
  size_t size;
  const char *escaped;
} values[] = {
#define VALUE(data, escaped) {data, sizeof data - 1, escaped}
  VALUE("", ""),
  VALUE("plain", "plain"),
  VALUE("a\rb\nc\td", "a\\rb\\nc\\td"),
  VALUE("\x1b[31mred\x1b[0m", "\\u001b[31mred\\u001b[0m"),
  VALUE("say \"no\" \\", "say \\\"no\\\" \\\\"),
  VALUE("nul\0in it", "nul\\u0000in it"),
  VALUE("\x7f", "\\u007f"),
  VALUE("\xc2\x9b" "31m", "\\u009b31m"),       /* CSI as one character */
  VALUE("\xe2\x80\xa8", "\\u2028"),            /* line separator */
  VALUE("\xe2\x80\xae" "txt", "\\u202etxt"),   /* right-to-left override */
  VALUE("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"),
  VALUE("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"),
  VALUE("\xff\xfe", "\\ufffd\\ufffd"),
  VALUE("\xc3", "\\ufffd"),                    /* cut off */
  VALUE("\xc0\xaf", "\\ufffd\\ufffd"),         /* overlong */
  VALUE("\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"), /* a surrogate */
#undef VALUE
};

static void escapes_what_could_leave_the_line(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    char out[256];
    size_t size = log_escape(out, sizeof out, values[i].data, values[i].size);
    assert_string_equal(out, values[i].escaped);
    assert_int_equal(size, strlen(out));
  }
}

static void every_value_gives_one_valid_json_line(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    catch_begin(LOG_INFO, LOG_JSON);
    log_event(LOG_WARN, "a test", log_string("value", values[i].data, values[i].size),
              log_int("n", -7), log_end());
    size_t size = catch_end();
    assert_int_equal(strlen(caught), size);
    assert_true(json_line(caught));
    assert_null(u8_check((const uint8_t *)caught, size));
    assert_non_null(strstr(caught, "\"level\":\"WARN\",\"message\":\"a test\",\"value\":\""));
    assert_non_null(strstr(caught, ",\"n\":-7}"));
  }
}

static void every_byte_gives_one_valid_line(void **state) {
  (void)state;
  for (int byte = 0; byte < 256; byte++) {
    char value[3] = {'a', (char)byte, 'z'};
    catch_begin(LOG_INFO, byte % 2 == 0 ? LOG_JSON : LOG_TEXT);
    log_event(LOG_INFO, "m", log_string("v", value, 3), log_end());
    size_t size = catch_end();
    assert_int_equal(strcspn(caught, "\n"), size - 1);
    assert_null(u8_check((const uint8_t *)caught, size));
    if (byte % 2 == 0)
      assert_true(json_line(caught));
  }
}

static void text_has_the_documented_form(void **state) {
  (void)state;
  catch_begin(LOG_INFO, LOG_TEXT);
  log_event(LOG_INFO, "server listens", log_text("address", "127.0.0.1:7700"), log_int("n", 1),
            log_text("none", NULL), log_end());
  catch_end();
  static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ ";
  for (size_t i = 0; i < sizeof form - 1; i++) {
    if (form[i] == 'd')
      assert_in_range(caught[i], '0', '9');
    else
      assert_int_equal(caught[i], form[i]);
  }
  assert_string_equal(caught + sizeof form - 1,
                      "INFO server listens address=\"127.0.0.1:7700\" n=1 none=\"\"\n");
}

static void writes_nothing_below_its_level(void **state) {
  (void)state;
  catch_begin(LOG_WARN, LOG_TEXT);
  assert_false(log_enabled(LOG_INFO));
  assert_true(log_enabled(LOG_WARN));
  log_event(LOG_INFO, "quiet", log_end());
  assert_int_equal(catch_end(), 0);
}

static void cuts_values_between_characters(void **state) {
  (void)state;
  char value[LOG_VALUE_MAX + 1];
  char out[6 * LOG_VALUE_MAX + 16];
  memset(value, 'x', sizeof value);
  assert_int_equal(log_escape(out, sizeof out, value, LOG_VALUE_MAX), LOG_VALUE_MAX);
  assert_int_equal(log_escape(out, sizeof out, value, LOG_VALUE_MAX + 1), LOG_VALUE_MAX + 3);
  assert_string_equal(out + LOG_VALUE_MAX, "...");

  memcpy(value + LOG_VALUE_MAX - 1, "\xc3\xbc", 2); /* straddles the limit */
  assert_int_equal(log_escape(out, sizeof out, value, LOG_VALUE_MAX + 1), LOG_VALUE_MAX - 1 + 3);
  assert_string_equal(out + LOG_VALUE_MAX - 2, "x...");

  memset(value, 1, sizeof value); /* each becomes six */
  for (size_t room = 1; room < 40; room++) {
    memset(out, '!', sizeof out);
    size_t size = log_escape(out, room, value, 10);
    assert_true(size < room);
    assert_int_equal(out[size], '\0');
    assert_int_equal(out[room], '!');
    assert_int_equal(size >= 3 ? (size - 3) % 6 : size, 0); /* no half escape */
  }
  assert_int_equal(log_escape(out, 0, "x", 1), 0);
}

static void leaves_out_fields_beyond_the_line(void **state) {
  (void)state;
  char value[LOG_VALUE_MAX];
  memset(value, 1, sizeof value);
  for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
    catch_begin(LOG_INFO, (log_format)format);
    log_field f = log_string("v", value, sizeof value);
    log_event(LOG_INFO, "m", f, f, log_int("small", 5), log_end());
    size_t size = catch_end();
    assert_true(size <= LOG_LINE_MAX);
    assert_int_equal(strcspn(caught, "\n"), size - 1);
    if (format == LOG_JSON) {
      assert_true(json_line(caught));
      assert_non_null(strstr(caught, ",\"small\":5,\"left_out\":1}\n"));
    } else {
      assert_non_null(strstr(caught, " small=5 left_out=1\n"));
    }
  }
}

static void takes_no_more_than_the_fields_it_names(void **state) {
  (void)state;
  log_field f = log_int("n", 1);
  catch_begin(LOG_INFO, LOG_JSON);
  log_event(LOG_INFO, "m", f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, log_end());
  catch_end();
  assert_true(json_line(caught));
  assert_non_null(strstr(caught, "\"left_out\":1}"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(escapes_what_could_leave_the_line),
    cmocka_unit_test(every_value_gives_one_valid_json_line),
    cmocka_unit_test(every_byte_gives_one_valid_line),
    cmocka_unit_test(text_has_the_documented_form),
    cmocka_unit_test(writes_nothing_below_its_level),
    cmocka_unit_test(cuts_values_between_characters),
    cmocka_unit_test(leaves_out_fields_beyond_the_line),
    cmocka_unit_test(takes_no_more_than_the_fields_it_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
