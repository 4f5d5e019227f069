#include "alert/hooks.h"

#include "base/clock.h"
#include "base/error.h"
#include "seeded_bug.h"
#include <curl/curl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { GRACE_MS = 2000, LONGEST_WAIT_MS = 60000, ANSWER_MAX = 64 << 10 };

_Static_assert((HOOK_TRIES_MAX - 20) * INT64_C(1) * HOOK_MAX_RETRY_MS >= INT64_C(86400000),
               "a call is tried until it expires: `expire` may be a day");

/* A call that waits or is under way; its strings follow it. */
struct job {
    struct job *next;
    struct str call, body;
    int64_t created; /* wall ms */
    unsigned tries;
};

/* One POST: what libcurl needs until it is over. */
struct transfer {
    CURL *easy;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    size_t answered;
    char answer[80]; /* its beginning */
    size_t answer_len;
};

struct hook {
    struct hook *next;
    struct arena *arena; /* of `settings` */
    struct alert_hook settings;
    struct job *first, **last;
    size_t waiting;
    struct job *active; /* its POST is `transfer`; only the thread touches both */
    struct transfer *transfer;
    unsigned fails;  /* in a row */
    int64_t next_at; /* monotonic ms */
    bool gone;       /* no longer configured */
    struct hook_counts counts;
};

struct hooks {
    struct hooks_options options;
    CURLM *multi;
    pthread_t thread;
    pthread_mutex_t mutex; /* the list and all in it but `active` and `transfer` */
    struct hook *first;
    bool stop;
};

/* ---- one POST ---- */

static void sign(const struct alert_hook *hook, const char *timestamp, struct str body, char out[72]) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    buf_printf(&text, "%s.", timestamp);
    buf_str(&text, body);
    HMAC(EVP_sha256(), hook->secret.at, (int)hook->secret.len, (const unsigned char *)text.at, text.len,
         digest, &len);
    snprintf(out, 72, "sha256=");
    for (unsigned i = 0; i < len && i < 32; i++)
        snprintf(out + 7 + 2 * i, 3, "%02x", digest[i]);
}

static struct curl_slist *headers_of(const struct alert_hook *hook, struct str call, struct str body) {
    struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
    char line[512], timestamp[24], signature[72];
    snprintf(timestamp, sizeof timestamp, "%lld", (long long)(clock_wall_ms() / 1000));
    sign(hook, timestamp, body, signature);
    snprintf(line, sizeof line, "X-Sluice-Id: %.*s", STR_FMT(call));
    list = curl_slist_append(list, line);
    snprintf(line, sizeof line, "X-Sluice-Timestamp: %s", timestamp);
    list = curl_slist_append(list, line);
#ifndef SLUICE_SEEDED_BUG_ALERT_UNSIGNED
    snprintf(line, sizeof line, "X-Sluice-Signature: %s", signature);
    list = curl_slist_append(list, line);
#endif
    return curl_slist_append(list, "Expect:"); /* no pause before the body */
}

/* Of the answer only the beginning is of interest; one without end is cut off. */
static size_t take_answer(char *bytes, size_t size, size_t count, void *arg) {
    struct transfer *t = arg;
    (void)size; /* always 1 */
    for (size_t i = 0; i < count && t->answer_len < sizeof t->answer - 1; i++) {
        char c = bytes[i];
        t->answer[t->answer_len++] = c < ' ' || c > '~' ? ' ' : c;
    }
    t->answered += count;
    return t->answered > ANSWER_MAX ? 0 : count;
}

static struct transfer *transfer_new(const struct alert_hook *hook, const char *agent, struct str call,
                                     struct str body) {
    struct transfer *t = xcalloc(1, sizeof *t);
    CURL *easy = t->easy = curl_easy_init();
    if (!easy) {
        free(t);
        return NULL;
    }
    t->headers = headers_of(hook, call, body);
    curl_easy_setopt(easy, CURLOPT_URL, hook->url.at);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.at);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)body.len);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)hook->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)hook->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    if (hook->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, hook->ca);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, agent);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    return t;
}

static void transfer_free(struct transfer *t) {
    if (!t)
        return;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    free(t);
}

