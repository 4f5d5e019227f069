#include "scan/milter_health.h"

#include "base/map.h"
#include <pthread.h>
#include <stdlib.h>

enum { WHY_MAX = 200 };

struct entry {
    bool down;
    int64_t since, rest_until;
    uint64_t counts[MILTER_COUNTS];
    size_t why_len;
    char why[WHY_MAX];
};

struct milter_service {
    pthread_mutex_t lock;
    struct map *entries; /* by name */
};

struct milter_service *milter_service_new(void) {
    struct milter_service *s = xcalloc(1, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->entries = map_new(false);
    return s;
}

struct milter_service *milter_service_free(struct milter_service *s) {
    size_t at = 0;
    struct str name;
    void *entry;
    if (!s)
        return NULL;
    while (map_next(s->entries, &at, &name, &entry))
        free(entry);
    map_free(s->entries);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

/* With the lock held. */
static struct entry *entry_of(struct milter_service *s, struct str name) {
    struct entry *e = map_get(s->entries, name);
    if (!e) {
        e = xcalloc(1, sizeof *e);
        map_put(s->entries, name, e);
    }
    return e;
}

bool milter_service_note(struct milter_service *s, struct str name, bool up, struct str why, int64_t now) {
    pthread_mutex_lock(&s->lock);
    struct entry *e = entry_of(s, name);
    bool news = e->down == up;
    if (news) {
        e->down = !up;
        e->since = now;
    }
    if (!up) {
        e->why_len = why.len < WHY_MAX ? why.len : WHY_MAX;
        memcpy(e->why, why.at, e->why_len);
    }
    e->counts[up ? MILTER_COUNT_MESSAGES : MILTER_COUNT_FAILURES]++;
    pthread_mutex_unlock(&s->lock);
    return news;
}

void milter_service_rest(struct milter_service *s, struct str name, int64_t until) {
    pthread_mutex_lock(&s->lock);
    entry_of(s, name)->rest_until = until;
    pthread_mutex_unlock(&s->lock);
}

bool milter_service_rests(struct milter_service *s, struct str name, int64_t now) {
    pthread_mutex_lock(&s->lock);
    const struct entry *e = map_get(s->entries, name);
    bool rests = e && e->rest_until > now;
    pthread_mutex_unlock(&s->lock);
    return rests;
}

void milter_service_count(struct milter_service *s, struct str name, enum milter_count what) {
    pthread_mutex_lock(&s->lock);
    entry_of(s, name)->counts[what]++;
    pthread_mutex_unlock(&s->lock);
}

void milter_service_get(struct milter_service *s, struct str name, struct arena *arena,
                        struct milter_health *ret) {
    pthread_mutex_lock(&s->lock);
    const struct entry *e = map_get(s->entries, name);
    *ret = (struct milter_health){.name = name, .up = !e || !e->down, .why = STR("")};
    if (e) {
        ret->why = str_copy(arena, str_from(e->why, e->why_len));
        ret->since = e->since;
        memcpy(ret->counts, e->counts, sizeof ret->counts);
    }
    pthread_mutex_unlock(&s->lock);
}
