/* What a configuration makes of the watch. */
#include "base/clock.h"
#include "base/map.h"
#include "watch/watch.h"
#include <stdlib.h>

static struct str key_of(const struct ip *ip) { return str_from(ip, sizeof *ip); }

struct watch_target *watch_target(const struct watch *w, const struct ip *ip) {
    return w->by_ip ? map_get(w->by_ip, key_of(ip)) : NULL;
}

static bool is_here(const struct pools *pools, const struct source *s) {
    return pools->sites[pools->pools[s->pool].site].here;
}

/* What it was told is taken over. */
static void make_target(struct watch *w, const struct settings *s, const struct source *source,
                        struct watch_target *t) {
    struct watch_target *old = watch_target(w, &source->ip);
    bool private = ip_is_private(&source->ip);
    *t = (struct watch_target){.ip = source->ip, .pool = &s->pools->pools[source->pool]};
    t->gated = s->identity.confirm && (!private || s->identity.confirm_private);
    for (size_t i = 0; i < s->blocklists.count; i++)
        t->listed_at |= blocklist_covers(&s->blocklists.lists[i], &t->ip);
    for (int i = 0; old && i < 2; i++) {
        t->reasons[i] = old->reasons[i], t->alerts[i] = old->alerts[i];
        t->beyond[i] = old->beyond[i] && (i == WATCH_LISTED ? t->listed_at > 0 : t->gated);
        old->reasons[i] = NULL, old->alerts[i] = false;
    }
}

static struct watch_target *make_targets(struct watch *w, const struct settings *s, size_t *ret_count) {
    const struct pools *pools = s->pools;
    struct watch_target *targets = xcalloc(pools->source_count + 1, sizeof *targets);
    for (size_t i = 0; i < pools->source_count; i++)
        if (is_here(pools, &pools->sources[i]))
            make_target(w, s, &pools->sources[i], &targets[(*ret_count)++]);
    return targets;
}

static void free_targets(struct watch *w) {
    for (size_t i = 0; i < w->count; i++)
        for (int j = 0; j < 2; j++)
            free(w->targets[i].reasons[j]);
    free(w->targets);
    free(w->listed);
    free(w->listed_targets);
    free(w->said);
    free(w->out);
    map_free(w->by_ip);
}

/* The lists' own index of the addresses. */
static void index_targets(struct watch *w) {
    w->by_ip = map_new(false);
    w->listed = xcalloc(w->count + 1, sizeof *w->listed);
    w->listed_targets = xcalloc(w->count + 1, sizeof(struct watch_target *));
    w->out = xcalloc(w->settings->pools->pool_count + 1, sizeof *w->out);
    w->listed_count = 0;
    for (int i = 0; i < 2; i++)
        w->own_alerts[i] = w->beyond[i] = 0;
    for (size_t i = 0; i < w->count; i++) {
        struct watch_target *t = &w->targets[i];
        for (int j = 0; j < 2; j++)
            w->own_alerts[j] += t->alerts[j], w->beyond[j] += t->beyond[j];
        w->out[t->pool - w->settings->pools->pools] += watch_out(t);
        map_put(w->by_ip, key_of(&t->ip), t);
        if (!t->listed_at)
            continue;
        w->listed[w->listed_count] = t->ip;
        w->listed_targets[w->listed_count++] = t;
        t->listed_at = w->listed_count;
    }
}

void watch_adopt(struct watch *w, struct settings *s) {
    enum gate_require require = s->identity.confirm ? GATE_REQUIRE_FCRDNS : GATE_REQUIRE_NONE;
    struct blocklist_watch *old_lists = w->lists;
    struct watch old = *w;
    size_t count = 0;
    struct watch_target *targets = make_targets(w, s, &count);
    if (!w->gate)
        w->gate = gate_new(require, s->identity.recheck_ms);
    else
        gate_reload(w->gate, require, s->identity.recheck_ms, s->pools);
    w->settings = settings_ref(s);
    w->targets = targets, w->count = count, w->cursor = w->fresh = 0;
    w->gate_free_at = w->sweep_at = w->save_at = 0;
    w->generation++;
    index_targets(w);
    w->said = xcalloc(s->blocklists.count + 1, 1);
    w->lists = blocklist_watch_new(s->blocklists.lists, s->blocklists.count, w->listed, w->listed_count,
                                   &s->blocklists.pace, str_hash(s->node, 0), clock_wall_ms(), old_lists);
    for (size_t i = 0; i < old.count; i++) /* what was not taken over is gone */
        watch_drop(w, &old.targets[i]);
    blocklist_watch_free(old_lists);
    free_targets(&old);
    settings_unref(old.settings);
    for (size_t i = 0; i < w->count; i++) {
        watch_tell_again(w, &w->targets[i]); /* it may have been away for a moment */
        watch_tell(w, &w->targets[i]);
        watch_alert(w, &w->targets[i]);
    }
    w->dirty = old.generation > 0;
}

void watch_forget(struct watch *w) {
    gate_free(w->gate);
    blocklist_watch_free(w->lists);
    free_targets(w);
    buf_free(&w->changes);
    settings_unref(w->settings);
}
