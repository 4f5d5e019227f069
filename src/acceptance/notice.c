#include "acceptance/notice.h"

#include "acceptance/accept.h"
#include "base/clock.h"
#include "mail/address.h"
#include "mail/mime.h"
#include "rt/fiber.h"
#include <pthread.h>
#include <stdlib.h>

enum { WAITING_MAX = 200, FIRST_RETRY_MS = 15 * 1000, TRIES = 6 };

/* A mail that is on its way to the spool. */
struct notice {
    struct notice *next;
    struct notices *list;
    struct arena *arena;
    struct alert_mail mail;
};

struct notices {
    struct flow *flow;
    pthread_mutex_t mutex;
    struct notice *first;
    size_t count;
};

/* ---- one message ---- */

/* Who can't be written to is left out; the others get it. */
static void address(struct flow *flow, struct acceptance *a, const struct alert_mail *mail) {
    for (size_t i = 0; i < mail->to_count; i++) {
        struct address parts;
        struct envelope_rcpt rcpt = {.address = mail->to[i], .notify = SPOOL_NOTIFY_NEVER, .now = a->arrival};
        const struct tenant *tenant;
        struct outcome refusal = {0};
        if (address_parse(mail->to[i], ADDRESS_ALLOW_UTF8, &parts) == 0 && parts.domain.len &&
            envelope_add(&a->envelope, a->settings->policy, &rcpt, a->arena, &tenant, &refusal)) {
            a->flags |= parts.utf8 ? SPOOL_SMTPUTF8 : 0;
            continue;
        }
        log_event(flow->log, LOG_WARNING, "an address can't be told of alerts", "to",
                  str_c(a->arena, mail->to[i]), "why",
                  refusal.text.len ? str_c(a->arena, refusal.text) : "it is no mail address", NULL);
    }
}

static struct outcome no_recipient(void) {
    return (struct outcome){OUTCOME_MESSAGE,
                            OUTCOME_NEVER,
                            554,
                            STR("5.1.3"),
                            STR("None of the addresses can be written to"),
                            false};
}

struct outcome notice_send(struct flow *flow, const struct alert_mail *mail, struct arena *arena,
                           struct trace_id *ret_id) {
    struct settings *settings = flow_settings(flow);
    struct acceptance a = {
        .arrival = clock_wall_ms(),
        .arena = arena,
        .settings = settings,
        .reverse_path = mail->from,
        .own_report = true,
        .prefix = STR(""),
        .references = STR(""),
    };
    a.id = *ret_id = trace_id_new(a.arrival);
    a.by.tenant = policy_tenant_of_domain(settings->policy, address_split(mail->from).domain);
    a.by.relayed = !a.by.tenant;
    if (bytes_8bit(mail->message))
        a.flags = SPOOL_8BITMIME;
    if (bytes_8bit(mail->from))
        a.flags |= SPOOL_SMTPUTF8;
    address(flow, &a, mail);
    struct outcome result = no_recipient();
    if (a.envelope.copy_count) {
        struct content_settings content = {
            .authserv_id = settings->node, .digest = accept_signs(settings), .now = a.arrival};
        a.content = content_new(flow, arena, &content);
        int error = content_add(a.content, mail->message);
        if (!error)
            error = content_end(a.content);
        result = error ? accept_content_refusal(a.content, error) : accept_message(flow, &a);
        content_free(a.content);
    }
    settings_unref(settings);
    return result;
}

/* ---- those on their way ---- */

static void end(struct notice *notice) {
    struct notices *list = notice->list;
    pthread_mutex_lock(&list->mutex);
    for (struct notice **at = &list->first; *at; at = &(*at)->next)
        if (*at == notice) {
            *at = notice->next;
            list->count--;
            break;
        }
    pthread_mutex_unlock(&list->mutex);
    arena_free(notice->arena);
}

static void send_in_fiber(void *arg) {
    struct notice *notice = arg;
    struct flow *flow = notice->list->flow;
    int64_t wait = FIRST_RETRY_MS;
    for (int i = 0; i < TRIES; i++, wait *= 2) {
        struct arena *arena = arena_new(0);
        struct trace_id id;
        struct outcome result = notice_send(flow, &notice->mail, arena, &id);
        bool over = result.fate != OUTCOME_LATER || i + 1 == TRIES;
        if (result.fate != OUTCOME_DONE)
            log_event(flow->log, over ? LOG_ERROR : LOG_WARNING,
                      over ? "the mail of an alert could not be sent, given up"
                           : "the mail of an alert could not be sent, trying again",
                      "to", str_c(arena, notice->mail.to[0]), "why",
                      str_c(arena, outcome_line(arena, &result)), NULL);
        arena_free(arena);
        if (over || fiber_sleep(wait) != 0)
            break;
    }
    end(notice);
}

static void start(void *arg) {
    struct notice *notice = arg;
    if (fiber_start(send_in_fiber, notice) == 0)
        return;
    log_event(notice->list->flow->log, LOG_ERROR,
              "the mail of an alert could not be sent: no room for a fiber", NULL);
    end(notice);
}

void notice_mail(void *arg, const struct alert_mail *mail) {
    struct notices *list = arg;
    struct arena *arena = arena_new(0);
    struct notice *notice = arena_new_of(arena, struct notice);
    struct str *to = arena_array(arena, struct str, mail->to_count);
    for (size_t i = 0; i < mail->to_count; i++)
        to[i] = str_copy(arena, mail->to[i]);
    *notice = (struct notice){
        .list = list,
        .arena = arena,
        .mail = {str_copy(arena, mail->from), to, mail->to_count, str_copy(arena, mail->message)},
    };
    pthread_mutex_lock(&list->mutex);
    bool room = list->count < WAITING_MAX;
    if (room) {
        notice->next = list->first;
        list->first = notice;
        list->count++;
    }
    pthread_mutex_unlock(&list->mutex);
    if (room) {
        worker_post(rt_api(list->flow->rt), start, notice);
        return;
    }
    log_event(list->flow->log, LOG_ERROR, "the mail of an alert could not be sent: too many wait", NULL);
    arena_free(arena);
}

struct notices *notices_open(struct flow *flow) {
    struct notices *list = xcalloc(1, sizeof *list);
    list->flow = flow;
    pthread_mutex_init(&list->mutex, NULL);
    return list;
}

struct notices *notices_free(struct notices *list) {
    if (!list)
        return NULL;
    for (struct notice *notice; (notice = list->first);) {
        log_event(list->flow->log, LOG_WARNING, "the mail of an alert was not sent before the end", NULL);
        list->first = notice->next;
        arena_free(notice->arena);
    }
    pthread_mutex_destroy(&list->mutex);
    free(list);
    return NULL;
}