/* True: it was taken. */
static bool transfer_result(struct transfer *t, CURLcode code, char said[HOOK_SAID_SIZE]) {
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && status))
        snprintf(said, HOOK_SAID_SIZE, "%s", t->error[0] ? t->error : curl_easy_strerror(code));
    else if (status >= 300 && status < 400)
        snprintf(said, HOOK_SAID_SIZE, "answered %ld, a redirect, which is not followed", status);
    else
        snprintf(said, HOOK_SAID_SIZE, "answered %ld%s%.*s", status,
                 status >= 300 && t->answer_len ? ": " : "", status >= 300 ? (int)t->answer_len : 0,
                 t->answer);
    return code == CURLE_OK && status >= 200 && status < 300;
}

bool hooks_try(const struct alert_hook *hook, const char *agent, struct str call, struct str body,
               char said[HOOK_SAID_SIZE]) {
    struct transfer *t = transfer_new(hook, agent, call, body);
    if (!t) {
        snprintf(said, HOOK_SAID_SIZE, "out of memory");
        return false;
    }
    bool taken = transfer_result(t, curl_easy_perform(t->easy), said);
    transfer_free(t);
    return taken;
}

/* ---- jobs ---- */

static struct job *job_new(struct str call, struct str body, int64_t created) {
    struct job *job = xmalloc(sizeof *job + call.len + body.len + 2);
    char *at = (char *)(job + 1);
    *job = (struct job){.call = {at, call.len}, .body = {at + call.len + 1, body.len}, .created = created};
    memcpy(at, call.at, call.len);
    at[call.len] = 0;
    memcpy(at + call.len + 1, body.at, body.len);
    at[call.len + 1 + body.len] = 0;
    return job;
}

static void push(struct hook *hook, struct job *job) {
    job->next = NULL;
    *hook->last = job;
    hook->last = &job->next;
    hook->waiting++;
}

static struct job *pop(struct hook *hook) {
    struct job *job = hook->first;
    if (!job)
        return NULL;
    hook->first = job->next;
    if (!hook->first)
        hook->last = &hook->first;
    hook->waiting--;
    return job;
}

static void settle(struct hooks *hooks, struct hook *hook, struct job *job, bool taken) {
    if (taken)
        hook->counts.sent++;
    else
        hook->counts.given_up++;
    if (hooks->options.settled)
        hooks->options.settled(hooks->options.arg, hook->settings.name, job->call, taken);
    free(job);
}

static void give_up(struct hooks *hooks, struct hook *hook, struct job *job, const char *why) {
    log_event(hooks->options.log, LOG_ERROR, "a webhook did not take an alert, given up", "webhook",
              hook->settings.name.at, "call", job->call.at, "why", why, NULL);
    settle(hooks, hook, job, false);
}

/* ---- the thread ---- */

/* The first call that is not too old. */
static struct job *next_job(struct hooks *hooks, struct hook *hook) {
    struct job *job;
    int64_t now = clock_wall_ms();
    while ((job = pop(hook))) {
        if (now - job->created < hook->settings.expire_ms && job->tries < HOOK_TRIES_MAX)
            return job;
        give_up(hooks, hook, job, "it is too old");
    }
    return NULL;
}

static void begin(struct hooks *hooks, struct hook *hook) {
    if (hook->active || hook->gone || clock_mono_ms() < hook->next_at ||
        !(hook->active = next_job(hooks, hook)))
        return;
    struct job *job = hook->active;
    job->tries++;
    hook->transfer = transfer_new(&hook->settings, hooks->options.agent, job->call, job->body);
    if (hook->transfer && curl_multi_add_handle(hooks->multi, hook->transfer->easy) == CURLM_OK)
        return;
    transfer_free(hook->transfer);
    hook->transfer = NULL;
    hook->active = NULL;
    hook->next_at = clock_mono_ms() + hook->settings.retry_ms;
    push(hook, job);
}

static void back_off(struct hook *hook) {
    int64_t wait = hook->settings.retry_ms;
    for (unsigned i = 0; i < hook->fails && wait < HOOK_MAX_RETRY_MS; i++)
        wait *= 2;
    hook->fails++;
    hook->next_at = clock_mono_ms() + (wait < HOOK_MAX_RETRY_MS ? wait : HOOK_MAX_RETRY_MS);
}

