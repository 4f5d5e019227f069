#include "delivery/deliver.h"

#include "base/clock.h"
#include "delivery/carried.h"
#include "delivery/connect.h"
#include "delivery/message.h"
#include "delivery/settle.h"
#include "pool/guard.h"
#include "seeded_bug.h"
#include <stdio.h>

enum { IDLE_MS = 2000, PROBE_AFTER_MS = 1000, RECIPIENTS_MAX = 1000, READ_RETRY_MS = 60 * 1000 };

/* One session: a connection, and the transactions on it. */
struct session {
    struct flow *flow;
    struct queue_session *queue;
    struct connection connection;
    struct message_source *source; /* of the transaction */
    int read_error;                /* of `source` */
    bool body_begun;               /* of the transaction: the receiver has a part of it */
    bool good;                     /* the receiver dealt with mail on this connection */
    unsigned transactions;         /* that were begun on the connection */
    enum mail_class class;         /* of the transaction */
    char guard_reason[GUARD_REASON_SIZE];
    bool guard_stopped;
};

/* What a transaction came from the queue with. */
struct batch {
    struct delivery **deliveries;
    size_t count;
    struct spool_message message;
    struct arena *arena;
};

static void postpone_all(struct session *s, const struct batch *b, int64_t due, const struct outcome *why) {
    for (size_t i = 0; i < b->count; i++)
        queue_postpone(s->flow->queue, b->deliveries[i], due, why);
}

static void return_all(struct session *s, const struct batch *b) {
    for (size_t i = 0; i < b->count; i++)
        queue_return(s->flow->queue, b->deliveries[i]);
}

/* ---- invariant 1, before each MAIL ---- */

/* By the connection's own getsockname() and the configuration of this moment. */
static int before_mail(void *arg, struct stream *stream) {
    struct session *s = arg;
    struct settings *now = flow_settings(s->flow);
    struct ip local = {0};
    int error = SLUICE_EDENIED;
    if (stream_local(stream, &local, NULL))
        error = guard_check(now->pools, s->class, s->connection.pool, &local, s->guard_reason);
    else
        snprintf(s->guard_reason, sizeof s->guard_reason, "the connection has no local address");
    settings_unref(now);
#ifdef SLUICE_SEEDED_BUG_MAIL_UNGUARDED
    error = 0;
#endif
    s->guard_stopped = error != 0;
    return error;
}

/* A reload took the address or the class from the pool while the connection stood: the mail goes another
 * way. Anything else is a fault of ours: the mail stops and somebody looks. */
static void stopped_by_guard(struct session *s, const struct batch *b) {
    struct settings *now = flow_settings(s->flow);
    bool reloaded = now != s->connection.settings;
    settings_unref(now);
    if (reloaded)
        return_all(s, b);
    else
        settle_park(s->flow, &b->message, b->deliveries, b->count, str_of(s->guard_reason), b->arena);
}

/* ---- one transaction ---- */

static void fill_transaction(const struct batch *b, struct smtp_transaction *t) {
    const struct spool_message *m = &b->message;
    const struct spool_group *group = &m->groups[b->deliveries[0]->group];
    if (address_parse(group->reverse_path, ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_UTF8, &t->mail.reverse_path) !=
        0)
        t->mail.reverse_path = address_split(group->reverse_path);
    t->mail.smtputf8 = m->flags & SPOOL_SMTPUTF8;
    t->mail.body = m->flags & SPOOL_8BITMIME ? SMTP_BODY_8BITMIME : SMTP_BODY_7BIT;
    t->mail.ret = (enum smtp_ret)m->ret;
    t->mail.envid = m->envid.len ? m->envid : STR_NULL;
    t->recipients = arena_array(b->arena, struct smtp_transaction_recipient, b->count);
    t->recipient_count = b->count;
    for (size_t i = 0; i < b->count; i++) {
        const struct spool_recipient *r = spool_recipient_at(m, b->deliveries[i]->recipient, NULL);
        struct smtp_rcpt *rcpt = &t->recipients[i].rcpt;
        if (address_parse(r->address, ADDRESS_ALLOW_UTF8, &rcpt->forward_path) != 0)
            rcpt->forward_path = address_split(r->address);
        rcpt->notify = r->notify;
        rcpt->orcpt = r->orcpt.len ? r->orcpt : STR_NULL;
    }
}

/* What concerns the connection is no verdict on the mail, whatever the code. What can't be read back will
 * never be. */
