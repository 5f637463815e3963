/* Requests of sessions and upkeep on their way in: from bytes to plain structs, with
 * their defaults, and each reason to refuse one with its field. test_check has the
 * bytes that no client sends. */
#include "requests.h"

/* --- CreateSession ------------------------------------------------------- */

static void create_session_by_default(void **state) {
  (void)state;
  Mneme__V1__CreateSessionRequest m = MNEME__V1__CREATE_SESSION_REQUEST__INIT;
  wire_create_session ret;
  ACCEPTED(create_session, &m, &ret);
  is_default_scope(&ret.scope, "");
  assert_false(ret.session_given);
  assert_false(ret.settings.has_policy);
  assert_int_equal(ret.settings.label_count, 0);
  assert_false(ret.settings.has_metadata);
  m.policy = policy_new(); /* a policy that sets nothing is none */
  ACCEPTED(create_session, &m, &ret);
  assert_false(ret.settings.has_policy);
}

static void create_session_with_everything(void **state) {
  (void)state;
  Mneme__V1__CreateSessionRequest m = MNEME__V1__CREATE_SESSION_REQUEST__INIT;
  wire_create_session ret;
  SCOPE(&m);
  m.policy = policy_new();
  OPTIONAL(m.policy, evict_above, 10);
  OPTIONAL(m.policy, evict_to, 5);
  OPTIONAL(m.policy, max_tokens, 1000);
  OPTIONAL(m.policy, keep_system, 1);
  OPTIONAL(m.policy, default_kind, (char *)"fact");
  m.policy->eviction = MNEME__V1__EVICTION__EVICTION_LEAST_IMPORTANT;
  m.policy->ttl = lasting(60, 1999);
  m.policy->max_age = lasting(0, 1000);
  m.policy->idempotency_window = lasting(1, 0);
  m.policy->cleanup_interval = lasting(90, 0);
  LABEL(&m, CREATE_LABEL, "b", "1");
  LABEL(&m, CREATE_LABEL, "a", "2");
  LABEL(&m, CREATE_LABEL, "b", "3");
  m.metadata = metadata("k", "v");
  ACCEPTED(create_session, &m, &ret);
  is_full_scope(&ret.scope, -1);
  assert_true(ret.session_given);
  const policy *p = &ret.settings.policy;
  assert_true(ret.settings.has_policy);
  assert_int_equal(p->evict_above, 10);
  assert_int_equal(p->evict_to, 5);
  assert_int_equal(p->max_tokens, 1000);
  assert_true(p->keep_system);
  IS(p->default_kind, "fact");
  assert_int_equal(p->eviction, MNEME_EVICT_LEAST_IMPORTANT);
  assert_int_equal(p->ttl_us, 60000001);
  assert_int_equal(p->max_age_us, 1);
  assert_int_equal(p->window_us, 1000000);
  assert_int_equal(p->cleanup_us, 90000000);
  assert_false(policy_has(p, POLICY_MAX_MEMORIES));
  assert_int_equal(ret.settings.label_count, 2);
  IS(ret.settings.labels[0].key, "a");
  IS(ret.settings.labels[1].value, "3");
  assert_true(ret.settings.has_metadata);
  assert_int_equal(ret.settings.metadata.size, packed(m.metadata).size);
}