/* A failed call goes behind the others: one that the server can't stand must not keep them back. */
static void finish(struct hooks *hooks, struct hook *hook, CURLcode code) {
    char said[HOOK_SAID_SIZE];
    struct job *job = hook->active;
    bool taken = transfer_result(hook->transfer, code, said);
    curl_multi_remove_handle(hooks->multi, hook->transfer->easy);
    transfer_free(hook->transfer);
    hook->transfer = NULL;
    hook->active = NULL;
    if (taken) {
        if (hook->fails)
            log_event(hooks->options.log, LOG_INFO, "a webhook takes alerts again", "webhook",
                      hook->settings.name.at, NULL);
        hook->fails = 0;
        settle(hooks, hook, job, true);
        return;
    }
    hook->counts.failed++;
    if (!hook->fails)
        log_event(hooks->options.log, LOG_WARNING, "a webhook does not take alerts, trying again", "webhook",
                  hook->settings.name.at, "why", said, NULL);
    back_off(hook);
    if (job->tries >= HOOK_TRIES_MAX || clock_wall_ms() - job->created >= hook->settings.expire_ms)
        give_up(hooks, hook, job, said);
    else
        push(hook, job);
}

static void finish_all(struct hooks *hooks) {
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(hooks->multi, &left));)
        for (struct hook *hook = hooks->first; hook && m->msg == CURLMSG_DONE; hook = hook->next)
            if (hook->transfer && hook->transfer->easy == m->easy_handle) {
                finish(hooks, hook, m->data.result);
                break;
            }
}

static void free_hook(struct hook *hook) {
    for (struct job *job; (job = pop(hook)); free(job))
        continue;
    free(hook->active);
    arena_free(hook->arena);
    free(hook);
}

static void drop_transfer(struct hooks *hooks, struct hook *hook) {
    if (hook->transfer)
        curl_multi_remove_handle(hooks->multi, hook->transfer->easy);
    transfer_free(hook->transfer);
    hook->transfer = NULL;
}

static void remove_gone(struct hooks *hooks) {
    for (struct hook **at = &hooks->first; *at;) {
        struct hook *hook = *at;
        if (!hook->gone) {
            at = &hook->next;
            continue;
        }
        *at = hook->next;
        drop_transfer(hooks, hook);
        if (hook->active)
            push(hook, hook->active);
        hook->active = NULL;
        for (struct job *job; (job = pop(hook));)
            give_up(hooks, hook, job, "the webhook is not configured any more");
        free_hook(hook);
    }
}

/* How long there is nothing to begin. */
static int idle_ms(const struct hooks *hooks) {
    int64_t now = clock_mono_ms(), wait = LONGEST_WAIT_MS;
    for (const struct hook *hook = hooks->first; hook; hook = hook->next)
        if (hook->first && !hook->active) {
            int64_t left = hook->next_at - now;
            wait = left < 0 ? 0 : left < wait ? left : wait;
        }
    return (int)wait;
}

static int under_way(const struct hooks *hooks) {
    int count = 0;
    for (const struct hook *hook = hooks->first; hook; hook = hook->next)
        count += hook->active != NULL;
    return count;
}

static void *run(void *arg) {
    struct hooks *hooks = arg;
    int64_t grace = 0;
    int running = 0;
    pthread_setname_np(pthread_self(), "webhooks");
    for (;;) {
        curl_multi_perform(hooks->multi, &running);
        pthread_mutex_lock(&hooks->mutex);
        finish_all(hooks);
        remove_gone(hooks);
        if (hooks->stop && !grace)
            grace = clock_mono_ms() + GRACE_MS;
        for (struct hook *hook = hooks->first; hook && !hooks->stop; hook = hook->next)
            begin(hooks, hook);
        int begun = under_way(hooks);
        bool end = hooks->stop && (!begun || clock_mono_ms() >= grace);
        int wait = hooks->stop ? 50 : idle_ms(hooks);
        pthread_mutex_unlock(&hooks->mutex);
        if (end)
            return NULL;
        curl_multi_perform(hooks->multi, &running);
        if (running >= begun) /* else one has ended in this call: its connection wakes nobody any more */
            curl_multi_poll(hooks->multi, NULL, 0, wait, NULL);
    }
}

/* ---- outside ---- */

