#include "detection/surge.h"
#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/map.h"
#include "seeded_bug.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEPS = 3, STEP_MS = 600000, TOP = 6, NAME = 128, SAMPLES = 6, STEPS_A_DAY = 144, ORDINARY = 100 };

enum share { SHARE_IN, SHARE_UNSENT, SHARE_FAILED, SHARE_UNKNOWN, SHARE_SPAM, SHARES };
enum axis { AXIS_DOMAIN, AXIS_SENDER, AXIS_SERVER, AXES };

/* The most frequent names, by the method of Space-Saving: none with over a sixth of all is missing. */
struct top {
    struct {
        uint32_t hash, count;
        char name[NAME];
    } at[TOP];
};

struct step {
    uint32_t counts[SHARES];
    struct top tops[AXES];
};

struct tenant_reports {
    char name[NAME];
    int64_t step; /* number of the newest */
    struct step steps[STEPS];
    uint32_t usual; /* of half an hour, in sixteenths */
    bool active;
    enum surge_cause cause;
    struct {
        char trace_id[32], recipient[NAME], reply[NAME];
    } samples[SAMPLES];
    unsigned sampled;
};
_Static_assert(sizeof(struct tenant_reports) <= SURGE_BYTES, "SURGE_BYTES");

struct surge {
    struct pattern_rules rules;
    struct map *tenants;
};

const char *surge_cause_word(enum surge_cause cause) {
    static const char *const words[] = {
#define X(name, word, text) word,
        SURGE_CAUSES(X)
#undef X
    };
    return words[cause];
}

struct surge *surge_new(const struct pattern_rules *rules) {
    struct surge *s = xcalloc(1, sizeof *s);
    s->rules = *rules;
    s->tenants = map_new(true);
    return s;
}

struct surge *surge_free(struct surge *s) {
    if (!s)
        return NULL;
    struct str name;
    void *tenant;
    for (size_t at = 0; map_next(s->tenants, &at, &name, &tenant);)
        free(tenant);
    map_free(s->tenants);
    free(s);
    return NULL;
}

void surge_configure(struct surge *s, const struct pattern_rules *rules) { s->rules = *rules; }

/* ---- Counting ---- */

static void keep(char *to, size_t size, struct str from) {
    struct str head = str_head(from, size - 1);
    memset(to, 0, size);
    if (head.len)
        memcpy(to, head.at, head.len);
}

static void top_add(struct top *t, struct str name) {
    uint32_t hash = (uint32_t)str_hash_nocase(name, 2);
    unsigned least = 0;
    if (!name.len)
        return;
    for (unsigned i = 0; i < TOP; i++) {
        if (t->at[i].count && t->at[i].hash == hash) {
            t->at[i].count++;
            return;
        }
        if (t->at[i].count < t->at[least].count)
            least = i;
    }
    t->at[least].hash = hash;
    t->at[least].count++;
    keep(t->at[least].name, NAME, name);
}

static uint32_t total_of(const struct tenant_reports *r, enum share share) {
    uint32_t sum = 0;
    for (unsigned i = 0; i < STEPS; i++)
        sum += r->steps[i].counts[share];
    return sum;
}

static uint32_t all_of(const struct tenant_reports *r) {
    return total_of(r, SHARE_IN) + total_of(r, SHARE_FAILED);
}

/* The most frequent of the half hour. */
static uint32_t top_of(const struct tenant_reports *r, enum axis axis, const char **ret_name) {
    uint32_t best = 0;
    *ret_name = "";
    for (unsigned i = 0; i < STEPS * TOP; i++) {
        const struct top *t = &r->steps[i / TOP].tops[axis];
        uint32_t hash = t->at[i % TOP].hash, sum = 0;
        for (unsigned j = 0; t->at[i % TOP].count && j < STEPS * TOP; j++) {
            const struct top *other = &r->steps[j / TOP].tops[axis];
            if (other->at[j % TOP].count && other->at[j % TOP].hash == hash)
                sum += other->at[j % TOP].count;
        }
        if (sum > best) {
            best = sum;
            *ret_name = t->at[i % TOP].name;
        }
    }
    return best;
}

/* ---- What is usual ---- */

static void learn_step(struct tenant_reports *r, const struct pattern_rules *rules) {
    uint64_t floor = 16 * (uint64_t)rules->surge / rules->surge_growth;
    uint64_t now = 16 * (uint64_t)all_of(r), base = r->usual > floor ? r->usual : floor;
    if (now > 2 * base)
        now = 2 * base;
    int64_t change = ((int64_t)now - (int64_t)r->usual) / STEPS_A_DAY;
    r->usual = (uint32_t)((int64_t)r->usual + change);
}

static void advance(struct tenant_reports *r, int64_t now, const struct pattern_rules *rules) {
    int64_t step = now / STEP_MS;
    if (step <= r->step)
        return;
    if (step - r->step > 10 * STEPS_A_DAY)
        r->usual = 0;
    for (int64_t i = 0; i < 10 * STEPS_A_DAY && r->step < step; i++) {
        learn_step(r, rules);
        r->step++;
        r->steps[r->step % STEPS] = (struct step){0};
    }
    r->step = step;
}

