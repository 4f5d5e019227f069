#include "limits/sender_state.h"

enum { DAY_MS = 86400000 };

/* The start of the next UTC day. */
static int64_t next_day(int64_t now) {
    int64_t into = now % DAY_MS;
    return now - (into < 0 ? into + DAY_MS : into) + DAY_MS;
}

static uint32_t bit(enum sender_cause cause) { return 1u << cause; }

static void keep_text(char *to, size_t size, struct str from) {
    struct str head = str_head(from, size - 1);
    /* Whole UTF-8 characters only. */
    while (head.len && head.len < from.len && ((unsigned char)from.at[head.len] & 0xc0) == 0x80)
        head.len--;
    memset(to, 0, size);
    if (head.len)
        memcpy(to, head.at, head.len);
}

bool sender_is_restricted(const struct sender_state *s, int64_t now) {
    return s->restriction == SENDER_RESTRICTED ||
           (s->restriction == SENDER_RESTRICTED_TODAY && now < s->until);
}

static uint32_t exempt_now(const struct sender_state *s, int64_t now) {
    return now < s->exempt_until ? s->exempt : 0;
}

enum limit_action sender_action(const struct sender_state *s, enum sender_cause cause,
                                enum limit_action action, int64_t now) {
    if (cause == CAUSE_OPERATOR)
        return action;
    bool spared = s && (now < s->allowed_until || (exempt_now(s, now) & bit(cause)));
    return spared ? LIMIT_ALERT : action;
}

/* Once a day and cause. */
static enum sender_change alert(struct sender_state *s, enum sender_cause cause, int64_t now) {
    if (now >= s->alerted_until)
        s->alerted = 0;
    if (s->alerted & bit(cause))
        return SENDER_UNCHANGED;
    s->alerted |= bit(cause);
    s->alerted_until = next_day(now);
    return SENDER_ALERT;
}

static void record_cause(struct sender_state *s, const struct sender_event *e) {
    if (e->cause == CAUSE_OPERATOR)
        s->exempt = 0, s->exempt_until = s->allowed_until = 0;
    s->since = e->now;
    s->cause = e->cause;
    s->counts = e->counts;
    keep_text(s->reason, sizeof s->reason, e->reason);
    keep_text(s->by, sizeof s->by, e->by);
}

/* An operator's word over what detection found, that over a limit: what is held of his mail hangs on it
 * (delivery/carried.h), and what the administrator reads. */
static int weight(enum sender_cause cause) {
    return cause == CAUSE_OPERATOR ? 2 : cause >= CAUSE_PER_DAY && cause <= CAUSE_TENANT_EXTERNAL ? 0 : 1;
}

/* Restricted already: what weighs more is recorded instead, and the longer restriction stays. */
static enum sender_change exceed_more(struct sender_state *s, const struct sender_event *e,
                                      enum limit_action action) {
    bool longer = s->restriction == SENDER_RESTRICTED_TODAY && action == LIMIT_RESTRICT;
    bool heavier = weight(e->cause) > weight(s->cause);
    if (!longer && !heavier)
        return SENDER_UNCHANGED;
    if (longer) {
        s->restriction = SENDER_RESTRICTED;
        s->until = 0;
    }
    if (weight(e->cause) < weight(s->cause))
        return SENDER_RESTRICT;
    if (e->cause != CAUSE_OPERATOR && e->cause != s->cause) { /* released, he is so for both */
        s->exempt = exempt_now(s, e->now) | bit(s->cause);
        s->exempt_until = next_day(e->now);
    }
    record_cause(s, e);
    return SENDER_RESTRICT;
}

enum sender_change sender_exceed(struct sender_state *s, const struct sender_event *e) {
    bool restricted = sender_is_restricted(s, e->now); /* then nothing is spared */
    enum limit_action action = restricted ? e->action : sender_action(s, e->cause, e->action, e->now);
    if (action == LIMIT_ALERT)
        return alert(s, e->cause, e->now);
    if (restricted)
        return exceed_more(s, e, action);
    s->restriction = action == LIMIT_RESTRICT ? SENDER_RESTRICTED : SENDER_RESTRICTED_TODAY;
    s->until = action == LIMIT_RESTRICT ? 0 : next_day(e->now);
    record_cause(s, e);
    return SENDER_RESTRICT;
}