int hooks_open(const struct hooks_options *options, struct hooks **ret) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return SLUICE_ENOMEM;
    struct hooks *hooks = xcalloc(1, sizeof *hooks);
    hooks->options = *options;
    pthread_mutex_init(&hooks->mutex, NULL);
    hooks->multi = curl_multi_init();
    if (hooks->multi && pthread_create(&hooks->thread, NULL, run, hooks) == 0) {
        *ret = hooks;
        return 0;
    }
    int error = hooks->multi ? SLUICE_ELIMIT : SLUICE_ENOMEM;
    curl_multi_cleanup(hooks->multi);
    pthread_mutex_destroy(&hooks->mutex);
    free(hooks);
    curl_global_cleanup();
    return error;
}

struct hooks *hooks_free(struct hooks *hooks) {
    if (!hooks)
        return NULL;
    pthread_mutex_lock(&hooks->mutex);
    hooks->stop = true;
    pthread_mutex_unlock(&hooks->mutex);
    curl_multi_wakeup(hooks->multi);
    pthread_join(hooks->thread, NULL);
    for (struct hook *hook; (hook = hooks->first);) {
        hooks->first = hook->next;
        drop_transfer(hooks, hook);
        free_hook(hook);
    }
    curl_multi_cleanup(hooks->multi);
    pthread_mutex_destroy(&hooks->mutex);
    free(hooks);
    curl_global_cleanup();
    return NULL;
}

static struct hook *find(struct hooks *hooks, struct str name) {
    for (struct hook *hook = hooks->first; hook; hook = hook->next)
        if (!hook->gone && str_eq(hook->settings.name, name))
            return hook;
    return NULL;
}

static void set(struct hook *hook, const struct alert_hook *settings) {
    struct arena *old = hook->arena;
    hook->arena = arena_new(0);
    hook->settings = *settings;
    hook->settings.name = str_copy(hook->arena, settings->name);
    hook->settings.url = str_copy(hook->arena, settings->url);
    hook->settings.secret = str_copy(hook->arena, settings->secret);
    hook->settings.ca = settings->ca ? str_c(hook->arena, str_of(settings->ca)) : NULL;
    arena_free(old);
}

void hooks_configure(struct hooks *hooks, const struct alert_hook *list, size_t count) {
    pthread_mutex_lock(&hooks->mutex);
    struct hook *kept = NULL, **last = &kept;
    for (size_t i = 0; i < count; i++) {
        struct hook *hook = find(hooks, list[i].name);
        if (!hook) {
            hook = xcalloc(1, sizeof *hook);
            hook->last = &hook->first;
        } else {
            struct hook **at = &hooks->first;
            while (*at != hook)
                at = &(*at)->next;
            *at = hook->next;
        }
        set(hook, &list[i]);
        hook->next_at = 0; /* what was wrong may be right now */
        hook->next = NULL;
        *last = hook;
        last = &hook->next;
    }
    for (struct hook *hook = hooks->first; hook; hook = hook->next)
        hook->gone = true;
    *last = hooks->first;
    hooks->first = kept;
    pthread_mutex_unlock(&hooks->mutex);
    curl_multi_wakeup(hooks->multi);
}

void hooks_call(struct hooks *hooks, struct str name, struct str call, struct str body, int64_t created) {
    pthread_mutex_lock(&hooks->mutex);
    struct hook *hook = find(hooks, name);
    if (hook) {
        if (hook->waiting >= HOOK_QUEUE_MAX)
            give_up(hooks, hook, pop(hook), "too many wait");
        push(hook, job_new(call, body, created));
    } else if (hooks->options.settled) {
        hooks->options.settled(hooks->options.arg, name, call, false);
    }
    pthread_mutex_unlock(&hooks->mutex);
    curl_multi_wakeup(hooks->multi);
}

bool hooks_counts(struct hooks *hooks, size_t at, struct arena *arena, struct str *ret_name,
                  struct hook_counts *ret) {
    pthread_mutex_lock(&hooks->mutex);
    struct hook *hook = hooks->first;
    while (hook && (hook->gone || at)) {
        at -= !hook->gone;
        hook = hook->next;
    }
    if (hook) {
        *ret_name = str_copy(arena, hook->settings.name);
        *ret = hook->counts;
        ret->waiting = hook->waiting;
    }
    pthread_mutex_unlock(&hooks->mutex);
    return hook != NULL;
}
