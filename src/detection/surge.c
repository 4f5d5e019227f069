#include "detection/surge.h"
#include "base/shell.h"
#include "detection/surge_inside.h"
#include "seeded_bug.h"

#include <stdio.h>
#include <stdlib.h>

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

void surge_keep(char *to, size_t size, struct str from) {
    struct str head = str_head(from, size - 1);
    memset(to, 0, size);
    if (head.len)
        memcpy(to, head.at, head.len);
}

uint32_t surge_hash(struct str name) {
    return (uint32_t)str_hash_nocase(str_head(name, NAME - 1), 2); /* as it is kept */
}

static void top_add(struct top *t, struct str name) {
    uint32_t hash = surge_hash(name);
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
    t->at[least].missed = t->at[least].count++;
    surge_keep(t->at[least].name, NAME, name);
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

/* How many of the half hour are certainly of this name. */
static uint32_t certain_of(const struct tenant_reports *r, enum axis axis, struct str name) {
    uint32_t hash = surge_hash(name), sum = 0;
    for (unsigned i = 0; i < STEPS * TOP; i++) {
        const struct top_name *one = &r->steps[i / TOP].tops[axis].at[i % TOP];
        if (one->count && one->hash == hash)
            sum += one->count - one->missed;
    }
    return sum;
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
    if (step < r->step - STEPS_BACK) { /* what was counted is of a time that has not come */
        memset(r->steps, 0, sizeof r->steps);
        r->step = step;
    }
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

/* What to do, with the commands as they are typed. */
static struct str advice_of(struct arena *arena, enum surge_cause cause, const char *subject) {
    struct str who = shell_word(arena, str_of(subject));
    switch (cause) {
    case SURGE_SPOOFING:
        return STR(
            "Nobody here sent it. Publish SPF that ends in -all, sign with DKIM, and a DMARC policy of "
            "quarantine or reject, so that receivers refuse the forged mail instead of bouncing it.");
    case SURGE_SERVER:
        if (strchr(subject, '/'))
            return str_printf(arena,
                              "Have its owner find what sends there; until then nothing more comes from it "
                              "after: sluice sender restrict %.*s",
                              STR_FMT(who));
        return str_printf(arena,
                          "See what that address sends, and in whose name: sluice trace --from-ip %.*s "
                          "--since 1h. Stop those senders: sluice sender restrict NAME",
                          STR_FMT(who));
    case SURGE_SPAM:
    case SURGE_HARVEST:
        if (subject[0])
            return str_printf(arena,
                              "Look: sluice sender show %.*s. Stop it: sluice sender restrict %.*s, and have "
                              "its password changed%s; then: sluice sender release %.*s",
                              STR_FMT(who), STR_FMT(who),
                              cause == SURGE_HARVEST ? ", or its list of recipients cleaned" : "",
                              STR_FMT(who));
        return STR("See who sends it: sluice sender list, and the samples with sluice trace show ID. Stop "
                   "each: sluice sender restrict NAME, and have the password changed.");
    case SURGE_MIXED:
        break;
    }
    return STR("Look at the samples: sluice trace show ID; and at all of it: sluice trace --status Failed "
               "--since 1h.");
}

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
        .advice = advice_of(arena, r->active ? r->cause : cause, subject),
        .samples = samples_text(r, arena),
    };
    ret->text = str_printf(
        arena,
        "%u reports of failed delivery in half an hour, where %u are usual: %s%s%s. %u came in, %u of these "
        "for mail that nobody here sent; %u recipients failed, %u of them don't exist, and of %u the mail "
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

struct tenant_reports *surge_tenant(struct surge *s, struct str tenant, int64_t now) {
    struct str key = tenant.len ? str_head(tenant, NAME - 1) : STR("-");
    struct tenant_reports *r = map_get(s->tenants, key);
    if (r)
        return r;
    if (map_count(s->tenants) >= SURGE_TENANTS)
        make_room(s);
    r = xcalloc(1, sizeof *r);
    surge_keep(r->name, sizeof r->name, str_head(tenant, NAME - 1));
    r->step = now / STEP_MS;
    map_put(s->tenants, key, r);
    return r;
}

static void add_event(struct tenant_reports *r, const struct surge_event *e) {
    struct step *step = &r->steps[r->step % STEPS];
    step->counts[SHARE_IN] += e->incoming;
    step->counts[SHARE_FAILED] += !e->incoming;
    step->counts[SHARE_UNKNOWN] += !e->incoming && e->kind == REPLY_UNKNOWN;
    step->counts[SHARE_SPAM] += !e->incoming && (e->bad || e->kind == REPLY_SPAM);
    if (e->incoming) {
        top_add(&step->tops[AXIS_DOMAIN], e->domain);
        top_add(&step->tops[AXIS_RECIPIENT], e->recipient);
        step->counts[SHARE_UNSENT] += !e->sent || certain_of(r, AXIS_RECIPIENT, e->recipient) > e->sent;
    } else {
        top_add(&step->tops[AXIS_SENDER], e->sender);
        top_add(&step->tops[AXIS_SERVER], e->connector.len ? e->connector : e->host);
    }
    unsigned at = r->sampled++ % SAMPLES;
    surge_keep(r->samples[at].trace_id, sizeof r->samples[at].trace_id, e->trace_id);
    surge_keep(r->samples[at].recipient, NAME, e->recipient);
    surge_keep(r->samples[at].reply, NAME, e->reply);
}

bool surge_event(struct surge *s, const struct surge_event *e, struct arena *arena, struct surge_alert *ret) {
    const char *subject;
    if (!e->incoming && !e->bad && e->failing < ORDINARY)
        return false;
    struct tenant_reports *r = surge_tenant(s, e->tenant, e->now);
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