bool sender_release(struct sender_state *s, struct str by, int64_t now) {
    if (!sender_is_restricted(s, now))
        return false;
    s->exempt = exempt_now(s, now) | bit(s->cause);
    s->exempt_until = next_day(now);
    s->restriction = SENDER_FREE;
    s->until = 0;
    keep_text(s->by, sizeof s->by, by);
    return true;
}

void sender_allow(struct sender_state *s, int64_t until, struct str by, int64_t now) {
    s->allowed_until = until;
    if (until > now)
        (void)sender_release(s, by, now);
    keep_text(s->by, sizeof s->by, by);
}

bool sender_may_send(const struct sender_state *s, int64_t now, struct outcome *ret_refusal) {
    static const struct {
        struct str enhanced, text;
    } replies[] = {
        [SENDER_USER] = {{"5.1.8", 5}, {"Access denied, bad outbound sender", 34}},
        [SENDER_CONNECTOR] = {{"5.7.711", 7}, {"Access denied, bad inbound connector", 36}},
        [SENDER_TENANT] = {{"5.7.705", 7}, {"Access denied, tenant has exceeded threshold", 44}},
    };
    if (!s || !sender_is_restricted(s, now))
        return true;
    *ret_refusal = (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_NEVER,
        .code = 550,
        .enhanced = replies[s->kind].enhanced,
        .text = replies[s->kind].text,
    };
    return false;
}

bool sender_is_blank(const struct sender_state *s, int64_t now) {
    return !sender_is_restricted(s, now) && !exempt_now(s, now) && now >= s->alerted_until &&
           now >= s->allowed_until;
}

/* ---- The stored form ---- */

static void put_text(struct buf *b, struct str s) {
    buf_u16(b, (uint16_t)s.len);
    buf_str(b, s);
}

void sender_encode(struct buf *b, struct str name, const struct sender_state *s) {
    const struct sender_counts *c = &s->counts;
    buf_u8(b, (uint8_t)s->kind);
    buf_u8(b, (uint8_t)s->restriction);
    buf_u8(b, (uint8_t)s->cause);
    buf_u8(b, 0);
    buf_u64(b, (uint64_t)s->since);
    buf_u64(b, (uint64_t)s->until);
    const uint32_t counts[] = {c->spam, c->mail, c->recipients, c->unknown, c->destinations, c->refusals};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        buf_u32(b, counts[i]);
    buf_u32(b, s->exempt);
    buf_u64(b, (uint64_t)s->exempt_until);
    buf_u32(b, s->alerted);
    buf_u64(b, (uint64_t)s->alerted_until);
    buf_u64(b, (uint64_t)s->allowed_until);
    put_text(b, name);
    put_text(b, str_of(s->reason));
    put_text(b, str_of(s->by));
}

static struct str get_text(struct cursor *c, size_t most) {
    uint16_t len = cursor_u16(c);
    if (len > most)
        cursor_fail(c);
    struct str s = cursor_bytes(c, len);
    if (s.len && memchr(s.at, 0, s.len))
        cursor_fail(c);
    return s;
}

bool sender_decode(struct cursor *c, struct str *ret_name, struct sender_state *ret) {
    struct sender_state s = {0};
    uint8_t kind = cursor_u8(c), restriction = cursor_u8(c), cause = cursor_u8(c);
    if (cursor_u8(c) || kind > SENDER_TENANT || restriction > SENDER_RESTRICTED ||
        (cause && !sender_cause_word(cause)) || (restriction && !cause))
        cursor_fail(c);
    s.kind = kind;
    s.restriction = restriction;
    s.cause = cause;
    s.since = (int64_t)cursor_u64(c);
    s.until = (int64_t)cursor_u64(c);
    uint32_t *const counts[] = {&s.counts.spam,    &s.counts.mail,         &s.counts.recipients,
                                &s.counts.unknown, &s.counts.destinations, &s.counts.refusals};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        *counts[i] = cursor_u32(c);
    s.exempt = cursor_u32(c);
    s.exempt_until = (int64_t)cursor_u64(c);
    s.alerted = cursor_u32(c);
    s.alerted_until = (int64_t)cursor_u64(c);
    s.allowed_until = (int64_t)cursor_u64(c);
    struct str name = get_text(c, UINT16_MAX);
    keep_text(s.reason, sizeof s.reason, get_text(c, SENDER_REASON - 1));
    keep_text(s.by, sizeof s.by, get_text(c, SENDER_BY - 1));
    if (!cursor_ok(c) || !name.len)
        return false;
    *ret_name = name;
    *ret = s;
    return true;
}
