#include "acceptance/rewrite.h"

#include "auth/align.h"
#include "auth/results.h"
#include "auth/vouch.h"
#include "base/clock.h"
#include "policy/return_path.h"
#include "policy/signing.h"
#include "rt/fiber.h"
#include "seeded_bug.h"

enum { AUTHORS_MAX = 100 };

/* ---- signatures ---- */

struct signing {
    struct vouch vouch;
    struct arena *arena; /* the thread's own for the while: the fiber waits */
    struct buf out;
    int error;
};

static void sign_offloaded(void *arg) {
    struct signing *s = arg;
    s->error = vouch_write(&s->vouch, s->arena, &s->out);
}

/* What goes on top, in the arena. */
static int sign(const struct vouch *vouch, struct arena *arena, struct str *ret) {
    struct signing s = {.vouch = *vouch, .arena = arena};
    *ret = STR("");
    if (!vouch->signer_count && !vouch->sealer.key)
        return 0;
    offload(sign_offloaded, &s);
    if (!s.error)
        *ret = str_copy(arena, buf_view(&s.out));
    buf_free(&s.out);
    return s.error;
}

/* Has what arrived proven that its author is of that domain, as DMARC asks? */
static bool author_is_proven(const struct arrival_result *arrival, struct str domain) {
    const struct spf_check *spf = &arrival->spf;
    return arrival->checked && (arrival_aligned_dkim(arrival, domain) ||
                                (spf->result == SPF_PASS && align_same_organisation(spf->domain, domain)));
}

/* Others wrote it, and its From claims our name, or may be read as if it did: a signature of ours would make
 * that true for every receiver (DMARC), whoever it came from. */
static bool author_is_a_claim(const struct acceptance *a, struct str signs) {
#ifdef SLUICE_SEEDED_BUG_FORGED_AUTHOR_SIGNED
    return false;
#endif
    const struct header *header = &a->content->header;
    struct address_list from = {0};
    if (!a->outside && !a->claimed && !a->by.relayed)
        return false;
    if (header_count(header, STR("From")) != 1 ||
        (!header->separated && header->body_at < a->content->head_len))
        return true;
    if (address_list_parse(a->arena, header_value(a->arena, header, STR("From")), &from) != 0 ||
        !from.count || from.count > AUTHORS_MAX)
        return true;
    for (size_t i = 0; i < from.count; i++) {
        struct str domain = from.items[i].address.domain;
        if (align_same_organisation(domain, signs) && !author_is_proven(&a->verified, domain))
            return true;
    }
    return false;
}

size_t rewrite_signers(const struct acceptance *a, const struct decision *d,
                       struct dkim_signer ret[DKIM_SIGN_MAX]) {
    struct str from = address_split(accept_from_address(a->arena, &a->content->header)).domain;
#ifndef SLUICE_SEEDED_BUG_RELAY_SIGNED
    if (mail_class_is_relay(d->class))
        return 0;
#endif
    if ((a->outside || a->claimed) && !d->verified) /* a null reverse-path: nobody has shown who it is */
        return 0;
    size_t count = signing_keys(a->by.tenant, from, a->arrival, ret);
    return count && author_is_a_claim(a, ret[0].domain) ? 0 : count;
}

/* The fields that vouch for the message, whoever gets it. */
static int vouch(const struct acceptance *a, const struct decision *d, struct str *ret) {
    const struct tenant *tenant = a->by.tenant;
    struct vouch v = {.chain = &a->verified.arc, .now_s = a->arrival / 1000};
    struct dkim_signer own[DKIM_SIGN_MAX];
    *ret = STR("");
    if (!a->content->hash) /* nobody has a key */
        return 0;
    v.signer_count = rewrite_signers(a, d, v.signers);
    /* What can't be judged now is not sealed: cv=fail would break the chain for good. */
    bool seal = tenant && a->verified.checked && !a->verified.arc.temporary;
#ifdef SLUICE_SEEDED_BUG_UNVERIFIED_UNSEALED
    seal &= !mail_class_is_relay(d->class);
#endif
    if (seal && signing_keys(tenant, tenant->domains[0], a->arrival, own))
        v.sealer = own[0];
    content_digest(a->content, v.digest);
    v.header = str_printf(a->arena, "%.*s%.*s", STR_FMT(a->prefix), STR_FMT(a->content->header.whole));
    if (v.sealer.key) {
        struct arrival_client client = accept_client(a);
        v.results = results_value(a->arena, a->settings->node, &client, &a->verified);
    }
    return sign(&v, a->arena, ret);
}

int rewrite_sign_again(const struct tenant *tenant, struct str sender, struct str header,
                       const uint8_t digest[DKIM_DIGEST_SIZE], struct arena *arena, struct str *ret_fields) {
    int64_t now = clock_wall_ms();
    struct vouch v = {.header = header, .now_s = now / 1000};
    if (tenant)
        v.signer_count = signing_keys(tenant, address_split(sender).domain, now, v.signers);
    memcpy(v.digest, digest, sizeof v.digest);
    return sign(&v, arena, ret_fields);
}

