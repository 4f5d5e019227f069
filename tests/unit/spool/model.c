#include "model.h"

#include "base/error.h"
#include <stdio.h>
#include <stdlib.h>

#define DIR "/spool"

void model_init(struct model *m) {
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->lock, NULL);
    pthread_cond_init(&m->quiet, NULL);
    m->segment_size = 64 * 1024;
}

void model_free(struct model *m) {
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->quiet);
}

uint64_t draw(uint64_t *chance, uint64_t below) {
    uint64_t z = *chance += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* ---- What is done ---- */

struct call {
    struct model *model;
    uint64_t number;
    uint32_t recipient;
    int64_t deferral; /* 0: an end */
};

static struct call *begin(struct model *m, struct call call) {
    struct call *c = malloc(sizeof *c);
    *c = call;
    c->model = m;
    m->under_way++;
    return c;
}

static void over(struct call *c) {
    struct model *m = c->model;
    m->under_way--;
    pthread_cond_broadcast(&m->quiet);
    pthread_mutex_unlock(&m->lock);
    free(c);
}

static void sent(void *arg, int error, uint64_t message) {
    struct call *c = arg;
    pthread_mutex_lock(&c->model->lock);
    struct model_message *mm = &c->model->facts.messages[c->number];
    mm->acked = error == 0;
    mm->failed = error != 0;
    mm->message = message;
    over(c);
}

static void told(void *arg, int error) {
    struct call *c = arg;
    pthread_mutex_lock(&c->model->lock);
    struct model_recipient *r = &c->model->facts.messages[c->number].recipients[c->recipient];
    if (error == 0 && c->deferral == 0)
        r->ended = true;
    if (error == 0 && c->deferral > r->deferral)
        r->deferral = c->deferral;
    over(c);
}

uint64_t model_send(struct model *m, struct spool *s, const struct mail_shape *shape) {
    struct arena *arena = arena_new(0);
    int error;
    pthread_mutex_lock(&m->lock);
    uint64_t number = m->facts.count++;
    m->facts.messages[number] = (struct model_message){.sent = true, .shape = *shape};
    struct call *c = begin(m, (struct call){.number = number});
    pthread_mutex_unlock(&m->lock);
    struct spool_body *body = mail_body(s, number, shape->size, &error);
    struct spool_message message = mail_make(arena, number, shape);
    if (body)
        spool_commit(s, &message, body, sent, c);
    else
        sent(c, error, 0);
    arena_free(arena);
    return number;
}

static bool outcome(struct model *m, struct spool *s, uint64_t number, uint32_t recipient, bool end) {
    pthread_mutex_lock(&m->lock);
    struct model_message *mm = &m->facts.messages[number];
    struct model_recipient *r = &mm->recipients[recipient];
    bool possible =
        mm->acked && !mm->dead && !r->end_sent && recipient < mm->shape.groups * mm->shape.recipients;
    if (!possible) {
        pthread_mutex_unlock(&m->lock);
        return false;
    }
    r->end_sent = end;
    int64_t deferral = end ? 0 : ++r->deferrals_sent;
    struct call *c = begin(m, (struct call){.number = number, .recipient = recipient, .deferral = deferral});
    pthread_mutex_unlock(&m->lock);
    const struct spool_outcome o = {.fate = end ? SPOOL_DELIVERED : SPOOL_DEFERRED,
                                    .attempts = (uint32_t)deferral,
                                    .due = deferral,
                                    .reply = STR("451 4.7.1 Greylisted, come back later")};
    spool_outcome(s, mm->message, recipient, &o, told, c);
    return true;
}

bool model_end(struct model *m, struct spool *s, uint64_t number, uint32_t recipient) {
    return outcome(m, s, number, recipient, true);
}

bool model_defer(struct model *m, struct spool *s, uint64_t number, uint32_t recipient) {
    return outcome(m, s, number, recipient, false);
}

void model_wait(struct model *m, unsigned under_way) {
    pthread_mutex_lock(&m->lock);
    while (m->under_way > under_way)
        pthread_cond_wait(&m->quiet, &m->lock);
    pthread_mutex_unlock(&m->lock);
}

/* ---- What came back ---- */

struct came {
    struct model *model;
    bool there[MODEL_MESSAGES][MODEL_RECIPIENTS];
    int64_t due[MODEL_MESSAGES][MODEL_RECIPIENTS];
    uint64_t message[MODEL_MESSAGES];
};

#define WRONG(m, ...)                                                                                        \
    do {                                                                                                     \
        if (!(m)->why[0])                                                                                    \
            snprintf((m)->why, sizeof(m)->why, __VA_ARGS__);                                                 \
    } while (0)

static void damaged(void *arg, const struct spool_damage *d) {
    struct came *c = arg;
    WRONG(c->model, "damage reported: %.*s at %llu+%llu: %.*s", STR_FMT(d->segment),
          (unsigned long long)d->offset, (unsigned long long)d->length, STR_FMT(d->what));
}

static void waits(void *arg, const struct spool_recovered *r) {
    struct came *c = arg;
    struct model *m = c->model;
    uint64_t number = mail_number(r->envelope);
    if (number >= MODEL_MESSAGES || r->recipient >= MODEL_RECIPIENTS) {
        WRONG(m, "a message of an unknown number");
        return;
    }
    if (c->there[number][r->recipient])
        WRONG(m, "message %llu came twice", (unsigned long long)number);
    c->there[number][r->recipient] = true;
    c->due[number][r->recipient] = r->due;
    c->message[number] = r->message;
    if (r->damaged)
        WRONG(m, "message %llu came damaged", (unsigned long long)number);
}

static void compare_recipient(struct model *m, const struct came *c, uint64_t number, uint32_t i, bool there,
                              const struct model_message *mm) {
    const struct model_recipient *r = &mm->recipients[i];
    bool waits_now = c->there[number][i];
    if (waits_now && r->ended)
        WRONG(m, "message %llu recipient %u: its acknowledged end is lost", (unsigned long long)number, i);
    if (!waits_now && !r->end_sent && there)
        WRONG(m, "message %llu recipient %u is lost", (unsigned long long)number, i);
    if (waits_now && (c->due[number][i] < r->deferral || c->due[number][i] > r->deferrals_sent))
        WRONG(m, "message %llu recipient %u: deferral %lld, acknowledged %lld, sent %lld",
              (unsigned long long)number, i, (long long)c->due[number][i], (long long)r->deferral,
              (long long)r->deferrals_sent);
}

static void compare(struct model *m, const struct facts *facts, const struct came *c) {
    for (uint64_t n = 0; n < MODEL_MESSAGES; n++) {
        const struct model_message *mm = &facts->messages[n];
        uint32_t recipients = mm->shape.groups * mm->shape.recipients;
        bool any = false;
        for (uint32_t i = 0; i < MODEL_RECIPIENTS; i++)
            any = any || c->there[n][i];
        if (any && (!mm->sent || mm->dead))
            WRONG(m, "message %llu rose from the dead", (unsigned long long)n);
        for (uint32_t i = 0; i < recipients && !mm->dead; i++)
            compare_recipient(m, c, n, i, mm->acked || any, mm);
    }
}

static void read_all(struct model *m, struct spool *s, const struct facts *facts, const struct came *c) {
    for (uint64_t n = 0; n < MODEL_MESSAGES; n++) {
        bool any = false;
        for (uint32_t i = 0; i < MODEL_RECIPIENTS; i++)
            any = any || c->there[n][i];
        int error = any ? mail_read_back(s, c->message[n], n, &facts->messages[n].shape) : 0;
        if (error)
            WRONG(m, "message %llu does not read back: %s", (unsigned long long)n, error_text(error));
    }
}

static struct spool_options options(struct model *m, struct simdisk *disk) {
    return (struct spool_options){
        .dir = DIR, .io = simdisk_io(disk), .segment_size = m->segment_size, .disk_limit = m->disk_limit};
}

static void check(struct model *m, struct simdisk *disk, struct came *c) {
    struct arena *arena = arena_new(0);
    struct str why = STR_NULL;
    struct spool_check_result result;
    *c = (struct came){.model = m};
    int error = spool_check(DIR, simdisk_io(disk), damaged, waits, c, arena, &why, &result);
    if (error && error != SLUICE_ENOTFOUND)
        WRONG(m, "check: %.*s", STR_FMT(why));
    arena_free(arena);
}

/* Opens what the crash left, goes on, closes, and all is still there. */
static void go_on(struct model *m, const struct facts *facts, struct simdisk *disk, struct came *c) {
    struct arena *arena = arena_new(0);
    struct str why = STR_NULL;
    struct spool *s;
    struct spool_options o = options(m, disk);
    *c = (struct came){.model = m};
    int error = spool_open(&o, waits, c, arena, &why, &s);
    if (error) {
        WRONG(m, "open: %.*s", STR_FMT(why));
    } else {
        struct spool_stats stats;
        const struct mail_shape shape = {1, 1, 300, 0};
        uint64_t message;
        spool_stats(s, &stats);
        if (stats.damages)
            WRONG(m, "open reports damage");
        compare(m, facts, c);
        read_all(m, s, facts, c);
        error = mail_commit(s, 999999, &shape, &message);
        if (error == 0)
            error = mail_outcome(s, message, 0, SPOOL_DELIVERED);
        if (error && !(error == SLUICE_EFULL && m->disk_limit))
            WRONG(m, "can't go on: %s", error_text(error));
        spool_close(s);
    }
    arena_free(arena);
}

bool model_verify(struct model *m, const struct facts *facts, struct simdisk *disk, bool reopen) {
    struct came *c = calloc(1, sizeof *c);
    m->states++;
    check(m, disk, c);
    compare(m, facts, c);
    if (reopen) {
        go_on(m, facts, disk, c);
        check(m, disk, c);
        compare(m, facts, c);
    }
    free(c);
    return !m->why[0];
}

struct spool *model_open(struct model *m, struct simdisk *disk) {
    struct arena *arena = arena_new(0);
    struct came *c = calloc(1, sizeof *c);
    struct str why = STR_NULL;
    struct spool *s = NULL;
    struct spool_options o = options(m, disk);
    c->model = m;
    if (spool_open(&o, waits, c, arena, &why, &s))
        WRONG(m, "open: %.*s", STR_FMT(why));
    for (uint64_t n = 0; n < MODEL_MESSAGES; n++) {
        struct model_message *mm = &m->facts.messages[n];
        bool any = false;
        for (uint32_t i = 0; i < MODEL_RECIPIENTS; i++) {
            struct model_recipient *r = &mm->recipients[i];
            bool there = c->there[n][i];
            any = any || there;
            r->ended = r->end_sent = !there;
            r->deferral = r->deferrals_sent = there ? c->due[n][i] : r->deferral;
        }
        mm->acked = any;
        mm->dead = mm->sent && !any;
        mm->message = any ? c->message[n] : 0;
    }
    free(c);
    arena_free(arena);
    return s;
}
