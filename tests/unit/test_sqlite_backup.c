/* Copies of a sqlite store, and what is put in a store's place. The copy under load is
 * tests/e2e's. */
#include "engine.h"

#include <sys/wait.h>

static mneme_status append(engine *e, const char *id) {
  mneme_record r = a_record(id);
  return engine_append(e, &r, NULL, NULL);
}

static void name_of(const engine *e, const char *name, char *ret_path, size_t size) {
  snprintf(ret_path, size, "%s/%s", e->folder, name);
}

static mneme_status back_up(engine *e, const char *file, char *error, size_t size) {
  error[0] = 0;
  return e->type->backup(NULL, e->values, file, error, size);
}

/* Leaves a log beside the file, as kill -9 does. */
static void append_and_die(engine *e, const char *id) {
  int status;
  pid_t pid = fork();
  if (pid == 0) {
    engine_reopen(e);
    _exit(append(e, id) == MNEME_OK ? 0 : 1);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

/* --- Logs of other files ----------------------------------------------------------- */

static void a_log_of_another_file_is_not_read(void **state) {
  engine e;
  char copy[128], wal[128], error[512];
  (void)state;
  engine_open(&e);
  name_of(&e, "copy.db", copy, sizeof copy);
  name_of(&e, "mneme.db-wal", wal, sizeof wal);
  assert_int_equal(append(&e, "old"), MNEME_OK);
  assert_int_equal(back_up(&e, copy, error, sizeof error), MNEME_OK);
  e.type->close(e.store);
  append_and_die(&e, "lost");
  assert_int_equal(rename(copy, e.path), 0); /* restored, but for the log */
  assert_int_equal(engine_try(&e, error, sizeof error), MNEME_INVALID);
  if (strstr(error, "mneme.db-wal") == NULL) fail_msg("%s", error);
  assert_int_equal(unlink(wal), 0);
  engine_reopen(&e);
  expect_ids(&e, "old");
  e.type->close(e.store);
  append_and_die(&e, "kept"); /* its own log is no other's */
  engine_reopen(&e);
  expect_ids(&e, "old,kept");
  engine_close(&e);
}

static void no_copy_is_put_beside_an_old_log(void **state) {
  engine e, other;
  char copy[128], wal[128], error[512];
  (void)state;
  engine_open(&e);
  assert_int_equal(append(&e, "a"), MNEME_OK);
  name_of(&e, "copy.db", copy, sizeof copy);
  name_of(&e, "copy.db-wal", wal, sizeof wal);
  other = e;
  engine_set_path(&other, copy);
  append_and_die(&other, "x");
  assert_int_equal(back_up(&e, copy, error, sizeof error), MNEME_DOWN);
  if (strstr(error, "copy.db-wal") == NULL) fail_msg("%s", error);
  assert_int_equal(unlink(wal), 0);
  assert_int_equal(back_up(&e, copy, error, sizeof error), MNEME_OK);
  engine_reopen(&other);
  expect_ids(&other, "a");
  other.type->close(other.store);
  engine_close(&e);
}

/* --- Cursors ------------------------------------------------------------------------ */

typedef struct cursor {
  mneme_status status;
  char next[MNEME_CURSOR_MAX];
  size_t size;
} cursor;

static int pass_header(const mneme_header *header, void *ctx) {
  (void)header;
  (void)ctx;
  return 0;
}

static void keep_cursor(mneme_status status, mneme_bytes next, void *ctx) {
  cursor *c = ctx;
  c->status = status;
  c->size = next.size;
  if (next.size != 0) memcpy(c->next, next.data, next.size);
}

static mneme_status follow(engine *e, cursor *c) {
  engine_call call = engine_now(e);
  e->type->changes(e->store, &call.call, text("ns"), mneme_bytes_of(c->next, c->size),
                   pass_header, keep_cursor, c);
  return c->status;
}

/* What is written to a copy is another history: who followed the store past it would
 * take the copy's next commits for those that he knows. */
static void a_cursor_does_not_fit_a_copy(void **state) {
  engine e, other;
  char copy[128], error[512];
  cursor c = {0};
  (void)state;
  engine_open(&e);
  name_of(&e, "copy.db", copy, sizeof copy);
  assert_int_equal(append(&e, "a"), MNEME_OK);
  assert_int_equal(back_up(&e, copy, error, sizeof error), MNEME_OK);
  assert_int_equal(append(&e, "b"), MNEME_OK);
  assert_int_equal(follow(&e, &c), MNEME_OK);
  other = e;
  engine_set_path(&other, copy);
  engine_reopen(&other);
  assert_int_equal(append(&other, "c"), MNEME_OK);
  assert_int_equal(append(&other, "d"), MNEME_OK);
  assert_int_equal(follow(&other, &c), MNEME_COMPACTED);
  other.type->close(other.store);
  engine_close(&e);
}

static void what_is_no_store_gives_no_copy(void **state) {
  engine e;
  char copy[128], error[512];
  (void)state;
  engine_init(&e, ENGINE_ENTRY(), NULL, 0);
  engine_set_path(&e, e.path);
  name_of(&e, "copy.db", copy, sizeof copy);
  FILE *file = fopen(e.path, "w");
  assert_non_null(file);
  fclose(file);
  assert_int_equal(back_up(&e, copy, error, sizeof error), MNEME_DOWN);
  assert_non_null(strstr(error, "no store"));
  assert_int_not_equal(access(copy, F_OK), 0);
  engine_remove(&e);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_log_of_another_file_is_not_read),
      cmocka_unit_test(no_copy_is_put_beside_an_old_log),
      cmocka_unit_test(a_cursor_does_not_fit_a_copy),
      cmocka_unit_test(what_is_no_store_gives_no_copy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
