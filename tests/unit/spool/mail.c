#include <pthread.h>

#include "mail.h"

#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

char mail_byte(uint64_t number, uint64_t at) {
    return (char)(mix(number * 1000003 + at / 8) >> 8 * (at % 8));
}

static struct spool_attribute *attributes(struct arena *arena, uint64_t number) {
    struct spool_attribute *list = arena_array(arena, struct spool_attribute, 2);
    list[0] =
        (struct spool_attribute){STR("spf"), str_printf(arena, "pass-%llu", (unsigned long long)number)};
    list[1] = (struct spool_attribute){STR("empty"), STR_NULL};
    return list;
}

static struct spool_group make_group(struct arena *arena, uint64_t number, uint32_t at,
                                     const struct mail_shape *shape) {
    struct spool_recipient *recipients = arena_array(arena, struct spool_recipient, shape->recipients);
    char *prefix = arena_alloc(arena, shape->prefix);
    for (size_t i = 0; i < shape->prefix; i++)
        prefix[i] = mail_byte(number + at, i);
    for (uint32_t i = 0; i < shape->recipients; i++)
        recipients[i] = (struct spool_recipient){
            .address = str_printf(arena, "r%u.%u@d%llu.example", at, i, (unsigned long long)number % 7),
            .orcpt = i % 2 ? str_printf(arena, "rfc822;o%u@example", i) : STR_NULL,
            .notify = (uint8_t)(i % 16),
            .attributes = i % 3 ? NULL : attributes(arena, number + i),
            .attribute_count = i % 3 ? 0 : 2,
        };
    return (struct spool_group){
        .mail_class = (enum mail_class)((number + at) % MAIL_CLASS_COUNT),
        .pool = STR("normal"),
        .rule = STR("own"),
        .reason = STR("the sender is ours"),
        .reverse_path = at % 2 ? STR_NULL : STR("bounce@contoso.example"),
        .header_prefix = str_from(prefix, shape->prefix),
        .recipients = recipients,
        .recipient_count = shape->recipients,
    };
}

struct spool_message mail_make(struct arena *arena, uint64_t number, const struct mail_shape *shape) {
    struct spool_group *groups = arena_array(arena, struct spool_group, shape->groups);
    for (uint32_t i = 0; i < shape->groups; i++)
        groups[i] = make_group(arena, number, i, shape);
    struct spool_message m = {
        .trace_id = str_printf(arena, "%026llu", (unsigned long long)number),
        .arrival = 1700000000000 + (int64_t)number,
        .tenant = STR("contoso"),
        .sender = STR("alice@contoso.example"),
        .subject = str_printf(arena, "Number %llu", (unsigned long long)number),
        .envid = STR("QQ314159"),
        .ret = SPOOL_RET_HDRS,
        .flags = SPOOL_8BITMIME,
        .incoming = number % 2,
        .groups = groups,
        .group_count = shape->groups,
        .attributes = attributes(arena, number),
        .attribute_count = 2,
        .body_size = shape->size,
    };
    ip_parse(STR("192.0.2.7"), &m.client_ip);
    return m;
}

uint64_t mail_number(const struct spool_message *m) {
    uint64_t number = UINT64_MAX;
    str_to_u64(m->trace_id, &number);
    return number;
}

static bool attributes_equal(const struct spool_attribute *a, size_t a_count, const struct spool_attribute *b,
                             size_t b_count) {
    bool equal = a_count == b_count;
    for (size_t i = 0; equal && i < a_count; i++)
        equal = str_eq(a[i].name, b[i].name) && str_eq(a[i].value, b[i].value);
    return equal;
}

static bool group_equal(const struct spool_group *a, const struct spool_group *b) {
    bool equal = a->mail_class == b->mail_class && str_eq(a->pool, b->pool) && str_eq(a->rule, b->rule) &&
                 str_eq(a->reason, b->reason) && str_eq(a->reverse_path, b->reverse_path) &&
                 str_eq(a->header_prefix, b->header_prefix) && a->recipient_count == b->recipient_count;
    for (size_t i = 0; equal && i < a->recipient_count; i++) {
        const struct spool_recipient *r = &a->recipients[i], *o = &b->recipients[i];
        equal = str_eq(r->address, o->address) && str_eq(r->orcpt, o->orcpt) && str_eq(r->via, o->via) &&
                r->notify == o->notify &&
                attributes_equal(r->attributes, r->attribute_count, o->attributes, o->attribute_count);
    }
    return equal;
}

