#include "api/api.h"

static int refuse(struct buf *why, const char *what) {
    buf_str(why, str_of(what));
    return SLUICE_ESYNTAX;
}

static int set_text(struct str *member, struct str value, struct buf *why) {
    *member = value;
    return value.len ? 0 : refuse(why, "a value is wanted");
}

static int set_age(int64_t *age, struct str value, struct buf *why) {
    return config_parse_duration(value, age) && *age > 0 ? 0
                                                         : refuse(why, "an age is wanted, as 30min or 2h");
}

static int set_flag(bool *flag, struct str value, struct buf *why) {
    if (str_eq(value, STR("1")))
        return *flag = true, 0;
    return config_parse_bool(value, flag) ? 0 : refuse(why, "on or off is wanted");
}

static int set_limit(size_t *limit, struct str value, struct buf *why) {
    uint64_t number;
    if (!str_to_u64(value, &number) || number < 1 || number > 1000000)
        return refuse(why, "a number from 1 to 1000000 is wanted");
    *limit = (size_t)number;
    return 0;
}

int api_queue_filter_set(struct api_queue_filter *f, struct str name, struct str value, struct buf *why) {
#define IF(text) if (str_eq(name, STR(text)))
    IF("id") {
        f->trace_id = value;
        return trace_id_valid(value) ? 0 : refuse(why, "a trace id is wanted: 26 characters of 0-9 and A-Z");
    }
    IF("sender") return set_text(&f->sender, value, why);
    IF("recipient") return set_text(&f->recipient, value, why);
    IF("domain") return set_text(&f->domain, value, why);
    IF("pool") return set_text(&f->pool, value, why);
    IF("older") return set_age(&f->older_ms, value, why);
    IF("younger") return set_age(&f->younger_ms, value, why);
    IF("held") return set_flag(&f->held_only, value, why);
    IF("all") return set_flag(&f->all, value, why);
    IF("limit") return set_limit(&f->limit, value, why);
    return SLUICE_ENOTFOUND;
#undef IF
}

bool api_queue_filter_empty(const struct api_queue_filter *f) {
    return !f->trace_id.len && !f->sender.len && !f->recipient.len && !f->domain.len && !f->pool.len &&
           !f->older_ms && !f->younger_ms && !f->held_only;
}

static struct str domain_of(struct str address) {
    ptrdiff_t at = str_rindex(address, '@');
    return at < 0 ? STR_NULL : str_from_index(address, (size_t)at + 1);
}

/* "a@b.c", "@b.c", "<>" for the null reverse-path. */
static bool address_matches(struct str wanted, struct str address) {
    if (!wanted.len)
        return true;
    if (str_eq(wanted, STR("<>")))
        return !address.len || str_eq(address, wanted);
    if (wanted.at[0] == '@')
        return str_eq_nocase(str_from_index(wanted, 1), domain_of(address));
    return str_eq_nocase(wanted, address);
}

bool api_queue_match(const struct api_queue_filter *f, const struct api_queue_entry *e, int64_t now) {
    int64_t age = now - e->arrived;
    struct str domain = f->domain.len && f->domain.at[0] == '@' ? str_from_index(f->domain, 1) : f->domain;
    if (f->trace_id.len && !str_eq(f->trace_id, e->trace_id))
        return false;
    if (domain.len && !str_eq_nocase(domain, domain_of(e->recipient)))
        return false;
    if (f->pool.len && !str_eq_nocase(f->pool, e->pool))
        return false;
    if ((f->older_ms && age < f->older_ms) || (f->younger_ms && age >= f->younger_ms))
        return false;
    if (f->held_only && !str_eq(e->state, STR("held")))
        return false;
    return address_matches(f->sender, e->sender) && address_matches(f->recipient, e->recipient);
}