static void create_session_refuses(void **state) {
  (void)state;
  Mneme__V1__CreateSessionRequest m = MNEME__V1__CREATE_SESSION_REQUEST__INIT;
  wire_create_session ret;
  m.namespace_ = (char *)"a/b";
  REFUSED(create_session, &m, &ret, "INVALID_VALUE", "namespace");
  m.namespace_ = (char *)"a";
  LABEL(&m, CREATE_LABEL, "", "x");
  REFUSED(create_session, &m, &ret, "REQUIRED", "labels");
  m.n_labels = 0;

#define POLICY(change, why, where)                                                               \
  do {                                                                                           \
    m.policy = policy_new();                                                                     \
    change;                                                                                      \
    REFUSED(create_session, &m, &ret, why, where);                                               \
  } while (0)
  POLICY(OPTIONAL(m.policy, max_memories, 0), "INVALID_VALUE", "policy.max_memories");
  POLICY(OPTIONAL(m.policy, max_memories, -1), "INVALID_VALUE", "policy.max_memories");
  POLICY(OPTIONAL(m.policy, max_memories, INT64_C(1) << 31), "INVALID_VALUE",
         "policy.max_memories");
  POLICY(OPTIONAL(m.policy, max_tokens, 0), "INVALID_VALUE", "policy.max_tokens");
  POLICY(OPTIONAL(m.policy, evict_above, 0), "INVALID_VALUE", "policy.evict_above");
  POLICY(OPTIONAL(m.policy, evict_above_tokens, INT64_MAX), "INVALID_VALUE",
         "policy.evict_above_tokens");
  POLICY(OPTIONAL(m.policy, evict_to, 5), "CONFLICTING_FIELDS", "policy.evict_to");
  POLICY(OPTIONAL(m.policy, evict_to_tokens, 5), "CONFLICTING_FIELDS", "policy.evict_to_tokens");
  POLICY((OPTIONAL(m.policy, evict_above, 4), OPTIONAL(m.policy, evict_to, 5)),
         "CONFLICTING_FIELDS", "policy.evict_to");
  POLICY((OPTIONAL(m.policy, max_memories, 5), OPTIONAL(m.policy, evict_above, 5)),
         "CONFLICTING_FIELDS", "policy.max_memories");
  POLICY((OPTIONAL(m.policy, max_tokens, 5), OPTIONAL(m.policy, evict_above_tokens, 5)),
         "CONFLICTING_FIELDS", "policy.max_tokens");
  POLICY(m.policy->eviction = (Mneme__V1__Eviction)4, "INVALID_VALUE", "policy.eviction");
  POLICY(m.policy->eviction = (Mneme__V1__Eviction)-1, "INVALID_VALUE", "policy.eviction");
  POLICY(m.policy->ttl = lasting(0, 0), "INVALID_VALUE", "policy.ttl");
  POLICY(m.policy->ttl = lasting(-1, 0), "INVALID_VALUE", "policy.ttl");
  POLICY(m.policy->ttl = lasting(0, 999), "INVALID_VALUE", "policy.ttl");
  POLICY(m.policy->ttl = lasting(1, -1), "INVALID_VALUE", "policy.ttl");
  POLICY(m.policy->ttl = lasting(1, 1000000000), "INVALID_VALUE", "policy.ttl");
  POLICY(m.policy->max_age = lasting(INT64_C(100) * 365 * 86400 + 1, 0), "INVALID_VALUE",
         "policy.max_age");
  POLICY(m.policy->max_age = lasting(INT64_C(100) * 365 * 86400, 1000), "INVALID_VALUE",
         "policy.max_age");
  POLICY(m.policy->max_age = lasting(INT64_MAX, 0), "INVALID_VALUE", "policy.max_age");
  POLICY(m.policy->idempotency_window = lasting(0, 999999999), "INVALID_VALUE",
         "policy.idempotency_window");
  POLICY(m.policy->idempotency_window = lasting(7 * 86400, 1000), "INVALID_VALUE",
         "policy.idempotency_window");
#undef POLICY
}

/* --- The short requests of sessions -------------------------------------- */

static void get_session(void **state) {
  (void)state;
  Mneme__V1__GetSessionRequest m = MNEME__V1__GET_SESSION_REQUEST__INIT;
  wire_scope ret;
  ACCEPTED(get_session, &m, &ret);
  is_default_scope(&ret, "default");
  m.namespace_ = (char *)"tenant";
  m.session = (char *)"a/b";
  ACCEPTED(get_session, &m, &ret);
  IS(ret.ns, "tenant");
  IS(ret.session, "a/b");
  m.namespace_ = (char *)"/";
  REFUSED(get_session, &m, &ret, "INVALID_VALUE", "namespace");
}

/* Clear and Delete take the same fields. */
#define SESSION_WRITE(name, Type, INIT)                                                          \
  static void name##_needs_a_session(void **state) {                                             \
    (void)state;                                                                                 \
    Type m = INIT;                                                                               \
    wire_scope ret;                                                                              \
    REFUSED(name, &m, &ret, "REQUIRED", "session");                                              \
    SCOPE(&m);                                                                                   \
    ACCEPTED(name, &m, &ret);                                                                    \
    is_full_scope(&ret, -1);                                                                     \
    OPTIONAL(&m, expected_revision, 0);                                                          \
    ACCEPTED(name, &m, &ret);                                                                    \
    is_full_scope(&ret, 0);                                                                      \
    OPTIONAL(&m, expected_revision, INT64_MAX);                                                  \
    ACCEPTED(name, &m, &ret);                                                                    \
    is_full_scope(&ret, INT64_MAX);                                                              \
    OPTIONAL(&m, expected_revision, -1);                                                         \
    REFUSED(name, &m, &ret, "INVALID_VALUE", "expected_revision");                               \
    m.namespace_ = (char *)"a/";                                                                 \
    REFUSED(name, &m, &ret, "INVALID_VALUE", "namespace");                                       \
  }
