/* What the watch knows, for `sluice source`, `sluice status` and the metrics. */
#include "alert/history.h"
#include "base/clock.h"
#include "watch/watch.h"

/* ---- counts ---- */

struct counts {
    size_t listed, unconfirmed, believed;
};

static struct counts count(const struct watch *w) {
    struct counts c = {0};
    struct blocklist_entry entry;
    struct str why;
    for (size_t i = 0; i < w->count; i++) {
        bool listed = false;
        for (size_t l = 0; l < w->settings->blocklists.count && !listed; l++)
            listed = watch_listed(w, &w->targets[i], l, &entry);
        c.listed += listed;
        c.unconfirmed += w->targets[i].reasons[WATCH_UNCONFIRMED] != NULL;
    }
    for (size_t l = 0; l < w->settings->blocklists.count; l++)
        c.believed += blocklist_believed(w->lists, l, &why);
    return c;
}

void watch_status(const struct watch *w, void (*add)(void *, const char *, const char *, int64_t), void *to) {
    struct counts c = count(w);
    add(to, "sources", NULL, (int64_t)w->count);
    add(to, "sources_listed", NULL, (int64_t)c.listed);
    add(to, "sources_unconfirmed", NULL, (int64_t)c.unconfirmed);
    add(to, "blocklists", NULL, (int64_t)w->settings->blocklists.count);
    add(to, "blocklists_answering", NULL, (int64_t)c.believed);
}

void watch_metrics(const struct watch *w, void (*add)(void *, const struct api_metric *), void *to) {
    struct counts c = count(w);
    struct blocklist_entry entry;
    struct str why;
    add(to, &(struct api_metric){"sluice_sources_unconfirmed",
                                 "addresses that rest because they are not forward-confirmed", false, NULL,
                                 STR_NULL, (double)c.unconfirmed});
    add(to, &(struct api_metric){"sluice_sources_listed", "addresses on one blocklist or more", false, NULL,
                                 STR_NULL, (double)c.listed});
    for (size_t l = 0; l < w->settings->blocklists.count; l++) {
        size_t listed = 0;
        for (size_t i = 0; i < w->count; i++)
            listed += watch_listed(w, &w->targets[i], l, &entry);
        add(to, &(struct api_metric){"sluice_blocklist_listed", "addresses on this blocklist", false, "list",
                                     w->settings->blocklists.lists[l].name, (double)listed});
    }
    for (size_t l = 0; l < w->settings->blocklists.count; l++)
        add(to, &(struct api_metric){
                    "sluice_blocklist_answering", "1 while the blocklist answers as it should", false, "list",
                    w->settings->blocklists.lists[l].name, blocklist_believed(w->lists, l, &why) ? 1 : 0});
}

int64_t watch_listings(const struct watch *w, const struct ip *ip, struct arena *arena,
                       struct str *ret_names) {
    const struct watch_target *t = watch_target(w, ip);
    struct blocklist_entry entry;
    int64_t listed = 0;
    *ret_names = STR("");
    for (size_t l = 0; t && l < w->settings->blocklists.count; l++) {
        if (!watch_listed(w, t, l, &entry))
            continue;
        *ret_names = str_printf(arena, "%.*s%s%.*s", STR_FMT(*ret_names), listed ? ", " : "",
                                STR_FMT(w->settings->blocklists.lists[l].name));
        listed++;
    }
    return listed;
}

/* ---- one address ---- */

static struct str list_state(const struct watch *w, const struct watch_target *t, size_t l,
                             const struct blocklist_entry *entry, struct str *ret_why) {
    const struct blocklist *list = &w->settings->blocklists.lists[l];
    bool believed = blocklist_believed_of(w->lists, l, t->listed_at - 1, ret_why);
    if (!blocklist_covers(list, &t->ip)) {
        *ret_why = STR("");
        return STR("other family");
    }
    if (entry->listed)
        return STR("listed");
    if (entry->forgotten)
        return STR("lapsed");
    if (!believed && !str_eq(*ret_why, STR("not tried yet")))
        return STR("not believed");
    return entry->answered ? STR("clear") : STR("not asked yet");
}