static bool has_ended(const struct tenant_reports *r, const struct pattern_rules *rules) {
    return r->active && 2 * (uint64_t)all_of(r) < rules->surge;
}

static bool is_surge(const struct tenant_reports *r, const struct pattern_rules *rules) {
    uint64_t count = all_of(r);
    return count >= rules->surge && 16 * count >= (uint64_t)rules->surge_growth * r->usual;
}

/* ---- The cause ---- */

static enum surge_cause cause_of(const struct tenant_reports *r, const char **ret_subject) {
    const char *domain, *sender, *server;
    uint64_t failed = total_of(r, SHARE_FAILED), all = all_of(r);
    uint64_t of_sender = top_of(r, AXIS_SENDER, &sender), of_server = top_of(r, AXIS_SERVER, &server);
    top_of(r, AXIS_DOMAIN, &domain);
    *ret_subject = domain;
#ifdef SLUICE_SEEDED_BUG_SURGE_WRONG_CAUSE
    if (2 * (uint64_t)total_of(r, SHARE_IN) >= all)
        return SURGE_SPOOFING;
#else
    if (2 * (uint64_t)total_of(r, SHARE_UNSENT) >= all)
        return SURGE_SPOOFING;
#endif
    *ret_subject = server;
    if (2 * of_server >= failed && 2 * failed >= all && 2 * of_sender < of_server)
        return SURGE_SERVER;
    *ret_subject = 2 * of_sender >= failed ? sender : "";
    if (2 * (uint64_t)total_of(r, SHARE_SPAM) >= failed && failed)
        return SURGE_SPAM;
    if (2 * (uint64_t)total_of(r, SHARE_UNKNOWN) >= failed && 2 * of_sender >= failed && failed)
        return SURGE_HARVEST;
    *ret_subject = "";
    return SURGE_MIXED;
}

/* ---- Telling ---- */

static const char *const texts[] = {
#define X(name, word, text) text,
    SURGE_CAUSES(X)
#undef X
};

static const char *const advice[] = {
    [SURGE_MIXED] = "Look at the samples, and at `sluice trace` of the tenant's failed mail.",
    [SURGE_SPOOFING] = "Nothing was sent through here. Publish SPF that ends in -all, sign with DKIM, and a "
                       "DMARC policy of quarantine or reject, so that receivers refuse the forged mail "
                       "instead of bouncing it.",
    [SURGE_HARVEST] = "Look at the sender with `sluice sender show`; restrict it with `sluice sender "
                      "restrict`, change its password, or have its list cleaned.",
    [SURGE_SPAM] = "Look at who sends it with `sluice sender list` and `sluice trace`; restrict the sender, "
                   "change its password, then release it.",
    [SURGE_SERVER] = "Take the connector or the host out of use until its owner has found what sends there: "
                     "`sluice sender restrict TENANT/NAME` stops a connector.",
};

static struct str samples_text(const struct tenant_reports *r, struct arena *arena) {
    struct str text = STR("");
    unsigned count = r->sampled < SAMPLES ? r->sampled : SAMPLES;
    for (unsigned i = 0; i < count; i++)
        text = str_printf(arena, "%.*s%s%s <%s>: %s", STR_FMT(text), i ? "\n" : "",
                          r->samples[i].trace_id[0] ? r->samples[i].trace_id : "-", r->samples[i].recipient,
                          r->samples[i].reply);
    return text;
}

static void alert_of(const struct tenant_reports *r, struct arena *arena, struct surge_alert *ret) {
    const char *subject;
    enum surge_cause cause = cause_of(r, &subject);
    *ret = (struct surge_alert){
        .tenant = str_copy(arena, str_of(r->name)),
        .cause = r->active ? r->cause : cause,
        .subject = str_copy(arena, str_of(subject)),
        .count = all_of(r),
        .advice = str_of(advice[r->active ? r->cause : cause]),
        .samples = samples_text(r, arena),
    };
    ret->text = str_printf(
        arena,
        "%u reports of failed delivery in half an hour, where %u are usual: %s%s%s. %u came in, %u of these "
        "for addresses that sent nothing; %u recipients failed, %u of them don't exist, and of %u the mail "
        "was spam",
        ret->count, r->usual / 16, texts[ret->cause], subject[0] ? ": " : "", subject, total_of(r, SHARE_IN),
        total_of(r, SHARE_UNSENT), total_of(r, SHARE_FAILED), total_of(r, SHARE_UNKNOWN),
        total_of(r, SHARE_SPAM));
}

/* ---- The table ---- */