SESSION_WRITE(clear_session, Mneme__V1__ClearSessionRequest, MNEME__V1__CLEAR_SESSION_REQUEST__INIT)
SESSION_WRITE(delete_session, Mneme__V1__DeleteSessionRequest,
              MNEME__V1__DELETE_SESSION_REQUEST__INIT)

static void list_sessions(void **state) {
  (void)state;
  Mneme__V1__ListSessionsRequest m = MNEME__V1__LIST_SESSIONS_REQUEST__INIT;
  wire_list_sessions ret;
  ACCEPTED(list_sessions, &m, &ret);
  IS(ret.ns, "default");
  IS(ret.prefix, "");
  IS(ret.page_token, "");
  IS(ret.filter, "");
  assert_int_equal(ret.label_count, 0);
  assert_int_equal(ret.order, MNEME_SESSIONS_BY_ID);
  assert_int_equal(ret.page_size, 50);
  assert_false(ret.allow_partial);

  m.namespace_ = (char *)"tenant";
  m.prefix = (char *)"a/";
  m.page_token = (char *)"token";
  m.filter = (char *)"id:*";
  m.allow_partial = 1;
  m.order_by = MNEME__V1__SESSION_ORDER__SESSION_ORDER_UPDATE_TIME;
  m.page_size = 1000;
  LABEL(&m, LIST_LABEL, "z", "1");
  LABEL(&m, LIST_LABEL, "y", "");
  ACCEPTED(list_sessions, &m, &ret);
  IS(ret.ns, "tenant");
  IS(ret.prefix, "a/");
  IS(ret.page_token, "token");
  IS(ret.filter, "id:*");
  assert_true(ret.allow_partial);
  assert_int_equal(ret.order, MNEME_SESSIONS_BY_UPDATE);
  assert_int_equal(ret.page_size, 1000);
  assert_int_equal(ret.label_count, 2);
  IS(ret.labels[0].key, "y");

  m.page_size = INT32_MAX; /* coerced */
  m.order_by = MNEME__V1__SESSION_ORDER__SESSION_ORDER_ID;
  ACCEPTED(list_sessions, &m, &ret);
  assert_int_equal(ret.page_size, 1000);
  assert_int_equal(ret.order, MNEME_SESSIONS_BY_ID);

  m.page_size = -1;
  REFUSED(list_sessions, &m, &ret, "INVALID_VALUE", "page_size");
  m.page_size = 1;
  m.order_by = (Mneme__V1__SessionOrder)3;
  REFUSED(list_sessions, &m, &ret, "INVALID_VALUE", "order_by");
  m.order_by = (Mneme__V1__SessionOrder)-1;
  REFUSED(list_sessions, &m, &ret, "INVALID_VALUE", "order_by");
  LABEL(&m, LIST_LABEL, "", "");
  REFUSED(list_sessions, &m, &ret, "REQUIRED", "labels");
  m.namespace_ = (char *)"a/b";
  REFUSED(list_sessions, &m, &ret, "INVALID_VALUE", "namespace");
}

/* --- UpdateSession ------------------------------------------------------- */

static void update_session_sets_what_is_carried(void **state) {
  (void)state;
  Mneme__V1__UpdateSessionRequest m = MNEME__V1__UPDATE_SESSION_REQUEST__INIT;
  wire_update_session ret;
  SCOPE(&m);
  LABEL(&m, UPDATE_LABEL, "a", "1");
  ACCEPTED(update_session, &m, &ret);
  is_full_scope(&ret.scope, -1);
  assert_true(ret.set_labels && !ret.set_policy && !ret.set_metadata && !ret.has_patch);
  assert_int_equal(ret.expected_settings_revision, -1);

  m.policy = policy_new(); /* carried, and sets nothing: the override goes */
  m.metadata_patch = metadata("k", NULL);
  OPTIONAL(&m, expected_settings_revision, 3);
  ACCEPTED(update_session, &m, &ret);
  assert_true(ret.set_labels && ret.set_policy && !ret.set_metadata && ret.has_patch);
  assert_false(ret.settings.has_policy);
  assert_int_equal(ret.expected_settings_revision, 3);
  assert_int_equal(ret.patch.size, packed(m.metadata_patch).size);

  Mneme__V1__UpdateSessionRequest by_default = MNEME__V1__UPDATE_SESSION_REQUEST__INIT;
  by_default.metadata = metadata("k", "v");
  ACCEPTED(update_session, &by_default, &ret);
  is_default_scope(&ret.scope, "default");
  assert_true(ret.set_metadata && ret.settings.has_metadata);
}

