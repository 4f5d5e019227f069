#include "auth/forecast.h"

#include "auth/beside.h"
#include "auth/forecast_inside.h"

enum { NAME_MAX_OCTETS = 253 };

static void drop_arena(struct arena **arena) { arena_free(*arena); }

/* One signature of ours, and who asks for its key. */
struct ours {
    struct beside beside;
    const struct forecast_query *query;
    struct resolver *resolver;
    struct arena *arena;
    const struct dkim_signer *signer;
    struct forecast_signature *signature;
};

/* RFC 6376 3.6.1: i= may be below d= only when the key allows it. */
static bool identity_allowed(const struct dkim_record *record, const struct dkim_signer *signer) {
    ptrdiff_t at = str_rindex(signer->identity, '@');
    return !record->strict || at < 0 ||
           str_eq_nocase(str_from_index(signer->identity, (size_t)at + 1), signer->domain);
}

/* Why the record will not do for our signature; NULL when it will. */
static const char *record_fault(const struct dkim_record *record, const struct dkim_signer *signer) {
    return record->revoked                          ? "the key is revoked (p= is empty)"
           : !dkim_record_fits(record, signer->key) ? "the record has another key than the one that signs"
           : !record->sha256                        ? "the record does not allow sha256"
           : !record->email                         ? "the record is not for email (s=)"
           : !identity_allowed(record, signer)      ? "the record forbids an i= below d= (t=s)"
                                                    : NULL;
}

/* Verifiers may take any of several records (3.6.2.2): all that are keys have to fit. */
static void compare(const struct ours *o, struct str name, const struct dns_answer *answer,
                    struct arena *scratch) {
    struct forecast_signature *s = o->signature;
    struct str first = STR_NULL, why = STR_NULL;
    size_t keys = 0;
    s->result = DKIM_PERMERROR;
    for (size_t i = 0; i < answer->count && i < DKIM_VERIFY_MAX; i++) {
        struct dkim_record record = {0};
        if (dkim_record_parse(scratch, answer->records[i].text, &why, &record) < 0) {
            first = first.at ? first : why;
            continue;
        }
        const char *fault = record_fault(&record, o->signer);
        s->weak |= record.testing;
        keys++;
        dkim_record_free(&record);
        if (fault) {
            s->why = str_printf(o->arena, "%s: %.*s", fault, STR_FMT(name));
            return;
        }
    }
    if (!keys) {
        s->why = str_printf(o->arena, "%.*s: %.*s", STR_FMT(first), STR_FMT(name));
        return;
    }
    s->result = DKIM_PASS;
    s->why = s->weak ? STR("the key is in test mode (t=y)") : STR("");
}

static void ask_key(void *arg) {
    const struct ours *o = arg;
    struct forecast_signature *s = o->signature;
    struct str name = str_printf(o->arena, "%.*s._domainkey.%.*s", STR_FMT(s->selector), STR_FMT(s->domain));
    /* Answers may have 64 KiB. */
    struct arena *scratch __attribute__((cleanup(drop_arena))) = arena_new(0);
    struct dns_answer answer = {0};
    if (name.len > NAME_MAX_OCTETS) {
        s->result = DKIM_PERMERROR;
        s->why = STR("selector and domain make a name that is too long");
        return;
    }
    resolver_lookup(o->resolver, name, DNS_TXT, o->query->deadline, scratch, &answer);
    if (answer.status == DNS_FAILED) {
        s->result = DKIM_TEMPERROR;
        s->why =
            str_printf(o->arena, "the DNS did not answer for %.*s: %.*s", STR_FMT(name), STR_FMT(answer.why));
    } else if (answer.status == DNS_NONE || !answer.count) {
        s->result = DKIM_PERMERROR;
        s->why = str_printf(o->arena, "no record at %.*s", STR_FMT(name));
    } else {
        compare(o, name, &answer, scratch);
    }
}

static struct forecast_signature arrived(const struct dkim_verdict *v, struct arena *arena) {
    struct forecast_signature s = {
        .domain = v->domain, .selector = v->selector, .result = v->result, .why = v->reason};
    s.weak = v->result == DKIM_PASS && (v->testing || v->unsigned_bytes);
    if (s.weak)
        s.why = v->testing ? STR("the key is in test mode (t=y)")
                           : str_printf(arena, "l= leaves %llu octets of the body unsigned",
                                        (unsigned long long)v->unsigned_bytes);
    return s;
}

struct discovery {
    struct beside beside;
    const struct forecast_query *query;
    struct resolver *resolver;
    struct arena *arena;
    struct dmarc_discovery *ret;
};

static void discover(void *arg) {
    struct discovery *d = arg;
    dmarc_discover(d->resolver, d->query->from_domain, d->query->deadline, d->arena, d->ret);
}