static void weigh(const struct session *s, struct smtp_transaction *t) {
    for (size_t i = 0; i < t->recipient_count; i++) {
        struct outcome *o = &t->recipients[i].outcome;
        if (o->scope >= OUTCOME_SESSION && o->fate == OUTCOME_NEVER)
            o->fate = OUTCOME_LATER;
        if (s->read_error == SLUICE_ECORRUPT)
            *o = message_damaged();
    }
}

/* Did the whole transaction end by the connection's end, without a word on the mail? */
static bool cut_off(const struct smtp_transaction *t) {
    for (size_t i = 0; i < t->recipient_count; i++) {
        const struct smtp_transaction_recipient *r = &t->recipients[i];
        if (r->uncertain || r->outcome.fate != OUTCOME_LATER || r->outcome.scope < OUTCOME_SESSION)
            return false;
    }
    return true;
}

static void settle_batch(struct session *s, const struct batch *b, const struct smtp_transaction *t) {
    struct settle_recipient *ended = arena_array(b->arena, struct settle_recipient, b->count);
    struct settle_where where = connection_where(&s->connection);
    size_t count = 0;
    bool delivered = false;
    for (size_t i = 0; i < b->count; i++) {
        if (t->recipients[i].again) {
            queue_return(s->flow->queue, b->deliveries[i]);
            continue;
        }
        delivered |= t->recipients[i].outcome.fate == OUTCOME_DONE;
        ended[count++] = (struct settle_recipient){b->deliveries[i], t->recipients[i].outcome};
    }
    flow_source_count(s->flow, s->connection.pool, &s->connection.source, delivered);
    settle(s->flow, &b->message, ended, count, &where, b->arena);
}

static int read_chunk(void *arg, struct str *ret_chunk) {
    struct session *s = arg;
    s->body_begun = true;
    s->read_error = message_read(s->source, ret_chunk);
    return s->read_error;
}

/* After what was sent. A connection that had served others may be closed by its receiver between two
 * messages: then this one was not tried, and goes on at once. A first one that is cut off closes the lane for
 * a while. */
static void after_transaction(struct session *s, const struct batch *b, struct smtp_transaction *t) {
    weigh(s, t);
    bool cut = cut_off(t);
    if (cut && s->good && !s->body_begun) {
        return_all(s, b);
        return;
    }
    if (cut && !s->good)
        queue_close_lane(s->queue, 0, &t->recipients[0].outcome);
    if (!cut && !s->good)
        queue_session_connected(s->queue, &s->connection.source);
    s->good |= !cut;
    settle_batch(s, b, t);
}

/* Mail that needs SMTPUTF8 is refused for lack of it, not for a conversion in vain. */
static bool needs_7bit(const struct smtp_mail *mail, unsigned extensions) {
    bool utf8_lacks = mail->smtputf8 && !(extensions & SMTP_EXTENSION_SMTPUTF8);
    return mail->body == SMTP_BODY_8BITMIME && !(extensions & SMTP_EXTENSION_8BITMIME) && !utf8_lacks;
}

/* True: the connection can be used again. */
static bool transact(struct session *s, const struct batch *b) {
    struct smtp_transaction t = {.arg = s, .before_mail = before_mail, .read = read_chunk};
    struct outcome why;
    fill_transaction(b, &t);
    bool to_7bit = needs_7bit(&t.mail, smtp_client_capabilities(s->connection.client)->extensions);
    int error =
        message_open(s->flow, b->deliveries[0], &b->message, to_7bit, &t.mail, b->arena, &s->source, &why);
    if (error) { /* not to be read now, or not to be sent to this receiver at all */
        for (size_t i = 0; i < b->count; i++)
            t.recipients[i].outcome = why;
        settle_batch(s, b, &t);
        return true;
    }
    s->transactions++;
    s->body_begun = false;
    enum smtp_client_state state = smtp_client_send(s->connection.client, &t, b->arena);
    message_close(s->source);
    if (s->guard_stopped)
        stopped_by_guard(s, b);
    else
        after_transaction(s, b, &t);
    return state == SMTP_CLIENT_READY && !s->guard_stopped;
}

/* ---- the session ---- */

