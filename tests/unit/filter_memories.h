/* The thirty memories of filter_golden.txt, a to z and A to D, in this order: the
 * first is appended on 2026-01-01 at 0:00 UTC, and one each day. */
#ifndef TESTS_UNIT_FILTER_MEMORIES_H
#define TESTS_UNIT_FILTER_MEMORIES_H

#include "filter_store.h"

#define DAY INT64_C(86400000000)
#define HOUR INT64_C(3600000000)
#define FIRST_DAY INT64_C(1767225600000000) /* 2026-01-01T00:00:00Z */
#define THE_NOW (FIRST_DAY + 30 * DAY + 12 * HOUR)
#define YEAR_2100 INT64_C(4102444800000000)
#define YEAR_2000 INT64_C(951825600000000) /* 2000-02-29T12:00:00Z */
#define LAST_TIME INT64_C(253402300799999999)

#define NONE MNEME_NO_EVENT

/* id, kind, role, key, author, source, tier, importance (-1 = none), pinned, tokens,
 * event_us, expire_us, content, metadata */
static const store_memory memories[] = {
    {"a", "message", "user", "", "Bob", "", 1, -1, false, 0, NONE, 0, "My name is Bob",
     "{\"v\":1}"},
    {"b", "message", "assistant", "", "bob", "", 2, -1, false, 0, NONE, 0, "HELLO bob",
     "{\"v\":\"1\"}"},
    {"c", "message", "tool", "", "Böb", "", 3, -1, false, 0, NONE, 0, "Die Straße",
     "{\"v\":true}"},
    {"d", "message", "", "", "Bo", "", 0, -1, false, 0, NONE, 0, "DIE STRASSE", "{\"v\":null}"},
    {"e", "message", "user", "user/name", "", "", 0, -1, false, 0, NONE, 0, "Ärger im Büro",
     "{\"v\":[1,\"1\",true,null,[1],{\"k\":1}]}"},
    {"f", "message", "assistant", "", "", "", 0, 0, false, 0, NONE, 0,
     "\xe1\xbc\x88\xce\xa1\xce\xa7\xce\x89 ἐστὶν", "{\"v\":{\"k\":1,\"l\":[1,2]}}"},
    {"g", "message", "tool", "", "", "", 0, 0.25, false, 0, NONE, 0, "İstanbul", "{\"v\":1.5}"},
    {"h", "message", "", "", "", "", 0, 0.5, false, 0, NONE, 0, "Kelvin \xe2\x84\xaa",
     "{\"v\":-2}"},
    {"i", "message", "user", "", "", "", 0, 0.75, false, 0, NONE, 0, "100% _sure_",
     "{\"v\":false}"},
    {"j", "message", "assistant", "user/age", "", "", 0, 1, false, 0, NONE, 0,
     "say \"hi\" \\o/", "{\"v\":\"\"}"},
    {"k", "fact", "tool", "", "", "", 0, 0.1, false, 0, NONE, 0, "a\nb",
     "{\"v\":\"straße ÄÖ\"}"},
    {"l", "fact", "", "", "", "", 0, -1, false, 5, NONE, 0, "x", "{\"v\":[]}"},
    {"m", "fact", "user", "", "", "", 0, -1, false, 10, NONE, 0, "x", "{\"v\":{}}"},
    {"n", "fact", "assistant", "", "", "", 0, -1, false, 100, NONE, 0, "x",
     "{\"v\":9007199254740992}"},
    {"o", "fact", "tool", "k", "", "", 0, -1, false, INT32_MAX, NONE, 0, "x", "{\"v\":1e300}"},
    {"p", "fact", "", "", "", "", 0, -1, true, 0, NONE, 0, "x", "{\"v\":0}"},
    {"q", "fact", "user", "", "", "", 0, -1, true, 0, NONE, 0, "x", "{\"v\":-0.0}"},
    {"r", "fact", "assistant", "", "", "", 0, -1, false, 0, NONE, 0, "x", "{}"},
    {"s", "fact", "tool", "", "", "", 0, -1, false, 0, NONE, 0, "x", NULL},
    {"t", "fact", "", "K", "", "", 0, -1, false, 0, NONE, 0, "x",
     "{\"a\":{\"b\":{\"c\":\"deep\"}},\"a.b\":{\"c\":\"dotted\"}}"},
    {"u", "", "user", "", "", "", 0, -1, false, 0, 0, 0, "x",
     "{\"q\\\"q\":1,\"b\\\\s\":2,\"t\\tt\":3,\"\":4,\"[0]\":5,\"$\":6}"},
    {"v", "", "assistant", "", "", "", 0, -1, false, 0, YEAR_2000, 0, "x",
     "{\"tags\":[\"x\",\"y\"],\"n\":10}"},
    {"w", "", "tool", "", "", "", 0, -1, false, 0, -1, 0, "x",
     "{\"tags\":[\"y\",\"z\"],\"n\":9}"},
    {"x", "", "", "", "", "", 0, -1, false, 0, LAST_TIME, 0, "x",
     "{\"tags\":\"xyz\",\"n\":\"10\"}"},
    {"y", "", "user", "käse", "", "", 0, -1, false, 0, NONE, YEAR_2100, "x",
     "{\"tags\":[[\"x\"]],\"n\":[10]}"},
    {"z", "", "assistant", "", "", "", 0, -1, false, 0, NONE, YEAR_2100 + 1, "x",
     "{\"é\":\"É\",\"日本\":\"語\"}"},
    {"A", "Plan", "tool", "", "", "web", 0, -1, false, 0, NONE, 0, "x", "{\"v\":2,\"n\":11}"},
    {"B", "Plan", "", "", "", "web/1", 0, -1, false, 0, NONE, 0, "x", "{\"v\":\"2\"}"},
    {"C", "Plan", "user", "", "", "Web", 0, -1, false, 0, NONE, 0, "x", "{\"v\":[1.5,-2]}"},
    {"D", "Plan", "assistant", "", "", "we", 0, -1, false, 0, NONE, 0, "", "{\"v\":\"A\"}"},
};
#define MEMORIES (sizeof memories / sizeof *memories)

#endif
