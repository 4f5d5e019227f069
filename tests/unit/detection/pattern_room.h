/* pattern_room.h - patterns of one tenant with a clock of their own, for test_pattern.c and test_attack.c. */
#pragma once
#include "cmocka_setup.h"
#include "detection/pattern.h"

#include <stdio.h>
#include <stdlib.h>

#define NOON INT64_C(1790078400000) /* 2026-09-22 12:00 */
#define MINUTE INT64_C(60000)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

struct room {
    struct pattern *p;
    struct arena *arena;
    struct pattern_findings found; /* of the last step */
    int64_t now;
};

[[maybe_unused]] static struct room new_room(void) {
    struct pattern_rules rules = pattern_rules_default();
    return (struct room){pattern_new(&rules, 5, NOON - 30 * DAY), arena_new(0), {.count = 0}, NOON};
}

[[maybe_unused]] static void close_room(struct room *r) {
    pattern_free(r->p);
    arena_free(r->arena);
}

struct mail {
    const char *sender, *connector;
    const char *client;
    bool bad;
    unsigned recipients;
    const char *domain; /* "fresh": each message another one */
    const char *forward;
    const struct pattern_actions *actions;
    bool only_told;
};

[[maybe_unused]] static const struct pattern_finding *find(const struct room *r, enum pattern_kind kind,
                                                           enum sender_cause cause) {
    for (size_t i = 0; i < r->found.count; i++)
        if (r->found.at[i].kind == kind && r->found.at[i].cause == cause)
            return &r->found.at[i];
    return NULL;
}

[[maybe_unused]] static void send_one(struct room *r, const struct mail *m) {
    static unsigned fresh;
    struct str domain = str_of(m->domain ? m->domain : "example.net"), forward = str_of(m->forward);
    if (str_eq(domain, STR("fresh")))
        domain = str_printf(r->arena, "d%u.example", fresh++);
    struct pattern_message event = {
        .whose = {str_of(m->sender), str_of(m->connector), STR("contoso")},
        .bad = m->bad,
        .recipients = m->recipients ? m->recipients : 1,
        .external = m->recipients ? m->recipients : 1,
        .domains = &domain,
        .domain_count = 1,
        .forwards = &forward,
        .forward_count = forward.len ? 1 : 0,
        .actions = m->actions,
        .only_told = m->only_told,
        .now = r->now,
    };
    assert_true(!m->client || ip_parse(str_of(m->client), &event.client));
    pattern_message(r->p, &event, r->arena, &r->found);
}

[[maybe_unused]] static void send_some(struct room *r, const struct mail *m, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        send_one(r, m);
}

/* By so many receivers in turn. */
[[maybe_unused]] static void answer_by(struct room *r, const char *sender, enum reply_kind kind,
                                       unsigned count, unsigned receivers) {
    for (unsigned i = 0; i < count; i++)
        pattern_answer(r->p,
                       &(struct pattern_answer){.whose = {str_of(sender), STR(""), STR("contoso")},
                                                .kind = kind,
                                                .recipients = 1,
                                                .now = r->now,
                                                .receiver = 1 + i % receivers},
                       r->arena, &r->found);
}

[[maybe_unused]] static void answer(struct room *r, const char *sender, enum reply_kind kind,
                                    unsigned count) {
    answer_by(r, sender, kind, count, 3);
}

/* Ten days of a little mail from one network. */
[[maybe_unused]] static void live(struct room *r, const char *sender, unsigned a_day) {
    r->now = NOON - 10 * DAY;
    for (; r->now < NOON; r->now += DAY)
        send_some(r, &(struct mail){.sender = sender, .client = "192.0.2.1"}, a_day);
    r->now = NOON;
    assert_int_equal(r->found.count, 0);
}

[[maybe_unused]] static const char *text_of(struct room *r, const struct pattern_finding *f) {
    return f ? str_c(r->arena, f->reason) : "nothing";
}
