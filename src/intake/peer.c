#include "intake/peer.h"

#include "base/clock.h"
#include "rt/fiber.h"
#include "rt/proxy.h"
#include "rt/tls_peer.h"
#include "seeded_bug.h"

enum { HEADER_MS = 5000 };

/* ---- PROXY ---- */

static bool is_proxy(const struct listener *listener, const struct ip *ip) {
#ifdef SLUICE_SEEDED_BUG_PROXY_FROM_ANYBODY
    return listener->proxy_count > 0;
#endif
    for (size_t i = 0; i < listener->proxy_count; i++)
        if (ip_range_has(&listener->proxy[i], ip))
            return true;
    return false;
}

bool peer_told(struct flow *flow, const struct listener *listener, struct stream *stream) {
    struct ip ip;
    char text[IP_TEXT_SIZE];
    const char *why;
    if (!listener->proxy_count || !stream_peer(stream, &ip, NULL) || !is_proxy(listener, &ip) ||
        proxy_read(stream, clock_mono_ms() + HEADER_MS, &why) == 0)
        return true;
    log_event(flow->log, LOG_WARNING, "connection without a good PROXY header", "proxy", ip_text(&ip, text),
              "why", why, NULL);
    return false;
}

/* ---- certificates ---- */

struct judgement {
    const struct policy *policy;
    struct certificate_client client;
    struct arena *arena;
    struct certificate_facts facts;
};

static int verify(void *arg, const struct tls_trust *trust, struct arena *arena, struct str *ret_why) {
    return stream_tls_verify_peer(arg, trust, arena, ret_why);
}

static void judge(void *arg) {
    struct judgement *j = arg;
    policy_connectors_by_certificate(j->policy, &j->client, j->arena, &j->facts);
}

static const char *full_name(struct arena *arena, const struct connector *c) {
    return str_printf(arena, "%.*s/%.*s", STR_FMT(c->tenant->name), STR_FMT(c->name)).at;
}

static void tell(struct flow *flow, const struct smtp_session *session, const struct tls_peer *peer,
                 const struct certificate_facts *facts) {
    struct arena *arena = session->arena;
    char ip[IP_TEXT_SIZE];
    ip_text(&session->peer, ip);
    for (size_t i = 0; i < facts->doubt_count; i++)
        log_event(flow->log, LOG_WARNING, "client certificate not believed", "client", ip, "connector",
                  full_name(arena, facts->doubts[i].connector), "name", str_c(arena, facts->doubts[i].name),
                  "subject", str_c(arena, peer->subject), "why", str_c(arena, facts->doubts[i].why), NULL);
    for (size_t i = 0; i < facts->match_count; i++)
        log_event(flow->log, LOG_INFO, "client certificate", "client", ip, "connector",
                  full_name(arena, facts->matches[i].connector), "name", str_c(arena, facts->matches[i].name),
                  "subject", str_c(arena, peer->subject), NULL);
    if (!facts->doubt_count && !facts->match_count)
        log_event(flow->log, LOG_INFO, "client certificate of no connector", "client", ip, "subject",
                  str_c(arena, peer->subject), NULL);
}

const struct certificate_facts *peer_certificate(struct peer_certificate *known, struct flow *flow,
                                                 struct settings *settings,
                                                 const struct smtp_session *session) {
    struct tls_peer peer;
    /* A login decides by itself. */
    if (!session->tls_version || session->user.len || !policy_has_certificates(settings->policy))
        return NULL;
    if (known->settings == settings)
        return known->shown ? &known->facts : NULL;
    peer_forget(known);
    known->settings = settings_ref(settings);
    known->shown = stream_tls_peer(session->stream, session->arena, &peer);
    if (!known->shown)
        return NULL;
    struct judgement j = {
        .policy = settings->policy,
        .arena = session->arena,
        .client = {
            .names = peer.names, .name_count = peer.name_count, .verify = verify, .arg = session->stream}};
    offload(judge, &j);
    known->facts = j.facts;
    tell(flow, session, &peer, &known->facts);
    return &known->facts;
}

void peer_forget(struct peer_certificate *known) {
    settings_unref(known->settings);
    *known = (struct peer_certificate){0};
}