/* ---- groups ---- */

/* Group attributes: what our signatures take of the header prefix; see accept.h for the other. */
#define VOUCHED STR("vouched")

size_t rewrite_vouched(const struct spool_group *group) {
    uint64_t bytes = 0;
    str_to_u64(spool_attribute_get(group->attributes, group->attribute_count, VOUCHED), &bytes);
    return bytes <= group->header_prefix.len ? (size_t)bytes : 0;
}

bool rewrite_signed(const struct spool_group *group, struct arena *arena) {
    struct header ours;
    return header_parse(arena, str_head(group->header_prefix, rewrite_vouched(group)), 0, &ours) == 0 &&
           header_find(&ours, STR("DKIM-Signature"), NULL);
}

int rewrite_path(const struct acceptance *a, const struct decision *d, const struct envelope_copy *copy,
                 struct str *ret_path, struct str *ret_why) {
    const struct tenant *tenant = copy->tenant ? copy->tenant : a->by.tenant;
    *ret_path = a->reverse_path;
    *ret_why = STR("");
    if (!tenant)
        return 0;
    return return_path_for(tenant, a->reverse_path, copy->forwarder, copy->connector, d->verified, d->class,
                           a->arrival, a->arena, ret_path, ret_why);
}

struct grouping {
    const struct acceptance *a;
    const struct decision *decision;
    const struct pool *pool;
    struct str vouched;
    struct spool_group *groups;
    struct str *forwarders; /* of each group */
    size_t count;
};

/* Seal and signatures, then the trace: where a forward went through, what we found, who gave it to us. */
static struct str prefix_of(const struct grouping *g, struct str forwarder) {
    struct arena *arena = g->a->arena;
    struct str to = forwarder.len ? str_printf(arena, "Delivered-To: %.*s\r\n", STR_FMT(forwarder)) : STR("");
    return str_printf(arena, "%.*s%.*s%.*s", STR_FMT(g->vouched), STR_FMT(to), STR_FMT(g->a->prefix));
}

static void set_attributes(const struct grouping *g, struct spool_group *group) {
    struct arena *arena = g->a->arena;
    struct spool_attribute *list = arena_array(arena, struct spool_attribute, 2);
    group->attributes = list;
    if (g->a->own_report)
        list[group->attribute_count++] = (struct spool_attribute){ACCEPT_REPORT_OF, g->a->references};
    if (g->vouched.len)
        list[group->attribute_count++] =
            (struct spool_attribute){VOUCHED, str_printf(arena, "%zu", g->vouched.len)};
}

static struct spool_group *group_of(struct grouping *g, struct str path, struct str forwarder) {
    for (size_t i = 0; i < g->count; i++)
        if (str_eq(g->groups[i].reverse_path, path) && str_eq(g->forwarders[i], forwarder))
            return &g->groups[i];
    struct spool_group *group = &g->groups[g->count];
    g->forwarders[g->count++] = forwarder;
    *group = (struct spool_group){
        .mail_class = g->decision->class,
        .pool = g->pool ? g->pool->name : STR(""),
        .rule = g->decision->rule,
        .reason = g->decision->reason,
        .reverse_path = path,
        .header_prefix = prefix_of(g, forwarder),
    };
    set_attributes(g, group);
    return group;
}

int rewrite_groups(const struct acceptance *a, const struct decision *decision, const struct pool *pool,
                   struct spool_group **ret, size_t *ret_count) {
    size_t copies = a->envelope.copy_count;
    struct grouping g = {.a = a, .decision = decision, .pool = pool};
    struct spool_group **chosen = arena_array(a->arena, struct spool_group *, copies);
    struct spool_recipient *recipients = arena_array(a->arena, struct spool_recipient, copies);
    int error = vouch(a, decision, &g.vouched);
    g.groups = arena_array(a->arena, struct spool_group, copies);
    g.forwarders = arena_array(a->arena, struct str, copies);
    for (size_t i = 0; i < copies && !error; i++) {
        const struct envelope_copy *copy = &a->envelope.copies[i];
        struct str path, why;
        if (copy->ended.fate != OUTCOME_DONE)
            continue;
        error = rewrite_path(a, decision, copy, &path, &why);
        if (!error)
            chosen[i] = group_of(&g, path, copy->forwarder);
        if (!error)
            chosen[i]->recipient_count++;
    }
    if (error)
        return error;
    for (size_t i = 0; i < g.count; i++) {
        g.groups[i].recipients = recipients;
        for (size_t j = 0; j < copies; j++)
            if (chosen[j] == &g.groups[i])
                *recipients++ = a->envelope.copies[j].to;
    }
    *ret = g.groups;
    *ret_count = g.count;
    return 0;
}