bool mail_equal(const struct spool_message *a, const struct spool_message *b) {
    bool equal = str_eq(a->trace_id, b->trace_id) && a->arrival == b->arrival &&
                 str_eq(a->tenant, b->tenant) && str_eq(a->connector, b->connector) &&
                 str_eq(a->sender, b->sender) && str_eq(a->subject, b->subject) &&
                 ip_eq(&a->client_ip, &b->client_ip) && str_eq(a->envid, b->envid) && a->ret == b->ret &&
                 a->flags == b->flags && a->incoming == b->incoming && a->body_size == b->body_size &&
                 a->group_count == b->group_count &&
                 attributes_equal(a->attributes, a->attribute_count, b->attributes, b->attribute_count);
    for (size_t i = 0; equal && i < a->group_count; i++)
        equal = group_equal(&a->groups[i], &b->groups[i]);
    return equal;
}

void answer_init(struct answer *a) {
    *a = (struct answer){0};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->wake, NULL);
}

void answer_free(struct answer *a) {
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->wake);
}

void answer_message(void *arg, int error, uint64_t message) {
    struct answer *a = arg;
    pthread_mutex_lock(&a->lock);
    a->awaited++;
    a->error = error;
    a->message = message;
    pthread_cond_signal(&a->wake);
    pthread_mutex_unlock(&a->lock);
}

void answer_outcome(void *arg, int error) { answer_message(arg, error, 0); }

static void answer_ready(void *arg) { answer_message(arg, 0, 0); }

int answer_wait(struct answer *a) {
    pthread_mutex_lock(&a->lock);
    while (!a->awaited)
        pthread_cond_wait(&a->wake, &a->lock);
    a->awaited--;
    pthread_mutex_unlock(&a->lock);
    return a->error;
}

struct spool_body *mail_body(struct spool *s, uint64_t number, uint64_t size, int *ret_error) {
    enum { STEP = 5000 };
    struct spool_body *b = spool_body_new(s);
    struct answer ready;
    char bytes[STEP];
    int error = 0;
    answer_init(&ready);
    for (uint64_t at = 0; at < size && error == 0;) {
        size_t len = size - at < STEP ? (size_t)(size - at) : STEP;
        for (size_t i = 0; i < len; i++)
            bytes[i] = mail_byte(number, at + i);
        while ((error = spool_body_add(b, bytes, len)) == SLUICE_EBUSY) {
            spool_body_wait(b, answer_ready, &ready);
            answer_wait(&ready);
        }
        at += len;
    }
    answer_free(&ready);
    *ret_error = error;
    return error ? spool_body_abort(b) : b;
}

int mail_commit(struct spool *s, uint64_t number, const struct mail_shape *shape, uint64_t *ret_message) {
    struct arena *arena = arena_new(0);
    struct answer answer;
    int error;
    struct spool_body *body = mail_body(s, number, shape->size, &error);
    if (body) {
        answer_init(&answer);
        struct spool_message m = mail_make(arena, number, shape);
        spool_commit(s, &m, body, answer_message, &answer);
        error = answer_wait(&answer);
        *ret_message = answer.message;
        answer_free(&answer);
    }
    arena_free(arena);
    return error;
}

int mail_outcome(struct spool *s, uint64_t message, uint32_t recipient, enum spool_fate fate) {
    struct answer answer;
    answer_init(&answer);
    spool_outcome(
        s, message, recipient,
        &(struct spool_outcome){.fate = fate, .time = 1, .attempts = 3, .due = 77, .reply = STR("250 ok")},
        answer_outcome, &answer);
    int error = answer_wait(&answer);
    answer_free(&answer);
    return error;
}

int mail_read_back(struct spool *s, uint64_t message, uint64_t number, const struct mail_shape *shape) {
    struct spool_reader *r;
    struct arena *arena = arena_new(0);
    struct spool_message m, made = mail_make(arena, number, shape);
    int error = spool_read(s, message, SPOOL_WAIT, arena, &m);
    if (error == 0 && !mail_equal(&m, &made))
        error = SLUICE_ECORRUPT;
    if (error == 0)
        error = spool_reader_open(s, message, SPOOL_WAIT, &r);
    arena_free(arena);
    if (error)
        return error;
    char buf[3000];
    size_t len;
    uint64_t at = 0;
    while ((error = spool_reader_next(r, SPOOL_WAIT, buf, sizeof buf, &len)) == 0 && len)
        for (size_t i = 0; i < len; i++, at++)
            if (buf[i] != mail_byte(number, at))
                error = SLUICE_ECORRUPT;
    if (error == 0 && (at != shape->size || spool_reader_size(r) != at))
        error = SLUICE_ECORRUPT;
    spool_reader_close(r);
    return error;
}