/* The connection for the first batch, or what its lack means for the batch and the lane. */
static bool open_connection(struct session *s, const struct batch *b) {
    struct settle_where where;
    struct outcome why;
    int64_t until;
    struct ip sticky = queue_session_source(s->queue);
    enum connect_result result =
        connect_route(s->flow, &s->connection, queue_session_route(s->queue), queue_session_pool(s->queue),
                      s->class, &sticky, &where, &why, &until);
    if (result == CONNECT_OK) {
        FLOW_COUNT(s->flow, sessions, 1);
        return true;
    }
    if (result == CONNECT_NO_SOURCE) {
        queue_close_lane(s->queue, until, &why);
        settle_wait(s->flow, &b->message, b->deliveries, b->count, until, &why, b->arena);
        return false;
    }
    struct settle_recipient *ended = arena_array(b->arena, struct settle_recipient, b->count);
    for (size_t i = 0; i < b->count; i++)
        ended[i] = (struct settle_recipient){b->deliveries[i], why};
    queue_close_lane(s->queue, 0, &why);
    settle(s->flow, &b->message, ended, b->count, &where, b->arena);
    return false;
}

/* Reads the envelope; what can't be read waits, or is gone. */
static bool load(struct session *s, struct batch *b) {
    int error = settle_read(s->flow, b->deliveries[0]->message, b->arena, &b->message);
    if (!error) {
        s->class = b->message.groups[b->deliveries[0]->group].mail_class;
        return true;
    }
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)b->deliveries[0]->message);
    log_event(s->flow->log, LOG_ERROR, "the envelope of a message can't be read", "message", number, "error",
              error_text(error), NULL);
    if (error == SLUICE_ENOTFOUND) {
        for (size_t i = 0; i < b->count; i++)
            queue_finish(s->flow->queue, b->deliveries[i]);
        return false;
    }
    struct outcome why = {
        .scope = OUTCOME_MESSAGE, .fate = OUTCOME_LATER, .text = STR("the spool can't be read")};
    postpone_all(s, b, clock_wall_ms() + READ_RETRY_MS, &why);
    return false;
}

/* An idle connection may be dead by now: RSET tells, before a message is risked on it. */
static bool still_alive(struct session *s, int64_t idle_since) {
    if (!s->transactions || clock_mono_ms() - idle_since < PROBE_AFTER_MS)
        return true;
    return smtp_client_reset(s->connection.client) == SMTP_CLIENT_READY;
}

/* Its address was put to rest while the connection stood: nothing more leaves by it. */
static bool rested(struct session *s) {
#ifdef SLUICE_SEEDED_BUG_RESTED_CONNECTION_SENDS
    return false;
#endif
    if (!flow_source_rests(s->flow, s->connection.pool, &s->connection.source))
        return false;
    connection_close(&s->connection, true);
    return true;
}

/* What an operator let go by its id goes, whatever its sender may. True: nothing is left. */
static bool held_back(struct session *s, struct batch *b) {
    struct str why;
    if (carried_may_leave(s->flow, &b->message, s->class, b->arena, &why))
        return false;
    size_t left = 0, held = 0;
    struct delivery **stopped = arena_array(b->arena, struct delivery *, b->count);
    for (size_t i = 0; i < b->count; i++) {
        if (b->deliveries[i]->let_go)
            b->deliveries[left++] = b->deliveries[i];
        else
            stopped[held++] = b->deliveries[i];
    }
    b->count = left;
    if (held)
        settle_hold(s->flow, &b->message, stopped, held, why, b->arena);
    return !left;
}

static bool serve(struct session *s, struct batch *b, int64_t idle_since) {
    if (!load(s, b) || held_back(s, b))
        return true;
    if (!s->connection.client) {
        if (!open_connection(s, b))
            return false;
    } else if (rested(s) || !still_alive(s, idle_since)) {
        return_all(s, b);
        return false;
    }
    return transact(s, b);
}

static size_t recipients_most(struct flow *flow) {
    size_t most = flow_here(flow)->settings->delivery.recipients_per_transaction;
    return most < RECIPIENTS_MAX ? most : RECIPIENTS_MAX;
}

void deliver_session(void *flow, struct queue_session *queue) {
    struct session s = {.flow = flow, .queue = queue};
    struct arena *arena = arena_new(0);
    s.connection.arena = arena_new(0);
    bool usable = true;
    while (usable) {
        struct delivery *deliveries[RECIPIENTS_MAX];
        int64_t since = clock_mono_ms();
        struct batch b = {.deliveries = deliveries, .arena = arena};
        b.count = queue_take(queue, recipients_most(flow), since + IDLE_MS, deliveries);
        if (!b.count)
            break;
        usable = serve(&s, &b, since);
        arena_reset(arena);
    }
    connection_close(&s.connection, usable);
    arena_free(s.connection.arena);
    arena_free(arena);
}