static void update_session_sets_what_the_mask_names(void **state) {
  (void)state;
  Mneme__V1__UpdateSessionRequest m = MNEME__V1__UPDATE_SESSION_REQUEST__INIT;
  wire_update_session ret;
  m.update_mask = mask(3, "policy", "labels", "metadata"); /* all of it goes */
  ACCEPTED(update_session, &m, &ret);
  assert_true(ret.set_labels && ret.set_policy && ret.set_metadata && !ret.has_patch);
  assert_false(ret.settings.has_policy || ret.settings.has_metadata);
  assert_int_equal(ret.settings.label_count, 0);

  m.update_mask = mask(2, "policy", "policy");
  m.policy = policy_new();
  OPTIONAL(m.policy, max_memories, 7);
  ACCEPTED(update_session, &m, &ret);
  assert_true(ret.set_policy && ret.settings.has_policy);
  assert_int_equal(ret.settings.policy.max_memories, 7);
}

static void update_session_refuses(void **state) {
  (void)state;
  Mneme__V1__UpdateSessionRequest m = MNEME__V1__UPDATE_SESSION_REQUEST__INIT;
  wire_update_session ret;
  REFUSED(update_session, &m, &ret, "REQUIRED", "update_mask");
  m.update_mask = mask(0);
  REFUSED(update_session, &m, &ret, "REQUIRED", "update_mask");
  static const char *const wrong[] = {"", "id", "policy.ttl", "effective_policy", "Policy", "*"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    m.update_mask = mask(2, "labels", wrong[i]);
    REFUSED(update_session, &m, &ret, "INVALID_VALUE", "update_mask");
  }
  m.update_mask = mask(1, "labels");
  m.metadata = metadata("k", "v");
  REFUSED(update_session, &m, &ret, "CONFLICTING_FIELDS", "update_mask");
  m.metadata = NULL;
  m.policy = policy_new();
  REFUSED(update_session, &m, &ret, "CONFLICTING_FIELDS", "update_mask");
  m.policy = NULL;
  m.update_mask = mask(1, "policy");
  LABEL(&m, UPDATE_LABEL, "a", "1");
  REFUSED(update_session, &m, &ret, "CONFLICTING_FIELDS", "update_mask");
  m.n_labels = 0;
  m.update_mask = mask(1, "metadata");
  m.metadata_patch = metadata("k", "v");
  REFUSED(update_session, &m, &ret, "CONFLICTING_FIELDS", "metadata_patch");
  m.update_mask = NULL;
  m.metadata = metadata("k", "v");
  REFUSED(update_session, &m, &ret, "CONFLICTING_FIELDS", "metadata_patch");
  m.metadata = NULL;
  OPTIONAL(&m, expected_settings_revision, -1);
  REFUSED(update_session, &m, &ret, "INVALID_VALUE", "expected_settings_revision");
  m.policy = policy_new();
  OPTIONAL(m.policy, max_memories, 0);
  REFUSED(update_session, &m, &ret, "INVALID_VALUE", "policy.max_memories");
  LABEL(&m, UPDATE_LABEL, "", "1");
  m.policy = NULL;
  REFUSED(update_session, &m, &ret, "REQUIRED", "labels");
}

/* --- Upkeep -------------------------------------------------------------- */

static void get_stats(void **state) {
  (void)state;
  Mneme__V1__GetStatsRequest m = MNEME__V1__GET_STATS_REQUEST__INIT;
  wire_get_stats ret;
  ACCEPTED(get_stats, &m, &ret);
  IS(ret.ns, "default");
  IS(ret.session, ""); /* the whole namespace */
  assert_false(ret.allow_partial);
  m.namespace_ = (char *)"tenant";
  m.session = (char *)"a/b";
  m.allow_partial = 1;
  ACCEPTED(get_stats, &m, &ret);
  IS(ret.ns, "tenant");
  IS(ret.session, "a/b");
  assert_true(ret.allow_partial);
  m.namespace_ = (char *)"a/b";
  REFUSED(get_stats, &m, &ret, "INVALID_VALUE", "namespace");
}

static void list_backends(void **state) {
  (void)state;
  error e = {0};
  assert_true(wire_read_list_backends(NULL, 0, &shared, &e));
  assert_false(wire_read_list_backends((const uint8_t *)"\x08\x01", 2, &shared, &e));
  assert_string_equal(e.reason, "UNKNOWN_FIELD");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(create_session_by_default),
      TEST(create_session_with_everything),
      TEST(create_session_refuses),
      TEST(get_session),
      TEST(clear_session_needs_a_session),
      TEST(delete_session_needs_a_session),
      TEST(list_sessions),
      TEST(update_session_sets_what_is_carried),
      TEST(update_session_sets_what_the_mask_names),
      TEST(update_session_refuses),
      TEST(get_stats),
      TEST(list_backends),
  };
  return cmocka_run_group_tests_name("requests of sessions", tests, NULL, NULL);
}