static void show_lists(const struct watch *w, const struct watch_target *t, struct arena *arena,
                       struct api_source_detail *ret) {
    size_t count = t->listed_at ? w->settings->blocklists.count : 0;
    struct api_source_list *lists = arena_array(arena, struct api_source_list, count);
    for (size_t l = 0; l < count; l++) {
        const struct blocklist *list = &w->settings->blocklists.lists[l];
        if (ip_is_private(&t->ip) && !list->own)
            continue;
        struct blocklist_entry entry = {0};
        struct str why = STR("");
        watch_listed(w, t, l, &entry);
        struct str state = list_state(w, t, l, &entry, &why);
        bool listed = entry.listed || entry.forgotten;
        lists[ret->list_count++] = (struct api_source_list){
            .list = str_copy(arena, list->name),
            .zone = str_copy(arena, list->zone),
            .state = state,
            .text = listed ? str_copy(arena, entry.text) : STR(""),
            .why = str_copy(arena, why),
            .removal = listed ? blocklist_removal(arena, list, &t->ip) : STR(""),
            .rests = !list->tells_only,
            .since = entry.since,
            .answered = entry.answered,
        };
    }
    ret->lists = lists;
}

static void show_gate(const struct watch *w, const struct watch_target *t, struct arena *arena,
                      struct api_source_detail *ret) {
    struct gate_view view = gate_view(w->gate, &t->ip, clock_wall_ms());
    ret->fcrdns.state = !t->gated                   ? STR("not required")
                        : view.belief == GATE_WRONG ? STR("denied")
                        : view.doubted              ? STR("doubted")
                        : view.belief == GATE_RIGHT ? STR("confirmed")
                                                    : STR("unknown");
    if (!t->gated)
        return;
    ret->fcrdns.name = str_copy(arena, view.name);
    ret->fcrdns.why = str_copy(arena, view.reason);
    ret->fcrdns.since = view.since;
    ret->fcrdns.answered = view.answered;
    ret->fcrdns.next = view.next_ask;
}

struct history {
    const char *folder, *path;
    const struct ip *ip;
    struct arena *arena;
    struct alert_filter filter;
    struct api_source_event *events;
    size_t count;
    struct watch_change *changes;
    size_t change_count;
    int error;
};

enum { EVENTS_MOST = 50 };

static void add_event(void *arg, const struct alert_record *r) {
    struct history *h = arg;
    if (h->count == EVENTS_MOST)
        return;
    h->events[h->count++] = (struct api_source_event){.alert = alert_word(r->kind),
                                                      .text = str_copy(h->arena, r->text),
                                                      .began = r->first,
                                                      .ended = r->ended,
                                                      .count = (int64_t)r->count};
}

static void read_history(void *arg) {
    struct history *h = arg;
    int error = alert_history(h->folder, &h->filter, add_event, h);
    h->error = watch_history_read(h->arena, h->path, h->ip, EVENTS_MOST, &h->changes, &h->change_count);
    if (!h->error && error != SLUICE_ENOTFOUND)
        h->error = error;
}

void watch_history(struct log *log, const char *trace_dir, const struct ip *ip, struct arena *arena,
                   struct api_source_detail *ret) {
    char text[IP_TEXT_SIZE];
    struct history h = {.folder = trace_dir, .ip = ip, .arena = arena};
    h.path = str_printf(arena, "%s/%s", trace_dir, WATCH_HISTORY_FILE).at;
    h.filter = (struct alert_filter){.subject = str_of(ip_text(ip, text)), .limit = EVENTS_MOST};
    h.events = arena_array(arena, struct api_source_event, EVENTS_MOST);
    offload(read_history, &h);
    if (h.error)
        log_event(log, LOG_WARNING, "the history of a source address can't be read", "error",
                  error_text(h.error), NULL);
    struct api_source_change *changes = arena_array(arena, struct api_source_change, h.change_count);
    for (size_t i = 0; i < h.change_count; i++) {
        const struct watch_change *c = &h.changes[i];
        changes[i] = (struct api_source_change){c->time, str_of(watch_event_word(c->event)), c->by, c->text};
    }
    ret->changes = changes, ret->change_count = h.change_count;
    ret->events = h.events, ret->event_count = h.count;
}

void watch_show(const struct watch *w, const struct ip *ip, struct arena *arena,
                struct api_source_detail *ret) {
    const struct watch_target *t = watch_target(w, ip);
    ret->fcrdns.state = STR("not required");
    if (!t)
        return;
    show_gate(w, t, arena, ret);
    show_lists(w, t, arena, ret);
}