void forecast_identity(struct resolver *resolver, const struct forecast_query *query, struct arena *arena,
                       struct forecast_identity *ret) {
    size_t arrivals = query->arrival && query->arrival->checked ? query->arrival->dkim.count : 0;
    struct ours *ours = arena_array(arena, struct ours, query->signer_count);
    struct discovery discovery = {.query = query, .resolver = resolver, .arena = arena, .ret = &ret->dmarc};
    *ret = (struct forecast_identity){.count = query->signer_count + arrivals};
    ret->signatures = arena_array(arena, struct forecast_signature, ret->count);
    for (size_t i = 0; i < query->signer_count; i++) {
        const struct dkim_signer *signer = &query->signers[i];
        ret->signatures[i] = (struct forecast_signature){
            .domain = signer->domain, .selector = signer->selector, .ours = true, .why = STR("")};
        ours[i] = (struct ours){.query = query,
                                .resolver = resolver,
                                .arena = arena,
                                .signer = signer,
                                .signature = &ret->signatures[i]};
        beside_start(&ours[i].beside, ask_key, &ours[i]);
    }
    beside_start(&discovery.beside, discover, &discovery);
    for (size_t i = 0; i < arrivals; i++)
        ret->signatures[query->signer_count + i] = arrived(&query->arrival->dkim.items[i], arena);
    beside_join(&discovery.beside);
    for (size_t i = 0; i < query->signer_count; i++)
        beside_join(&ours[i].beside);
    for (size_t i = 0; i < ret->count; i++)
        ret->signatures[i].aligned =
            dmarc_aligned(ret->signatures[i].domain, ret->dmarc.from_domain, ret->dmarc.record.strict_dkim);
}

void forecast_spf(struct resolver *resolver, const struct forecast_query *query, struct arena *arena,
                  struct spf_check *ret) {
    struct spf_query spf = {.ip = query->source,
                            .helo = query->ehlo,
                            .mail_from = query->reverse_path,
                            .now = query->now,
                            .deadline = query->deadline};
    if (!ip_is_none(&query->source)) {
        spf_check(resolver, &spf, arena, ret);
        return;
    }
    *ret = (struct spf_check){.identity = query->reverse_path.len ? SPF_MAIL_FROM : SPF_HELO,
                              .reason = STR("the address that it leaves from is not known")};
}

void forecast_conclude(const struct forecast_query *query, const struct forecast_identity *identity,
                       const struct spf_check *spf, struct arena *arena, struct forecast *ret) {
    *ret = (struct forecast){.spf = *spf};
    struct dmarc_signature *signatures = arena_array(arena, struct dmarc_signature, identity->count);
    struct dmarc_evidence evidence = {.spf = ret->spf.result,
                                      .spf_domain = ret->spf.domain,
                                      .signatures = signatures,
                                      .count = identity->count};
    struct dmarc_verdict verdict;
    for (size_t i = 0; i < identity->count; i++) {
        const struct forecast_signature *s = &identity->signatures[i];
        signatures[i] = (struct dmarc_signature){s->domain, s->weak ? DKIM_NONE : s->result};
    }
    dmarc_judge(&identity->dmarc, &evidence, arena, &verdict);
    ret->spf_domain = ret->spf.domain.len ? ret->spf.domain : STR("");
    ret->spf_aligned = verdict.spf_aligned;
    ret->signatures = identity->signatures;
    ret->count = identity->count;
    ret->dmarc = verdict.result;
    ret->policy = verdict.policy;
    ret->dmarc_why = verdict.why;
    ret->warning = forecast_warning(ret, identity, &verdict, &query->source, arena);
}

void forecast_source(struct resolver *resolver, const struct forecast_query *query,
                     const struct forecast_identity *identity, struct arena *arena, struct forecast *ret) {
    struct spf_check spf;
    forecast_spf(resolver, query, arena, &spf);
    forecast_conclude(query, identity, &spf, arena, ret);
}

struct source_work {
    struct beside beside;
    const struct forecast_query *query;
    struct resolver *resolver;
    struct arena *arena;
    struct spf_check *ret;
};

static void work_source(void *arg) {
    struct source_work *work = arg;
    forecast_spf(work->resolver, work->query, work->arena, work->ret);
}

void forecast(struct resolver *resolver, const struct forecast_query *query, struct arena *arena,
              struct forecast *ret) {
    struct forecast_identity identity;
    struct spf_check spf;
    struct source_work work = {.query = query, .resolver = resolver, .arena = arena, .ret = &spf};
    beside_start(&work.beside, work_source, &work);
    forecast_identity(resolver, query, arena, &identity);
    beside_join(&work.beside);
    forecast_conclude(query, &identity, &spf, arena, ret);
}