static void make_room(struct surge *s) {
    struct str name, oldest = STR("");
    void *value;
    int64_t step = INT64_MAX;
    for (size_t at = 0; map_next(s->tenants, &at, &name, &value);) {
        const struct tenant_reports *r = value;
        if (r->step < step) {
            step = r->step;
            oldest = name;
        }
    }
    free(map_remove(s->tenants, oldest));
}

static struct tenant_reports *reports_of(struct surge *s, struct str tenant, int64_t now) {
    struct str key = tenant.len ? str_head(tenant, NAME - 1) : STR("-");
    struct tenant_reports *r = map_get(s->tenants, key);
    if (r)
        return r;
    if (map_count(s->tenants) >= SURGE_TENANTS)
        make_room(s);
    r = xcalloc(1, sizeof *r);
    keep(r->name, sizeof r->name, str_head(tenant, NAME - 1));
    r->step = now / STEP_MS;
    map_put(s->tenants, key, r);
    return r;
}

static void add_event(struct tenant_reports *r, const struct surge_event *e) {
    struct step *step = &r->steps[r->step % STEPS];
    step->counts[SHARE_IN] += e->incoming;
    step->counts[SHARE_UNSENT] += e->incoming && e->unsent;
    step->counts[SHARE_FAILED] += !e->incoming;
    step->counts[SHARE_UNKNOWN] += !e->incoming && e->kind == REPLY_UNKNOWN;
    step->counts[SHARE_SPAM] += !e->incoming && (e->bad || e->kind == REPLY_SPAM);
    if (e->incoming)
        top_add(&step->tops[AXIS_DOMAIN], e->domain);
    else {
        top_add(&step->tops[AXIS_SENDER], e->sender);
        top_add(&step->tops[AXIS_SERVER], e->connector.len ? e->connector : e->host);
    }
    unsigned at = r->sampled++ % SAMPLES;
    keep(r->samples[at].trace_id, sizeof r->samples[at].trace_id, e->trace_id);
    keep(r->samples[at].recipient, NAME, e->recipient);
    keep(r->samples[at].reply, NAME, e->reply);
}

bool surge_event(struct surge *s, const struct surge_event *e, struct arena *arena, struct surge_alert *ret) {
    const char *subject;
    if (!e->incoming && !e->bad && e->failing < ORDINARY)
        return false;
    struct tenant_reports *r = reports_of(s, e->tenant, e->now);
    advance(r, e->now, &s->rules);
    add_event(r, e);
    if (!s->rules.apply || !is_surge(r, &s->rules))
        return false;
    enum surge_cause cause = cause_of(r, &subject);
    if (r->active && (cause == r->cause || cause == SURGE_MIXED))
        return false;
    r->active = true;
    r->cause = cause;
    alert_of(r, arena, ret);
    return true;
}

bool surge_next_over(struct surge *s, size_t *at, int64_t now, struct arena *arena, struct surge_alert *ret) {
    struct str name;
    void *value;
    while (map_next(s->tenants, at, &name, &value)) {
        struct tenant_reports *r = value;
        advance(r, now, &s->rules);
        if (!has_ended(r, &s->rules))
            continue;
        alert_of(r, arena, ret);
        ret->over = true;
        r->active = false;
        return true;
    }
    return false;
}

/* ---- Over a restart ----
 * "SLSURGES", u32 number, then of each u16 length and name, u32 usual; u32 CRC32C of all before. */

static const char magic[8] = {'S', 'L', 'S', 'U', 'R', 'G', 'E', 'S'};

void surge_save(const struct surge *s, struct buf *b) {
    size_t from = b->len;
    struct str name;
    void *value;
    buf_add(b, magic, sizeof magic);
    buf_u32(b, (uint32_t)map_count(s->tenants));
    for (size_t at = 0; map_next(s->tenants, &at, &name, &value);) {
        const struct tenant_reports *r = value;
        struct str kept = str_of(r->name);
        buf_u16(b, (uint16_t)kept.len);
        buf_str(b, kept);
        buf_u32(b, r->usual);
    }
    buf_u32(b, crc32c(0, b->at + from, b->len - from));
}

bool surge_restore(struct surge *s, struct str bytes, int64_t now) {
    struct cursor c = cursor_of(bytes);
    struct str m = cursor_bytes(&c, sizeof magic);
    if (!cursor_ok(&c) || memcmp(m.at, magic, sizeof magic) != 0 || bytes.len < 16)
        return false;
    struct cursor tail = cursor_of(str_from_index(bytes, bytes.len - 4));
    if (cursor_u32(&tail) != crc32c(0, bytes.at, bytes.len - 4))
        return false;
    uint32_t count = cursor_u32(&c);
    for (uint32_t i = 0; i < count && i < SURGE_TENANTS; i++) {
        struct str name = cursor_bytes(&c, cursor_u16(&c));
        uint32_t usual = cursor_u32(&c);
        if (!cursor_ok(&c) || name.len >= NAME || (name.len && memchr(name.at, 0, name.len)))
            return false;
        reports_of(s, name, now)->usual = usual;
    }
    return true;
}
